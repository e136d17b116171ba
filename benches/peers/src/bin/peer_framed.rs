//! The usual tokio idiom: `Framed` with `LengthDelimitedCodec` and `send` for each message; `--batch` flushes when input runs dry.

use std::io;

use bytes::{Bytes, BytesMut};
use clap::Parser;
use futures_util::{FutureExt as _, SinkExt, StreamExt as _};
use net_benches::peer;
use tokio::net::{TcpListener, TcpStream};
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
            let framed = Framed::new(stream, LengthDelimitedCodec::new());
            if options.batch {
                tokio::spawn(serve_batched(framed));
            } else {
                tokio::spawn(serve_each(framed));
            }
        }
    })
}

type Frames = Framed<TcpStream, LengthDelimitedCodec>;

async fn serve_each(mut framed: Frames) -> io::Result<()> {
    while let Some(message) = framed.next().await {
        framed.send(message?.freeze()).await?;
    }
    Ok(())
}

async fn serve_batched(mut framed: Frames) -> io::Result<()> {
    // More than the default 8 KiB may gather before a write, so that a batch leaves in one.
    framed.set_backpressure_boundary(64 * 1024);
    loop {
        let ready: Option<Option<io::Result<BytesMut>>> = framed.next().now_or_never();
        let next = if let Some(next) = ready {
            next
        } else {
            SinkExt::<Bytes>::flush(&mut framed).await?;
            framed.next().await
        };
        match next {
            Some(message) => framed.feed(message?.freeze()).await?,
            None => return SinkExt::<Bytes>::flush(&mut framed).await,
        }
    }
}
