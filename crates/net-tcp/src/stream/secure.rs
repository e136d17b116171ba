//! Listening with TLS, for the schemes that need it.

use net_core::{Address, Result, tls::ServerTls};

use super::{
    ServerSettings, StreamListener, StreamSource,
    bind::{bind_many_with, bind_with},
};
use crate::TcpConfig;

/// Listens as [`listen`](super::listen) does; connections at an address such as `tcps://`, `wss://` or `https://` begin
/// with a TLS handshake, which runs beside accepting.
///
/// # Errors
///
/// As [`listen`](super::listen).
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
///
/// # Examples
///
/// ```no_run
/// use net_core::tls::{Pem, ServerTls};
/// use net_tcp::{TcpConfig, stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let tls = ServerTls::builder().certificate(Pem::file("server.pem"), Pem::file("server.key")).build()?;
/// let mut listener = stream::listen_tls(&"https://:8443".parse()?, &TcpConfig::default(), &tls).await?;
/// let stream = listener.accept().await?;
/// # let _ = stream;
/// # Ok(())
/// # }
/// ```
pub async fn listen_tls(at: &Address, config: &TcpConfig, tls: &ServerTls) -> Result<StreamListener> {
    Ok(StreamListener::new(bind_tls(at, config, tls).await?))
}

/// Listens at `at` with `n` sockets that share one port, as [`listen_many`](super::listen_many) does, with TLS.
///
/// # Errors
///
/// As [`listen_many`](super::listen_many).
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn listen_many_tls(
    at: &Address,
    n: usize,
    config: &TcpConfig,
    tls: &ServerTls,
) -> Result<Vec<StreamListener>> {
    Ok(bind_many_tls(at, n, config, tls).await?.into_iter().map(StreamListener::new).collect())
}

/// Listens as [`listen_tls`] does, for a protocol with a handshake of its own.
///
/// # Errors
///
/// As [`listen`](super::listen).
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn bind_tls(at: &Address, config: &TcpConfig, tls: &ServerTls) -> Result<StreamSource> {
    bind_with(at, config, &ServerSettings::new(tls.clone())).await
}

/// Listens as [`listen_many_tls`] does, for a protocol with a handshake of its own.
///
/// # Errors
///
/// As [`listen_many`](super::listen_many).
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn bind_many_tls(
    at: &Address,
    n: usize,
    config: &TcpConfig,
    tls: &ServerTls,
) -> Result<Vec<StreamSource>> {
    bind_many_with(at, n, config, &ServerSettings::new(tls.clone())).await
}
