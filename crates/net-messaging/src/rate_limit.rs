//! How often peers may ask.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{Quota, clock::Clock as _};
use net_core::Prefix;

use crate::{
    Session,
    bucket::{Bucket, EngineClock, Registry},
};

/// How often peers may send requests and notifications: so many in a second, with bursts.
///
/// A request over the limit is answered by an error message with code
/// [`RateLimited`](net_core::ErrorCode::RateLimited) that tells when to retry, which a client finds in
/// [`Error::retry_after`](net_core::Error::retry_after). A notification over the limit is dropped and counted, and so
/// is every message in [`Format::Raw`](crate::Format::Raw), which has no error messages. Answers and heartbeats never
/// count.
///
/// Several limits may be set at once; a message needs the leave of all of them. They are asked from the narrowest to
/// the widest, so what a session's own limit refuses does not use up what all share.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use net_core::memory::Memory;
/// use net_messaging::{Client, RateKey, RateLimit, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let one = NonZeroU32::MIN;
/// let server = Server::builder(memory.clone())
///     .rate_limit(RateLimit { burst: one, ..RateLimit::per_second(RateKey::Session, one) })
///     .on_message(|_, message| async move { Ok(message.into_reply()) })
///     .listen("mem://limited")
///     .await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// client.request("first").await?;
/// let error = client.request("too soon").await.unwrap_err();
/// assert!(error.retry_after().is_some_and(|wait| wait.as_secs() <= 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct RateLimit {
    /// Who shares the limit.
    pub key: RateKey,
    /// Messages in a second, in the long run.
    pub per_second: NonZeroU32,
    /// Messages at once, for somebody who was quiet before. With [`per_second`](Self::per_second): as many as in a
    /// second.
    pub burst: NonZeroU32,
    /// Identities or prefixes that have a limit of their own; further ones share one until others are forgotten, as
    /// who has been quiet for long enough is. Default: 16 384.
    #[cfg_attr(feature = "serde", serde(default = "default_max_keys"))]
    pub max_keys: usize,
}

/// Who shares a [`RateLimit`].
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use net_core::memory::Memory;
/// use net_messaging::{RateKey, RateLimit, Server};
///
/// let of = |key, n| RateLimit::per_second(key, NonZeroU32::new(n).expect("is not 0"));
/// let (each, all) = (of(RateKey::Session, 100), of(RateKey::Global, 10_000));
/// assert!(each.key < all.key, "the narrower one is asked first");
///
/// let builder = Server::builder(Memory::default()).rate_limit(each).rate_limit(all);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum RateKey {
    /// Each session has the limit for itself.
    Session,
    /// All sessions of one [`Identity`](crate::Identity), told apart by name; needs an
    /// [`Authenticator`](crate::Authenticator).
    Identity,
    /// All sessions from one IPv4 address or one IPv6 /56 network; those of loopback and of transports without IP
    /// addresses count as one.
    IpPrefix,
    /// All sessions of the server.
    Global,
}

const DEFAULT_MAX_KEYS: usize = 16 * 1024;

#[cfg(feature = "serde")]
fn default_max_keys() -> usize {
    DEFAULT_MAX_KEYS
}

impl RateLimit {
    /// Creates a limit of `per_second` messages in a second for each `key`, as many of them at once.
    pub fn per_second(key: RateKey, per_second: NonZeroU32) -> Self {
        Self { key, per_second, burst: per_second, max_keys: DEFAULT_MAX_KEYS }
    }
}

/// The limits of a server, and who has used how much of them.
#[derive(Debug)]
pub(crate) struct Limiters {
    /// From the narrowest to the widest.
    each: Vec<Limiter>,
    clock: EngineClock,
    /// When keys were forgotten last, in seconds of the clock.
    pruned: AtomicU64,
}

#[derive(Debug)]
struct Limiter {
    key: RateKey,
    quota: Quota,
    registry: Registry<Key>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Identity(Arc<str>),
    Prefix(Option<Prefix>),
    Everybody,
}

/// Keys are forgotten so often.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

impl Limiters {
    /// Returns the limits, where there are any.
    pub(crate) fn new(limits: &[RateLimit], clock: EngineClock) -> Option<Self> {
        let mut limits = limits.to_vec();
        limits.sort_by_key(|limit| limit.key);
        let each = limits.into_iter().map(|limit| {
            let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
            Limiter {
                key: limit.key,
                quota,
                registry: Registry::new(limit.max_keys.max(1), Bucket::new(quota, clock)),
            }
        });
        let each: Vec<_> = each.collect();
        (!each.is_empty()).then(|| Self { each, clock, pruned: AtomicU64::new(0) })
    }

    /// Returns what holds a session to the limits.
    pub(crate) fn gate(&self, session: &Session) -> Gate {
        let buckets = self.each.iter().map(|limiter| {
            let new = || Bucket::new(limiter.quota, self.clock);
            let key = match limiter.key {
                RateKey::Session => return Arc::new(new()),
                RateKey::Identity => session
                    .identity()
                    .map_or(Key::Everybody, |identity| Key::Identity(identity.shared_name().clone())),
                RateKey::IpPrefix => Key::Prefix(session.prefix()),
                RateKey::Global => Key::Everybody,
            };
            limiter.registry.enter(key, new)
        });
        Gate { buckets: buckets.collect(), refused: 0 }
    }

    /// Forgets keys that no session has and that have been quiet for long enough; called at each sweep.
    pub(crate) fn prune(&self) {
        let now = self.clock.now().as_secs();
        if now < self.pruned.load(Ordering::Relaxed) + PRUNE_INTERVAL.as_secs() {
            return;
        }
        self.pruned.store(now, Ordering::Relaxed);
        self.each.iter().for_each(|limiter| limiter.registry.prune());
    }
}

/// Holds one session to the limits.
#[derive(Debug)]
pub(crate) struct Gate {
    buckets: Box<[Arc<Bucket>]>,
    /// Messages that were refused since the last report.
    refused: u64,
}

impl Gate {
    /// Lets one message pass.
    ///
    /// # Errors
    ///
    /// It is over a limit; so long it takes until the next one may pass.
    pub(crate) fn pass(&mut self) -> Result<(), Duration> {
        let passed = self.buckets.iter().try_for_each(|bucket| bucket.take());
        if passed.is_err() {
            self.refused += 1;
        }
        passed
    }

    /// Returns how many messages were refused since this was asked last.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}
