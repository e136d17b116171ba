//! Many sessions that have exchanged one message each and are then left alone.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::wire::Target;
use super::{Common, Pattern, exchange};
use crate::measure::{Watch, Window};
use crate::outcome::{Idle, Latency, Outcome};

/// Opens `sessions`, exchanges one message on each, waits for `hold`, and reads what the server holds then.
pub(super) fn run(common: &Common, sessions: usize, hold: Duration) -> io::Result<Outcome> {
    let pattern = Pattern::new(common.format, common.payload, 1);
    let target = Target::new(common, false)?;
    let watch = common.watch.map(Watch::new);
    // What the server sets up once, at its first session, is not a cost of each.
    exchange::cycle(&target, &pattern, false)?;
    let before = watch.map(|watch| watch.memory()).transpose()?;
    let mut latency = exchange::histogram()?;
    let mut connect = exchange::histogram()?;
    let mut open = Vec::with_capacity(sessions);
    let window = Window::begin(watch)?;
    for _ in 0..sessions {
        let start = Instant::now();
        let mut wire = target.connect()?;
        connect.saturating_record(exchange::nanos(start.elapsed()));
        exchange::once(&mut wire, &pattern)?;
        latency.saturating_record(exchange::nanos(start.elapsed()));
        open.push(wire);
    }
    let opened = window.end()?;
    let window = Window::begin(watch)?;
    thread::sleep(hold);
    let rest = window.end()?;
    let memory = watch.map(|watch| watch.memory()).transpose()?;
    let idle = before.zip(memory).map(|(before, memory)| Idle {
        sessions: sessions as u64,
        before_kib: before.rss_kib,
        held_kib: memory.rss_kib,
        cpu_share: rest
            .server_cpu_ns
            .map_or(0.0, |cpu| Duration::from_nanos(cpu).as_secs_f64() / rest.seconds),
    });
    for wire in open {
        exchange::reset(&wire)?;
    }
    let mut outcome = Outcome {
        messages: sessions as u64,
        latency: Latency::from(&latency),
        connect: Some(Latency::from(&connect)),
        memory,
        idle,
        ..Outcome::default()
    };
    outcome.measured(opened);
    Ok(outcome)
}
