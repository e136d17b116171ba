//! What the builders of servers' and of clients' settings have in common.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::{AlgorithmName, Pem, TlsVersion, algorithms::Algorithms};

/// Makes the settings of a side `S`: [`ServerTlsBuilder`](super::ServerTlsBuilder) or
/// [`ClientTlsBuilder`](super::ClientTlsBuilder).
///
/// # Examples
///
/// What both sides know can be set in one place:
///
/// ```
/// use net_core::tls::{ClientTls, TlsBuilder, TlsVersion};
///
/// fn house_rules<S>(builder: TlsBuilder<S>) -> TlsBuilder<S> {
///     builder.min_version(TlsVersion::V1_3).groups(["X25519MLKEM768", "x25519"])
/// }
///
/// let client = house_rules(ClientTls::builder()).danger_accept_any_certificate().build()?;
/// assert!(!client.verifies());
/// # Ok::<_, net_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "`build` makes the settings"]
pub struct TlsBuilder<S> {
    pub(super) side: S,
    pub(super) algorithms: Algorithms,
    pub(super) revocation_lists: Vec<Pem>,
    pub(super) allow_unknown_revocation: bool,
    pub(super) refuse_expired_revocation_lists: bool,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) key_log: bool,
}

impl<S> TlsBuilder<S> {
    /// Adds revocation lists (CRLs, RFC 5280 §5), by which certificates of peers are refused. A client needs a `ca` for
    /// them: the platform's roots have their own.
    ///
    /// Once there is one, each certificate of a chain must be covered by a list of its issuer; see
    /// [`allow_unknown_revocation`](Self::allow_unknown_revocation). A list that is past its next update still counts, unless
    /// [they are refused](Self::refuse_expired_revocation_lists).
    pub fn revocation_lists(mut self, lists: impl Into<Pem>) -> Self {
        self.revocation_lists.push(lists.into());
        self
    }

    /// Accepts certificates whose issuer has no revocation list.
    pub fn allow_unknown_revocation(mut self) -> Self {
        self.allow_unknown_revocation = true;
        self
    }

    /// Refuses certificates whose revocation list is past its next update (RFC 5280 §5.1.2.5), so that nobody hides a
    /// revocation by withholding newer lists. Default: such a list still counts.
    ///
    /// Where no new list arrives in time, nobody that it is about is let in.
    pub fn refuse_expired_revocation_lists(mut self) -> Self {
        self.refuse_expired_revocation_lists = true;
        self
    }

    /// Sets the oldest version that is spoken. Default: 1.2.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.algorithms.min_version = version;
        self
    }

    /// Sets the cipher suites, the preferred first; of those that both sides have, the server's order decides. Default: all of
    /// the provider; of aws-lc-rs, those with AES-128-GCM first.
    pub fn cipher_suites(mut self, suites: impl IntoIterator<Item = impl Into<AlgorithmName>>) -> Self {
        self.algorithms.cipher_suites = Some(suites.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the key-exchange groups, the preferred first. Default: all of the provider; of aws-lc-rs, the hybrid
    /// `X25519MLKEM768` first.
    pub fn groups(mut self, groups: impl IntoIterator<Item = impl Into<AlgorithmName>>) -> Self {
        self.algorithms.groups = Some(groups.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the provider of the cryptography. Default: aws-lc-rs.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.algorithms.provider = provider;
        self
    }

    /// Sets the protocols that a client offers by ALPN (RFC 7301) or a server chooses from, the preferred first. Default:
    /// none; ALPN is not spoken.
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Writes the secrets of every connection to the file that the environment variable `SSLKEYLOGFILE` names, for
    /// programs such as Wireshark. Whoever reads that file reads all connections. Default: never.
    pub fn key_log_from_env(mut self) -> Self {
        self.key_log = true;
        self
    }
}
