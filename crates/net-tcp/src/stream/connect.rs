//! Connecting to an address: resolution, the race of its addresses, one deadline for all.

use std::{io, net::SocketAddr, sync::Arc};

use net_core::{Address, Attempts, Error, ErrorKind, Info, Result, Scheme, resolve};
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::{
    ClientSettings,
    bytes::ByteStream,
    half::Socket,
    race::race,
    resolve::{Resolve, Resolver, SystemResolver},
};
use crate::{Family, TcpConfig};

/// Connects byte streams, and remembers the last good addresses of names.
///
/// Clones share that memory. When a name cannot be resolved, or not in half of the connect time-out, the addresses
/// of the last successful connection to it are tried instead (at most an hour old; 64 names, 16 addresses each).
///
/// # Examples
///
/// ```
/// use net_tcp::{TcpConfig, stream::{self, Connector}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let listener = stream::listen(&"tcp://127.0.0.1:0".parse()?, &TcpConfig::default()).await?;
/// let connector = Connector::new(TcpConfig::default());
/// let stream = connector.connect(listener.local()).await?;
/// # let _ = stream;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    config: TcpConfig,
    resolver: Resolver,
    tls: ClientSettings,
}

/// Connects once, by a [`Connector`] of its own.
///
/// # Errors
///
/// As [`Connector::connect`].
///
/// # Cancel safety
///
/// Dropping the future abandons the attempt.
pub async fn connect(to: &Address, config: &TcpConfig) -> Result<ByteStream> {
    Connector::new(*config).connect(to).await
}

impl Connector {
    /// Creates a connector with these settings.
    pub fn new(config: TcpConfig) -> Self {
        Self { config, resolver: Resolver::new(Arc::new(SystemResolver)), tls: ClientSettings::default() }
    }

    /// Resolves names by `resolver` instead of the system's.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver: Resolver::new(resolver), ..self }
    }

    /// Connects with TLS where the scheme says so, as `tcps` does.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_client_tls(self, tls: net_core::tls::ClientTls) -> Self {
        Self { tls: ClientSettings::new(tls), ..self }
    }

    /// Returns the settings.
    pub fn config(&self) -> &TcpConfig {
        &self.config
    }

    /// Connects to `to`, which may be of any scheme that stands on TCP.
    ///
    /// Every address of the name is tried, the families in turn, the next one when the one before it failed or took
    /// longer than [`attempt_delay`](TcpConfig::attempt_delay); the first that answers wins (RFC 8305).
    ///
    /// # Errors
    ///
    /// Why there is no connection, with the [`Attempts`] as its source: every address that was tried, and why it
    /// failed. [`ErrorKind::Unsupported`] for a scheme that needs TLS where there are no settings for it. With TLS, also
    /// [`ErrorKind::Untrusted`] where the server's certificate is refused, [`ErrorKind::Rejected`] where the server
    /// refuses, [`ErrorKind::Protocol`] where it speaks no TLS.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons every attempt. A name resolution that runs in the system goes on unobserved.
    pub async fn connect(&self, to: &Address) -> Result<ByteStream> {
        let secure = check_scheme(to, "connect", || self.tls.check(to))?;
        let start = Instant::now();
        let mut attempts = Attempts::default();
        let connecting = async {
            let addresses = self.resolver.connectable(to, self.config.connect_timeout).await?;
            let mut order = resolve::in_turn(addresses, self.config.first_family == Family::V6);
            // From an address of one family none of the other is reached, and that would hide why the others failed.
            if let Some(from) = self.config.bind
                && order.iter().any(|to| to.is_ipv6() == from.is_ipv6())
            {
                order.retain(|to| to.is_ipv6() == from.is_ipv6());
            }
            let connect = |address| connect_one(&self.config, address);
            let won = race(order.clone(), self.config.attempt_delay, connect, &mut attempts).await;
            if won.is_some() {
                self.resolver.remember(to, &order);
            }
            Ok(won)
        };
        let (stream, local, remote) = match timeout(self.config.connect_timeout, connecting).await {
            Ok(Ok(Some(won))) => won,
            Ok(Ok(None)) => return Err(attempts.into_error("connect").at(to)),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let error = Error::new(ErrorKind::TimedOut, "connect").at(to);
                let resolved = attempts.iter().len() > 0;
                return Err(if resolved { error.because(attempts) } else { error.because(Unanswered) });
            }
        };
        let address = |socket| Address::from_socket(to.scheme(), socket);
        let info = Info::new(address(local), address(remote));
        if !secure {
            return Ok(ByteStream::new(Socket::Tcp(stream), info, None));
        }
        // Boxed, so that connecting without TLS stays small.
        let securing = Box::pin(self.tls.secure(stream, info, to));
        let left = self.config.connect_timeout.saturating_sub(start.elapsed());
        timeout(left, securing).await.unwrap_or_else(|_| Err(silent(to)))
    }
}

impl Connector {
    /// Begins TLS on `stream`, which leads to the server at `to` by way of somebody else: a proxy that was asked to connect
    /// there. Where the scheme of `to` needs no TLS, the stream is given as it is.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`ErrorKind::Unsupported`] where the stream is not bare TCP.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream.
    pub async fn secure(&self, stream: ByteStream, to: &Address) -> Result<ByteStream> {
        if !check_scheme(to, "connect", || self.tls.check(to))? {
            return Ok(stream);
        }
        let (stream, info) =
            stream.into_tcp().ok_or_else(|| Error::new(ErrorKind::Unsupported, "connect").at(to))?;
        let securing = Box::pin(self.tls.secure(stream, info, to));
        timeout(self.config.connect_timeout, securing).await.unwrap_or_else(|_| Err(silent(to)))
    }
}

/// The server began TLS and did not go on.
fn silent(to: &Address) -> Error {
    let silent = "the server did not finish the TLS handshake in time";
    Error::new(ErrorKind::TimedOut, "connect").at(to).because(silent)
}

/// The name was not resolved when the deadline passed.
#[derive(Debug)]
struct Unanswered;

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name was not resolved in time")
    }
}

impl std::error::Error for Unanswered {}

/// Refuses what is not served, and above all what must not go out in clear text: whether `secure` can be served, that
/// says. Gives whether it is to be secure.
pub(super) fn check_scheme(
    address: &Address,
    operation: &'static str,
    secure: impl FnOnce() -> Result<()>,
) -> Result<bool> {
    match address.scheme() {
        Scheme::Tcp | Scheme::Ws | Scheme::Http | Scheme::Grpc => Ok(false),
        scheme if scheme.is_over_tls() => secure().map(|()| true),
        _ => Err(Error::new(ErrorKind::InvalidAddress, operation).at(address)),
    }
}

async fn connect_one(config: &TcpConfig, to: SocketAddr) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
    let socket = if to.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    config.apply(&SockRef::from(&socket))?;
    if let Some(from) = config.bind {
        socket.bind(from)?;
    }
    let stream = socket.connect(to).await?;
    let local = stream.local_addr()?;
    // A port that nobody listens at may be the one that the system gave to this very socket: it then connects to
    // itself (RFC 9293 §3.5, simultaneous open), and would be echoed by nobody but itself.
    if local == to {
        SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok((stream, local, to))
}
