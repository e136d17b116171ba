//! Watching a server: an observer that tells what happens to connections and counts what they carry.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use net_core::{Address, Error, Info, Observer, Result};
use net_messaging::{Client, Server};
use net_tcp::Tcp;

/// Tells and counts; every method that is not written here does nothing.
///
/// They are called by the tasks that serve connections, so they must be quick: a real one counts, or hands on.
#[derive(Debug, Default)]
struct Watch {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Observer for Watch {
    fn accepted(&self, peer: &Address) {
        println!("accepted a connection over {}", peer.scheme());
    }

    fn opened(&self, _: &Info) {
        println!("opened a session");
    }

    fn received(&self, _: &Info, messages: u64, bytes: u64) {
        // Told once a batch, not once a message.
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn closed(&self, _: &Info, error: Option<&Error>) {
        println!("closed it: {}", error.map_or_else(|| "cleanly".to_owned(), Error::report));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let watch = Arc::new(Watch::default());
    let server = Server::builder(Tcp::default())
        .observer(watch.clone())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await?;
    let client = Client::builder(Tcp::default()).connect(server.local()).await?;
    for n in 0..1000 {
        client.request(format!("{n:03}")).await?;
    }
    client.disconnect().await;
    server.stop().await;
    let (messages, bytes) = (watch.messages.load(Ordering::Relaxed), watch.bytes.load(Ordering::Relaxed));
    println!("{messages} messages, {bytes} bytes");
    Ok(())
}
