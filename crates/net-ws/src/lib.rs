//! Messages over WebSocket (RFC 6455), compressed where both sides will (RFC 7692).
//!
//! * [`Ws`] carries messages at `ws://host:port/path` and, with the feature `tls`, `wss://`: a
//!   [`Transport`](net_core::Transport) like every other.
//! * [`WsSender`] and [`WsReceiver`] have what only WebSocket has: text and binary, fragments, pings, close codes and reasons.
//! * [`WsInfo`] tells path, query and headers of the handshake, [`OriginPolicy`] which pages may connect, [`Upgrade`] makes a
//!   connection of a request that an HTTP server has parsed.
//!
//! # Examples
//!
//! ```
//! use net_core::{Listener, Transport};
//! use net_ws::Ws;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> net_core::Result<()> {
//! let ws = Ws::default();
//! let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
//! let to = listener.local().clone();
//! let (near, far) = tokio::join!(ws.connect(&to), listener.accept());
//! let (mut near, mut far) = (near?, far?);
//! near.tx.send_message("hello").await?;
//! assert_eq!(far.rx.recv_message().await?, Some("hello".into()));
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod close;
mod config;
mod decode;
mod deflate;
mod error;
mod frame;
mod handshake;
mod info;
mod keep_alive;
mod link;
mod listener;
mod message;
mod receiver;
mod sender;
mod utf8;
mod ws;

pub use close::{CloseCode, CloseFrame};
pub use config::WsConfig;
pub use deflate::{DeflateConfig, DeflateInfo, DeflateMemory};
pub use error::ProtocolError;
pub use handshake::{
    extensions::Extension, origin::OriginPolicy, proxy::Proxy, refusal::Refusal, server::Upgrade,
};
pub use info::WsInfo;
pub use listener::WsListener;
pub use message::{Fragment, Kind, SendAs, WsEvent, WsMessage};
pub use receiver::WsReceiver;
pub use sender::WsSender;
pub use ws::Ws;

pub(crate) use decode::Role;
