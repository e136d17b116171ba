//! Messages in flight on one connection: which, and since when.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Messages in flight on one connection, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Flight(VecDeque<Sent>);

/// A message without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    /// What its latency counts from: when it was due or, without a rate, sent.
    pub(crate) stamp: Instant,
    at: Instant,
}

impl Flight {
    pub(crate) fn push(&mut self, number: u64, stamp: Instant, at: Instant) {
        self.0.push_back(Sent { number, stamp, at });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn oldest(&self) -> Option<&Sent> {
        self.0.front()
    }

    /// Takes the oldest one, whose answer is the next where answers come in order.
    pub(crate) fn land_next(&mut self) -> Option<Sent> {
        self.0.pop_front()
    }

    /// Takes the oldest one that `is` the one that was answered.
    pub(crate) fn land(&mut self, is: impl Fn(u64) -> bool) -> Option<Sent> {
        let place = self.0.iter().position(|sent| is(sent.number))?;
        self.0.remove(place)
    }

    /// When the oldest one is lost, if an answer may take `time`.
    pub(crate) fn lost_at(&self, time: Duration) -> Option<Instant> {
        self.0.front().map(|oldest| oldest.at + time)
    }

    /// Gives up those that were sent `time` before `now`; returns how many.
    pub(crate) fn give_up(&mut self, time: Duration, now: Instant) -> u64 {
        let mut lost = 0;
        while self.lost_at(time).is_some_and(|at| at <= now) {
            self.0.pop_front();
            lost += 1;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_answer_in_time_is_given_up() {
        let (mut flight, start) = (Flight::default(), Instant::now());
        let second = Duration::from_secs(1);
        for number in 0..4 {
            flight.push(number, start, start + second * u32::try_from(number).expect("small"));
        }
        assert_eq!(flight.land(|number| number == 2).map(|sent| sent.number), Some(2));
        assert!(flight.land(|number| number == 2).is_none(), "it has landed");
        assert_eq!(flight.give_up(second, start), 0);
        assert_eq!(flight.give_up(second, start + 2 * second), 2);
        assert_eq!((flight.len(), flight.land_next().map(|sent| sent.number)), (1, Some(3)));
    }
}
