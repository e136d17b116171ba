//! Listening with settings that are kept: what [`Connector`](super::Connector) is for clients.

use net_core::{Address, Result};

use super::{ServerSettings, StreamSource, bind_many_with, bind_with};
use crate::TcpConfig;

/// Listens for a protocol with a handshake of its own, with TLS where the scheme says so: what a [`Connector`](super::Connector)
/// is for clients.
///
/// # Examples
///
/// ```
/// use net_tcp::{TcpConfig, stream::Binder};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let source = Binder::new(TcpConfig::default()).bind(&"ws://127.0.0.1:0".parse()?).await?;
/// assert_ne!(source.local().port(), Some(0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Binder {
    config: TcpConfig,
    tls: ServerSettings,
}

impl Binder {
    /// Creates one with these settings.
    pub fn new(config: TcpConfig) -> Self {
        Self { config, tls: ServerSettings::default() }
    }

    /// Listens with TLS where the scheme says so, as `wss` does.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_server_tls(self, tls: net_core::tls::ServerTls) -> Self {
        Self { tls: ServerSettings::new(tls), ..self }
    }

    /// Listens as [`bind`](super::bind) does.
    ///
    /// # Errors
    ///
    /// As [`bind`](super::bind).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn bind(&self, at: &Address) -> Result<StreamSource> {
        bind_with(at, &self.config, &self.tls).await
    }

    /// Listens as [`bind_many`](super::bind_many) does.
    ///
    /// # Errors
    ///
    /// As [`bind_many`](super::bind_many).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn bind_many(&self, at: &Address, n: usize) -> Result<Vec<StreamSource>> {
        bind_many_with(at, n, &self.config, &self.tls).await
    }
}
