//! The hand-rolled loop over tokio-rustls: one task a connection, bytes echoed as they come, nothing parsed.

use std::io;

use bytes::BytesMut;
use clap::Parser;
use net_bench_peers::secure::Identity;
use net_benches::peer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Echo server over tokio-rustls.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    identity: Identity,
}

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    Options::parse().identity.serve(|mut stream| async move {
        // Uninitialised, so that pages that no message reached are not resident.
        let mut buffer = BytesMut::with_capacity(peer::READ_BUFFER);
        while stream.read_buf(&mut buffer).await? > 0 {
            stream.write_all(&buffer).await?;
            stream.flush().await?;
            buffer.clear();
        }
        stream.shutdown().await
    })
}
