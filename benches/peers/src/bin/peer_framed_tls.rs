//! `Framed` over tokio-rustls: what a user would write for messages over TLS; `--batch` flushes when input runs dry.

use std::io;

use clap::Parser;
use net_bench_peers::{framed, secure::Identity};
use net_benches::peer;
use tokio::io::AsyncWriteExt as _;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Echo server over tokio-util's `Framed` and tokio-rustls.
#[derive(Parser)]
struct Options {
    /// Feed replies and flush when input runs dry, instead of a `send` for each.
    #[arg(long)]
    batch: bool,
    #[command(flatten)]
    identity: Identity,
}

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let Options { batch, identity } = Options::parse();
    identity.serve(move |stream| async move {
        let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
        if batch {
            framed::batched(&mut frames).await?;
        } else {
            framed::each(&mut frames).await?;
        }
        // Says `close_notify`, which dropping it does not.
        frames.get_mut().shutdown().await
    })
}
