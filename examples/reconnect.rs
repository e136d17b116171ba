//! A client that comes back: its server stops, and starts again at the same address.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::time::Duration;

use net_core::{Address, ErrorKind, Result};
use net_messaging::{Client, ClientState, Reconnect, Server};
use net_tcp::Tcp;

async fn serve(address: impl Into<Address>) -> Result<Server> {
    Server::builder(Tcp::default())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen(address.into())
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let anywhere: Address = "tcp://127.0.0.1:0".parse()?;
    let server = serve(&anywhere).await?;
    let address = server.local().clone();

    // The first wait is random between 50 ms and this; each further one may be twice as long, up to 30 s.
    let reconnect = Reconnect { interval: Duration::from_millis(100), ..Reconnect::default() };
    let client = Client::builder(Tcp::default()).reconnect(reconnect).connect(&address).await?;
    println!("{}", client.request("before").await?);

    let mut states = client.watch_state();
    server.stop().await;
    drop(server);
    // The client keeps its end of the channel for as long as it lives.
    let _ = states.wait_for(|state| matches!(state, ClientState::Waiting { .. })).await;
    println!("lost; it waits before it tries again");
    match client.send("now") {
        Err(error) if error.kind() == ErrorKind::Closed => println!("what does not wait fails meanwhile"),
        other => println!("{other:?}"),
    }

    let _server = serve(&address).await?;
    // A request waits for the connection.
    println!("{}", client.request("after").await?);
    Ok(())
}
