//! Connect, exchange one message, close, over and over.

use std::io;

use super::wire::Target;
use super::{Common, Pattern, exchange};
use crate::measure::{Watch, Window};
use crate::outcome::{Latency, Outcome};

/// One connection after another.
///
/// The client ends first and waits for the server's end, so a cycle holds the server's closing too, and it is the
/// client's port that stays in `TIME_WAIT`; there are well fewer of them than ports. Over TLS each handshake is a
/// full one, or one that resumes a session, which the warm-up leaves behind.
pub(super) struct Churn {
    target: Target,
    pattern: Pattern,
    watch: Option<Watch>,
    /// Over TLS, whether each handshake was of its kind.
    checks: bool,
}

impl Churn {
    pub(super) fn new(common: &Common, resume: bool) -> io::Result<Self> {
        Ok(Self {
            target: Target::new(common, resume)?,
            pattern: Pattern::new(common.format, common.payload, 1),
            watch: common.watch.map(Watch::new),
            checks: common.ca.is_some(),
        })
    }

    /// Connects `count` times, after a tenth as many that only warm up.
    pub(super) fn turn(&self, count: u64) -> io::Result<Outcome> {
        let Self { target, pattern, watch, checks } = self;
        for _ in 0..(count / 10).max(1) {
            exchange::cycle(target, pattern, false)?;
        }
        let mut whole = exchange::histogram()?;
        let mut connect = exchange::histogram()?;
        let window = Window::begin(*watch)?;
        for _ in 0..count {
            let cycle = exchange::cycle(target, pattern, *checks)?;
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
}
