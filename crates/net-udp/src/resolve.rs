//! From the host of an address to the socket addresses that are tried.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use net_core::{Address, Error, ErrorKind, Host, Result};
use tokio::{net::lookup_host, time::timeout};

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 16;

/// Returns the addresses to send to, best first.
pub(crate) async fn connectable(to: &Address, patience: Duration) -> Result<Vec<SocketAddr>> {
    let port = to.port().unwrap_or_default();
    if port == 0 {
        return Err(Error::new(ErrorKind::InvalidAddress, "connect").at(to).because("nobody has port 0"));
    }
    let (v6, v4) = (SocketAddr::from((Ipv6Addr::LOCALHOST, port)), (Ipv4Addr::LOCALHOST, port).into());
    match to.host() {
        // What a wildcard listener calls its own address is reached through loopback.
        Host::Any => Ok(vec![v6, v4]),
        Host::V6(ip, _) if ip.is_unspecified() => Ok(vec![v6, v4]),
        Host::V4(ip) if ip.is_unspecified() => Ok(vec![v4]),
        Host::V4(_) | Host::V6(..) => Ok(to.socket().into_iter().collect()),
        Host::Name(name) => ask(name, port, patience, "connect", to).await,
    }
}

/// Returns the addresses to listen at, best first.
pub(crate) async fn bindable(at: &Address, patience: Duration) -> Result<Vec<SocketAddr>> {
    let port = at.port().unwrap_or_default();
    match at.host() {
        // One socket serves both families; where there is no IPv6, the other one does.
        Host::Any => Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]),
        Host::V4(_) | Host::V6(..) => Ok(at.socket().into_iter().collect()),
        Host::Name(name) => ask(name, port, patience, "listen", at).await,
    }
}

async fn ask(
    name: &str,
    port: u16,
    patience: Duration,
    operation: &'static str,
    address: &Address,
) -> Result<Vec<SocketAddr>> {
    let unresolved = || Error::new(ErrorKind::Unresolved, operation).at(address);
    let found = match timeout(patience, lookup_host((name, port))).await {
        Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(unresolved().because(error)),
        Err(_) => return Err(Error::new(ErrorKind::TimedOut, operation).at(address)),
    };
    if found.is_empty() {
        return Err(unresolved().because("the name has no address"));
    }
    Ok(found)
}
