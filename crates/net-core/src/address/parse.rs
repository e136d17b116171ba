//! From text to an address, or to what is wrong with the text.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{Address, Host, Scheme};

/// The longest text that is looked at, in bytes.
const MAX_LEN: usize = 4096;
/// RFC 1035 §2.3.4: "names 255 octets or less", which leaves 253 characters in the written form.
const MAX_NAME_LEN: usize = 253;
/// RFC 1035 §2.3.4: "labels 63 octets or less".
const MAX_LABEL_LEN: usize = 63;
/// The longest path of a Unix-domain socket: `sun_path` is 108 bytes with its final zero.
const MAX_SOCKET_PATH_LEN: usize = 107;

/// What is wrong with an address.
///
/// # Examples
///
/// ```
/// use std::error::Error;
/// use net_core::{Address, AddressError};
///
/// let error = "tcp://localhost".parse::<Address>().expect_err("it has no port");
/// let wrong = error.source().and_then(|source| source.downcast_ref::<AddressError>());
/// assert_eq!(wrong, Some(&AddressError::NoPort));
/// assert!(error.report().ends_with("it has no port, such as :9000"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is longer than 4096 bytes.
    #[error("it is longer than {MAX_LEN} bytes")]
    TooLong,
    /// No scheme is written and none is implied.
    #[error("it has no scheme, such as tcp://")]
    NoScheme,
    /// The scheme is none of those that this workspace speaks.
    #[error("its scheme is none of tcp tcps unix udp quic ws wss http https grpc grpcs mem")]
    UnknownScheme,
    /// The protocol needs a port and none is written.
    #[error("it has no port, such as :9000")]
    NoPort,
    /// The port is no number from 0 to 65535.
    #[error("its port is no number from 0 to 65535")]
    BadPort,
    /// A port is written where the protocol has none.
    #[error("its scheme takes no port")]
    UnexpectedPort,
    /// The IPv6 address is malformed, or its bracket is not closed.
    #[error("its IPv6 address is malformed; the form is [::1]:9000")]
    BadIpv6,
    /// An IPv6 address stands without brackets.
    #[error("its IPv6 address needs brackets, as in [::1]:9000")]
    NoBrackets,
    /// The host is neither an IP address nor a DNS name.
    #[error("its host is neither an IP address nor a name of letters, digits, dots and hyphens")]
    BadHost,
    /// The scheme needs a host and none is written.
    #[error("it has no host")]
    NoHost,
    /// The scheme needs a path and none is written, or a host stands before it.
    #[error("its path is missing; the form is unix:///run/app.sock")]
    NoPath,
    /// The path is longer than a Unix-domain socket's may be.
    #[error("its path is longer than {MAX_SOCKET_PATH_LEN} bytes")]
    PathTooLong,
    /// A space or a control character stands in it.
    #[error("it contains a space or a control character")]
    BadCharacter,
    /// User information stands before the host.
    #[error("user information (before the @) is not supported")]
    UserInfo,
}

/// Parses an address whose scheme may be left out where it is `implied`.
pub(super) fn address(implied: Option<Scheme>, text: &str) -> Result<Address, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(AddressError::TooLong);
    }
    let (scheme, rest) = match (text.split_once("://"), implied) {
        (Some((scheme, rest)), _) => (scheme.parse()?, rest),
        (None, Some(implied)) => (implied, text),
        (None, None) => return Err(AddressError::NoScheme),
    };
    if scheme == Scheme::Unix {
        return socket_path(rest);
    }
    // A space is legal in a file's name, and nowhere else.
    if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(AddressError::BadCharacter);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(AddressError::UserInfo);
    }
    let (host, port) = split_port(authority)?;
    let host = if scheme == Scheme::Mem { memory_name(host)? } else { parse_host(host)? };
    match port {
        Some(_) if !scheme.has_port() => return Err(AddressError::UnexpectedPort),
        None if scheme.has_port() && scheme.default_port().is_none() => return Err(AddressError::NoPort),
        _ => {}
    }
    Ok(Address { scheme, host, port, path: path.into() })
}

fn socket_path(path: &str) -> Result<Address, AddressError> {
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(AddressError::NoPath);
    }
    if path.len() > MAX_SOCKET_PATH_LEN {
        return Err(AddressError::PathTooLong);
    }
    if path.chars().any(char::is_control) {
        return Err(AddressError::BadCharacter);
    }
    Ok(Address::from_path(Scheme::Unix, path))
}

/// Splits `host:port`; the brackets of an IPv6 host stay.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), AddressError> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(AddressError::BadIpv6)? + 1;
        let (host, rest) = authority.split_at(end);
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(AddressError::BadIpv6),
        }
    } else {
        match authority.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err(AddressError::NoBrackets),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        None => None,
        Some(digits) => Some(number(digits).ok_or(AddressError::BadPort)?),
    };
    Ok((host, port))
}

/// Parses digits, without the sign that `parse` takes.
fn number<N: FromStr>(digits: &str) -> Option<N> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn parse_host(host: &str) -> Result<Host, AddressError> {
    if host.is_empty() {
        return Ok(Host::Any);
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let (ip, scope) = match inner.split_once('%') {
            Some((ip, scope)) => (ip, number(scope).ok_or(AddressError::BadIpv6)?),
            None => (inner, 0),
        };
        return Ok(Host::V6(ip.parse::<Ipv6Addr>().map_err(|_| AddressError::BadIpv6)?, scope));
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::V4(ip));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels_fit = name.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= MAX_LABEL_LEN
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    // A last label of digits alone is a mistyped IPv4 address, never a name.
    let numeric = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > MAX_NAME_LEN || !labels_fit || numeric {
        return Err(AddressError::BadHost);
    }
    Ok(Host::Name(host.to_ascii_lowercase().into()))
}

fn memory_name(name: &str) -> Result<Host, AddressError> {
    if name.is_empty() {
        return Err(AddressError::NoHost);
    }
    if name.contains(['[', ']']) {
        return Err(AddressError::BadHost);
    }
    Ok(Host::Name(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> AddressError {
        address(None, text).expect_err(text)
    }

    #[test]
    fn what_is_printed_parses_to_the_same_address() {
        for text in [
            "tcp://127.0.0.1:9000",
            "tcp://:9000",
            "tcps://[::1]:1",
            "udp://[fe80::1%2]:53",
            "ws://example.org",
            "wss://example.org:8443/feed?x=1",
            "unix:///run/my app.sock",
            "mem://echo",
            "quic://localhost:0",
        ] {
            let parsed = address(None, text).expect(text);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn each_error_names_what_is_wrong() {
        assert_eq!(error(""), AddressError::Empty);
        assert_eq!(error("127.0.0.1:80"), AddressError::NoScheme);
        assert_eq!(error("ftp://x:1"), AddressError::UnknownScheme);
        assert_eq!(error("tcp://localhost"), AddressError::NoPort);
        assert_eq!(error("tcp://localhost:"), AddressError::BadPort);
        assert_eq!(error("tcp://localhost:http"), AddressError::BadPort);
        assert_eq!(error("tcp://localhost:+80"), AddressError::BadPort);
        assert_eq!(error("tcp://localhost:65536"), AddressError::BadPort);
        assert_eq!(error("tcp://::1:80"), AddressError::NoBrackets);
        assert_eq!(error("tcp://[::1:80"), AddressError::BadIpv6);
        assert_eq!(error("tcp://[::1]80"), AddressError::BadIpv6);
        assert_eq!(error("tcp://[fe80::1%+2]:80"), AddressError::BadIpv6);
        assert_eq!(error("tcp://256.0.0.1:80"), AddressError::BadHost);
        assert_eq!(error("tcp://a..b:80"), AddressError::BadHost);
        assert_eq!(error("tcp://a b:80"), AddressError::BadCharacter);
        assert_eq!(error("tcp://me@host:80"), AddressError::UserInfo);
        assert_eq!(error("unix://run/x"), AddressError::NoPath);
        assert_eq!(error("mem://"), AddressError::NoHost);
        assert_eq!(error("mem://a:1"), AddressError::UnexpectedPort);
        assert_eq!(error(&format!("tcp://{}:1", "a".repeat(64))), AddressError::BadHost);
        assert_eq!(error(&format!("unix:///{}", "a".repeat(107))), AddressError::PathTooLong);
    }
}
