//! The loop that tokio's documentation shows: one task, one datagram received, the same one sent.

use std::io;

use net_benches::peer;
use tokio::net::UdpSocket;

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = peer::datagram_socket(Some(peer::DATAGRAM_BUFFER))?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        peer::announce_datagrams(socket.local_addr()?)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await?;
            // A full buffer of a peer is a lost datagram.
            let _ = socket.send_to(buffer.get(..len).unwrap_or_default(), from).await;
        }
    })
}
