//! What can go wrong in one direction of a link, and what does with one message.

use std::{ops::Range, time::Duration};

/// A lost message of a reliable link is sent again after at least this long; each time after twice as long.
///
/// Source: RFC 6298 §2.4 asks for one second, Linux waits 200 ms at the least.
const RETRY: Duration = Duration::from_millis(200);
/// How often a message of a reliable link is lost at the most.
const MAX_LOSSES: u32 = 6;
/// When that arrives which is sent again and again in vain, counted from the link's first use: a century later.
const NEVER: Duration = Duration::from_hours(100 * 365 * 24);
/// How much later than others a message arrives at least that they are to overtake.
const OVERTAKEN: Duration = Duration::from_millis(10);

/// What goes wrong in one direction of a [`Link`](super::Link) or of a [`Relay`](super::super::Relay).
///
/// Chances are from 0 (never, the default of each) to 1 (always).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::{Listener, Transport, memory::Memory, testing::{Faults, Link, LinkConfig}};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> net_core::Result<()> {
/// let stalls = Faults { stall: 1.0, stall_time: Duration::from_secs(30), ..Faults::default() };
/// let link = Link::new(Memory::default(), LinkConfig { there: stalls, ..LinkConfig::default() });
/// # let mut listener = link.listen(&"mem://far".parse()?).await?;
/// # let mut near = link.connect(listener.local()).await?;
/// # let mut far = listener.accept().await?;
/// let start = Instant::now();
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// assert!(start.elapsed() >= Duration::from_secs(30)); // of paused time
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// How long each message travels. Default: no time.
    pub delay: Duration,
    /// Up to how much longer it travels, by chance. Default: no time.
    pub jitter: Duration,
    /// The chance that a message is lost. A reliable link sends it again after 200 ms, and what is behind it waits.
    pub loss: f64,
    /// The chance that a message is overtaken by those behind it; of effect where the link is unreliable.
    pub reorder: f64,
    /// The chance that a message arrives twice; of effect where the link is unreliable.
    pub duplicate: f64,
    /// The chance that a message, and all that is behind it, waits for [`stall_time`](Self::stall_time).
    pub stall: f64,
    /// How long a stall lasts. Default: no time.
    pub stall_time: Duration,
    /// Messages longer than this never arrive, as in a path-MTU black hole: an unreliable link loses them, on a reliable one
    /// all that is behind them waits for ever, too. Default: none.
    pub black_hole: Option<usize>,
    /// When nothing gets through, counted from the link's first use: a reliable link holds it back, another loses
    /// it. Both directions together make a partition, one alone a half-open connection. Default: never.
    pub partitions: Vec<Range<Duration>>,
    /// After how many messages the connection is cut: the next one fails, and the peer sees an abort. Default: never.
    pub cut_after: Option<u64>,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::testing) struct Fate {
    /// When the message arrives, and when its duplicate does.
    pub(in crate::testing) due: [Option<Duration>; 2],
    /// How many copies of it were lost.
    pub(in crate::testing) losses: u32,
    /// What is behind it arrives no earlier.
    pub(super) holds: bool,
}

impl Faults {
    /// Returns when what is sent at `now` gets past the partitions.
    pub(super) fn passes(&self, now: Duration) -> Duration {
        let mut at = now;
        // One partition may end inside another.
        while let Some(partition) = self.partitions.iter().find(|partition| partition.contains(&at)) {
            at = partition.end;
        }
        at
    }

    /// Tells whether a message of `len` bytes falls into the black hole.
    fn falls(&self, len: usize) -> bool {
        self.black_hole.is_some_and(|longest| len > longest)
    }

    /// Draws what becomes of a message of `len` bytes that is sent at `now`.
    pub(in crate::testing) fn fate(
        &self,
        rng: &mut fastrand::Rng,
        len: usize,
        now: Duration,
        unreliable: bool,
    ) -> Fate {
        let passes = self.passes(now);
        // All is drawn for every message, so that one fault more does not change what the others do.
        let [lost, late, twice, stalled] =
            [self.loss, self.reorder, self.duplicate, self.stall].map(|chance| rng.f64() < chance);
        let mut travel = || self.delay + self.jitter.mul_f64(rng.f64());
        let first = passes + travel();
        let second = passes + travel();
        let stall = if stalled { self.stall_time } else { Duration::ZERO };
        if unreliable {
            let gone = lost || passes > now || self.falls(len);
            let late = if late { OVERTAKEN.max(2 * (self.delay + self.jitter)) } else { Duration::ZERO };
            return Fate {
                due: [(!gone).then_some(first + stall + late), (!gone && twice).then_some(second + stall)],
                losses: u32::from(gone),
                holds: stalled && !gone,
            };
        }
        let mut due = first + stall;
        let mut losses = 0;
        let mut again = lost;
        while again && losses < MAX_LOSSES {
            due += RETRY.max(2 * self.delay) * 2_u32.pow(losses);
            losses += 1;
            again = rng.f64() < self.loss;
        }
        if self.falls(len) {
            due = NEVER;
        }
        Fate { due: [Some(due), None], losses, holds: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn fates(faults: &Faults, seed: u64, unreliable: bool) -> Vec<Fate> {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..1_000).map(|at| faults.fate(&mut rng, 100, ms(at), unreliable)).collect()
    }

    #[test]
    fn one_seed_gives_one_sequence_of_fates() {
        let faults = Faults { loss: 0.1, jitter: ms(9), duplicate: 0.1, ..Faults::default() };
        assert_eq!(fates(&faults, 1, true), fates(&faults, 1, true));
        assert_ne!(fates(&faults, 1, true), fates(&faults, 2, true));
    }

    #[test]
    fn a_reliable_link_loses_time_and_no_message() {
        let faults = Faults { delay: ms(10), loss: 0.5, duplicate: 1.0, reorder: 1.0, ..Faults::default() };
        let fates = fates(&faults, 3, false);
        assert!(fates.iter().all(|fate| fate.due[0].is_some() && fate.due[1].is_none()));
        let lost = fates.iter().filter(|fate| fate.losses > 0).count();
        assert!((400..600).contains(&lost), "{lost} of 1000 at a chance of a half");
        let certain = Faults { loss: 1.0, ..Faults::default() };
        let fate = certain.fate(&mut fastrand::Rng::with_seed(0), 1, ms(0), false);
        assert_eq!((fate.losses, fate.due[0]), (6, Some(ms(200 * 63))));
    }

    #[test]
    fn a_black_hole_takes_what_is_too_long_and_on_a_reliable_link_what_is_behind_it() {
        let faults = Faults { black_hole: Some(100), ..Faults::default() };
        let rng = &mut fastrand::Rng::with_seed(0);
        let mut due = |len, unreliable| faults.fate(rng, len, ms(0), unreliable).due[0];
        assert_eq!([due(100, true), due(101, true)], [Some(ms(0)), None]);
        assert_eq!([due(100, false), due(101, false)], [Some(ms(0)), Some(NEVER)]);
        assert!(faults.fate(rng, 101, ms(0), false).holds);
    }

    #[test]
    fn a_partition_holds_back_or_loses() {
        let faults = Faults { partitions: vec![ms(10)..ms(20), ms(20)..ms(30)], ..Faults::default() };
        assert_eq!([9, 10, 19, 20, 29, 30].map(|at| faults.passes(ms(at))), [9, 30, 30, 30, 30, 30].map(ms));
        let rng = &mut fastrand::Rng::with_seed(0);
        assert_eq!(faults.fate(rng, 1, ms(15), false).due[0], Some(ms(30)));
        assert_eq!(faults.fate(rng, 1, ms(15), true).due, [None, None]);
    }
}
