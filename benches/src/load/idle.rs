//! Many sessions that have exchanged one message each and are then left alone.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::{Common, Pattern, exchange};
use crate::measure::Watch;
use crate::outcome::{Idle, Latency, Outcome};

/// Opens `sessions`, exchanges one message on each, waits for `hold`, and reads what the server holds then.
pub(super) fn run(common: &Common, sessions: usize, hold: Duration) -> io::Result<Outcome> {
    let pattern = Pattern::new(common.format, common.payload, 1);
    let watch = common.watch.map(Watch::new);
    // What the server sets up once, at its first session, is not a cost of each.
    exchange::cycle(common, &pattern)?;
    let before = watch.map(|watch| watch.memory()).transpose()?;
    let cpu_before = watch.map(|watch| watch.cpu_ns()).transpose()?;
    let mut latency = exchange::histogram()?;
    let mut connect = exchange::histogram()?;
    let mut open = Vec::with_capacity(sessions);
    let began = Instant::now();
    for _ in 0..sessions {
        let start = Instant::now();
        let stream = exchange::connect(common.to)?;
        connect.saturating_record(exchange::nanos(start.elapsed()));
        exchange::once(&stream, &pattern)?;
        latency.saturating_record(exchange::nanos(start.elapsed()));
        open.push(stream);
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_open = watch.map(|watch| watch.cpu_ns()).transpose()?;
    thread::sleep(hold);
    let cpu_held = watch.map(|watch| watch.cpu_ns()).transpose()?;
    let memory = watch.map(|watch| watch.memory()).transpose()?;
    let idle = before.zip(memory).map(|(before, memory)| Idle {
        sessions: sessions as u64,
        before_kib: before.rss_kib,
        held_kib: memory.rss_kib,
        cpu_share: cpu_open.zip(cpu_held).map_or(0.0, |(from, to)| {
            Duration::from_nanos(to - from).as_secs_f64() / hold.as_secs_f64().max(f64::MIN_POSITIVE)
        }),
    });
    for stream in open {
        exchange::reset(&stream)?;
    }
    Ok(Outcome {
        messages: sessions as u64,
        seconds,
        server_cpu_ns: cpu_before.zip(cpu_open).map(|(before, after)| after - before),
        latency: Latency::from(&latency),
        connect: Some(Latency::from(&connect)),
        memory,
        idle,
        ..Outcome::default()
    })
}
