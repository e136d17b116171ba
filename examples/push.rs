//! Notifications: a server tells its clients, who have not asked.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::time::Duration;

use net_core::Result;
use net_messaging::{Client, Server};
use net_tcp::Tcp;
use tokio::{sync::mpsc, time::interval};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let server = Server::builder(Tcp::default()).listen("tcp://127.0.0.1:0").await?;

    let (tell, mut told) = mpsc::unbounded_channel();
    let _client = Client::builder(Tcp::default())
        .on_message(move |_, message| {
            // Whoever listens no more has left.
            let _ = tell.send(message);
            async { Ok(None) }
        })
        .connect(server.local())
        .await?;

    // The server is a handle: any task may hold one and send.
    let ticking = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(20));
        for count in 1.. {
            ticks.tick().await;
            let report = server.broadcast(format!("tick {count}"));
            if report.full + report.dropped > 0 {
                println!("{report:?}: somebody does not read");
            }
        }
    });
    for _ in 0..3 {
        if let Some(message) = told.recv().await {
            println!("{message}");
        }
    }
    ticking.abort();
    Ok(())
}
