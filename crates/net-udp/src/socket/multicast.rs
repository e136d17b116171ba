//! Multicast: one datagram for all who have joined a group.

#[cfg(not(target_os = "linux"))]
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use net_core::Result;

use super::UdpSocket;
#[cfg(target_os = "linux")]
use super::source;

/// Groups, and what is sent to them. A socket that is to receive what is sent to a group is bound to the group's port.
impl UdpSocket {
    /// Joins the group `group` (224.0.0.0/4) on the interface that has the address `interface`; unspecified, the system
    /// chooses one.
    ///
    /// # Errors
    ///
    /// `group` is no group, was joined already, or there is no such interface.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> Result<()> {
        self.set(|socket| socket.join_multicast_v4(&group, &interface))
    }

    /// Leaves a group that was joined with the same `interface`.
    ///
    /// # Errors
    ///
    /// It was not joined.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> Result<()> {
        self.set(|socket| socket.leave_multicast_v4(&group, &interface))
    }

    /// Joins the group `group` (`ff00::/8`) on the interface with the index `interface`; with 0, the system chooses one.
    ///
    /// # Errors
    ///
    /// `group` is no group, was joined already, or there is no such interface.
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> Result<()> {
        self.set(|socket| socket.join_multicast_v6(&group, interface))
    }

    /// Leaves a group that was joined with the same `interface`.
    ///
    /// # Errors
    ///
    /// It was not joined.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> Result<()> {
        self.set(|socket| socket.leave_multicast_v6(&group, interface))
    }

    /// Joins a group for what `source` sends to it alone; several sources are joined one after another.
    ///
    /// Source: RFC 4607.
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn join_source_v4(&self, source: Ipv4Addr, group: Ipv4Addr, interface: Ipv4Addr) -> Result<()> {
        self.set(|socket| socket.join_ssm_v4(&source, &group, &interface))
    }

    /// Leaves what `source` sends to a group.
    ///
    /// # Errors
    ///
    /// It was not joined.
    pub fn leave_source_v4(&self, source: Ipv4Addr, group: Ipv4Addr, interface: Ipv4Addr) -> Result<()> {
        self.set(|socket| socket.leave_ssm_v4(&source, &group, &interface))
    }

    /// Joins a group for what `source` sends to it alone; several sources are joined one after another.
    ///
    /// The network is asked for these sources alone. Where the group was joined for all sources, it is no longer. On Linux
    /// what a socket hears of one group goes by the interface that joined it last: for other interfaces take other sockets.
    ///
    /// Source: RFC 4607, by the calls of RFC 3678, section 5.1.
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v6`](Self::join_multicast_v6); [`ErrorKind::Unsupported`](net_core::ErrorKind::Unsupported)
    /// elsewhere than on Linux.
    pub fn join_source_v6(&self, source: Ipv6Addr, group: Ipv6Addr, interface: u32) -> Result<()> {
        #[cfg(target_os = "linux")]
        return self.set(|socket| Ok(source::ask(&source::Join, &socket, source, group, interface)?));
        #[cfg(not(target_os = "linux"))]
        self.set(|_| Err(io::ErrorKind::Unsupported.into()))
    }

    /// Leaves what `source` sends to a group that was joined for it with the same `interface`.
    ///
    /// # Errors
    ///
    /// It was not joined; [`ErrorKind::Unsupported`](net_core::ErrorKind::Unsupported) elsewhere than on Linux.
    pub fn leave_source_v6(&self, source: Ipv6Addr, group: Ipv6Addr, interface: u32) -> Result<()> {
        #[cfg(target_os = "linux")]
        return self.set(|socket| Ok(source::ask(&source::Leave, &socket, source, group, interface)?));
        #[cfg(not(target_os = "linux"))]
        self.set(|_| Err(io::ErrorKind::Unsupported.into()))
    }

    /// Sets how many routers a datagram to a group may pass; 0 keeps it on this machine. 1 unless set: the own network.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_multicast_hops(&self, hops: u8) -> Result<()> {
        self.set(|socket| {
            if self.local.is_ipv6() {
                socket.set_multicast_hops_v6(hops.into())?;
            }
            self.for_v4(|| socket.set_multicast_ttl_v4(hops.into()))
        })
    }

    /// Has members of a group on this machine receive what this socket sends to it. On unless set; on Windows it is an
    /// option of those who receive.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_multicast_loop(&self, on: bool) -> Result<()> {
        self.set(|socket| {
            if self.local.is_ipv6() {
                socket.set_multicast_loop_v6(on)?;
            }
            self.for_v4(|| socket.set_multicast_loop_v4(on))
        })
    }

    /// Sends to groups through the interface that has the address `interface`; unspecified, the system chooses one.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub fn set_multicast_interface_v4(&self, interface: Ipv4Addr) -> Result<()> {
        self.set(|socket| socket.set_multicast_if_v4(&interface))
    }

    /// Sends to groups through the interface with the index `interface`; with 0, the system chooses one.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub fn set_multicast_interface_v6(&self, interface: u32) -> Result<()> {
        self.set(|socket| socket.set_multicast_if_v6(interface))
    }
}
