//! Where a transport connects or listens: `scheme://host:port/path`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    str::FromStr,
};

use crate::{Error, ErrorKind, Result};

mod parse;
mod scheme;

pub use parse::AddressError;
pub use scheme::Scheme;

/// Where a transport connects or listens: `scheme://host:port/path`.
///
/// Hosts are names, IPv4 addresses, IPv6 addresses in brackets (with a numeric scope, `[fe80::1%2]`), or empty,
/// which means every interface to a listener and this machine to a client. Ports are numbers. The path of
/// `unix` is the socket's path; elsewhere it is what the protocol makes of it, a query included.
///
/// # Examples
///
/// ```
/// use net_core::{Address, Scheme};
///
/// let address: Address = "wss://example.org/feed?id=7".parse()?;
/// assert_eq!(address.scheme(), Scheme::Wss);
/// assert_eq!(address.port(), Some(443));
/// assert_eq!(address.path(), "/feed?id=7");
///
/// let bare = Address::parse_as(Scheme::Tcp, "[::1]:9000")?;
/// assert_eq!(bare.to_string(), "tcp://[::1]:9000");
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    scheme: Scheme,
    host: Host,
    port: Option<u16>,
    path: Box<str>,
}

/// The host part of an [`Address`].
///
/// # Examples
///
/// ```
/// use net_core::{Address, Host};
///
/// let address: Address = "tcp://[fe80::1%2]:9000".parse()?;
/// let shown = match address.host() {
///     Host::Any => "every interface".to_owned(),
///     Host::Name(name) => format!("{name}, which is to be resolved"),
///     ip => ip.to_string(),
/// };
/// assert_eq!(shown, "[fe80::1%2]");
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Every interface of this machine; written as nothing.
    Any,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, and the scope (interface index) of a link-local one, else 0.
    V6(Ipv6Addr, u32),
    /// A DNS name, or the name of a memory listener.
    Name(Box<str>),
}

impl Address {
    /// Parses `text`, which may leave out the scheme where `implied` is it: `host:port`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`], with an [`AddressError`] that names what is wrong as its source.
    pub fn parse_as(implied: Scheme, text: &str) -> Result<Self> {
        parse::address(Some(implied), text)
            .map_err(|source| Error::new(ErrorKind::InvalidAddress, "parse address").because(source))
    }

    /// Creates the address of a socket.
    pub fn from_socket(scheme: Scheme, socket: SocketAddr) -> Self {
        let host = match socket {
            SocketAddr::V4(v4) => Host::V4(*v4.ip()),
            // A v4 peer of a dual-stack socket is shown, limited and compared as the v4 host that it is.
            SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => Host::V4(v4),
                None => Host::V6(*v6.ip(), v6.scope_id()),
            },
        };
        Self { scheme, host, port: Some(socket.port()), path: Box::default() }
    }

    /// Creates an address of `scheme` that is a path: the socket of `unix`.
    pub fn from_path(scheme: Scheme, path: &str) -> Self {
        Self { scheme, host: Host::Any, port: None, path: path.into() }
    }

    /// Creates an address of `scheme` that is a name: the listener of `mem`.
    pub fn from_name(scheme: Scheme, name: &str) -> Self {
        Self { scheme, host: Host::Name(name.into()), port: None, path: Box::default() }
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port: the one written, else the scheme's default where it has one.
    pub fn port(&self) -> Option<u16> {
        self.port.or_else(|| self.scheme.default_port())
    }

    /// Returns the path, with its leading `/` and its query; empty where none was written.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the IP address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::V4(ip) => Some(ip.into()),
            Host::V6(ip, _) => Some(ip.into()),
            Host::Any | Host::Name(_) => None,
        }
    }

    /// Returns the socket address, where the host is an IP address.
    pub fn socket(&self) -> Option<SocketAddr> {
        let port = self.port()?;
        match self.host {
            Host::V4(ip) => Some((ip, port).into()),
            Host::V6(ip, scope) => Some(SocketAddrV6::new(ip, port, 0, scope).into()),
            Host::Any | Host::Name(_) => None,
        }
    }

    /// Returns the same address with `port`: the one that the system chose.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { port: Some(port), ..self.clone() }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse::address(None, text)
            .map_err(|source| Error::new(ErrorKind::InvalidAddress, "parse address").because(source))
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::V4(ip) => ip.fmt(f),
            Self::V6(ip, 0) => write!(f, "[{ip}]"),
            Self::V6(ip, scope) => write!(f, "[{ip}%{scope}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}
