//! What somebody may use who has not shown who it is.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// What a session may use that has not authenticated, of a server with an [`Authenticator`](crate::Authenticator).
///
/// Whoever exceeds one of these bounds is disconnected.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_messaging::AuthenticationConfig;
///
/// let config = AuthenticationConfig { timeout: Duration::from_secs(3), ..AuthenticationConfig::default() };
/// assert_eq!((config.max_attempts.get(), config.max_bytes), (3, 64 * 1024));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AuthenticationConfig {
    /// How long it may take in all, from the connection on. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub timeout: Duration,
    /// How long one decision of the authenticator may take. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub decision_timeout: Duration,
    /// Attempts of one session. Default: 3.
    pub max_attempts: NonZeroU32,
    /// Messages of any kind before it has succeeded. Default: 8.
    pub max_messages: u32,
    /// Bytes of these messages. Default: 64 KiB.
    pub max_bytes: usize,
    /// Whether the peer is told by which name it is known. Default: true.
    pub tell_name: bool,
    /// What happens to addresses whose attempts fail again and again; `None`: nothing. Default: see [`Lockout`].
    pub lockout: Option<Lockout>,
}

/// When a prefix of addresses is locked out: an IPv4 address or an IPv6 /56 network; a /48 at ten times as many failures.
///
/// An attempt counts as failed where the credentials are refused as wrong or as not allowed in, where they cannot be
/// read, and where the session ends before the decision. A decision that takes too long is no failure, nor is
/// [`Refusal::unavailable`](crate::Refusal::unavailable).
///
/// No more decisions run at once for a prefix than it may still fail; further attempts wait their turn, within the
/// [time-out](AuthenticationConfig::timeout).
///
/// Whoever is locked out is told when to come again, whatever its credentials, and the authenticator is not asked.
/// Loopback and transports without IP addresses are never locked out: whoever is behind a proxy on the same machine
/// would be locked out with all others.
///
/// # Examples
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use net_messaging::{AuthenticationConfig, Lockout};
///
/// let lockout = Lockout {
///     max_failures_per_prefix: NonZeroU32::new(3).expect("is not 0"),
///     forgiven_every: Duration::from_secs(15 * 60),
///     ..Lockout::default()
/// };
/// let config = AuthenticationConfig { lockout: Some(lockout), ..AuthenticationConfig::default() };
/// assert_eq!(config.lockout.map(|lockout| lockout.max_prefixes.get()), Some(16_384));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lockout {
    /// So many failures in a row lock a prefix out. Default: 10.
    pub max_failures_per_prefix: NonZeroU32,
    /// One failure is forgiven so often; this long a prefix is locked out. Default: 1 min.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub forgiven_every: Duration,
    /// Prefixes whose failures are counted. Of more, those are forgotten that would be forgiven first, but none that is
    /// locked out; where all are, further ones are not counted. Default: 16 384.
    pub max_prefixes: NonZeroUsize,
}

const fn count(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

impl Default for AuthenticationConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            decision_timeout: Duration::from_secs(5),
            max_attempts: count(3),
            max_messages: 8,
            max_bytes: 64 * 1024,
            tell_name: true,
            lockout: Some(Lockout::default()),
        }
    }
}

impl Default for Lockout {
    fn default() -> Self {
        Self {
            max_failures_per_prefix: count(10),
            forgiven_every: Duration::from_mins(1),
            max_prefixes: NonZeroUsize::MIN.saturating_add((16 << 10) - 1),
        }
    }
}

/// The longest time that failures of one prefix may be remembered in all.
const MAX_MEMORY: Duration = Duration::from_hours(24 * 365 * 10);

impl AuthenticationConfig {
    /// Returns what is wrong with the settings.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.max_messages == 0 {
            return Err("authentication.max_messages is 0, so nobody could ever authenticate");
        }
        if self.timeout.is_zero() {
            return Err("authentication.timeout is 0, which nobody could keep to");
        }
        if self.decision_timeout.is_zero() {
            return Err("authentication.decision_timeout is 0, which nobody could keep to");
        }
        let Some(lockout) = &self.lockout else { return Ok(()) };
        if lockout.forgiven_every.is_zero() {
            return Err("authentication.lockout.forgiven_every is 0, so nobody would ever be locked out");
        }
        match lockout.forgiven_every.checked_mul(lockout.max_failures_per_prefix.get()) {
            Some(memory) if memory <= MAX_MEMORY => Ok(()),
            _ => Err("authentication.lockout remembers failures for more than ten years"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a27_the_defaults_are_those_of_the_documentation() {
        let config = AuthenticationConfig::default();
        assert_eq!((config.timeout.as_secs(), config.decision_timeout.as_secs()), (10, 5));
        assert_eq!((config.max_attempts.get(), config.max_messages, config.max_bytes), (3, 8, 65_536));
        let lockout = config.lockout.expect("is on");
        assert_eq!((lockout.max_failures_per_prefix.get(), lockout.max_prefixes.get()), (10, 16_384));
        assert_eq!(lockout.forgiven_every.as_secs(), 60);
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let zero = Duration::ZERO;
        assert!(AuthenticationConfig { timeout: zero, ..Default::default() }.check().is_err());
        assert!(AuthenticationConfig { decision_timeout: zero, ..Default::default() }.check().is_err());
        let lockout = |lockout| AuthenticationConfig { lockout: Some(lockout), ..Default::default() };
        assert!(AuthenticationConfig { max_messages: 0, ..Default::default() }.check().is_err());
        assert!(lockout(Lockout { forgiven_every: Duration::ZERO, ..Default::default() }).check().is_err());
        let long = Lockout { max_failures_per_prefix: NonZeroU32::MAX, ..Default::default() };
        assert!(lockout(long).check().is_err());
    }
}
