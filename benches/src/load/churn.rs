//! Connect, exchange one message, close, over and over.

use std::io;
use std::time::Instant;

use super::{Common, Pattern, exchange};
use crate::measure::Watch;
use crate::outcome::{Latency, Outcome};

/// One connection after another, `count` measured ones after a tenth as many that only warm up.
///
/// The client ends first and waits for the server's end, so a cycle holds the server's closing too, and it is the
/// client's port that stays in `TIME_WAIT`; `count` is bounded well below the number of ports.
pub(super) fn run(common: &Common, count: u64) -> io::Result<Outcome> {
    let pattern = Pattern::new(common.format, common.payload, 1);
    let watch = common.watch.map(Watch::new);
    for _ in 0..count / 10 {
        exchange::cycle(common, &pattern)?;
    }
    let mut whole = exchange::histogram()?;
    let mut connect = exchange::histogram()?;
    let cpu_before = watch.map(|watch| watch.cpu_ns()).transpose()?;
    let began = Instant::now();
    for _ in 0..count {
        let cycle = exchange::cycle(common, &pattern)?;
        whole.saturating_record(exchange::nanos(cycle.whole));
        connect.saturating_record(exchange::nanos(cycle.connect));
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_after = watch.map(|watch| watch.cpu_ns()).transpose()?;
    Ok(Outcome {
        messages: count,
        seconds,
        server_cpu_ns: cpu_before.zip(cpu_after).map(|(before, after)| after - before),
        latency: Latency::from(&whole),
        connect: Some(Latency::from(&connect)),
        memory: watch.map(|watch| watch.memory()).transpose()?,
        ..Outcome::default()
    })
}
