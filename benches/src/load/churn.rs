//! Connect, exchange one message, close, over and over.

use std::io;

use super::wire::Target;
use super::{Common, Pattern, exchange};
use crate::measure::{Watch, Window};
use crate::outcome::{Latency, Outcome};

/// One connection after another, `count` measured ones after a tenth as many that only warm up.
///
/// The client ends first and waits for the server's end, so a cycle holds the server's closing too, and it is the
/// client's port that stays in `TIME_WAIT`; `count` is bounded well below the number of ports. Over TLS each handshake is a
/// full one, or with `resume` one that resumes a session, which the warm-up leaves behind.
pub(super) fn run(common: &Common, count: u64, resume: bool) -> io::Result<Outcome> {
    let target = Target::new(common, resume)?;
    let pattern = Pattern::new(common.format, common.payload, 1);
    let watch = common.watch.map(Watch::new);
    for _ in 0..(count / 10).max(1) {
        exchange::cycle(&target, &pattern, false)?;
    }
    let mut whole = exchange::histogram()?;
    let mut connect = exchange::histogram()?;
    let window = Window::begin(watch)?;
    for _ in 0..count {
        let cycle = exchange::cycle(&target, &pattern, common.ca.is_some())?;
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
