//! A rate that is held to: tokens that are taken and come back with time, under a bounded number of keys.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

/// The time since the start of a server; where a test pauses the time of the runtime, it stands still too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineClock(Instant);

impl EngineClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl clock::Clock for EngineClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Tokens that are taken and come back with time.
pub(crate) struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, EngineClock, NoOpMiddleware<Duration>>,
    burst: NonZeroU32,
    clock: EngineClock,
}

impl Bucket {
    pub(crate) fn new(quota: Quota, clock: EngineClock) -> Self {
        Self { limiter: RateLimiter::direct_with_clock(quota, clock), burst: quota.burst_size(), clock }
    }

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// There is none; so long it takes until the next one is there.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|not_until| not_until.wait_time_from(clock::Clock::now(&self.clock)))
    }

    /// Tells whether it is as full as a new one. It is of no use afterwards: to find out takes all of its tokens.
    fn is_as_new(&self) -> bool {
        matches!(self.limiter.check_n(self.burst), Ok(Ok(())))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("burst", &self.burst).finish_non_exhaustive()
    }
}

/// Buckets under keys that peers choose, bounded in number: once it is full, new keys share one bucket.
#[derive(Debug)]
pub(crate) struct Registry<K> {
    /// The standard map's hash is seeded at random.
    entries: Mutex<HashMap<K, Arc<Bucket>>>,
    shared: Arc<Bucket>,
    max: usize,
}

impl<K: Eq + Hash> Registry<K> {
    /// Creates a registry of at most `max` keys; all others mean `shared`.
    pub(crate) fn new(max: usize, shared: Bucket) -> Self {
        Self { entries: Mutex::default(), shared: Arc::new(shared), max }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Bucket>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what stands under `key`, or what it shares with others; made now where it is new.
    pub(crate) fn enter(&self, key: K, make: impl FnOnce() -> Bucket) -> Arc<Bucket> {
        let mut entries = self.lock();
        if entries.len() >= self.max && !entries.contains_key(&key) {
            return self.shared.clone();
        }
        entries.entry(key).or_insert_with(|| Arc::new(make())).clone()
    }

    /// Forgets the buckets that nobody holds and that are as full as new ones.
    pub(crate) fn prune(&self) {
        let mut entries = self.lock();
        // Nobody takes one while the lock is held.
        entries.retain(|_, entry| Arc::strong_count(entry) > 1 || !entry.is_as_new());
        // A table that many keys have left gives its memory back.
        if entries.capacity() > 64 && entries.len() < entries.capacity() / 8 {
            let half = entries.capacity() / 2;
            entries.shrink_to(half);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(per_second: u32, burst: u32) -> Quota {
        let number = |n| NonZeroU32::new(n).expect("not 0");
        Quota::per_second(number(per_second)).allow_burst(number(burst))
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[tokio::test(start_paused = true)]
    async fn m14_tokens_are_gone_after_the_burst_and_come_back_at_the_rate() {
        let bucket = Bucket::new(quota(2, 3), EngineClock::start());
        for round in 0..3 {
            for _ in 0..3 {
                assert_eq!(bucket.take(), Ok(()), "round {round}");
            }
            assert_eq!(bucket.take(), Err(Duration::from_millis(500)));
            tokio::time::advance(Duration::from_millis(499)).await;
            assert_eq!(bucket.take(), Err(Duration::from_millis(1)));
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(bucket.take(), Ok(()));
            tokio::time::advance(secs(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn m14_100_000_spoofed_keys_hold_no_more_than_the_cap() {
        let clock = EngineClock::start();
        let new = || Bucket::new(quota(1, 2), clock);
        let registry = Registry::new(1000, new());
        let early = registry.enter(0_u32, new);
        for key in 0..100_000 {
            // The first ones have a bucket each, all others share one.
            let taken = registry.enter(key, new).take();
            assert_eq!(taken.is_ok(), key < 1002, "{key}");
        }
        assert_eq!(registry.len(), 1000);
        registry.prune();
        assert_eq!(registry.len(), 1000, "what is not full again is not forgotten");
        tokio::time::advance(secs(2)).await;
        registry.prune();
        assert_eq!(registry.len(), 1, "what somebody holds is not forgotten");
        assert!(registry.lock().capacity() < 1000, "{}", registry.lock().capacity());
        assert_eq!(early.take(), Ok(()));
        drop(early);
        tokio::time::advance(secs(2)).await;
        registry.prune();
        assert_eq!(registry.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_held_by_two_means_one_bucket() {
        let clock = EngineClock::start();
        let new = || Bucket::new(quota(1, 1), clock);
        let registry = Registry::new(10, new());
        let (first, second) = (registry.enter(1, new), registry.enter(1, new));
        assert_eq!(first.take(), Ok(()));
        assert_eq!(second.take(), Err(secs(1)));
    }
}
