//! Addresses from which too many attempts have failed.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use net_core::Prefix;

use super::Lockout;
use crate::bucket::{EngineClock, Forgettable, Registry};

/// Counts failures by prefixes of addresses, of which there is a bounded number.
#[derive(Debug)]
pub(super) struct Failures {
    prefixes: Registry<Prefix, Record>,
    quota: Quota,
    clock: EngineClock,
}

impl Failures {
    /// `None` where the settings, which were checked, have no meaning.
    pub(super) fn new(lockout: &Lockout, clock: EngineClock) -> Option<Self> {
        let quota = Quota::with_period(lockout.forgiven_every)?.allow_burst(lockout.max_failures_per_prefix);
        let prefixes = Registry::new(lockout.max_prefixes.get(), Record::new(quota, clock));
        Some(Self { prefixes, quota, clock })
    }

    /// Returns for how long a prefix is still locked out.
    pub(super) fn locked(&self, prefix: Prefix) -> Option<Duration> {
        // Who never failed needs no record.
        self.prefixes.get(&prefix)?.locked(self.clock.now())
    }

    /// Counts one more failure.
    pub(super) fn count(&self, prefix: Prefix) {
        let record = self.prefixes.enter(prefix, || Record::new(self.quota, self.clock));
        record.count(self.clock.now(), self.quota.replenish_interval());
    }

    /// Forgets who has been forgiven everything.
    pub(super) fn prune(&self) {
        self.prefixes.prune();
    }
}

/// The failures of one prefix.
#[derive(Debug)]
struct Record {
    limiter: RateLimiter<NotKeyed, InMemoryState, EngineClock, StateInformationMiddleware>,
    max: NonZeroU32,
    /// In milliseconds of the clock.
    locked_until: AtomicU64,
}

impl Record {
    fn new(quota: Quota, clock: EngineClock) -> Self {
        let limiter = RateLimiter::direct_with_clock(quota, clock).with_middleware();
        Self { limiter, max: quota.burst_size(), locked_until: AtomicU64::new(0) }
    }

    fn locked(&self, now: Duration) -> Option<Duration> {
        let until = Duration::from_millis(self.locked_until.load(Ordering::Relaxed));
        until.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    fn count(&self, now: Duration, forgiven_every: Duration) {
        // Locked out is who has no failure left, until one is forgiven.
        let wait = match self.limiter.check() {
            Ok(left) if left.remaining_burst_capacity() > 0 => return,
            Ok(_) => forgiven_every,
            Err(not_until) => not_until.wait_time_from(now),
        };
        let until = u64::try_from((now + wait).as_millis()).unwrap_or(u64::MAX);
        self.locked_until.fetch_max(until, Ordering::Relaxed);
    }
}

impl Forgettable for Record {
    fn is_as_new(&self) -> bool {
        matches!(self.limiter.check_n(self.max), Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[tokio::test(start_paused = true)]
    async fn a27_who_fails_too_often_is_locked_out_until_one_failure_is_forgiven() {
        for max in 1..4 {
            let lockout = Lockout {
                max_failures_per_prefix: max.try_into().expect("not 0"),
                forgiven_every: secs(60),
                ..Lockout::default()
            };
            let failures = Failures::new(&lockout, EngineClock::start()).expect("has a meaning");
            let prefix = Prefix::V4(Ipv4Addr::LOCALHOST);
            for _ in 0..max {
                assert_eq!(failures.locked(prefix), None);
                failures.count(prefix);
            }
            for _ in 0..3 {
                assert_eq!(failures.locked(prefix), Some(secs(60)));
                tokio::time::advance(secs(59)).await;
                assert_eq!(failures.locked(prefix), Some(secs(1)));
                tokio::time::advance(secs(1)).await;
                assert_eq!(failures.locked(prefix), None, "one attempt, and no more");
                failures.count(prefix);
            }
            assert_eq!(failures.locked(Prefix::V4(Ipv4Addr::BROADCAST)), None, "others are not locked out");
            tokio::time::advance(secs(60) * max).await;
            failures.prune();
            assert_eq!(failures.prefixes.len(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a27_spoofed_prefixes_that_fail_take_bounded_memory() {
        let lockout = Lockout { max_prefixes: 100.try_into().expect("not 0"), ..Lockout::default() };
        let failures = Failures::new(&lockout, EngineClock::start()).expect("has a meaning");
        for n in 0..100_000_u32 {
            failures.count(Prefix::V4(n.into()));
        }
        assert_eq!(failures.prefixes.len(), 100);
        assert_eq!(failures.locked(Prefix::V4(0.into())), None, "one failure of its own");
        assert!(failures.locked(Prefix::V4(200_000.into())).is_some(), "those without a record share one");
        tokio::time::advance(secs(60)).await;
        failures.prune();
        assert_eq!(failures.prefixes.len(), 0);
        assert_eq!(failures.locked(Prefix::V4(200_000.into())), None);
    }
}
