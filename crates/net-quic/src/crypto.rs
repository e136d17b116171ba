//! TLS settings as quinn takes them: what is in force when a connection begins is what it begins with.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use net_core::{
    Error, ErrorKind, Result,
    tls::{
        ClientTls, ServerTls,
        rustls::{self, pki_types::ServerName, quic::Version},
    },
};
use quinn_proto::{
    ConnectError, ConnectionId, Side,
    crypto::{self, Keys, UnsupportedVersion},
    transport_parameters::TransportParameters,
};

use tokio::sync::Notify;

use session::{TlsSession, Told, initial_suite, interpret};

mod session;

/// Where a session leaves the error of a handshake, which quinn tells as text alone.
pub(crate) type Failure = Arc<OnceLock<rustls::Error>>;

/// By what a server's session tells that its client resumes an earlier one with early data, and that it is taken.
pub(crate) type Resumes = Arc<Notify>;

/// The settings of a client or a server, with what QUIC needs of them; clones share what was made of them.
#[derive(Clone, Debug)]
pub(crate) struct Settings<T: Tls> {
    tls: T,
    early_data: bool,
    derived: Arc<Mutex<Option<Derived<T::Config>>>>,
}

/// What was in force, and what was made of it.
struct Derived<C> {
    source: Arc<C>,
    config: Arc<C>,
}

/// Settings of TLS that can be exchanged.
pub(crate) trait Tls: Clone + fmt::Debug + Send + Sync + 'static {
    type Config;

    /// Returns what is in force: another `Arc` after a reload.
    fn current(&self) -> Arc<Self::Config>;
    /// Returns `config` with early data allowed.
    fn with_early_data(config: &Self::Config) -> Self::Config;
    /// Tells whether a session can begin with `config`, before one does.
    fn check(config: &Arc<Self::Config>) -> Result<(), rustls::Error>;
}

impl Tls for ClientTls {
    type Config = rustls::ClientConfig;

    fn current(&self) -> Arc<Self::Config> {
        self.config()
    }

    fn with_early_data(config: &Self::Config) -> Self::Config {
        // The clone shares the store of tickets.
        let mut config = config.clone();
        config.enable_early_data = true;
        config
    }

    fn check(config: &Arc<Self::Config>) -> Result<(), rustls::Error> {
        let nobody = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        rustls::quic::ClientConnection::new(config.clone(), Version::V1, nobody, Vec::new()).map(drop)
    }
}

impl Tls for ServerTls {
    type Config = rustls::ServerConfig;

    fn current(&self) -> Arc<Self::Config> {
        self.config()
    }

    fn with_early_data(config: &Self::Config) -> Self::Config {
        let mut config = config.clone();
        // RFC 9001 §4.6.1: "Servers MUST NOT send the early_data extension with a max_early_data_size field set to any
        // value other than 0xffffffff."
        config.max_early_data_size = u32::MAX;
        config
    }

    fn check(config: &Arc<Self::Config>) -> Result<(), rustls::Error> {
        rustls::quic::ServerConnection::new(config.clone(), Version::V1, Vec::new()).map(drop)
    }
}

impl<T: Tls> Settings<T> {
    pub(crate) fn new(tls: T, early_data: bool) -> Self {
        Self { tls, early_data, derived: Arc::default() }
    }

    /// Returns what was set.
    pub(crate) fn tls(&self) -> &T {
        &self.tls
    }

    /// Returns what is in force now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] where QUIC cannot be spoken with it: without TLS 1.3, or any of its suites.
    pub(crate) fn config(&self) -> Result<Arc<T::Config>> {
        let source = self.tls.current();
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        match &*derived {
            Some(known) if Arc::ptr_eq(&known.source, &source) => Ok(known.config.clone()),
            _ => {
                let config =
                    if self.early_data { Arc::new(T::with_early_data(&source)) } else { source.clone() };
                T::check(&config).map_err(|error| {
                    Error::new(ErrorKind::InvalidConfig, "take the TLS settings for QUIC").because(error)
                })?;
                *derived = Some(Derived { source, config: config.clone() });
                Ok(config)
            }
        }
    }
}

/// What one connection of a client begins with.
pub(crate) struct ClientCrypto {
    tls: ClientTls,
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
    failure: Failure,
}

impl ClientCrypto {
    /// Verifies the server as `name`; what goes wrong is left in `failure`.
    ///
    /// # Errors
    ///
    /// As [`Settings::config`].
    pub(crate) fn new(
        settings: &Settings<ClientTls>,
        name: ServerName<'static>,
        failure: Failure,
    ) -> Result<Self> {
        Ok(Self { tls: settings.tls.clone(), config: settings.config()?, name, failure })
    }
}

impl crypto::ClientConfig for ClientCrypto {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        _: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let version = interpret(version)?;
        let initial = initial_suite(self.config.crypto_provider());
        let (config, name) = (self.config.clone(), self.name.clone());
        match rustls::quic::ClientConnection::new(config, version, name, written(parameters)) {
            Ok(connection) => {
                let tls = rustls::quic::Connection::Client(connection);
                let told = Told::Client(self.tls.clone());
                Ok(Box::new(TlsSession::new(version, initial, tls, told, self.failure.clone())))
            }
            Err(error) => {
                let text = error.to_string();
                let _ = self.failure.set(error);
                Err(ConnectError::InvalidServerName(text))
            }
        }
    }
}

/// What one connection to a server begins with.
pub(crate) struct ServerCrypto {
    tls: ServerTls,
    config: Arc<rustls::ServerConfig>,
    failure: Failure,
    resumes: Option<Resumes>,
}

impl ServerCrypto {
    /// What goes wrong is left in `failure`; `resumes` is told of early data, where somebody waits for it.
    ///
    /// # Errors
    ///
    /// As [`Settings::config`].
    pub(crate) fn new(
        settings: &Settings<ServerTls>,
        failure: Failure,
        resumes: Option<Resumes>,
    ) -> Result<Self> {
        Ok(Self { tls: settings.tls.clone(), config: settings.config()?, failure, resumes })
    }
}

impl crypto::ServerConfig for ServerCrypto {
    fn initial_keys(&self, version: u32, destination: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        let suite = initial_suite(self.config.crypto_provider());
        Ok(session::initial_keys(interpret(version)?, destination, Side::Server, &suite))
    }

    fn retry_tag(&self, _: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        // Without a tag no client believes it, which is right where there is none.
        session::retry_tag(original, packet).unwrap_or_default()
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        // quinn asks for keys of the version first.
        let version = interpret(version).unwrap_or(Version::V1);
        let connection =
            rustls::quic::ServerConnection::new(self.config.clone(), version, written(parameters))
                .expect("the settings were checked when they were taken");
        let initial = initial_suite(self.config.crypto_provider());
        let tls = rustls::quic::Connection::Server(connection);
        let told = Told::Server(self.tls.clone(), self.resumes.clone());
        Box::new(TlsSession::new(version, initial, tls, told, self.failure.clone()))
    }
}

fn written(parameters: &TransportParameters) -> Vec<u8> {
    let mut bytes = Vec::new();
    parameters.write(&mut bytes);
    bytes
}

impl<C> fmt::Debug for Derived<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived")
    }
}
