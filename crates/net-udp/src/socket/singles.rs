//! Single datagrams: whether one may be received alone, and what becomes of it.

use std::io;

use net_core::{Error, ErrorKind, Result};

use super::{Meta, UdpSocket, address};
#[cfg(not(target_os = "linux"))]
use crate::TrafficClass;
use crate::transmit::is_reported_to_receivers;

impl UdpSocket {
    /// Tells whether a datagram may be received alone.
    pub(super) fn is_single(&self) -> Result<()> {
        if self.joins() { Err(joined()) } else { Ok(()) }
    }

    /// Receives one datagram, where one is there; `None` where datagrams are joined.
    pub(super) fn receive_single(&self, buffer: &mut [u8]) -> io::Result<Option<Meta>> {
        // Asked each time: they may be since this task has begun to wait.
        if self.joins() { Ok(None) } else { receive(self, buffer) }
    }

    /// Tells what became of receiving into a buffer of `room` bytes; `None` for what is passed over.
    pub(super) fn judge(&self, received: io::Result<Option<Meta>>, room: usize) -> Option<Result<Meta>> {
        match received {
            Ok(None) => Some(Err(joined())),
            Ok(Some(meta)) if self.is_other(meta.peer) => None,
            Ok(Some(meta)) if meta.len > room => {
                self.counters.oversize.add(1);
                let error = Error::new(ErrorKind::MessageTooLong, "receive");
                Some(Err(error.at(&address(meta.peer))))
            }
            Ok(Some(meta)) => {
                self.counters.received.add(1);
                self.counters.received_bytes.add(meta.len as u64);
                Some(Ok(meta))
            }
            Err(error) if is_reported_to_receivers(&error) => {
                self.counters.icmp_errors.add(1);
                None
            }
            Err(error) => Some(Err(Error::from_io(error, "receive").at(&address(self.local)))),
        }
    }
}

/// Receives one datagram; its length may be more than the buffer has. `None` for several that were joined.
#[cfg(target_os = "linux")]
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<Meta>> {
    crate::control::receive(socket, buffer)
}

/// Receives one datagram; elsewhere the system reports one that is too long as an error, or the rest is skipped.
#[cfg(not(target_os = "linux"))]
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<Meta>> {
    let mut meta = [quinn_udp::RecvMeta::default()];
    let mut views = [io::IoSliceMut::new(buffer)];
    socket.state.recv(socket.io().into(), &mut views, &mut meta)?;
    let [meta] = meta;
    let class = TrafficClass { dscp: 0, ecn: meta.ecn.map(crate::Ecn::from_quinn) };
    Ok(Some(Meta { len: meta.len, peer: meta.addr, local: meta.dst_ip, class }))
}

/// Says why no datagram is received alone.
fn joined() -> Error {
    Error::new(ErrorKind::InvalidConfig, "receive").because("datagrams are joined: receive batches")
}
