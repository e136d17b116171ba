//! Options of a socket.

use std::{io, sync::atomic::Ordering};

use net_core::{Error, ErrorKind, Result};
use quinn_udp::UdpSocketState;
use socket2::SockRef;
#[cfg(target_os = "linux")]
use socket2::{Domain, Protocol, Socket, Type};

use super::{UdpSocket, address};
#[cfg(unix)]
use crate::TrafficClass;
use crate::config::MAX_DSCP;

impl UdpSocket {
    /// Permits datagrams to broadcast addresses. Off unless set.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_broadcast(&self, on: bool) -> Result<()> {
        self.set(|socket| socket.set_broadcast(on))
    }

    /// Sets how many routers a datagram may pass (TTL, hop limit), from 1 to 255. The system's choice unless set, 64
    /// mostly.
    ///
    /// # Errors
    ///
    /// What the system reports: 0 is no such number.
    pub fn set_hops(&self, hops: u8) -> Result<()> {
        self.set(|socket| {
            if self.local.is_ipv6() {
                socket.set_unicast_hops_v6(hops.into())?;
            }
            self.for_v4(|| socket.set_ttl_v4(hops.into()))
        })
    }

    /// Sets the code point of all datagrams, from 0 to 63: how they are to be treated on their way. 0 unless set.
    ///
    /// Source: RFC 2474.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] above 63; what the system reports. The one before stays.
    pub fn set_dscp(&self, dscp: u8) -> Result<()> {
        if dscp > MAX_DSCP {
            let error = Error::new(ErrorKind::InvalidConfig, "set option").because("dscp is more than 63");
            return Err(error.at(&address(self.local)));
        }
        self.set(|_| self.classify(dscp))
    }

    /// Forbids that datagrams travel in fragments: one that is too long for the path is
    /// [`ErrorKind::MessageTooLong`](net_core::ErrorKind::MessageTooLong) then. Off unless set.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_dont_fragment(&self, on: bool) -> Result<()> {
        self.set(|_| self.fragment(!on))
    }

    /// Has the kernel join the datagrams that one peer sends (GRO, Linux), so that one call receives up to 64 of them;
    /// [`recv_batch`](Self::recv_batch) takes them apart, without a copy. Off unless set; without effect elsewhere.
    ///
    /// Once on it stays on: of what the kernel has joined it tells where each datagram ends only for as long as it joins.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where it was on and is to be off; what the system reports.
    #[doc(alias = "GRO")]
    pub fn set_joins(&self, on: bool) -> Result<()> {
        self.set(|_| self.join(on))
    }

    /// Sets the size of the kernel's send buffer, in bytes.
    ///
    /// # Errors
    ///
    /// What the system reports; a size beyond its limit is none, but is not reached.
    pub fn set_send_buffer_len(&self, len: usize) -> Result<()> {
        self.set(|socket| socket.set_send_buffer_size(len))
    }

    /// Sets the size of the kernel's receive buffer, in bytes.
    ///
    /// # Errors
    ///
    /// What the system reports; a size beyond its limit is none, but is not reached.
    pub fn set_recv_buffer_len(&self, len: usize) -> Result<()> {
        self.set(|socket| socket.set_recv_buffer_size(len))
    }

    /// Returns the size of the kernel's send buffer, in bytes; Linux tells twice what was asked for, as it counts its own
    /// needs.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn send_buffer_len(&self) -> Result<usize> {
        self.set(|socket| socket.send_buffer_size())
    }

    /// Returns the size of the kernel's receive buffer, in bytes, as [`send_buffer_len`](Self::send_buffer_len) does.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn recv_buffer_len(&self) -> Result<usize> {
        self.set(|socket| socket.recv_buffer_size())
    }

    /// Returns the longest payload that the path to the peer of a connected socket carries in one piece, as far as the
    /// system knows; `None` where it does not tell.
    pub fn path_payload_len(&self) -> Option<usize> {
        #[cfg(target_os = "linux")]
        {
            let is_v6 = self.peer?.ip().to_canonical().is_ipv6();
            let (unit, headers) = if is_v6 {
                (rustix::net::sockopt::ipv6_mtu(self.io()), 48)
            } else {
                (rustix::net::sockopt::ip_mtu(self.io()), 28)
            };
            let unit = usize::try_from(unit.ok()?).ok()?;
            unit.checked_sub(headers)
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Sets or reads an option.
    pub(super) fn set<T>(&self, option: impl FnOnce(SockRef<'_>) -> io::Result<T>) -> Result<T> {
        option(SockRef::from(self.io()))
            .map_err(|error| Error::from_io(error, "set option").at(&address(self.local)))
    }

    /// Sets what IPv4 has of its own, on sockets that speak it; one for IPv6 may be one for both.
    pub(super) fn for_v4(&self, option: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let set = option();
        if self.local.is_ipv6() { Ok(()) } else { set }
    }

    pub(super) fn classify(&self, dscp: u8) -> io::Result<()> {
        // A socket begins without one.
        if self.dscp.load(Ordering::Relaxed) == dscp {
            return Ok(());
        }
        let socket = SockRef::from(self.io());
        let octet = u32::from(dscp) << 2;
        #[cfg(unix)]
        if self.local.is_ipv6() {
            socket.set_tclass_v6(octet)?;
        }
        self.for_v4(|| socket.set_tos_v4(octet))?;
        self.dscp.store(dscp, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the code point that the socket has by itself; elsewhere than on Unix 0.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signature on all systems")]
    pub(super) fn read_dscp(&self) -> io::Result<u8> {
        #[cfg(unix)]
        {
            let socket = SockRef::from(self.io());
            let octet = if self.local.is_ipv6() { socket.tclass_v6()? } else { socket.tos_v4()? };
            Ok(TrafficClass::from_octet(octet.to_le_bytes()[0]).dscp)
        }
        #[cfg(not(unix))]
        Ok(0)
    }

    /// Makes this a socket of sessions: the kernel joins what one peer sent, and tells of each datagram no more than sessions ask
    /// for, its peer and at a wildcard address where it was sent to.
    pub(crate) fn serve_sessions(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use nix::sys::socket::{
                setsockopt,
                sockopt::{IpRecvTos, Ipv4PacketInfo, Ipv6RecvPacketInfo, Ipv6RecvTClass},
            };
            let is_wildcard = self.local.ip().is_unspecified();
            if self.local.is_ipv6() {
                setsockopt(self.io(), Ipv6RecvTClass, &false)?;
                setsockopt(self.io(), Ipv6RecvPacketInfo, &is_wildcard)?;
            }
            self.for_v4(|| {
                setsockopt(self.io(), IpRecvTos, &false)?;
                Ok(setsockopt(self.io(), Ipv4PacketInfo, &is_wildcard)?)
            })?;
        }
        self.join(true)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn fragment(&self, may: bool) -> io::Result<()> {
        use nix::sys::socket::{setsockopt, sockopt::Ipv6DontFrag};
        use rustix::net::sockopt::{
            Ipv4PathMtuDiscovery as V4, Ipv6PathMtuDiscovery as V6, set_ip_mtu_discover,
            set_ipv6_mtu_discover,
        };
        // The system's own choice is `WANT`: it learns what paths carry, and cuts what is longer.
        let (v4, v6) = if may { (V4::WANT, V6::WANT) } else { (V4::DO, V6::DO) };
        if self.local.is_ipv6() {
            set_ipv6_mtu_discover(self.io(), v6)?;
            setsockopt(self.io(), Ipv6DontFrag, &!may)?;
        }
        self.for_v4(|| Ok(set_ip_mtu_discover(self.io(), v4)?))
    }

    /// Elsewhere quinn-udp has set it once and for all, where the system has the option.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(super) fn fragment(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn join(&self, on: bool) -> io::Result<()> {
        use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
        let was_on = if on { self.joins.swap(true, Ordering::Relaxed) } else { self.joins() };
        if on == was_on {
            return Ok(());
        }
        if !on {
            let why = "datagrams that were joined could not be taken apart any more";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        // After it was noted: who receives single datagrams is to take none that were joined.
        setsockopt(self.io(), UdpGroSegment, &true)
            .inspect_err(|_| self.joins.store(false, Ordering::Relaxed))?;
        Ok(())
    }

    /// Tells whether the kernel joins datagrams by itself: whoever made the socket may have asked for it.
    #[cfg(target_os = "linux")]
    pub(super) fn read_joins(&self) -> bool {
        use nix::sys::socket::{getsockopt, sockopt::UdpGroSegment};
        // Old kernels do not tell.
        getsockopt(self.io(), UdpGroSegment).unwrap_or(false)
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, reason = "the same signature as on Linux")]
    pub(super) fn read_joins(&self) -> bool {
        false
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(super) fn join(&self, _: bool) -> io::Result<()> {
        self.joins.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Makes what quinn-udp knows of a socket, and has the system tell of each datagram what is read of it.
///
/// quinn-udp itself would have the kernel join datagrams until that is switched off: what arrives in between could not be taken
/// apart. So it is given another socket for that.
#[cfg(target_os = "linux")]
pub(super) fn state_of(socket: &std::net::UdpSocket) -> io::Result<UdpSocketState> {
    use nix::sys::socket::{
        setsockopt,
        sockopt::{IpRecvTos, Ipv4PacketInfo, Ipv6RecvPacketInfo, Ipv6RecvTClass},
    };
    let local = socket.local_addr()?;
    let other = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    let state = UdpSocketState::new((&other).into())?;
    if local.is_ipv6() {
        setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
        setsockopt(socket, Ipv6RecvTClass, &true)?;
        // One for both families has it; without it one for IPv6 alone is as good.
        let _ = setsockopt(socket, IpRecvTos, &true);
    } else {
        setsockopt(socket, Ipv4PacketInfo, &true)?;
        setsockopt(socket, IpRecvTos, &true)?;
    }
    Ok(state)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn state_of(socket: &std::net::UdpSocket) -> io::Result<UdpSocketState> {
    UdpSocketState::new(socket.into())
}
