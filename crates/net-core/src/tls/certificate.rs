//! What a certificate says of whom it names.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rustls::{crypto::hash::Hash, pki_types::CertificateDer};
use x509_cert::{
    Certificate,
    der::{Decode, asn1::OctetString},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// Who the peer proved to be by its certificate, as far as [`TlsInfo::verified`](super::TlsInfo::verified) says so.
///
/// # Examples
///
/// ```
/// use net_core::{Info, tls::{PeerIdentity, TlsInfo}};
///
/// /// Whether the peer is one whose certificate is pinned.
/// fn is_pinned(info: &Info, pins: &[&str]) -> bool {
///     let peer: Option<&PeerIdentity> = info.details::<TlsInfo>().and_then(|tls| tls.peer.as_ref());
///     peer.is_some_and(|peer| pins.contains(&peer.fingerprint_hex().as_str()))
/// }
///
/// let (near, _far) = net_core::memory::pair();
/// assert!(!is_pinned(&near.info, &["c0ffee"]), "there is no TLS in memory");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerIdentity {
    /// The subject as RFC 4514 writes it, such as `CN=alice,O=Example`; empty where the certificate has none.
    pub subject: String,
    /// The names that the certificate is for (RFC 5280 §4.2.1.6); kinds that are not listed are left out.
    pub alternative_names: Vec<AlternativeName>,
    /// SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
    /// When the certificate expires.
    pub not_after: Option<SystemTime>,
}

impl PeerIdentity {
    pub(super) fn of(certificate: &CertificateDer<'_>, sha256: &dyn Hash) -> Self {
        let mut fingerprint = [0; 32];
        if let Some(hash) = sha256.hash(certificate).as_ref().first_chunk() {
            fingerprint = *hash;
        }
        // What is not understood of a certificate that was verified, or was not to be, is left out.
        let leaf = Leaf::parse(certificate).unwrap_or_default();
        Self {
            subject: leaf.subject,
            alternative_names: leaf.names,
            fingerprint,
            not_after: leaf.validity.map(|(_, end)| end),
        }
    }

    /// Returns the fingerprint in hexadecimal, lower case.
    pub fn fingerprint_hex(&self) -> String {
        use fmt::Write;
        self.fingerprint.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Returns the DNS names among the alternative names.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.alternative_names.iter().filter_map(|name| match name {
            AlternativeName::Dns(name) => Some(&**name),
            _ => None,
        })
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("subject", &self.subject)
            .field("alternative_names", &self.alternative_names)
            .field("fingerprint", &self.fingerprint_hex())
            .field("not_after", &self.not_after)
            .finish()
    }
}

/// A name that a certificate is for.
///
/// # Examples
///
/// ```
/// use net_core::tls::AlternativeName;
///
/// fn spiffe_id(names: &[AlternativeName]) -> Option<&str> {
///     names.iter().find_map(|name| match name {
///         AlternativeName::Uri(uri) => uri.strip_prefix("spiffe://"),
///         _ => None,
///     })
/// }
///
/// let names = [AlternativeName::Dns("a.test".into()), AlternativeName::Uri("spiffe://test/a".into())];
/// assert_eq!(spiffe_id(&names), Some("test/a"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlternativeName {
    /// A DNS name; the first label may be `*`.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
    /// A URI, such as a SPIFFE id.
    Uri(String),
}

/// What is read of a certificate.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    pub(super) subject: String,
    pub(super) names: Vec<AlternativeName>,
    validity: Option<(SystemTime, SystemTime)>,
}

impl Leaf {
    pub(super) fn parse(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let body = certificate.tbs_certificate();
        let validity = body.validity();
        let time = |time: &x509_cert::time::Time| SystemTime::UNIX_EPOCH + time.to_unix_duration();
        let names = match body.get_extension::<SubjectAltName>() {
            Ok(Some((_, SubjectAltName(names)))) => names.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
        Some(Self {
            subject: body.subject().to_string(),
            names,
            validity: Some((time(&validity.not_before), time(&validity.not_after))),
        })
    }

    /// Tells why the certificate is of no use at `now`.
    pub(super) fn flaw(&self, now: SystemTime) -> Option<String> {
        let (begin, end) = self.validity?;
        let days = |time: Duration| time.as_secs() / 86_400;
        if let Ok(since) = now.duration_since(end) {
            return Some(format!("the certificate expired {} days ago", days(since)));
        }
        let until = begin.duration_since(now).ok()?;
        (!until.is_zero()).then(|| format!("the certificate is valid only in {} days", days(until)))
    }
}

fn name(name: &GeneralName) -> Option<AlternativeName> {
    Some(match name {
        GeneralName::DnsName(name) => AlternativeName::Dns(name.to_string()),
        GeneralName::Rfc822Name(name) => AlternativeName::Email(name.to_string()),
        GeneralName::UniformResourceIdentifier(name) => AlternativeName::Uri(name.to_string()),
        GeneralName::IpAddress(octets) => AlternativeName::Ip(ip(octets)?),
        _ => return None,
    })
}

fn ip(octets: &OctetString) -> Option<IpAddr> {
    let octets = octets.as_bytes();
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}
