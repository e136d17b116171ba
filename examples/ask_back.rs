//! A handler that asks back: a request inside the handler of a request, on the same connection.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use net_core::{Message, Result};
use net_messaging::{Client, Server, Session};
use net_tcp::Tcp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // The session reads on while its handler waits, so that the answer arrives.
    let greet = |session: &Session, message: Message| {
        let session = session.clone();
        async move {
            let name = session.request("who are you?").await?;
            let greeting = format!("good morning, {}", String::from_utf8_lossy(name.payload()));
            Ok(message.reply(greeting))
        }
    };
    let server = Server::builder(Tcp::default()).on_message(greet).listen("tcp://127.0.0.1:0").await?;

    let client = Client::builder(Tcp::default())
        .on_message(|_, question| {
            println!("asked back: {question}");
            async move { Ok(question.reply("Ann")) }
        })
        .connect(server.local())
        .await?;
    println!("{}", client.request("good morning").await?);
    Ok(())
}
