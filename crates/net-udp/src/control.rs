//! What only Linux tells and takes with each datagram: the whole traffic class, both of its parts.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::{
    libc,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg},
};

use crate::{Meta, TrafficClass, UdpSocket, outgoing::Front};

/// Sends one datagram, or a run that the kernel cuts into segments of `segment` bytes.
pub(crate) fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    front: &Front<'_>,
    segment: Option<usize>,
) -> io::Result<()> {
    let octet = TrafficClass { dscp: socket.dscp(), ecn: front.route.ecn }.to_octet();
    let class = i32::from(octet);
    let is_v4 = matches!(to.ip().to_canonical(), IpAddr::V4(_));
    let traffic = if is_v4 { ControlMessage::Ipv4Tos(&octet) } else { ControlMessage::Ipv6TClass(&class) };
    let segment = segment.and_then(|len| u16::try_from(len).ok());
    let source = front.route.from.map(Source::of);
    let segment = segment.as_ref().map(ControlMessage::UdpGsoSegments);
    let source = source.as_ref().map(Source::control);
    let (mut controls, mut count) = ([traffic; 3], 1);
    for (place, control) in controls.iter_mut().skip(1).zip([segment, source].into_iter().flatten()) {
        *place = control;
        count += 1;
    }
    let controls = controls.get(..count).unwrap_or_default();
    let to = SockaddrStorage::from(to);
    sendmsg(socket.io().as_raw_fd(), &[IoSlice::new(front.bytes)], controls, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// The address of this side that a datagram is sent from.
enum Source {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl Source {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            }),
            IpAddr::V6(ip) => Self::V6(libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: 0,
            }),
        }
    }

    fn control(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

/// Room for all that the system tells of a datagram: also of what others have asked for on a socket that was taken over.
#[repr(align(8))]
struct Space([u8; 512]);

/// Receives one datagram with all that is told of it; its length may be more than the buffer has. `None` for several that were
/// joined, and are lost.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<Meta>> {
    let mut space = Space([0; 512]);
    let mut views = [IoSliceMut::new(buffer)];
    let fd = socket.io().as_raw_fd();
    // With this flag the length is the datagram's, not the buffer's.
    let received = recvmsg::<SockaddrStorage>(fd, &mut views, Some(&mut space.0), MsgFlags::MSG_TRUNC)?;
    let peer =
        received.address.as_ref().and_then(|peer| match (peer.as_sockaddr_in(), peer.as_sockaddr_in6()) {
            (Some(v4), _) => Some(SocketAddr::from(SocketAddrV4::from(*v4))),
            (None, Some(v6)) => Some(SocketAddrV6::from(*v6).into()),
            (None, None) => None,
        });
    let peer = peer.ok_or(io::ErrorKind::InvalidData)?;
    let mut meta = Meta { len: received.bytes, peer, local: None, class: TrafficClass::default() };
    // An error where there was no room for all: the datagram is received all the same, and nothing is known of it.
    for control in received.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4Tos(octet) => meta.class = TrafficClass::from_octet(octet),
            // The octet is in the low bits of a number.
            ControlMessageOwned::Ipv6TClass(class) => {
                let [octet, ..] = class.to_le_bytes();
                meta.class = TrafficClass::from_octet(octet);
            }
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                meta.local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                meta.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            // They were joined since that was asked, a moment ago.
            ControlMessageOwned::UdpGroSegments(_) => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(meta))
}
