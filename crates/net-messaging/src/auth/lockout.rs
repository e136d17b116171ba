//! Addresses from which too many attempts have failed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::clock::Clock;
use net_core::{AddressGroup, Prefix};
use tokio::sync::Notify;

use super::Lockout;
use crate::bucket::EngineClock;

/// Counts attempts that failed, and those that are not decided, by prefixes of addresses, of which there is a bounded
/// number.
#[derive(Debug)]
pub(super) struct Failures {
    /// The standard map's hash is seeded at random.
    counts: Mutex<HashMap<AddressGroup, Count>>,
    lockout: Lockout,
    clock: EngineClock,
}

/// What comes of asking for an attempt.
enum Asked<'a> {
    Begun(Attempt<'a>),
    /// For so long.
    Locked(Duration),
    /// As many run as may still fail; it is told when one of them is over.
    Full(Arc<Notify>),
}

impl Failures {
    pub(super) fn new(lockout: Lockout, clock: EngineClock) -> Self {
        Self { counts: Mutex::default(), lockout, clock }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AddressGroup, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an attempt. Where as many run as the prefix may still fail, it waits until one of them is over: so guesses
    /// made at once are no more than those made one by one, and many who know the secret come in behind one address.
    ///
    /// # Errors
    ///
    /// The prefix is locked out, for so long.
    pub(super) async fn begin(&self, prefix: Prefix) -> Result<Attempt<'_>, Duration> {
        let mut waited: Option<Arc<Notify>> = None;
        loop {
            let asked = self.ask(prefix);
            // Whoever does not wait at the same place again hands on that there was room.
            if let Some(room) = &waited
                && !matches!(&asked, Asked::Full(full) if Arc::ptr_eq(full, room))
            {
                room.notify_one();
            }
            match asked {
                Asked::Begun(attempt) => return Ok(attempt),
                Asked::Locked(wait) => return Err(wait),
                Asked::Full(room) => waited.insert(room).notified().await,
            }
        }
    }

    fn ask(&self, prefix: Prefix) -> Asked<'_> {
        let now = self.clock.now();
        let mut counts = self.lock();
        for counted in AddressGroup::all(prefix) {
            let Some(count) = counts.get_mut(&counted) else { continue };
            if let Some(wait) = count.locked(now) {
                return Asked::Locked(wait);
            }
            if count.running >= Terms::of(counted, &self.lockout).left(count.forgiven_at, now) {
                return Asked::Full(count.room.get_or_insert_default().clone());
            }
        }
        let begun = AddressGroup::all(prefix).filter(|counted| {
            let has_place = counts.contains_key(counted) || make_room(&mut counts, &self.lockout, now);
            if has_place {
                counts.entry(*counted).or_default().running += 1;
            }
            has_place
        });
        let counted = begun.collect();
        Asked::Begun(Attempt { failures: self, counted, failed: true })
    }

    /// Ends an attempt.
    fn end(&self, attempt: &[AddressGroup], failed: bool) {
        let now = self.clock.now();
        let mut counts = self.lock();
        for counted in attempt {
            // It is there: none is forgotten of which an attempt runs.
            let Some(count) = counts.get_mut(counted) else { continue };
            count.running = count.running.saturating_sub(1);
            if failed {
                count.fail(&Terms::of(*counted, &self.lockout), now);
            }
            if let Some(room) = &count.room {
                room.notify_one();
            }
            if count.is_as_new(now) {
                counts.remove(counted);
            }
        }
    }

    /// Forgets who has been forgiven everything.
    pub(super) fn prune(&self) {
        let now = self.clock.now();
        let mut counts = self.lock();
        counts.retain(|_, count| !count.is_as_new(now));
        // A table that many have left gives its memory back.
        if counts.capacity() > 64 && counts.len() < counts.capacity() / 8 {
            let half = counts.capacity() / 2;
            counts.shrink_to(half);
        }
    }
}

/// Makes room for one more count: who would be forgiven first is forgotten, but nobody who is locked out. `false`: there
/// is none to be had, so that whoever is new is not counted. That looks at all of them, which costs less than the
/// handshake of the one who asks.
fn make_room(counts: &mut HashMap<AddressGroup, Count>, lockout: &Lockout, now: Duration) -> bool {
    if counts.len() < lockout.max_prefixes.get() {
        return true;
    }
    let idle = counts.iter().filter(|(_, count)| !count.is_in_use() && count.locked(now).is_none());
    let first = idle.min_by_key(|(_, count)| count.forgiven_at).map(|(counted, _)| *counted);
    first.is_some_and(|counted| counts.remove(&counted).is_some())
}

/// An attempt that runs. Where it is dropped before a decision, it counts as failed: nobody guesses for nothing by
/// leaving early.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    failures: &'a Failures,
    /// For whom it is counted.
    counted: Vec<AddressGroup>,
    failed: bool,
}

impl Attempt<'_> {
    /// Ends it.
    pub(super) fn end(mut self, failed: bool) {
        self.failed = failed;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.failures.end(&self.counted, self.failed);
    }
}

/// How many failures lock out, and how often one is forgiven.
struct Terms {
    max: u32,
    forgiven_every: Duration,
}

impl Terms {
    /// Returns those of `group`.
    fn of(group: AddressGroup, lockout: &Lockout) -> Self {
        let times = u32::try_from(group.share(1)).unwrap_or(u32::MAX);
        Self {
            max: lockout.max_failures_per_prefix.get().saturating_mul(times),
            forgiven_every: (lockout.forgiven_every / times).max(Duration::from_nanos(1)),
        }
    }

    /// Returns how many more may fail where all are forgiven at `forgiven_at`.
    fn left(&self, forgiven_at: Duration, now: Duration) -> u32 {
        let failures = forgiven_at.saturating_sub(now).as_nanos().div_ceil(self.forgiven_every.as_nanos());
        self.max.saturating_sub(u32::try_from(failures).unwrap_or(u32::MAX))
    }
}

/// The attempts of one prefix or site. Times are those of the clock.
#[derive(Debug, Default)]
struct Count {
    /// When every failure is forgiven.
    forgiven_at: Duration,
    locked_until: Duration,
    /// Attempts that are not decided.
    running: u32,
    /// Where further ones wait, once there were any.
    room: Option<Arc<Notify>>,
}

impl Count {
    fn locked(&self, now: Duration) -> Option<Duration> {
        self.locked_until.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    fn fail(&mut self, terms: &Terms, now: Duration) {
        self.forgiven_at = self.forgiven_at.max(now).saturating_add(terms.forgiven_every);
        // Locked out is who has no failure left, until one is forgiven.
        if terms.left(self.forgiven_at, now) == 0 {
            self.locked_until = now.saturating_add(terms.forgiven_every);
        }
    }

    /// Tells whether an attempt runs, or waits: who waits would not find those who come later.
    fn is_in_use(&self) -> bool {
        self.running > 0 || self.room.as_ref().is_some_and(|room| Arc::strong_count(room) > 1)
    }

    fn is_as_new(&self, now: Duration) -> bool {
        !self.is_in_use() && self.forgiven_at <= now && self.locked(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn v4(number: u32) -> Prefix {
        Prefix::V4(number.into())
    }

    fn failures(lockout: Lockout) -> Failures {
        Failures::new(lockout, EngineClock::start())
    }

    /// Fails once, where that is possible now.
    fn fail(failures: &Failures, prefix: Prefix) -> Result<(), Duration> {
        failures.begin(prefix).now_or_never().expect("nobody else has begun").map(|attempt| attempt.end(true))
    }

    fn locked(failures: &Failures, prefix: Prefix) -> Option<Duration> {
        let asked = failures.begin(prefix).now_or_never().expect("nobody else has begun");
        asked.map(|attempt| attempt.end(false)).err()
    }

    #[tokio::test(start_paused = true)]
    async fn a27_who_fails_too_often_is_locked_out_until_one_failure_is_forgiven() {
        for max in 1..4 {
            let failures = failures(Lockout {
                max_failures_per_prefix: max.try_into().expect("not 0"),
                forgiven_every: secs(60),
                ..Lockout::default()
            });
            let prefix = Prefix::V4(Ipv4Addr::LOCALHOST);
            for _ in 0..max {
                assert_eq!(fail(&failures, prefix), Ok(()));
            }
            for _ in 0..3 {
                assert_eq!(locked(&failures, prefix), Some(secs(60)));
                tokio::time::advance(secs(59)).await;
                assert_eq!(locked(&failures, prefix), Some(secs(1)));
                tokio::time::advance(secs(1)).await;
                assert_eq!(fail(&failures, prefix), Ok(()), "one attempt, and no more");
            }
            assert_eq!(locked(&failures, Prefix::V4(Ipv4Addr::BROADCAST)), None, "others are not locked out");
            tokio::time::advance(secs(60) * max).await;
            failures.prune();
            assert_eq!(failures.lock().len(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a27_attempts_at_once_are_as_few_as_may_still_fail_and_none_is_lost() {
        let failures = failures(Lockout::default());
        let begin = || failures.begin(v4(1));
        let mut running: Vec<_> = (0..10).filter_map(|_| begin().now_or_never()).collect();
        let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(begin())).collect();
        assert!(waiting.iter_mut().all(|next| next.now_or_never().is_none()));
        // One that succeeds makes room for one, one that is dropped makes room for nobody.
        running.pop().expect("ten run").expect("not locked").end(false);
        drop(running.pop().expect("nine run"));
        let mut begun: Vec<_> = waiting.iter_mut().filter_map(FutureExt::now_or_never).collect();
        assert_eq!(begun.len(), 1);
        // Who stops waiting takes nobody's turn.
        drop(waiting.remove(0));
        begun.append(&mut running);
        begun.into_iter().for_each(drop);
        let mut told = 0;
        for next in waiting {
            // The one that has begun already is not asked again.
            if let Some(asked) = next.now_or_never() {
                assert_eq!(asked.err(), Some(secs(60)));
                told += 1;
            }
        }
        assert_eq!(told, 4, "all are told that the prefix is locked out");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a27_on_many_threads_everybody_has_its_turn_though_some_give_up() {
        const ATTEMPTS: u8 = 200;
        let max_failures_per_prefix = 2.try_into().expect("not 0");
        let failures = Arc::new(failures(Lockout { max_failures_per_prefix, ..Lockout::default() }));
        let mut attempts = tokio::task::JoinSet::new();
        for number in 0..=ATTEMPTS {
            let failures = failures.clone();
            attempts.spawn(async move {
                for round in 0..50_u8 {
                    // Many prefixes of one site, so that there are two places to wait at.
                    let begun = failures.begin(Prefix::V6([0x20, 1, 0xd, 0xb8, 0, 0, number % 40]));
                    let begun = if number.wrapping_add(round).is_multiple_of(7) {
                        tokio::task::yield_now().await;
                        begun.now_or_never()
                    } else {
                        Some(begun.await)
                    };
                    if let Some(attempt) = begun {
                        tokio::task::yield_now().await;
                        attempt.expect("nobody has failed").end(false);
                    }
                }
            });
        }
        let all = tokio::time::timeout(secs(20), attempts.join_all()).await;
        assert_eq!(all.expect("nobody waits for ever").len(), usize::from(ATTEMPTS) + 1);
        // Who gave up may have been the last to hold a count.
        failures.prune();
        assert_eq!(failures.lock().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a27_who_succeeds_leaves_nothing_behind() {
        let failures = failures(Lockout::default());
        let attempt = failures.begin(v4(1)).await.expect("not locked");
        failures.prune();
        assert_eq!(failures.lock().len(), 1);
        attempt.end(false);
        assert_eq!(failures.lock().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a27_spoofed_prefixes_that_fail_take_bounded_memory_and_lock_no_stranger_out() {
        let max_prefixes = 100.try_into().expect("not 0");
        let failures = failures(Lockout { max_prefixes, ..Lockout::default() });
        for _ in 0..10 {
            fail(&failures, v4(0)).expect("not locked");
        }
        for number in 1..10_000 {
            assert_eq!(fail(&failures, v4(number)), Ok(()), "each is a stranger");
        }
        assert_eq!(failures.lock().len(), 100);
        assert_eq!(locked(&failures, v4(0)), Some(secs(60)), "who is locked out stays so");
        // Who has failed more is remembered before those who have failed less.
        for _ in 0..9 {
            fail(&failures, v4(10_000)).expect("not locked");
        }
        for number in 20_000..21_000 {
            fail(&failures, v4(number)).expect("not locked");
        }
        fail(&failures, v4(10_000)).expect("not locked");
        assert_eq!(locked(&failures, v4(10_000)), Some(secs(60)));
        tokio::time::advance(secs(600)).await;
        failures.prune();
        assert_eq!(failures.lock().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a27_a_table_full_of_those_who_are_locked_out_lets_strangers_try() {
        let max_prefixes = 10.try_into().expect("not 0");
        let max_failures_per_prefix = 1.try_into().expect("not 0");
        let failures = failures(Lockout { max_failures_per_prefix, max_prefixes, ..Lockout::default() });
        for number in 0..10 {
            fail(&failures, v4(number)).expect("not locked");
        }
        for number in 10..100 {
            assert_eq!(fail(&failures, v4(number)), Ok(()));
            assert_eq!(locked(&failures, v4(number)), None);
        }
        assert!((0..10).all(|number| locked(&failures, v4(number)).is_some()));
        assert_eq!(failures.lock().len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a27_one_ipv6_48_guesses_ten_times_as_often_as_one_prefix_and_not_256_times() {
        let failures = failures(Lockout::default());
        let of_site =
            |site: u8, number: u16| Prefix::V6([0x20, 1, 0xd, 0xb8, 0, site, number.to_be_bytes()[1]]);
        let mut failed = 0;
        for round in 0..10 {
            for number in 0..256 {
                failed += u32::from(fail(&failures, of_site(0, number)).is_ok());
            }
            assert_eq!(failed, 100, "round {round}");
        }
        assert_eq!(locked(&failures, of_site(0, 255)), Some(secs(6)));
        assert_eq!(locked(&failures, of_site(1, 0)), None, "another site");
        // One prefix of a site, which is locked out first, takes nothing from the others.
        for _ in 0..50 {
            let _ = fail(&failures, of_site(2, 0));
        }
        assert_eq!(locked(&failures, of_site(2, 0)), Some(secs(60)));
        assert_eq!(locked(&failures, of_site(2, 1)), None);
    }
}
