//! Messages as UDP datagrams: a transport, sockets for direct use, multicast, and batches of system calls.
//!
//! * [`Udp`] carries messages at `udp://host:port`, one in each datagram. A listener has a session for each peer: one task
//!   takes datagrams to them, bounded in every direction; see [`UdpConfig`].
//! * [`UdpPeer`] says what is known of a peer whose address may be forged.
//! * [`UdpSocket`] is for direct use: single datagrams and batches, broadcast, multicast, traffic classes.
//!
//! # Examples
//!
//! ```
//! use net_core::{Listener, Transport};
//! use net_udp::Udp;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> net_core::Result<()> {
//! let udp = Udp::default();
//! let mut listener = udp.listen(&"udp://127.0.0.1:0".parse()?).await?;
//! let mut near = udp.connect(listener.local()).await?;
//! near.send("hello").await?;
//! let mut far = listener.accept().await?;
//! assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
#[cfg(target_os = "linux")]
mod control;
mod demux;
mod ending;
mod intake;
mod listener;
mod outgoing;
mod peer;
mod receiver;
mod sender;
mod session;
mod socket;
mod stats;
mod traffic;
mod transmit;
mod udp;

pub use config::UdpConfig;
pub use listener::UdpListener;
pub use peer::UdpPeer;
pub use receiver::UdpReceiver;
pub use sender::UdpSender;
pub use socket::{Datagram, Meta, RecvBatch, SendBatch, UdpSocket};
pub use stats::UdpStats;
pub use traffic::{Ecn, TrafficClass};
pub use udp::Udp;
