//! When messages are due, where a rate is set.

use std::time::{Duration, Instant};

use crate::figures::float;

/// When the messages of one connection are due: at once, or one each interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// Seconds between two messages of this connection; `None` is at once.
    interval: Option<f64>,
}

impl Pace {
    /// The pace of one of `connections` that send `rate` messages a second in all.
    pub(crate) fn new(start: Instant, rate: Option<f64>, connection: usize, connections: usize) -> Self {
        let Some(rate) = rate else { return Self { start, interval: None } };
        // The connections take turns.
        let turn = Duration::from_secs_f64(float(connection as u64) / rate);
        Self { start: start + turn, interval: Some(float(connections as u64) / rate) }
    }

    /// When the message with this number is due; `None` is at once.
    pub(crate) fn due(&self, number: u64) -> Option<Instant> {
        self.interval.map(|interval| self.start + Duration::from_secs_f64(interval * float(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_a_rate_and_take_turns() {
        let start = Instant::now();
        let due = |connection, number| {
            Pace::new(start, Some(1000.0), connection, 4).due(number).map(|due| due - start)
        };
        assert_eq!(due(0, 0), Some(Duration::ZERO));
        assert_eq!(due(3, 0), Some(Duration::from_millis(3)));
        assert_eq!(due(1, 2), Some(Duration::from_millis(9)));
        assert_eq!(Pace::new(start, None, 1, 4).due(9), None);
    }
}
