//! When a client tries to connect again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// When a client tries to connect again: back-off with full jitter, under a ceiling.
///
/// The `n`th attempt waits for a random time between the floor and `interval` × `multiplier`ⁿ⁻¹, but at most the
/// ceiling; so clients that lost one server do not come back to it all at once. The count starts anew once a
/// connection has lasted for the stable period. A server that says when to come back is heeded, within a ceiling of its
/// own.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_messaging::Reconnect;
///
/// let reconnect = Reconnect {
///     interval: Duration::from_secs(5),
///     max_attempts: Some(10),
///     multiplier: 2.0,
///     jitter: false,
///     ..Reconnect::default()
/// };
/// assert_eq!(reconnect.delay(3), Some(Duration::from_secs(20)));
/// assert_eq!(reconnect.delay(11), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Reconnect {
    /// The wait before the first attempt. Default: 100 ms.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub interval: Duration,
    /// What each further wait is multiplied by, at least 1. Default: 2.0.
    pub multiplier: f32,
    /// The longest wait of the client's own; the server may ask for more. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_interval: Duration,
    /// The longest wait that a server may ask for by its retry-after; where it wants more, the client comes back after
    /// this, plus its jitter. Default: 1 h.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_retry_after: Duration,
    /// The shortest wait with jitter. Default: 50 ms.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub min_interval: Duration,
    /// Waits for a random part of each interval, so that clients come back one by one. Default: true.
    pub jitter: bool,
    /// Attempts before giving up; `None` never gives up. Default: `None`.
    pub max_attempts: Option<u32>,
    /// How long a connection must last for the attempts to be counted anew. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub stable_after: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            multiplier: 2.0,
            max_interval: Duration::from_secs(30),
            max_retry_after: Duration::from_hours(1),
            min_interval: Duration::from_millis(50),
            jitter: true,
            max_attempts: None,
            stable_after: Duration::from_secs(30),
        }
    }
}

impl Reconnect {
    /// Returns the wait before the `attempt`th attempt, the first being 1; `None` where there is no such attempt.
    pub fn delay(&self, attempt: u32) -> Option<Duration> {
        if attempt == 0 || self.max_attempts.is_some_and(|max| attempt > max) {
            return None;
        }
        let mut delays = ExponentialBuilder::new()
            // The first delay is taken as it is, without a look at the ceiling.
            .with_min_delay(self.interval.min(self.max_interval))
            .with_factor(self.multiplier.max(1.0))
            .with_max_delay(self.max_interval)
            .without_max_times()
            .build();
        // The sequence stays at its ceiling once it is there, which no sane setting takes long to reach.
        let full = delays.nth(attempt.min(MAX_STEPS) as usize - 1)?;
        Some(if self.jitter { self.min_interval.max(full.mul_f64(fastrand::f64())) } else { full })
    }
}

impl Reconnect {
    /// Returns the wait before the `attempt`th attempt where the server wants one of at least `least`: with jitter,
    /// up to half as long again, so that clients that were sent away together do not come back together.
    pub(crate) fn delay_after(&self, attempt: u32, least: Duration) -> Option<Duration> {
        let least = least.min(self.max_retry_after);
        let spread = if self.jitter { least.mul_f64(fastrand::f64() / 2.0) } else { Duration::ZERO };
        Some(self.delay(attempt)?.max(least.saturating_add(spread)))
    }
}

/// From this step on the wait is taken as constant.
const MAX_STEPS: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m4_the_sources_example_is_expressible_exactly() {
        let reconnect = Reconnect {
            interval: Duration::from_secs(5),
            max_attempts: Some(10),
            jitter: false,
            ..Reconnect::default()
        };
        let delays: Vec<_> = (1..).map_while(|n| reconnect.delay(n)).map(|delay| delay.as_secs()).collect();
        assert_eq!(delays, [5, 10, 20, 30, 30, 30, 30, 30, 30, 30]);
    }

    #[test]
    fn a32_jitter_spreads_over_the_whole_interval() {
        let reconnect = Reconnect { interval: Duration::from_secs(10), ..Reconnect::default() };
        let delays: Vec<_> = (0..1000).filter_map(|_| reconnect.delay(1)).collect();
        assert!(
            delays.iter().all(|delay| (Duration::from_millis(50)..=Duration::from_secs(10)).contains(delay))
        );
        let below_half = delays.iter().filter(|delay| **delay < Duration::from_secs(5)).count();
        assert!((350..650).contains(&below_half), "{below_half} of 1000 below half");
    }

    #[test]
    fn no_wait_is_longer_than_the_ceiling_not_even_the_first() {
        let reconnect =
            Reconnect { interval: Duration::from_hours(1), jitter: false, ..Reconnect::default() };
        assert_eq!(reconnect.delay(1), Some(reconnect.max_interval));
        assert_eq!(reconnect.delay(2), Some(reconnect.max_interval));
    }

    #[test]
    fn m4_no_server_makes_a_client_wait_longer_than_its_ceiling() {
        let reconnect = Reconnect { jitter: false, ..Reconnect::default() };
        let told = |millis| reconnect.delay_after(1, Duration::from_millis(millis));
        assert_eq!(told(5_000), Some(Duration::from_secs(5)));
        assert_eq!(told(u64::from(u32::MAX)), Some(Duration::from_hours(1)), "not 49 days");
        let jittered = Reconnect { jitter: true, ..reconnect };
        let longest = jittered.delay_after(1, Duration::MAX);
        assert!(longest <= Some(Duration::from_mins(90)), "{longest:?}");
    }

    #[test]
    fn an_attempt_of_any_number_has_a_wait() {
        let reconnect = Reconnect { jitter: false, ..Reconnect::default() };
        assert_eq!(reconnect.delay(u32::MAX), Some(reconnect.max_interval));
    }
}
