//! TLS settings of a server.

use std::{fmt, sync::Arc};

use rustls::{
    CommonState, KeyLogFile, ServerConfig, ServerConnection,
    crypto::CryptoProvider,
    crypto::hash::Hash,
    server::{
        NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
};

use super::{
    Pem, TlsBuilder, TlsInfo, TlsStats, TlsWatch, WatchConfig,
    alpn::Alpn,
    info::Counts,
    live::Live,
    pem::{files, mistake},
    server_names::ServerNames,
    trust::{self, Pair},
};
use crate::{Result, tls::handshake_error};

/// Whether clients show a certificate, too (mutual TLS).
///
/// # Examples
///
/// ```
/// use net_core::tls::{ClientCertificates, Pem, ServerTls};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
/// # let (chain, key) = (Pem::bytes(pair.cert.pem()), Pem::bytes(pair.signing_key.serialize_pem()));
/// let server = ServerTls::builder().certificate(chain.clone(), key);
/// let required = server.clone().client_certificates(ClientCertificates::Required);
/// assert!(required.build().is_err(), "nobody vouches for clients");
/// // A client may show a certificate of this authority, or none.
/// server.client_ca(chain).client_certificates(ClientCertificates::Optional).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum ClientCertificates {
    /// None is asked for.
    #[default]
    None,
    /// One is asked for; a client may have none, and one that it has must be trusted.
    Optional,
    /// No client gets in without one that is trusted.
    Required,
}

/// TLS settings of a server, which are exchanged by [`reload`](Self::reload) while it serves. Clones share them.
///
/// # Examples
///
/// A server that shows a certificate and asks its clients for theirs:
///
/// ```no_run
/// use net_core::tls::{ClientCertificates, Pem, ServerTls, TlsVersion, WatchConfig};
///
/// # fn main() -> net_core::Result<()> {
/// let tls = ServerTls::builder()
///     .certificate(Pem::file("server.pem"), Pem::file("server.key"))
///     .client_ca(Pem::file("ca.pem"))
///     .client_certificates(ClientCertificates::Required)
///     .min_version(TlsVersion::V1_3)
///     .build()?;
/// // New files are in force for new connections as soon as they are there and right.
/// let watch = tls.watch(WatchConfig::default(), |outcome| {
///     if let Err(error) = outcome {
///         eprintln!("the old certificates stay: {}", error.report());
///     }
/// })?;
/// # drop(watch);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerTls {
    inner: Arc<Inner>,
    /// In place of what the settings say.
    alpn: Option<Arc<Alpn<ServerConfig>>>,
}

struct Inner {
    live: Live<ServerConfig>,
    sha256: &'static dyn Hash,
    counts: Counts,
}

impl ServerTls {
    /// Begins the settings.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder::default()
    }

    /// Returns what is in force, for what this API does not offer, such as QUIC.
    ///
    /// It is the same `Arc` until a reload, so a pointer that differs tells of new settings.
    pub fn config(&self) -> Arc<ServerConfig> {
        let current = self.inner.live.current();
        match &self.alpn {
            Some(alpn) => alpn.apply(current, |config, protocols| config.alpn_protocols = protocols),
            None => current,
        }
    }

    /// Returns these settings with other protocols by ALPN, the preferred first; none: ALPN is not spoken.
    ///
    /// All else is shared: files, reloads, the sessions that may be resumed, the counts. So one server's settings serve
    /// several protocols, each on its own port.
    #[must_use]
    pub fn with_alpn(&self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self { inner: self.inner.clone(), alpn: Some(Arc::new(Alpn::new(protocols))) }
    }

    /// Reads all files again. What they hold is checked, then in force for new connections; those that exist go on
    /// under the settings that they began with. Sessions from before the reload are not resumed.
    ///
    /// It blocks for as long as the files take to read.
    ///
    /// # Errors
    ///
    /// What is wrong with the new settings; the old ones stay in force.
    pub fn reload(&self) -> Result<()> {
        self.inner.live.reload()
    }

    /// Reloads in a thread of its own whenever the content of a file has changed, and tells `on_reload` the outcome.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) where there can be no thread.
    pub fn watch(
        &self,
        config: WatchConfig,
        mut on_reload: impl FnMut(Result<()>) + Send + 'static,
    ) -> Result<TlsWatch> {
        let inner = self.inner.clone();
        TlsWatch::start(self.inner.live.files(), config, move || {
            if let Some(outcome) = inner.live.reload_if_changed() {
                on_reload(outcome);
            }
        })
    }

    /// Returns how many handshakes succeeded.
    pub fn stats(&self) -> TlsStats {
        self.inner.counts.read()
    }

    /// Begins the server's side of a connection: what a transport calls for each.
    ///
    /// # Errors
    ///
    /// rustls takes the settings for wrong.
    pub fn connection(&self) -> Result<ServerConnection> {
        ServerConnection::new(self.config()).map_err(|error| handshake_error(error, "accept"))
    }

    /// Returns what the handshake of `connection` agreed on, and counts it: what a transport calls once it is over.
    pub fn established(&self, connection: &ServerConnection) -> TlsInfo {
        self.established_as(connection, connection.server_name())
    }

    /// Returns what a handshake agreed on in which the client asked for `server_name`, and counts it, as
    /// [`established`](Self::established) does: for a connection over QUIC.
    pub fn established_as(&self, connection: &CommonState, server_name: Option<&str>) -> TlsInfo {
        let info = TlsInfo::of(connection, server_name, true, self.inner.sha256);
        self.inner.counts.add(&info);
        info
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.inner.live.files()).finish_non_exhaustive()
    }
}

/// Makes [`ServerTls`].
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, tls::ServerTls};
///
/// let error = ServerTls::builder().build().expect_err("a server needs a certificate");
/// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
/// ```
pub type ServerTlsBuilder = TlsBuilder<ServerSide>;

/// What a server alone chooses; a part of [`ServerTlsBuilder`].
///
/// # Examples
///
/// ```
/// use net_core::tls::{ServerSide, ServerTls, TlsBuilder};
///
/// /// What all servers of a program have in common.
/// fn common(builder: TlsBuilder<ServerSide>) -> TlsBuilder<ServerSide> {
///     builder.alpn(["chat/1"]).max_sessions(64)
/// }
///
/// let error = common(ServerTls::builder()).build().expect_err("each needs a certificate of its own");
/// assert!(error.report().contains("a server needs a certificate"), "{}", error.report());
/// ```
#[derive(Clone, Debug)]
pub struct ServerSide {
    pairs: Vec<Pair>,
    client_certificates: Option<ClientCertificates>,
    client_ca: Vec<Pem>,
    max_sessions: usize,
    tickets: u8,
}

impl Default for ServerSide {
    fn default() -> Self {
        Self {
            pairs: Vec::new(),
            client_certificates: None,
            client_ca: Vec::new(),
            max_sessions: 1024,
            tickets: 1,
        }
    }
}

impl TlsBuilder<ServerSide> {
    /// Adds a certificate, with those that lead from it to the root behind it, and its private key.
    ///
    /// Of several, a client is shown the one for the name that it asks for, by the names in the certificates; the first
    /// where none is.
    pub fn certificate(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.side.pairs.push(Pair { chain: chain.into(), key: key.into() });
        self
    }

    /// Adds certificates of authorities that vouch for clients; clients then need a certificate, unless
    /// [`client_certificates`](Self::client_certificates) says otherwise.
    pub fn client_ca(mut self, bundle: impl Into<Pem>) -> Self {
        self.side.client_ca.push(bundle.into());
        self
    }

    /// Sets whether clients show a certificate. Default: none is asked for; required where there is a
    /// [`client_ca`](Self::client_ca).
    pub fn client_certificates(mut self, certificates: ClientCertificates) -> Self {
        self.side.client_certificates = Some(certificates);
        self
    }

    /// Sets how many sessions are kept, to be resumed; the oldest are forgotten first, 0 ends resumption. Default: 1024.
    ///
    /// A kept session takes about 200 bytes, and the client's certificates where it showed some.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.side.max_sessions = sessions;
        self
    }

    /// Sets how many tickets a client is given after each handshake of TLS 1.3 (RFC 8446 §4.6.1), each of which resumes one
    /// session; 0 ends resumption with TLS 1.3. Default: 1.
    ///
    /// One is enough where a client comes back with as many connections as it had, since each of them was given one. A
    /// client that makes one connection first and then several at once, as browsers do, resumes them all where it was
    /// given several. A ticket costs some 2 % of a handshake and a kept session.
    pub fn tickets(mut self, tickets: u8) -> Self {
        self.side.tickets = tickets;
        self
    }

    /// Reads the files and checks all settings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig): what is wrong, and in which file.
    pub fn build(self) -> Result<ServerTls> {
        let pairs = self.side.pairs.iter().flat_map(|pair| [&pair.chain, &pair.key]);
        let files = files(pairs.chain(&self.side.client_ca).chain(&self.revocation_lists));
        let sha256 = self.algorithms.sha256()?;
        let live = Live::new(files, sha256, move || self.load())?;
        let inner = Inner { live, sha256, counts: Counts::default() };
        Ok(ServerTls { inner: Arc::new(inner), alpn: None })
    }

    fn load(&self) -> Result<ServerConfig> {
        let provider = self.algorithms.provider()?;
        let mut names = ServerNames::default();
        for pair in &self.side.pairs {
            let (key, leaf) = pair.load(&provider)?;
            names.add(key, &leaf);
        }
        if self.side.pairs.is_empty() {
            return Err(mistake("a server needs a certificate and its key"));
        }
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.algorithms.versions())
            .map_err(mistake)?;
        let builder = match self.verifier(provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(names));
        config.alpn_protocols.clone_from(&self.alpn);
        // Whoever lists the preferred suite first means it.
        config.ignore_client_order = true;
        // A replayed request must not be taken for a new one (RFC 8446 §8).
        config.max_early_data_size = 0;
        config.send_tls13_tickets = self.side.tickets.into();
        if self.side.max_sessions == 0 {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.session_storage = ServerSessionMemoryCache::new(self.side.max_sessions);
        }
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(config)
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
        let given = if self.side.client_ca.is_empty() {
            ClientCertificates::None
        } else {
            ClientCertificates::Required
        };
        let certificates = self.side.client_certificates.unwrap_or(given);
        if certificates == ClientCertificates::None {
            // What would not be used is a mistake.
            if !self.revocation_lists.is_empty() {
                return Err(mistake("revocation lists are of no use where clients show no certificates"));
            }
            return Ok(None);
        }
        if self.side.client_ca.is_empty() {
            return Err(mistake("who vouches for certificates of clients? Set client_ca"));
        }
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(trust::roots(&self.side.client_ca)?, provider)
                .with_crls(trust::revoked(&self.revocation_lists)?);
        if self.allow_unknown_revocation {
            verifier = verifier.allow_unknown_revocation_status();
        }
        if self.refuse_expired_revocation_lists {
            verifier = verifier.enforce_revocation_expiration();
        }
        if certificates == ClientCertificates::Optional {
            verifier = verifier.allow_unauthenticated();
        }
        verifier.build().map(Some).map_err(mistake)
    }
}
