//! tokio-tungstenite as its users write an echo: `send` for each message; `--batch` feeds and flushes when input runs dry.

use std::io;

use clap::Parser;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use net_bench_peers::plain;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Result};

/// WebSocket echo server over tokio-tungstenite.
#[derive(Parser)]
struct Options {
    /// Feed replies and flush when input runs dry, instead of a `send` for each.
    #[arg(long)]
    batch: bool,
}

fn main() -> io::Result<()> {
    let Options { batch } = Options::parse();
    plain::serve(move |stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await?;
        if batch { batched(&mut socket).await } else { each(&mut socket).await }
    })
}

async fn each(socket: &mut WebSocketStream<TcpStream>) -> Result<()> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn batched(socket: &mut WebSocketStream<TcpStream>) -> Result<()> {
    loop {
        let next = if let Some(next) = socket.next().now_or_never() {
            next
        } else {
            socket.flush().await?;
            socket.next().await
        };
        match next.transpose()? {
            Some(message) if is_data(&message) => socket.feed(message).await?,
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// Whether it is to be echoed: what controls the connection is answered by the library.
fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}
