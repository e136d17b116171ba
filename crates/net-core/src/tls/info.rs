//! What a handshake agreed on.

use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{CommonState, HandshakeKind, ProtocolVersion, crypto::hash::Hash};

use super::{AlgorithmName, PeerIdentity, TlsVersion};

/// What a TLS handshake agreed on, and who the peer is: `connection.info.details::<TlsInfo>()`.
///
/// # Examples
///
/// ```
/// use net_core::{Info, tls::TlsInfo};
///
/// /// The name that a client's certificate is for.
/// fn who(info: &Info) -> Option<&str> {
///     let peer = info.details::<TlsInfo>()?.peer.as_ref()?;
///     peer.dns_names().next()
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite.
    pub cipher_suite: AlgorithmName,
    /// The key-exchange group; `None` where a TLS 1.2 session was resumed without one.
    pub group: Option<AlgorithmName>,
    /// The protocol that ALPN (RFC 7301) agreed on.
    pub alpn: Option<Vec<u8>>,
    /// The host name that the client sent (SNI, RFC 6066 §3); a server alone knows it.
    pub server_name: Option<String>,
    /// An earlier session was resumed, without a new proof of identities.
    pub resumed: bool,
    /// The peer's certificate was verified, now or in the session that was resumed. `false` where it has none, and
    /// where the client was told to accept any.
    pub verified: bool,
    /// Who the peer is by its certificate.
    pub peer: Option<PeerIdentity>,
}

impl TlsInfo {
    pub(super) fn of(
        tls: &CommonState,
        server_name: Option<&str>,
        verifies: bool,
        sha256: &dyn Hash,
    ) -> Self {
        let peer = tls.peer_certificates().and_then(<[_]>::first);
        let peer = peer.map(|certificate| PeerIdentity::of(certificate, sha256));
        let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite().into());
        Self {
            version: match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
                _ => TlsVersion::V1_2,
            },
            cipher_suite: suite.unwrap_or_else(|| AlgorithmName::from("none")),
            group: tls.negotiated_key_exchange_group().map(|group| group.name().into()),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            server_name: server_name.map(str::to_owned),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            verified: verifies && peer.is_some(),
            peer,
        }
    }
}

/// How many handshakes succeeded under some settings, and how many of them resumed a session.
///
/// # Examples
///
/// ```
/// use net_core::tls::{ClientTls, TlsStats};
///
/// /// How many handshakes took the longer way.
/// fn full(stats: TlsStats) -> u64 {
///     stats.handshakes - stats.resumed
/// }
///
/// let client = ClientTls::builder().danger_accept_any_certificate().build()?;
/// assert_eq!(full(client.stats()), 0, "nothing has connected yet");
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStats {
    /// Handshakes that succeeded.
    pub handshakes: u64,
    /// Those that resumed an earlier session.
    pub resumed: u64,
}

/// Counts for [`TlsStats`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    handshakes: AtomicU64,
    resumed: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, info: &TlsInfo) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        self.resumed.fetch_add(info.resumed.into(), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> TlsStats {
        TlsStats {
            handshakes: self.handshakes.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
        }
    }
}
