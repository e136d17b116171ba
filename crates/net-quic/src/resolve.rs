//! From names to socket addresses.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use net_core::{Address, Error, ErrorKind, Host, Result};

/// How many addresses of one name are tried: an answer may be any length.
const MAX_ADDRESSES: usize = 16;

/// Returns the addresses to connect to, the families in turn (RFC 8305 §4).
pub(crate) async fn connectable(to: &Address) -> Result<Vec<SocketAddr>> {
    let port = to.port().unwrap_or_default();
    match to.host() {
        // What listens at every address is reached through loopback.
        Host::Any => Ok(vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()]),
        Host::V6(ip, _) if ip.is_unspecified() => {
            Ok(vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()])
        }
        Host::V4(ip) if ip.is_unspecified() => Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]),
        Host::V4(_) | Host::V6(..) => Ok(to.socket().into_iter().collect()),
        Host::Name(name) => ask(name, port).await.map(in_turn),
    }
    .map_err(|error| Error::new(ErrorKind::Unresolved, "connect").at(to).because(error))
}

/// Returns the addresses to listen at.
pub(crate) async fn bindable(at: &Address) -> Result<Vec<SocketAddr>> {
    let port = at.port().unwrap_or_default();
    match at.host() {
        // One socket serves both families; where there is no IPv6, the other one does.
        Host::Any => Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]),
        Host::V4(_) | Host::V6(..) => Ok(at.socket().into_iter().collect()),
        Host::Name(name) => ask(name, port).await,
    }
    .map_err(|error| Error::new(ErrorKind::Unresolved, "listen").at(at).because(error))
}

async fn ask(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for address in tokio::net::lookup_host((name, port)).await? {
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let longest = six.len().max(four.len());
    (0..longest).flat_map(|place| [six.get(place), four.get(place)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let four = |last| SocketAddr::from(([192, 0, 2, last], 1));
        let six = |last| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 1));
        assert_eq!(in_turn(vec![four(1), four(2), six(1), four(3)]), [six(1), four(1), four(2), four(3)]);
        assert_eq!(in_turn(vec![six(1), six(2)]), [six(1), six(2)]);
    }

    #[tokio::test]
    async fn wildcards_are_reached_through_loopback() {
        for (text, first) in
            [("quic://:7", "[::1]:7"), ("quic://[::]:7", "[::1]:7"), ("quic://0.0.0.0:7", "127.0.0.1:7")]
        {
            let found = connectable(&text.parse().expect("an address")).await.expect("loopback");
            assert_eq!(found.first().map(ToString::to_string).as_deref(), Some(first));
        }
    }
}
