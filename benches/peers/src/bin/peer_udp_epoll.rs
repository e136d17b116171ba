//! The least that a server does which waits for more than one thing: epoll, one datagram received, the same one sent.
//!
//! What the loop of the standard library spares is the first of three system calls: it can wait for nothing but its one socket.

use std::io;

use net_benches::peer;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let socket = peer::datagram_socket(Some(peer::DATAGRAM_BUFFER))?;
    socket.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &socket, EventData::new_u64(0), EventFlags::IN)?;
    peer::announce_datagrams(socket.local_addr()?)?;
    let mut events = Vec::with_capacity(1);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) => events.clear(),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                // A full buffer of a peer is a lost datagram.
                let _ = socket.send_to(buffer.get(..len).unwrap_or_default(), from);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
