//! UDP sockets under QUIC, with their options.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::QuicConfig;

/// Makes a socket at `at`; `[::]` serves IPv6 and IPv4.
pub(crate) fn bind(at: SocketAddr, config: &QuicConfig, reuse_port: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if at.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)]
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    let _ = reuse_port;
    if let Some(len) = config.send_buffer_len {
        socket.set_send_buffer_size(len)?;
    }
    if let Some(len) = config.recv_buffer_len {
        socket.set_recv_buffer_size(len)?;
    }
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Makes a socket that a client sends from, of the family that it needs; none of another one is asked for than that of
/// `bind`.
pub(crate) fn for_client(config: &QuicConfig, v6: bool) -> io::Result<UdpSocket> {
    let at = config.bind.unwrap_or_else(|| unspecified(v6));
    bind(at, config, false)
}

/// Returns no address in particular, of a family.
pub(crate) fn unspecified(v6: bool) -> SocketAddr {
    if v6 { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() }
}
