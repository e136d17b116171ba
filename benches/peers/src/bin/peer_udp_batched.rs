//! The practical limit without the kernel's help: one thread, `recvmmsg`, `sendmmsg`, payloads echoed in place.

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};

use net_benches::peer;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

/// The buffer of one datagram: the longest one.
const SLOT: usize = 64 * 1024;

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let socket = peer::datagram_socket(Some(peer::DATAGRAM_BUFFER))?;
    socket.set_nonblocking(true)?;
    // Its options are set on a socket that nobody uses, so that nothing is joined: one datagram, one buffer.
    let unused = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let state = UdpSocketState::new((&unused).into())?;
    peer::announce_datagrams(socket.local_addr()?)?;
    let mut slots = vec![0; SLOT * BATCH_SIZE];
    loop {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut each = slots.chunks_mut(SLOT);
        let mut views: [IoSliceMut<'_>; BATCH_SIZE] =
            array::from_fn(|_| IoSliceMut::new(each.next().unwrap_or_default()));
        match state.recv((&socket).into(), &mut views, &mut metas) {
            Ok(count) => echo(&socket, metas.get(..count).unwrap_or_default(), &views),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&socket, PollFlags::IN)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn echo(socket: &UdpSocket, metas: &[RecvMeta], slots: &[IoSliceMut<'_>]) {
    let views: [IoSlice<'_>; BATCH_SIZE] = array::from_fn(|index| {
        let len = metas.get(index).map_or(0, |meta| meta.len);
        IoSlice::new(slots.get(index).and_then(|slot| slot.get(..len)).unwrap_or_default())
    });
    let nobody = (Ipv4Addr::UNSPECIFIED, 0).into();
    let names: [SocketAddrAny; BATCH_SIZE] =
        array::from_fn(|index| metas.get(index).map_or(nobody, |meta| meta.addr).into());
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH_SIZE] =
        array::from_fn(|_| SendAncillaryBuffer::default());
    let mut each = names.iter().zip(views.chunks(1));
    let mut headers = controls.each_mut().map(|control| match each.next() {
        Some((name, view)) => MMsgHdr::new_with_addr(name, view, control),
        None => MMsgHdr::new(&[], control),
    });
    let mut rest = headers.get_mut(..metas.len()).unwrap_or_default();
    while !rest.is_empty() {
        match sendmmsg(socket, rest, SendFlags::empty()) {
            Ok(sent) => rest = rest.get_mut(sent..).unwrap_or_default(),
            // A full buffer of a peer is a lost datagram.
            Err(_) => rest = rest.get_mut(1..).unwrap_or_default(),
        }
    }
}
