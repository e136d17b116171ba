//! The usual tokio idiom: `Framed` with `LengthDelimitedCodec` and `send` for each message; `--batch` flushes when input runs dry.

use std::io;

use clap::Parser;
use net_bench_peers::{framed, plain};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Echo server over tokio-util's `Framed`.
#[derive(Parser)]
struct Options {
    /// Feed replies and flush when input runs dry, instead of a `send` for each.
    #[arg(long)]
    batch: bool,
}

fn main() -> io::Result<()> {
    let Options { batch } = Options::parse();
    plain::serve(move |stream| async move {
        let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
        if batch { framed::batched(&mut frames).await } else { framed::each(&mut frames).await }
    })
}
