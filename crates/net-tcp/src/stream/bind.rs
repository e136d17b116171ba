//! Listening at an address: resolution, each of its addresses in turn, the options of the socket.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
};

use net_core::{Address, Error, ErrorKind, Result};
use socket2::SockRef;
use tokio::{net::TcpSocket, time::timeout};

use super::{
    accept::{Source, StreamListener},
    attempts::Attempts,
    connect::check_scheme,
    race::interleave,
    resolve::{Resolver, SystemResolver},
};
use crate::TcpConfig;

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
/// failed. [`ErrorKind::Unsupported`] for a scheme that needs TLS.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn listen(at: &Address, config: &TcpConfig) -> Result<StreamListener> {
    let (listener, local) = first_of(at, config, |address| {
        let listener = open(config, address)?.listen(config.backlog)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    })
    .await?;
    let local = Address::from_socket(at.scheme(), local);
    Ok(StreamListener::new(Source::Tcp { listener, local: local.clone(), config: *config }, local))
}

/// Listens at `at` with `n` sockets that share one port (`SO_REUSEPORT`), one for each runtime of a server.
///
/// The system spreads connections over them; where it does not, there is only one. Port 0 is chosen once.
///
/// # Errors
///
/// As [`listen`]; another server at the address is an error here too.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn listen_many(at: &Address, n: usize, config: &TcpConfig) -> Result<Vec<StreamListener>> {
    if n <= 1 || !BALANCES {
        return Ok(vec![listen(at, config).await?]);
    }
    let mut at = at.clone();
    if !config.reuse_port && at.port() != Some(0) {
        // A socket that would share the port starts beside a foreign one without an error. This one does not.
        first_of(&at, config, |address| open(config, address).map(drop)).await?;
    }
    let config = TcpConfig { reuse_port: true, ..*config };
    let mut listeners = Vec::with_capacity(n);
    for _ in 0..n {
        let listener = listen(&at, &config).await?;
        // The others join the first one, whatever name or port it was made from.
        at = listener.local().clone();
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Gives each address of `at` to `attempt` until one succeeds.
async fn first_of<T>(
    at: &Address,
    config: &TcpConfig,
    attempt: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T> {
    check_scheme(at, "listen")?;
    let resolver = Resolver::new(Arc::new(SystemResolver));
    let mut attempts = Attempts::default();
    let resolved = timeout(config.connect_timeout, resolver.bindable(at))
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "listen").at(at)))?;
    for address in interleave(resolved, config.first_family) {
        let place = attempts.begin(address);
        match attempt(address) {
            Ok(success) => return Ok(success),
            Err(error) => attempts.fail(place, error),
        }
    }
    Err(attempts.into_error("listen").at(at))
}

/// Makes a socket that has the address `at` and does not listen yet.
fn open(config: &TcpConfig, at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if at.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    let options = SockRef::from(&socket);
    if at.ip() == Ipv6Addr::UNSPECIFIED {
        options.set_only_v6(false)?;
    }
    // On Windows the option means another thing: to take an address away from who has it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    if config.reuse_port {
        socket.set_reuseport(true)?;
    }
    // Accepted sockets inherit these.
    config.apply(&options)?;
    socket.bind(at)?;
    Ok(socket)
}
