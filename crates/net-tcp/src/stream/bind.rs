//! Listening at an address: resolution, each of its addresses in turn, the options of the socket.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener},
};

use net_core::{Address, Attempts, Result, resolve};
use socket2::{Domain, Protocol, Socket, Type};

use super::{ServerSettings, accept::StreamListener, connect::check_scheme, source::StreamSource};
use crate::{Family, TcpConfig};

/// Whether the system spreads connections over the sockets that share a port.
const BALANCES: bool = cfg!(target_os = "linux");

/// Listens at `at`, which may be of any scheme that stands on TCP.
///
/// Each address of a name is tried until one can be listened at. No host, or `[::]`, serves IPv6 and IPv4 on one
/// socket; `0.0.0.0` serves IPv4 alone. An address that was in use a moment ago can be taken again at once
/// (`SO_REUSEADDR`).
///
/// # Errors
///
/// Why nothing can be listened at, with the [`Attempts`] as its source: every address that was tried, and why it
/// failed. [`ErrorKind::Unsupported`](net_core::ErrorKind::Unsupported) for a scheme that needs TLS, which
/// `listen_tls` offers.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn listen(at: &Address, config: &TcpConfig) -> Result<StreamListener> {
    Ok(StreamListener::new(bind(at, config).await?))
}

/// Listens at `at` with `n` sockets that share one port, as [`bind_many`] does.
///
/// # Errors
///
/// As [`bind_many`].
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn listen_many(at: &Address, n: usize, config: &TcpConfig) -> Result<Vec<StreamListener>> {
    Ok(bind_many(at, n, config).await?.into_iter().map(StreamListener::new).collect())
}

/// Listens as [`listen`] does, for a protocol with a handshake of its own.
///
/// # Errors
///
/// As [`listen`].
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn bind(at: &Address, config: &TcpConfig) -> Result<StreamSource> {
    bind_with(at, config, &ServerSettings::default()).await
}

pub(crate) async fn bind_with(
    at: &Address,
    config: &TcpConfig,
    tls: &ServerSettings,
) -> Result<StreamSource> {
    check_scheme(at, "listen", || tls.check(at))?;
    let backlog = i32::try_from(config.backlog).unwrap_or(i32::MAX);
    let (listener, local) = first_of(at, config, |address| {
        let socket = open(config, address)?;
        socket.listen(backlog)?;
        let listener = TcpListener::from(socket);
        let local = listener.local_addr()?;
        Ok((listener, local))
    })
    .await?;
    Ok(StreamSource::tcp(listener, Address::from_socket(at.scheme(), local), *config, tls.clone()))
}

/// Listens at `at` with `n` sockets that share one port (`SO_REUSEPORT`), one for each runtime of a server.
///
/// The system spreads connections over them; where it does not, there is only one. Port 0 is chosen once. Each belongs
/// to the runtime in which it is first polled.
///
/// # Errors
///
/// As [`bind`]; another server at the address is an error here too.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn bind_many(at: &Address, n: usize, config: &TcpConfig) -> Result<Vec<StreamSource>> {
    bind_many_with(at, n, config, &ServerSettings::default()).await
}

pub(crate) async fn bind_many_with(
    at: &Address,
    n: usize,
    config: &TcpConfig,
    tls: &ServerSettings,
) -> Result<Vec<StreamSource>> {
    if n <= 1 || !BALANCES {
        return Ok(vec![bind_with(at, config, tls).await?]);
    }
    check_scheme(at, "listen", || tls.check(at))?;
    let mut at = at.clone();
    if !config.reuse_port && at.port() != Some(0) {
        // A socket that would share the port starts beside a foreign one without an error. This one does not.
        // The one it finds free is taken: another one of the name may be the foreign one's.
        let free = first_of(&at, config, |address| open(config, address).map(|_| address)).await?;
        at = Address::from_socket(at.scheme(), free);
    }
    let config = TcpConfig { reuse_port: true, ..*config };
    let mut sources = Vec::with_capacity(n);
    for _ in 0..n {
        let source = bind_with(&at, &config, tls).await?;
        // The others join the first one, whatever name or port it was made from.
        at = source.local().clone();
        sources.push(source);
    }
    Ok(sources)
}

/// Gives each address of `at` to `attempt` until one succeeds.
async fn first_of<T>(
    at: &Address,
    config: &TcpConfig,
    attempt: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T> {
    let mut attempts = Attempts::default();
    let addresses = resolve::bindable(at, config.connect_timeout).await?;
    for address in resolve::in_turn(addresses, config.first_family == Family::V6) {
        let place = attempts.begin(address);
        match attempt(address) {
            Ok(success) => return Ok(success),
            Err(error) => attempts.fail(place, error),
        }
    }
    Err(attempts.into_error("listen").at(at))
}

/// Makes a socket that has the address `at` and does not listen yet.
fn open(config: &TcpConfig, at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if at.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // On Windows the option means another thing: to take an address away from who has it.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if config.reuse_port {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets inherit these.
    config.apply(&socket)?;
    socket.bind(&at.into())?;
    Ok(socket)
}
