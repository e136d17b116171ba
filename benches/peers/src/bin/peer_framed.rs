//! The usual tokio idiom: `Framed` with `LengthDelimitedCodec` and `send` for each message; `--batch` flushes when input runs dry.

use std::io;

use clap::Parser;
use net_bench_peers::framed;
use net_benches::peer;
use tokio::net::TcpListener;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Echo server over tokio-util's `Framed`.
#[derive(Parser)]
struct Options {
    /// Feed replies and flush when input runs dry, instead of a `send` for each.
    #[arg(long)]
    batch: bool,
}

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let options = Options::parse();
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        peer::announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
            if options.batch {
                tokio::spawn(async move { framed::batched(&mut frames).await });
            } else {
                tokio::spawn(async move { framed::each(&mut frames).await });
            }
        }
    })
}
