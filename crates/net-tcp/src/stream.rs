//! Byte streams over TCP and Unix-domain sockets: what message transports, WebSocket, HTTP and gRPC stand on.
//!
//! # Examples
//!
//! ```
//! use net_tcp::{TcpConfig, stream};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = TcpConfig::default();
//! let mut listener = stream::listen(&"tcp://127.0.0.1:0".parse()?, &config).await?;
//! let mut near = stream::connect(listener.local(), &config).await?;
//! let mut far = listener.accept().await?;
//! near.write_all(b"hello").await?;
//! near.shutdown().await?;
//! let mut text = String::new();
//! far.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! # Ok(())
//! # }
//! ```

pub use crate::config::TcpConfig;

mod accept;
mod bind;
mod binder;
mod bytes;
mod connect;
mod half;
#[cfg(unix)]
mod listening;
#[cfg(not(unix))]
#[path = "stream/listening_by_tokio.rs"]
mod listening;
mod race;
mod resolve;
#[cfg(feature = "tls")]
mod secure;
mod send;
mod source;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "stream/no_tls.rs"]
mod tls;
#[cfg(unix)]
mod unix;

#[cfg(feature = "tls")]
pub use self::secure::{bind_many_tls, bind_tls, listen_many_tls, listen_tls};
pub(crate) use self::tls::{ClientSettings, ServerSettings};
pub use accept::StreamListener;
pub use bind::{bind, bind_many, listen, listen_many};
pub(crate) use bind::{bind_many_with, bind_with};
pub use binder::Binder;
pub use bytes::ByteStream;
pub use connect::{Connector, connect};
pub use half::{ReadHalf, WriteHalf};
pub use resolve::{Resolve, Resolving};
pub use source::{Accepted, StreamSource};
#[cfg(unix)]
pub use unix::{bind_unix, connect_unix, listen_unix};
