//! The protocols that an address can name.

use std::{fmt, str::FromStr};

use super::AddressError;

/// The protocol that an [`Address`](crate::Address) names.
///
/// # Examples
///
/// ```
/// use net_core::Scheme;
///
/// let scheme: Scheme = "WSS".parse()?;
/// assert_eq!((scheme, scheme.default_port()), (Scheme::Wss, Some(443)));
/// assert!(scheme.is_over_tls());
/// assert!(Scheme::ALL.iter().any(|known| known.as_str() == "mem"));
/// # Ok::<(), net_core::AddressError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Framed messages over TCP.
    Tcp,
    /// Framed messages over TLS.
    Tcps,
    /// Framed messages over a Unix-domain socket.
    Unix,
    /// Datagrams.
    Udp,
    /// Framed messages over a QUIC stream.
    Quic,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// gRPC.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
    /// Between the tasks of one process.
    Mem,
}

impl Scheme {
    /// Every scheme, in the order of the documentation.
    pub const ALL: [Self; 12] = [
        Self::Tcp,
        Self::Tcps,
        Self::Unix,
        Self::Udp,
        Self::Quic,
        Self::Ws,
        Self::Wss,
        Self::Http,
        Self::Https,
        Self::Grpc,
        Self::Grpcs,
        Self::Mem,
    ];

    /// Returns the scheme as it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcps => "tcps",
            Self::Unix => "unix",
            Self::Udp => "udp",
            Self::Quic => "quic",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Http => "http",
            Self::Https => "https",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
            Self::Mem => "mem",
        }
    }

    /// Tells whether the protocol stands on TLS over TCP.
    pub fn is_over_tls(self) -> bool {
        matches!(self, Self::Tcps | Self::Wss | Self::Https | Self::Grpcs)
    }

    /// Returns the port that a URL without one means, where the protocol has such a port.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Self::Ws | Self::Http => Some(80),
            Self::Wss | Self::Https => Some(443),
            _ => None,
        }
    }

    /// Tells whether an address of this scheme needs a port, written or by default.
    pub(super) fn has_port(self) -> bool {
        !matches!(self, Self::Unix | Self::Mem)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // RFC 3986 §3.1: "An implementation should accept uppercase letters as equivalent to lowercase in scheme names".
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
            .ok_or(AddressError::UnknownScheme)
    }
}
