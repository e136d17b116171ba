//! A chat: what one says, all others hear.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use net_core::{Message, MessageKind, Result};
use net_messaging::{Client, Handler, HandlerResult, Server, Session, Sessions};
use net_tcp::Tcp;
use tokio::sync::mpsc;

/// Gives names to those who come, and passes on what they say.
struct Room {
    everyone: Sessions,
}

impl Handler for Room {
    async fn message(&self, from: &Session, message: Message) -> HandlerResult {
        let text = String::from_utf8_lossy(message.payload()).into_owned();
        if message.kind() == MessageKind::Request {
            from.set_attribute("name", text);
            return Ok(Some(message.reply("welcome")));
        }
        // Who has given no name is not heard.
        let Some(name) = from.attribute::<String>("name")? else { return Ok(None) };
        self.everyone.broadcast_if(format!("{name}: {text}"), |session| session != from);
        Ok(None)
    }
}

/// Enters the room, and returns what is said there.
async fn enter(room: &Server, name: &str) -> Result<(Client, mpsc::UnboundedReceiver<Message>)> {
    let (tell, heard) = mpsc::unbounded_channel();
    let listen = move |_: &Session, message| {
        // Whoever listens no more has left.
        let _ = tell.send(message);
        async { Ok(None) }
    };
    let client = Client::builder(Tcp::default()).on_message(listen).connect(room.local()).await?;
    client.request(name.to_owned()).await?;
    Ok((client, heard))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let builder = Server::builder(Tcp::default());
    let room = Room { everyone: builder.sessions() };
    let server = builder.handler(room).listen("tcp://127.0.0.1:0").await?;

    let (ann, mut ann_hears) = enter(&server, "Ann").await?;
    let (bob, mut bob_hears) = enter(&server, "Bob").await?;
    let (_cid, mut cid_hears) = enter(&server, "Cid").await?;

    ann.send_wait("good morning").await?;
    for (name, heard) in [("Bob", bob_hears.recv().await), ("Cid", cid_hears.recv().await)] {
        println!("{name} hears {}", heard.map_or_else(String::new, |message| message.to_string()));
    }
    bob.send_wait("good night").await?;
    for (name, heard) in [("Ann", ann_hears.recv().await), ("Cid", cid_hears.recv().await)] {
        println!("{name} hears {}", heard.map_or_else(String::new, |message| message.to_string()));
    }
    Ok(())
}
