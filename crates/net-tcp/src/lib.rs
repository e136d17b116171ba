//! Framed messages over TCP and Unix-domain sockets, and the byte streams on which other protocols stand.
//!
//! * [`Tcp`] carries messages at `tcp://host:port`, [`Unix`] at `unix:///path`; both frame them by any
//!   [`Framing`](net_core::frame::Framing), a [length prefix](net_core::frame::LengthPrefix) unless set.
//! * `TcpStats` (feature `stats`, Linux) tells what the kernel knows of a connection: round-trip time, losses, queues.
//! * [`stream`] gives the byte streams below: what WebSocket, HTTP and gRPC stand on.
//!
//! # Examples
//!
//! ```
//! use net_core::{Listener, Transport};
//! use net_tcp::Tcp;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> net_core::Result<()> {
//! let tcp = Tcp::default();
//! let mut listener = tcp.listen(&"tcp://127.0.0.1:0".parse()?).await?;
//! let mut near = tcp.connect(listener.local()).await?;
//! let mut far = listener.accept().await?;
//! near.send("hello").await?;
//! assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod listener;
#[cfg(all(feature = "stats", target_os = "linux"))]
mod stats;
pub mod stream;
mod tcp;
#[cfg(unix)]
mod unix;

pub use config::{Family, Keepalive, TcpConfig};
pub use listener::FrameListener;
#[cfg(all(feature = "stats", target_os = "linux"))]
pub use stats::TcpStats;
pub use tcp::{Tcp, TcpListener, TcpReceiver, TcpSender};
#[cfg(unix)]
pub use unix::{Unix, UnixConfig, UnixListener, UnixReceiver, UnixSender};
