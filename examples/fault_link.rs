//! Testing against a bad network: seeded delay, loss and a cut, in no real time, the same every time.
//!
//! In a test of your own this is the body of `#[tokio::test(start_paused = true)]`.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::time::Duration;

use net_core::{
    ErrorKind, Result,
    memory::Memory,
    testing::{Faults, Link, LinkConfig},
};
use net_messaging::{Client, Server};
use tokio::time::Instant;

/// Sends a hundred requests through a link, and returns how they went.
async fn conversation(seed: u64) -> Result<(usize, Duration, usize)> {
    let bad = Faults { delay: Duration::from_millis(80), loss: 0.05, ..Faults::default() };
    let mut config = LinkConfig::both(seed, bad);
    config.cut_at = Some(Duration::from_secs(15));
    let link = Link::new(Memory::default(), config);
    let server = Server::builder(link.clone())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("mem://far")
        .await?;
    let client = Client::builder(link.clone()).connect(server.local()).await?;
    let began = Instant::now();
    let mut answered = 0;
    for number in 0..100 {
        match client.request(format!("{number}")).await {
            Ok(_) => answered += 1,
            Err(error) if error.kind() == ErrorKind::Closed => break,
            Err(error) => return Err(error),
        }
    }
    Ok((answered, began.elapsed(), link.trace().len()))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    let real = std::time::Instant::now();
    let (answered, took, events) = conversation(7).await?;
    println!("{answered} requests were answered before the link was cut");
    println!("{:.1} s of a bad network, {events} events", took.as_secs_f64());
    assert!(real.elapsed() < took, "the waiting costs no time");
    assert_eq!(conversation(7).await?, (answered, took, events));
    println!("the same seed gives the same run");
    Ok(())
}
