//! TLS settings of servers and clients: checked when made, and exchanged while connections are served.
//!
//! * [`ServerTls`] and [`ClientTls`] are made by builders, from PEM files or bytes; a mistake in them is
//!   [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) and names the file.
//! * Both can be [reloaded](ServerTls::reload): new files are checked first, bad ones leave the old settings in place.
//!   [`ServerTls::watch`] does so whenever a file changes.
//! * [`TlsInfo`] tells what a handshake agreed on and who the peer proved to be; it is the
//!   [details](crate::Info::details) of a connection.
//!
//! Safe by default: TLS 1.2 or 1.3, host names verified and sent (SNI), no early data (0-RTT), no renegotiation, bounded
//! caches of sessions. The provider of the cryptography is a value in the settings, aws-lc-rs unless another is passed,
//! never the default of the process.
//!
//! # Examples
//!
//! ```no_run
//! use net_core::tls::{ClientTls, Pem, ServerTls, TlsInfo};
//!
//! # fn main() -> net_core::Result<()> {
//! let server = ServerTls::builder().certificate(Pem::file("server.pem"), Pem::file("server.key")).build()?;
//! let client = ClientTls::builder().ca(Pem::file("ca.pem")).build()?;
//! # let _ = (server, client);
//! # Ok(())
//! # }
//! ```

pub use rustls;

mod algorithms;
mod alpn;
mod builder;
mod certificate;
mod client;
mod failure;
mod info;
mod live;
mod pem;
mod server;
mod server_names;
mod trust;
mod watch;

pub use algorithms::{AlgorithmName, TlsVersion};
pub use builder::TlsBuilder;
pub use certificate::{AlternativeName, PeerIdentity};
pub use client::{ClientSide, ClientTls, ClientTlsBuilder};
pub use failure::handshake_error;
pub(crate) use failure::kind_of;
pub use info::{TlsInfo, TlsStats};
pub use pem::Pem;
pub use server::{ClientCertificates, ServerSide, ServerTls, ServerTlsBuilder};
pub use watch::{TlsWatch, WatchConfig};
