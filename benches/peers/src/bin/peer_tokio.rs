//! The hand-rolled tokio loop: one current-thread runtime, one task a connection, bytes echoed in place in one write.

use std::io;

use bytes::BytesMut;
use net_bench_peers::plain;
use net_benches::peer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn main() -> io::Result<()> {
    plain::serve(serve)
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    // Uninitialised, so that pages that no message reached are not resident.
    let mut buffer = BytesMut::with_capacity(peer::READ_BUFFER);
    while stream.read_buf(&mut buffer).await? > 0 {
        stream.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
