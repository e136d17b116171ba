//! tokio-websockets as its own echo server is: whole messages in one frame, a `send` for each.

use std::io;

use futures_util::{SinkExt as _, StreamExt as _};
use net_bench_peers::plain;
use tokio::net::TcpStream;
use tokio::task;
use tokio_websockets::{Config, Error, ServerBuilder};

fn main() -> io::Result<()> {
    plain::serve(|stream| task::unconstrained(echo(stream)))
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    // Its default cuts messages into frames of 4 MiB; the example says not to cut.
    let config = Config::default().frame_size(usize::MAX);
    let (_, mut socket) = ServerBuilder::new().config(config).accept(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
