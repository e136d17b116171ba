//! Which versions, cipher suites and key-exchange groups are offered.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use rustls::{
    CipherSuite, NamedGroup, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, hash},
    version::{TLS12, TLS13},
};

use super::pem::mistake;
use crate::Result;

/// A version of TLS.
///
/// # Examples
///
/// ```
/// use net_core::tls::TlsVersion;
///
/// assert_eq!("1.3".parse(), Ok(TlsVersion::V1_3));
/// assert!(TlsVersion::V1_2 < TlsVersion::V1_3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with forward secrecy and authenticated encryption only.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "1.2"))]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[cfg_attr(feature = "serde", serde(rename = "1.3"))]
    V1_3,
}

impl TlsVersion {
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::V1_2 => &ALL,
            Self::V1_3 => ALL.split_at(1).0,
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        })
    }
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            _ => Err(format!("{text:?} is no version of TLS that is served; 1.2 and 1.3 are")),
        }
    }
}

/// The IANA name of a cipher suite or key-exchange group, such as `TLS_AES_128_GCM_SHA256` or `x25519`.
///
/// # Examples
///
/// ```
/// use net_core::tls::{AlgorithmName, rustls::CipherSuite};
///
/// let named = AlgorithmName::from("TLS_AES_128_GCM_SHA256");
/// assert_eq!(named, AlgorithmName::from(CipherSuite::TLS13_AES_128_GCM_SHA256));
/// ```
#[derive(Clone, Debug)]
pub struct AlgorithmName(Cow<'static, str>);

impl AlgorithmName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for AlgorithmName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for AlgorithmName {}

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for AlgorithmName {
    fn from(name: &str) -> Self {
        Self(iana(name).into())
    }
}

impl From<String> for AlgorithmName {
    fn from(name: String) -> Self {
        Self(iana(&name).into())
    }
}

impl From<CipherSuite> for AlgorithmName {
    fn from(suite: CipherSuite) -> Self {
        // Each connection has one: those of TLS 1.3, which nearly all agree on, take no memory.
        Self(match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Cow::Borrowed("TLS_AES_128_GCM_SHA256"),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Cow::Borrowed("TLS_AES_256_GCM_SHA384"),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Cow::Borrowed("TLS_CHACHA20_POLY1305_SHA256"),
            suite => iana(&format!("{suite:?}")).into(),
        })
    }
}

impl From<NamedGroup> for AlgorithmName {
    fn from(group: NamedGroup) -> Self {
        Self(group.as_str().map_or_else(|| format!("{group:?}").into(), Cow::Borrowed))
    }
}

/// Returns the registered name of a suite: rustls writes `TLS13_` where IANA writes `TLS_`.
fn iana(name: &str) -> String {
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}

/// What is offered of what a provider can do.
#[derive(Clone, Debug)]
pub(super) struct Algorithms {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) min_version: TlsVersion,
    pub(super) cipher_suites: Option<Vec<AlgorithmName>>,
    pub(super) groups: Option<Vec<AlgorithmName>>,
}

impl Default for Algorithms {
    fn default() -> Self {
        Self {
            provider: Arc::new(standard()),
            min_version: TlsVersion::default(),
            cipher_suites: None,
            groups: None,
        }
    }
}

/// Returns aws-lc-rs, its suites with AES-128-GCM first.
///
/// A handshake hashes some 50 times over, and SHA-256 has instructions of its own in processors where SHA-384 has none:
/// SHA-384 was 55 of 325 µs of a full handshake's cryptography (docs/performance.md), for a strength that no attack asks for.
fn standard() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let is_first = matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        );
        (suite.tls13().is_none(), !is_first)
    });
    provider
}

impl Algorithms {
    pub(super) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        self.min_version.and_newer()
    }

    /// Returns the provider, held to what was chosen, in the order in which it was chosen.
    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>> {
        if self.cipher_suites.is_none() && self.groups.is_none() {
            return Ok(self.provider.clone());
        }
        let mut provider = CryptoProvider::clone(&self.provider);
        if let Some(wanted) = &self.cipher_suites {
            provider.cipher_suites =
                choose("cipher suite", wanted, &provider.cipher_suites, |suite| suite.suite().into())?;
        }
        if let Some(wanted) = &self.groups {
            let name = |group: &&'static dyn SupportedKxGroup| group.name().into();
            provider.kx_groups = choose("key-exchange group", wanted, &provider.kx_groups, name)?;
        }
        Ok(Arc::new(provider))
    }

    /// Returns SHA-256 as the provider computes it.
    pub(super) fn sha256(&self) -> Result<&'static dyn hash::Hash> {
        let suites = self.provider.cipher_suites.iter();
        let mut hashes = suites.map(|suite| match suite {
            rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
            rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        });
        hashes
            .find(|hash| hash.algorithm() == hash::HashAlgorithm::SHA256)
            .ok_or_else(|| mistake("the provider has no cipher suite with SHA-256"))
    }
}

/// Returns those of `known` that are wanted; an unknown name is an error that lists what is known.
fn choose<T: Copy>(
    what: &str,
    wanted: &[AlgorithmName],
    known: &[T],
    name: impl Fn(&T) -> AlgorithmName,
) -> Result<Vec<T>> {
    if wanted.is_empty() {
        return Err(mistake(format_args!("the list of {what}s is empty")));
    }
    let find = |wanted: &AlgorithmName| {
        known.iter().find(|one| name(one) == *wanted).copied().ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|one| name(one).0).collect();
            mistake(format_args!("unknown {what} {:?}; known are {}", wanted.0, names.join(", ")))
        })
    };
    wanted.iter().map(find).collect()
}
