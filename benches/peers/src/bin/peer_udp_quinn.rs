//! The loop over quinn-udp that has the kernel join and cut datagrams: one thread, GRO in, GSO out.

use std::array;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;

use net_benches::peer;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, poll};

/// The buffer of one datagram or of a run that the kernel has joined: the longest one.
const SLOT: usize = 64 * 1024;
/// What one call may send: a run is a datagram to the kernel until it is cut.
const MAX_RUN: usize = 65_507;

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let socket = peer::datagram_socket(Some(peer::DATAGRAM_BUFFER))?;
    // The socket blocks nobody from here on, and the kernel joins what arrives.
    let state = UdpSocketState::new((&socket).into())?;
    peer::announce_datagrams(socket.local_addr()?)?;
    let mut slots = vec![0; SLOT * BATCH_SIZE];
    let mut run = Run { bytes: Vec::with_capacity(MAX_RUN), of: RecvMeta::default() };
    loop {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut each = slots.chunks_mut(SLOT);
        let mut views: [IoSliceMut<'_>; BATCH_SIZE] =
            array::from_fn(|_| IoSliceMut::new(each.next().unwrap_or_default()));
        match state.recv((&socket).into(), &mut views, &mut metas) {
            Ok(count) => {
                for (meta, slot) in metas.iter().zip(&views).take(count) {
                    if !run.takes(meta, state.max_gso_segments()) {
                        run.send(&socket, &state);
                        run.of = *meta;
                    }
                    run.bytes.extend_from_slice(slot.get(..meta.len).unwrap_or_default());
                }
                run.send(&socket, &state);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&socket, PollFlags::IN)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Datagrams of one length for one peer, which one call sends. Over loopback only what was sent as a run arrives as one, so
/// that those which arrive one by one are put together here.
struct Run {
    bytes: Vec<u8>,
    /// Peer and length of the first one.
    of: RecvMeta,
}

impl Run {
    /// Whether what `next` tells of may be appended.
    fn takes(&self, next: &RecvMeta, max_segments: usize) -> bool {
        let (stride, len) = (self.of.stride, self.bytes.len() + next.len);
        let follows = next.addr == self.of.addr && next.stride == stride;
        let fits = len <= MAX_RUN && stride > 0 && len.div_ceil(stride) <= max_segments;
        // A shorter one is the last of its run.
        follows && fits && self.bytes.len().is_multiple_of(stride)
    }

    /// Sends what is there, if anything is.
    fn send(&mut self, socket: &UdpSocket, state: &UdpSocketState) {
        // Nobody has port 0: an empty datagram is something to send, and no datagram is not.
        if self.of.addr.port() != 0 {
            let several = self.bytes.len() > self.of.stride;
            let transmit = Transmit {
                destination: self.of.addr,
                ecn: None,
                contents: &self.bytes,
                segment_size: several.then_some(self.of.stride),
                src_ip: None,
            };
            // A full buffer of a peer is a lost datagram.
            let _ = state.send(socket.into(), &transmit);
        }
        self.bytes.clear();
        self.of = RecvMeta::default();
    }
}
