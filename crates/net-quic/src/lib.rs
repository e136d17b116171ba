//! Framed messages, streams and datagrams over QUIC (RFC 9000), on quinn.
//!
//! * [`Quic`] carries messages at `quic://host:port`: the frames of one stream, a
//!   [length prefix](net_core::frame::LengthPrefix) unless set. [`QuicDatagrams`] carries them as datagrams (RFC 9221),
//!   which may be lost.
//! * [`QuicStreams`] serves every stream of every session as a connection.
//! * [`QuicSession`] is one connection with all that QUIC has: streams with priorities and codes, datagrams, paths that
//!   change, figures.
//! * [`EarlySession`] sends early data (0-RTT), of which only what is declared [`Idempotent`] travels.
//!
//! What was flushed still arrives where a connection is dropped, while the runtime runs. A program that ends at once waits first:
//! by [`Connection::close`](net_core::Connection::close), by [`QuicSession::finish_and_wait`], or by [`Quic::wait_idle`].
//!
//! # Examples
//!
//! ```no_run
//! use net_core::{Listener, Transport, tls::{ClientTls, Pem, ServerTls}};
//! use net_quic::Quic;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> net_core::Result<()> {
//! let quic = Quic::default()
//!     .with_server_tls(ServerTls::builder().certificate(Pem::file("server.pem"), Pem::file("server.key")).build()?)
//!     .with_client_tls(ClientTls::builder().ca(Pem::file("ca.pem")).build()?);
//! let mut listener = quic.listen(&"quic://127.0.0.1:0".parse()?).await?;
//! let to = listener.local().clone();
//! let (near, far) = tokio::join!(quic.connect(&to), listener.accept());
//! let (mut near, mut far) = (near?, far?);
//! near.send("hello").await?;
//! assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(test)]
#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod code;
mod config;
mod connect;
mod crypto;
mod datagram;
mod early;
mod error;
mod listener;
mod parameters;
mod path;
mod quic;
mod runtime;
mod session;
mod setup;
mod socket;
mod source;
mod stats;
mod stream;
mod streams;

pub use code::QuicCode;
pub use config::{Congestion, QuicConfig};
pub use datagram::{DatagramListener, DatagramReceiver, DatagramSender, QuicDatagrams};
pub use early::{EarlyData, EarlySession, Idempotent};
pub use listener::{QuicListener, QuicSessions};
pub use path::PathWatch;
pub use quic::{Quic, QuicReceiver, QuicSender};
pub use session::{Path, QuicSession, REFUSED};
pub use stats::QuicStats;
pub use stream::{ABORTED, RecvStream, SendStream};
pub use streams::{QuicStreams, StreamListener};
