//! TLS settings of a client.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, CommonState, KeyLogFile,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    crypto::hash::Hash,
    pki_types::ServerName,
};

use super::{
    Pem, TlsBuilder, TlsInfo, TlsStats, TlsWatch, WatchConfig,
    alpn::Alpn,
    handshake_error,
    info::Counts,
    live::Live,
    pem::{files, mistake},
    trust::{self, Anybody, Pair},
};
use crate::{Address, Error, ErrorKind, Host, Result};

/// TLS settings of a client, which are exchanged by [`reload`](Self::reload) while it is in use. Clones share them.
///
/// # Examples
///
/// ```no_run
/// use net_core::tls::{ClientTls, Pem};
///
/// # fn main() -> net_core::Result<()> {
/// // Servers that the platform trusts.
/// let public = ClientTls::builder().build()?;
/// // Servers that one's own authority vouches for; and this client's certificate.
/// let private = ClientTls::builder()
///     .ca(Pem::file("ca.pem"))
///     .certificate(Pem::file("client.pem"), Pem::file("client.key"))
///     .build()?;
/// # let _ = (public, private);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientTls {
    inner: Arc<Inner>,
    /// In place of what the settings say.
    alpn: Option<Arc<Alpn<ClientConfig>>>,
}

struct Inner {
    live: Live<ClientConfig>,
    sha256: &'static dyn Hash,
    server_name: Option<ServerName<'static>>,
    verifies: bool,
    counts: Counts,
}

impl ClientTls {
    /// Begins the settings.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder::default()
    }

    /// Returns what is in force, for what this API does not offer, such as QUIC.
    ///
    /// It is the same `Arc` until a reload, so a pointer that differs tells of new settings.
    pub fn config(&self) -> Arc<ClientConfig> {
        let current = self.inner.live.current();
        match &self.alpn {
            Some(alpn) => alpn.apply(current, |config, protocols| config.alpn_protocols = protocols),
            None => current,
        }
    }

    /// Returns these settings with other protocols by ALPN, the preferred first; none: ALPN is not spoken.
    ///
    /// All else is shared: files, reloads, the sessions to be resumed, the counts.
    #[must_use]
    pub fn with_alpn(&self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self { inner: self.inner.clone(), alpn: Some(Arc::new(Alpn::new(protocols))) }
    }

    /// Reads all files again; what they hold is checked, then in force for new connections.
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
    /// [`ErrorKind::InvalidConfig`] where there can be no thread.
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

    /// Tells whether servers must prove who they are.
    pub fn verifies(&self) -> bool {
        self.inner.verifies
    }

    /// Returns the name that the certificate of the server at `to` must be for: the host of `to`, unless the settings
    /// have another one. A name is sent, too; an IP address is verified and not sent (RFC 6066 §3).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`] where the host is no name that a certificate could be for.
    pub fn server_name(&self, to: &Address) -> Result<ServerName<'static>> {
        let name = self.inner.server_name.clone().or_else(|| server_name(to.host()));
        name.ok_or_else(|| Error::new(ErrorKind::InvalidAddress, "connect").at(to))
    }

    /// Begins the client's side of a connection to the server at `to`: what a transport calls for each.
    ///
    /// # Errors
    ///
    /// As [`server_name`](Self::server_name).
    pub fn connection(&self, to: &Address) -> Result<ClientConnection> {
        let name = self.server_name(to)?;
        ClientConnection::new(self.config(), name).map_err(|error| handshake_error(error, "connect").at(to))
    }

    /// Returns what the handshake of `connection` agreed on, and counts it: what a transport calls once it is over.
    ///
    /// Both forms of a connection are this state: that over TCP, and that over QUIC.
    pub fn established(&self, connection: &CommonState) -> TlsInfo {
        let info = TlsInfo::of(connection, None, self.inner.verifies, self.inner.sha256);
        self.inner.counts.add(&info);
        info
    }
}

fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        // What connects to no host connects to this machine.
        Host::Any => Some(ServerName::IpAddress(std::net::Ipv6Addr::LOCALHOST.into())),
        Host::V4(ip) => Some(ServerName::IpAddress((*ip).into())),
        Host::V6(ip, _) => Some(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => ServerName::try_from(name.to_string()).ok(),
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("files", &self.inner.live.files())
            .field("verifies", &self.inner.verifies)
            .finish_non_exhaustive()
    }
}

/// Makes [`ClientTls`].
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, tls::ClientTls};
///
/// let error = ClientTls::builder().groups(["x25591"]).build().expect_err("no such group");
/// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
/// assert!(error.report().contains("X25519MLKEM768"), "{}", error.report());
/// ```
pub type ClientTlsBuilder = TlsBuilder<ClientSide>;

/// What a client alone chooses; a part of [`ClientTlsBuilder`].
///
/// # Examples
///
/// ```
/// use net_core::tls::{ClientSide, ClientTls, TlsBuilder};
///
/// /// What all clients of a program have in common.
/// fn common(builder: TlsBuilder<ClientSide>) -> TlsBuilder<ClientSide> {
///     builder.server_name("db.internal").max_sessions(8)
/// }
///
/// let client = common(ClientTls::builder()).danger_accept_any_certificate().build()?;
/// let name = client.server_name(&"tcps://127.0.0.1:9000".parse()?)?;
/// assert_eq!(name.to_str(), "db.internal");
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientSide {
    ca: Vec<Pem>,
    platform_roots: bool,
    anybody: bool,
    pair: Option<Pair>,
    server_name: Option<String>,
    max_sessions: usize,
}

impl Default for ClientSide {
    fn default() -> Self {
        Self {
            ca: Vec::new(),
            platform_roots: false,
            anybody: false,
            pair: None,
            server_name: None,
            max_sessions: 256,
        }
    }
}

impl TlsBuilder<ClientSide> {
    /// Adds certificates of authorities that vouch for servers, instead of those that the platform trusts.
    pub fn ca(mut self, bundle: impl Into<Pem>) -> Self {
        self.side.ca.push(bundle.into());
        self
    }

    /// Trusts the platform's authorities, also where there is a [`ca`](Self::ca) of one's own. Without one they are the
    /// default.
    pub fn platform_roots(mut self) -> Self {
        self.side.platform_roots = true;
        self
    }

    /// **Accepts any certificate, from anybody.** What is sent is encrypted for whoever answers, which may be an
    /// attacker; for experiments alone. [`TlsInfo::verified`] is `false` then.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.side.anybody = true;
        self
    }

    /// Sets the certificate that this client shows where it is asked for one (mutual TLS), with those that lead from it
    /// to the root, and its private key.
    pub fn certificate(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.side.pair = Some(Pair { chain: chain.into(), key: key.into() });
        self
    }

    /// Sets the name that is sent and verified, instead of the address's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.side.server_name = Some(name.into());
        self
    }

    /// Sets how many servers' sessions are kept, to be resumed; 0 ends resumption. Default: 256.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.side.max_sessions = sessions;
        self
    }

    /// Reads the files and checks all settings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`]: what is wrong, and in which file.
    pub fn build(self) -> Result<ClientTls> {
        let pair = self.side.pair.iter().flat_map(|pair| [&pair.chain, &pair.key]);
        let files = files(pair.chain(&self.side.ca).chain(&self.revocation_lists));
        let sha256 = self.algorithms.sha256()?;
        let verifies = !self.side.anybody;
        let server_name = self.side.server_name.clone().map(|name| {
            ServerName::try_from(name.clone())
                .map_err(|error| mistake(format_args!("server name {name:?}: {error}")))
        });
        let server_name = server_name.transpose()?;
        let live = Live::new(files, sha256, move || self.load())?;
        let inner = Inner { live, sha256, server_name, verifies, counts: Counts::default() };
        Ok(ClientTls { inner: Arc::new(inner), alpn: None })
    }

    fn load(&self) -> Result<ClientConfig> {
        let provider = self.algorithms.provider()?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.algorithms.versions())
            .map_err(mistake)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider.clone())?);
        let mut config = match &self.side.pair {
            Some(pair) => {
                let (key, _) = pair.load(&provider)?;
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        // What is sent early can be replayed (RFC 8446 §8).
        config.enable_early_data = false;
        config.resumption = match self.side.max_sessions {
            0 => Resumption::disabled(),
            sessions => Resumption::in_memory_sessions(sessions),
        };
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(config)
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let platform = self.side.platform_roots || self.side.ca.is_empty();
        if self.side.anybody {
            if !self.side.ca.is_empty() || self.side.platform_roots || !self.revocation_lists.is_empty() {
                return Err(mistake("to accept any certificate and to trust some contradict each other"));
            }
            return Ok(Arc::new(Anybody(provider)));
        }
        if platform {
            if !self.revocation_lists.is_empty() {
                return Err(mistake("revocation lists need a ca; the platform's roots have their own"));
            }
            return trust::platform(&self.side.ca, provider);
        }
        let mut verifier =
            WebPkiServerVerifier::builder_with_provider(trust::roots(&self.side.ca)?, provider)
                .with_crls(trust::revoked(&self.revocation_lists)?);
        if self.allow_unknown_revocation {
            verifier = verifier.allow_unknown_revocation_status();
        }
        if self.refuse_expired_revocation_lists {
            verifier = verifier.enforce_revocation_expiration();
        }
        let verifier: Arc<dyn ServerCertVerifier> = verifier.build().map_err(mistake)?;
        Ok(verifier)
    }
}
