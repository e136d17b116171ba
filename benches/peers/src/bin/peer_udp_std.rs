//! The loop of the standard library: one datagram received, the same one sent, over and over.

use std::io;

use net_benches::peer;

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let socket = peer::datagram_socket(Some(peer::DATAGRAM_BUFFER))?;
    peer::announce_datagrams(socket.local_addr()?)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        // A full buffer of a peer is a lost datagram.
        let _ = socket.send_to(buffer.get(..len).unwrap_or_default(), from);
    }
}
