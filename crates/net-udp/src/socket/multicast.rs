//! Multicast: one datagram for all who have joined a group.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{MutexGuard, PoisonError, atomic::Ordering},
};

use net_core::Result;

use super::UdpSocket;

/// A source that is heard of a group of IPv6 that was joined on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    group: Ipv6Addr,
    source: Ipv6Addr,
    interface: u32,
}

impl Heard {
    /// Tells whether it belongs to the same group on the same interface.
    fn is_beside(&self, other: &Self) -> bool {
        (self.group, self.interface) == (other.group, other.interface)
    }
}

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
    /// The network sends what every source sends: no safe interface to the system asks for less. What comes from others
    /// is dropped here; one that is joined on an interface is heard on all on which the group is.
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v6`](Self::join_multicast_v6), which joins the group for all sources.
    pub fn join_source_v6(&self, source: Ipv6Addr, group: Ipv6Addr, interface: u32) -> Result<()> {
        let mut heard = self.heard();
        let one = Heard { group, source, interface };
        if !heard.iter().any(|other| other.is_beside(&one)) {
            self.join_multicast_v6(group, interface)?;
        }
        if !heard.contains(&one) {
            heard.push(one);
        }
        self.selects.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves what `source` sends to a group that was joined for it with the same `interface`.
    ///
    /// # Errors
    ///
    /// It was not joined.
    pub fn leave_source_v6(&self, source: Ipv6Addr, group: Ipv6Addr, interface: u32) -> Result<()> {
        let mut heard = self.heard();
        let one = Heard { group, source, interface };
        if !heard.contains(&one) {
            return self.set(|_| Err(io::ErrorKind::AddrNotAvailable.into()));
        }
        if !heard.iter().any(|other| *other != one && other.is_beside(&one)) {
            self.leave_multicast_v6(group, interface)?;
        }
        heard.retain(|other| *other != one);
        self.selects.store(!heard.is_empty(), Ordering::Relaxed);
        Ok(())
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

    /// Tells whether a datagram is one that this socket is to hear.
    pub(crate) fn hears(&self, peer: SocketAddr, local: Option<IpAddr>) -> bool {
        if !self.selects() {
            return true;
        }
        let (Some(IpAddr::V6(group)), IpAddr::V6(source)) = (local, peer.ip()) else { return true };
        let heard = self.heard();
        let mut sources = heard.iter().filter(|one| one.group == group).peekable();
        sources.peek().is_none() || sources.any(|one| one.source == source)
    }

    /// Tells whether there are groups of which not all sources are heard.
    pub(super) fn selects(&self) -> bool {
        self.selects.load(Ordering::Relaxed)
    }

    fn heard(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
