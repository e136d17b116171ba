//! Sessions as users write them over tokio: one task receives, and each peer has one that answers.
//!
//! A bounded channel takes the datagrams there. No session ends, and their number has no limit.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use net_benches::peer;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// How many datagrams wait for one session, as in ours.
const QUEUE: usize = 256;

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = peer::datagram_socket(Some(peer::DATAGRAM_BUFFER))?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        peer::announce_datagrams(socket.local_addr()?)?;
        let mut sessions = HashMap::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await?;
            let datagram = Bytes::copy_from_slice(buffer.get(..len).unwrap_or_default());
            let session = sessions.entry(from).or_insert_with(|| {
                let (tx, rx) = mpsc::channel(QUEUE);
                tokio::spawn(serve(socket.clone(), from, rx));
                tx
            });
            // A full queue is a lost datagram.
            let _ = session.try_send(datagram);
        }
    })
}

async fn serve(socket: Arc<UdpSocket>, peer: SocketAddr, mut datagrams: mpsc::Receiver<Bytes>) {
    while let Some(datagram) = datagrams.recv().await {
        // A full buffer of the peer is a lost datagram.
        let _ = socket.send_to(&datagram, peer).await;
    }
}
