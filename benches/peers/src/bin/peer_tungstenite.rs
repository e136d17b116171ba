//! tokio-tungstenite as its users write an echo: `send` for each message; `--batch` feeds and flushes when input runs dry.

use std::io;

use clap::Parser;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use net_benches::peer;
use tokio::net::{TcpListener, TcpStream};
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
    peer::leave_with_parent()?;
    let options = Options::parse();
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        peer::announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await?;
                if options.batch { batched(&mut socket).await } else { each(&mut socket).await }
            });
        }
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
