//! A server that echoes and a client that asks: the example of the README.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use net_messaging::{Client, Server};
use net_tcp::Tcp;

#[tokio::main]
async fn main() -> net_core::Result<()> {
    let server = Server::builder(Tcp::default())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await?;
    let client = Client::builder(Tcp::default()).connect(server.local()).await?;
    let answer = client.request("hello").await?;
    println!("{answer}");
    client.disconnect().await;
    Ok(())
}
