//! The bandwidth-delay product: how much must be on its way to fill a path, computed and measured on a link.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::time::Duration;

use bytes::Bytes;
use net_core::{
    Listener, Receiver, Result, Sender, Transport,
    memory::Memory,
    testing::{Faults, Link, LinkConfig},
};
use tokio::time::Instant;

/// The path of the experiment: 10 Mbit/s, 100 ms there and back, segments of 1000 bytes.
const BITS_PER_SECOND: u64 = 10_000_000;
const ROUND_TRIP: Duration = Duration::from_millis(100);
const SEGMENT: u64 = 1000;
/// Ten round trips of a full path.
const SEGMENTS: u64 = 1250;

/// Sends all segments with at most `window` of them unacknowledged, and returns how long it took.
///
/// The peer acknowledges each. The link's clock is the runtime's, which stands still but for what is waited for.
async fn measure(window: u64) -> Result<Duration> {
    let far_away = Faults { delay: ROUND_TRIP / 2, ..Faults::default() };
    let link = Link::new(Memory::default(), LinkConfig::both(0, far_away));
    let mut listener = link.listen(&"mem://far".parse()?).await?;
    let mut near = link.connect(listener.local()).await?;
    let mut far = listener.accept().await?;
    let acknowledging = tokio::spawn(async move {
        while let Some(segment) = far.rx.recv().await? {
            far.tx.send(segment.slice(..1)).await?;
        }
        far.tx.finish().await
    });
    let segment = Bytes::from(vec![7; 1000]);
    let began = Instant::now();
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < SEGMENTS {
        while sent < SEGMENTS && sent - acknowledged < window {
            near.tx.feed(segment.clone()).await?;
            sent += 1;
        }
        near.tx.flush().await?;
        if near.rx.recv().await?.is_some() {
            acknowledged += 1;
        }
    }
    let took = began.elapsed();
    near.tx.finish().await?;
    // It fails only where the connection does, which the lines above have seen.
    let _ = acknowledging.await;
    Ok(took)
}

/// Returns the rate at which `took` moves all segments, in bits a second.
fn rate(took: Duration) -> u64 {
    SEGMENTS * SEGMENT * 8 * 1000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    let bits = BITS_PER_SECOND / 1000 * u64::try_from(ROUND_TRIP.as_millis()).unwrap_or(u64::MAX);
    let (bytes, segments) = (bits / 8, bits / 8 / SEGMENT);
    println!("10 Mbit/s × 100 ms = {bits} bit = {bytes} bytes = {segments} segments of {SEGMENT} bytes");
    assert_eq!((bits, bytes, segments), (1_000_000, 125_000, 125));

    let full = measure(segments).await?;
    println!("{segments} segments on their way: {full:?}, {} bit/s", rate(full));
    let one = measure(1).await?;
    println!("one at a time (stop and wait): {one:?}, {} bit/s", rate(one));
    let share = rate(full) / rate(one);
    println!("stop and wait uses 1/{share} of the path");
    assert_eq!((rate(full), rate(one), share), (BITS_PER_SECOND, 80_000, 125));
    Ok(())
}
