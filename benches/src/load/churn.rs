//! Connect, exchange one message, close, over and over.

use std::io;

use super::{Common, Pattern, exchange};
use crate::measure::{Watch, Window};
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
    let window = Window::begin(watch)?;
    for _ in 0..count {
        let cycle = exchange::cycle(common, &pattern)?;
        whole.saturating_record(exchange::nanos(cycle.whole));
        connect.saturating_record(exchange::nanos(cycle.connect));
    }
    let measured = window.end()?;
    let mut outcome = Outcome {
        messages: count,
        latency: Latency::from(&whole),
        connect: Some(Latency::from(&connect)),
        memory: watch.map(|watch| watch.memory()).transpose()?,
        ..Outcome::default()
    };
    outcome.measured(measured);
    Ok(outcome)
}
