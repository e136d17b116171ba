//! The hand-rolled tokio loop: one current-thread runtime, one task a connection, bytes echoed in place in one write.

use std::io;

use bytes::BytesMut;
use net_benches::peer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        peer::announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Uninitialised, so that pages that no message reached are not resident.
    let mut buffer = BytesMut::with_capacity(peer::READ_BUFFER);
    while stream.read_buf(&mut buffer).await? > 0 {
        stream.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
