//! tokio-websockets as its own echo server is: whole messages in one frame, a `send` for each.

use std::io;

use futures_util::{SinkExt as _, StreamExt as _};
use net_benches::peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task;
use tokio_websockets::{Config, Error, ServerBuilder};

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        peer::announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(task::unconstrained(echo(stream)));
        }
    })
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
