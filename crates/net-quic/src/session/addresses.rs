//! The addresses of a connection, as they are told.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::socket;

/// Returns the address that a socket bound to `bound` sends from to `remote`: where it is bound to none, the one that the
/// system would choose, or that is `known` where the system cannot be asked.
pub(crate) fn local_of(bound: SocketAddr, remote: SocketAddr, known: Option<IpAddr>) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return canonical(bound);
    }
    let any = socket::unspecified(remote.is_ipv6());
    let chosen = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(remote)?;
        socket.local_addr()
    });
    let ip = chosen.map_or_else(|_| known.unwrap_or_else(|| bound.ip()), |local| local.ip());
    canonical(SocketAddr::new(ip, bound.port()))
}

/// A v4 peer of a dual-stack socket is the v4 host that it is.
pub(crate) fn canonical(socket: SocketAddr) -> SocketAddr {
    match socket {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => (v4, v6.port()).into(),
            None => socket,
        },
        SocketAddr::V4(_) => socket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_system_cannot_be_asked_the_address_of_this_side_is_what_it_was() {
        let (bound, known) = (SocketAddr::from(([0, 0, 0, 0], 7)), IpAddr::from([192, 0, 2, 1]));
        // A socket must be allowed to send to all, so that the system refuses.
        let all = SocketAddr::from(([255; 4], 7));
        assert_eq!(local_of(bound, all, Some(known)), SocketAddr::from((known, 7)));
        assert_eq!(local_of(bound, all, None), bound);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(local_of(bound, loopback, Some(known)), SocketAddr::from(([127, 0, 0, 1], 7)));
    }
}
