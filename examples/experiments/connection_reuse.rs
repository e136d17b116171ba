//! Reuse of connections: the same requests over a new connection each, and over one.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use net_core::{Address, Observer, Result};
use net_messaging::{Client, Server};
use net_tcp::Tcp;

const REQUESTS: u32 = 300;

/// Counts the connections that a server accepts.
#[derive(Debug, Default)]
struct Accepted(AtomicU32);

impl Observer for Accepted {
    fn accepted(&self, _: &Address) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let accepted = Arc::new(Accepted::default());
    let server = Server::builder(Tcp::default())
        .observer(accepted.clone())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await?;
    let connections = || accepted.0.swap(0, Ordering::Relaxed);

    let began = Instant::now();
    for _ in 0..REQUESTS {
        let client = Client::builder(Tcp::default()).connect(server.local()).await?;
        client.request("ping").await?;
        client.disconnect().await;
    }
    let each = began.elapsed() / REQUESTS;
    println!("a connection each: {each:?} a request, {} connections", connections());

    let client = Client::builder(Tcp::default()).connect(server.local()).await?;
    let began = Instant::now();
    for _ in 0..REQUESTS {
        client.request("ping").await?;
    }
    let one = began.elapsed() / REQUESTS;
    let used = connections();
    println!("one connection: {one:?} a request, {used} connection");
    println!("ratio: {:.1}", each.as_secs_f64() / one.as_secs_f64());
    // On a real path a new connection costs a round trip more besides, and TLS one or two on top.
    assert_eq!(used, 1);
    Ok(())
}
