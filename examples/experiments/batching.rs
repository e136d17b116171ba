//! Batches: small messages sent one by one, and fed together and flushed once.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use net_core::{Listener, Receiver, Result, Sender, Transport};
use net_tcp::Tcp;

const MESSAGES: u32 = 20_000;

/// Sends all messages, `batch` of them for each flush, and returns how long it took until all had arrived.
async fn measure(batch: u32) -> Result<Duration> {
    let tcp = Tcp::default();
    let mut listener = tcp.listen(&"tcp://127.0.0.1:0".parse()?).await?;
    let mut near = tcp.connect(listener.local()).await?;
    let mut far = listener.accept().await?;
    let receiving = async {
        let mut received = 0;
        while far.rx.recv().await?.is_some() {
            received += 1;
        }
        Ok::<u32, net_core::Error>(received)
    };
    let message = Bytes::from_static(&[7; 64]);
    let sending = async {
        for number in 1..=MESSAGES {
            near.tx.feed(message.clone()).await?;
            if number % batch == 0 {
                near.tx.flush().await?;
            }
        }
        near.tx.finish().await
    };
    let began = Instant::now();
    let (received, sent) = tokio::join!(receiving, sending);
    sent?;
    assert_eq!(received?, MESSAGES);
    Ok(began.elapsed())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let single = measure(1).await?;
    println!("flushed one by one:  {:.2} µs a message", micros(single));
    for batch in [8, 64, 256] {
        let time = measure(batch).await?;
        let ratio = single.as_secs_f64() / time.as_secs_f64();
        println!("{batch:>3} to a flush:      {:.2} µs a message, ratio {ratio:.1}", micros(time));
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(MESSAGES)
}
