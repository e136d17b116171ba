//! Our own socket without sessions: a batch received, the same one sent.

use net_benches::peer;
use net_udp::{RecvBatch, SendBatch, UdpConfig, UdpSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    peer::leave_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let config = UdpConfig { recv_buffer_len: Some(peer::DATAGRAM_BUFFER), ..UdpConfig::default() };
    let socket = UdpSocket::bind_with("127.0.0.1:0".parse()?, &config)?;
    socket.set_joins(true)?;
    peer::announce_datagrams(socket.local())?;
    let (mut received, mut sending) = (RecvBatch::new(), SendBatch::new());
    loop {
        socket.recv_batch(&mut received).await?;
        for datagram in received.by_ref() {
            sending.push(datagram.peer, datagram.payload);
        }
        if socket.send_batch(&mut sending).await.is_err() {
            sending.skip();
        }
    }
}
