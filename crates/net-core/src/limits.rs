//! The limits and time-outs of a server, one struct with the same names for every protocol.

use std::time::Duration;

/// The limits and time-outs of a server, all on unless switched off.
///
/// Every protocol takes this one struct, and every name means the same in each of them. What a limit does when it is
/// reached is told to the [`Observer`](crate::Observer) under its [`Limit`](crate::Limit)'s name. The table of all of
/// them is `docs/limits.md`, which is generated from the comments of these fields.
///
/// `None` switches a limit off. A time-out of 0 is no limit that anybody could keep to, and is refused at the start;
/// a grace may be 0.
///
/// Time-outs are looked at by one sweep for all sessions of a server: they are kept to within an eighth of the
/// shortest of them, at most two seconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::Limits;
///
/// let limits = Limits {
///     max_connections: 2_000,
///     idle_timeout: Some(Duration::from_secs(600)),
///     ..Limits::default()
/// };
/// assert_eq!(limits.max_connections_per_prefix, 200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Limits {
    /// Connections in all, those that are still in their handshake among them.
    ///
    /// * Unit: connections
    /// * Default: 10 000
    /// * Reached: one more is refused before its handshake
    /// * Told: `rejected`, `max_connections`; `rejected`, `descriptors` where the system has no descriptor left
    pub max_connections: usize,
    /// Connections from one IPv4 address or one IPv6 /56 network; ten times as many from one IPv6 /48; loopback is not counted.
    ///
    /// * Unit: connections
    /// * Default: 200
    /// * Reached: one more is refused before its handshake
    /// * Told: `rejected`, `max_connections_per_prefix`
    pub max_connections_per_prefix: usize,
    /// Handshakes that run at once; one prefix may hold a quarter of them, one IPv6 /48 half.
    ///
    /// * Unit: handshakes
    /// * Default: 256
    /// * Reached: the oldest is dropped for a new one; one more of the same prefix or /48 is refused
    /// * Told: `handshake_failed`, `max_handshakes`; `rejected`, `max_handshakes_per_prefix`
    pub max_handshakes: usize,
    /// How long a handshake may take.
    ///
    /// * Unit: time
    /// * Default: 10 s
    /// * Reached: the connection is dropped
    /// * Told: `handshake_failed`
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub handshake_timeout: Duration,
    /// The first message of a client, from its first byte to its last, must have arrived within this time of the end of its
    /// handshake.
    ///
    /// * Unit: time, or off
    /// * Default: 30 s
    /// * Reached: the session ends
    /// * Told: `limited`, `first_message_timeout`
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub first_message_timeout: Option<Duration>,
    /// A message whose first byte has arrived must be whole within this time.
    ///
    /// * Unit: time, or off
    /// * Default: 30 s
    /// * Reached: the session ends
    /// * Told: `limited`, `message_timeout`
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub message_timeout: Option<Duration>,
    /// How fast a message must arrive that has begun, on the average since its first byte.
    ///
    /// * Unit: a rate, or off
    /// * Default: on
    /// * Reached: the session ends
    /// * Told: `limited`, `min_data_rate`
    pub min_data_rate: Option<DataRate>,
    /// A session of which nothing arrived for this long, not even a heartbeat, ends.
    ///
    /// * Unit: time, or off
    /// * Default: 120 s
    /// * Reached: the session ends
    /// * Told: `limited`, `idle_timeout`
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub idle_timeout: Option<Duration>,
    /// A peer that takes nothing of what waits for it for this long is disconnected.
    ///
    /// * Unit: time, or off
    /// * Default: 10 s
    /// * Reached: the session is cut
    /// * Told: `limited`, `stall_timeout`
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub stall_timeout: Option<Duration>,
    /// A handler that runs longer is dropped.
    ///
    /// * Unit: time, or off
    /// * Default: 30 s
    /// * Reached: its request is answered by an error; the session goes on
    /// * Told: `limited`, `handler_timeout`
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub handler_timeout: Option<Duration>,
    /// How long a closing session waits for the peer to finish.
    ///
    /// * Unit: time
    /// * Default: 1 s
    /// * Reached: the connection is dropped
    /// * Told: nothing: all that was accepted has been sent
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub close_timeout: Duration,
    /// How long a connection may live, so that clients spread over servers that are added later.
    ///
    /// * Unit: time, or off
    /// * Default: off
    /// * Reached: the peer is asked to go away; after the grace the session drains
    /// * Told: `limited`, `lifetime`
    pub lifetime: Option<Lifetime>,
    /// The longest message, with the head that its format has; where the transport's framing allows less, that holds.
    ///
    /// * Unit: bytes, or the framing's own limit
    /// * Default: the framing's own, 1 MiB unless set
    /// * Reached: a longer one that arrives ends the session; one that is to be sent is refused
    /// * Told: `limited`, `max_message_len`
    #[cfg_attr(feature = "serde", serde(with = "crate::size"))]
    pub max_message_len: Option<usize>,
    /// What may wait to be sent to one peer.
    ///
    /// * Unit: bounds
    /// * Default: on
    /// * Reached: as `outbox.overflow` says
    /// * Told: `limited`, `outbox.max_messages` or `outbox.max_bytes`; `dropped` where messages are
    pub outbox: OutboxConfig,
    /// Requests that one side has sent on a connection and that wait for their answers, of each side.
    ///
    /// Of the peer's, as many are handled at once as the session's `max_concurrent` says, which may not be more; behind them 64
    /// messages or 256 KiB wait for the handler, and the rest is not read.
    ///
    /// * Unit: requests
    /// * Default: 1 024
    /// * Reached: the next one waits until there is room
    /// * Told: `limited`, `max_in_flight` where it is one of ours
    pub max_in_flight: usize,
    /// What all sessions of a server may hold: messages that wait to be sent, messages that wait for their handler,
    /// and read buffers with a message that has arrived in part.
    ///
    /// Of each session the first 4 KiB are not counted, and what is more is counted in steps of 16 KiB: what is held
    /// is at most this and 4 KiB for each connection, and what one connection of each thread takes in at once.
    /// Messages that wait for a handler are counted with the buffers into which they were read, 65 KiB each; where
    /// half of the budget is used, short ones are copied out of them. A
    /// message of which several sessions hold a view is counted for each. What a handler works on is the program's;
    /// buffers of sockets are the transport's and the system's, which bound them.
    ///
    /// * Unit: bytes, or off
    /// * Default: 512 MiB
    /// * Reached: what is to be sent is refused, and a session that takes in more is cut; from three quarters on, the
    ///   sessions that hold most are cut until less is held
    /// * Told: `limited`, `memory_budget`
    #[cfg_attr(feature = "serde", serde(with = "crate::size"))]
    pub memory_budget: Option<usize>,
}

/// The least speed at which a message must arrive.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::DataRate;
///
/// let rate = DataRate { bytes_per_second: 1_000, ..DataRate::default() };
/// assert!(rate.is_kept(0, Duration::from_secs(5)), "it is within its grace");
/// assert!(rate.is_kept(10_000, Duration::from_secs(10)));
/// assert!(!rate.is_kept(9_999, Duration::from_secs(10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct DataRate {
    /// How many bytes must have arrived for each second since the first of them.
    ///
    /// * Unit: bytes a second
    /// * Default: 240
    pub bytes_per_second: u32,
    /// How long a message may take whatever its speed.
    ///
    /// * Unit: time
    /// * Default: 5 s
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub grace: Duration,
}

/// How long a connection may live.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::{Lifetime, Limits};
///
/// let lifetime = Lifetime::new(Duration::from_secs(3_600));
/// let limits = Limits { lifetime: Some(lifetime), ..Limits::default() };
/// assert!((3_240..=3_960).contains(&lifetime.of(1).as_secs()));
/// assert_ne!(lifetime.of(1), lifetime.of(2)); // they do not leave together
/// # let _ = limits;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Lifetime {
    /// When the peer is asked to go away; each connection has a time of its own, up to a tenth more or less.
    ///
    /// * Unit: time
    /// * Default: none: it is named where a lifetime is set
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub after: Duration,
    /// How long it may then go on before its session drains.
    ///
    /// * Unit: time
    /// * Default: 5 s
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde", default = "default_grace"))]
    pub grace: Duration,
}

/// The bounds of what waits to be sent to one peer.
///
/// # Examples
///
/// ```
/// use net_core::{Limits, OutboxConfig};
///
/// let outbox = OutboxConfig { max_messages: 64, ..OutboxConfig::default() };
/// let limits = Limits { outbox, ..Limits::default() };
/// assert_eq!((limits.outbox.max_messages, limits.outbox.max_bytes), (64, 1 << 20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct OutboxConfig {
    /// How many messages may wait.
    ///
    /// * Unit: messages
    /// * Default: 1 024
    pub max_messages: usize,
    /// How many bytes of payload may wait, with what each message costs besides; one message always fits.
    ///
    /// * Unit: bytes
    /// * Default: 1 MiB
    #[cfg_attr(feature = "serde", serde(with = "crate::size"))]
    pub max_bytes: usize,
    /// Above this a message is queued rather than sent at once, and below half of it those who wait to send go on.
    ///
    /// * Unit: bytes
    /// * Default: 512 KiB
    #[cfg_attr(feature = "serde", serde(with = "crate::size"))]
    pub high_water: usize,
    /// What happens to a message that finds no room.
    ///
    /// * Unit: `disconnect`, `refuse`, `drop-newest`, `drop-oldest`
    /// * Default: `disconnect`: it is refused, and the session is cut where there is no room for the stall time-out
    pub overflow: Overflow,
}

/// What happens when a message is sent to a session whose outbox is full.
///
/// # Examples
///
/// ```
/// use net_core::{OutboxConfig, Overflow};
///
/// // Of prices the last one counts: older ones that wait make room.
/// let prices = OutboxConfig { overflow: Overflow::DropOldest, ..OutboxConfig::default() };
/// // An order that finds no room is given back to whoever sends it.
/// let orders = OutboxConfig { overflow: Overflow::Refuse, ..OutboxConfig::default() };
/// assert_ne!(prices, orders);
/// assert_eq!(Overflow::default(), Overflow::Disconnect);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Overflow {
    /// The message is refused, and a session whose outbox stays full for the stall time-out is disconnected.
    #[default]
    Disconnect,
    /// The message is refused; the session stays however long its outbox is full.
    Refuse,
    /// The message is dropped and counted.
    DropNewest,
    /// The oldest messages that wait are dropped and counted, to make room.
    DropOldest,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_prefix: 200,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            first_message_timeout: Some(Duration::from_secs(30)),
            message_timeout: Some(Duration::from_secs(30)),
            min_data_rate: Some(DataRate::default()),
            idle_timeout: Some(Duration::from_mins(2)),
            stall_timeout: Some(Duration::from_secs(10)),
            handler_timeout: Some(Duration::from_secs(30)),
            close_timeout: Duration::from_secs(1),
            lifetime: None,
            max_message_len: None,
            outbox: OutboxConfig::default(),
            max_in_flight: 1024,
            memory_budget: Some(512 << 20),
        }
    }
}

impl Limits {
    /// Looks for a time-out of 0.
    ///
    /// # Errors
    ///
    /// What is wrong, with the name of the field.
    pub fn check(&self) -> Result<(), &'static str> {
        macro_rules! refuse_zero {
            ($($name:literal, $time:expr;)*) => {$(
                if $time.is_some_and(|time: Duration| time.is_zero()) {
                    return Err(concat!($name, " is 0, which nobody could keep to"));
                }
            )*};
        }
        refuse_zero! {
            "handshake_timeout", Some(self.handshake_timeout);
            "first_message_timeout", self.first_message_timeout;
            "message_timeout", self.message_timeout;
            "idle_timeout", self.idle_timeout;
            "stall_timeout", self.stall_timeout;
            "handler_timeout", self.handler_timeout;
            "close_timeout", Some(self.close_timeout);
            "lifetime.after", self.lifetime.map(|lifetime| lifetime.after);
        }
        Ok(())
    }
}

impl Default for DataRate {
    fn default() -> Self {
        Self { bytes_per_second: 240, grace: Duration::from_secs(5) }
    }
}

impl DataRate {
    /// Tells whether `bytes` in `elapsed` are fast enough.
    #[must_use]
    pub fn is_kept(&self, bytes: u64, elapsed: Duration) -> bool {
        elapsed <= self.grace
            || u128::from(bytes) * 1_000 >= u128::from(self.bytes_per_second) * elapsed.as_millis()
    }
}

fn default_grace() -> Duration {
    Duration::from_secs(5)
}

impl Lifetime {
    /// A lifetime of `after`, with a grace of 5 s.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        Self { after, grace: default_grace() }
    }

    /// Returns the lifetime of the connection with the number `seed`: up to a tenth longer or shorter than `after`,
    /// so that connections that were made at once do not end at once.
    #[must_use]
    pub fn of(&self, seed: u64) -> Duration {
        // SplitMix64: neighbours among the numbers become far apart.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let thousandths = u32::try_from((mixed ^ (mixed >> 31)) % 201).unwrap_or(100) + 900;
        self.after.saturating_mul(thousandths) / 1_000
    }
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self { max_messages: 1024, max_bytes: 1 << 20, high_water: 512 * 1024, overflow: Overflow::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let limits = Limits::default();
        assert_eq!((limits.max_connections, limits.max_connections_per_prefix), (10_000, 200));
        assert_eq!((limits.max_handshakes, limits.handshake_timeout), (256, Duration::from_secs(10)));
        assert_eq!(limits.first_message_timeout, Some(Duration::from_secs(30)));
        assert_eq!(limits.message_timeout, Some(Duration::from_secs(30)));
        assert_eq!(limits.idle_timeout, Some(Duration::from_mins(2)));
        assert_eq!(limits.stall_timeout, Some(Duration::from_secs(10)));
        assert_eq!(limits.handler_timeout, Some(Duration::from_secs(30)));
        assert_eq!(limits.close_timeout, Duration::from_secs(1));
        assert_eq!((limits.lifetime, limits.max_message_len), (None, None));
        assert_eq!((limits.outbox.max_messages, limits.outbox.max_bytes), (1024, 1 << 20));
        assert_eq!((limits.max_in_flight, limits.memory_budget), (1024, Some(512 << 20)));
        let rate = limits.min_data_rate.expect("on");
        assert_eq!((rate.bytes_per_second, rate.grace), (240, Duration::from_secs(5)));
    }

    #[test]
    fn a_time_out_of_0_is_refused_by_name_and_a_grace_of_0_is_not() {
        fn zero(name: &str, set: impl Fn(&mut Limits)) {
            let mut limits = Limits::default();
            set(&mut limits);
            let error = limits.check().expect_err(name);
            assert!(error.starts_with(&format!("{name} is 0")), "{error}");
        }
        const ZERO: Duration = Duration::ZERO;
        zero("handshake_timeout", |limits| limits.handshake_timeout = ZERO);
        zero("first_message_timeout", |limits| limits.first_message_timeout = Some(ZERO));
        zero("message_timeout", |limits| limits.message_timeout = Some(ZERO));
        zero("idle_timeout", |limits| limits.idle_timeout = Some(ZERO));
        zero("stall_timeout", |limits| limits.stall_timeout = Some(ZERO));
        zero("handler_timeout", |limits| limits.handler_timeout = Some(ZERO));
        zero("close_timeout", |limits| limits.close_timeout = ZERO);
        zero("lifetime.after", |limits| limits.lifetime = Some(Lifetime::new(ZERO)));
        assert_eq!(Limits::default().check(), Ok(()));
        let lifetime = Some(Lifetime { grace: ZERO, ..Lifetime::new(Duration::from_secs(1)) });
        let min_data_rate = Some(DataRate { grace: ZERO, ..DataRate::default() });
        assert_eq!(Limits { min_data_rate, lifetime, ..Limits::default() }.check(), Ok(()));
    }

    #[test]
    fn a_rate_is_an_average_after_its_grace() {
        let rate = DataRate::default();
        assert!(rate.is_kept(0, Duration::from_secs(5)));
        assert!(!rate.is_kept(6, Duration::from_secs(6)));
        assert!(rate.is_kept(240 * 6, Duration::from_secs(6)));
        assert!(!rate.is_kept(240 * 6 - 1, Duration::from_secs(6)));
    }

    #[test]
    fn lifetimes_spread_over_a_tenth_on_each_side() {
        let lifetime = Lifetime::new(Duration::from_secs(1_000));
        let lives: Vec<_> = (0..10_000).map(|seed| lifetime.of(seed).as_secs()).collect();
        assert!(lives.iter().all(|life| (900..=1_100).contains(life)));
        for tenth in 0..10 {
            let within = 900 + tenth * 20..920 + tenth * 20;
            let count = lives.iter().filter(|&&life| within.contains(&life)).count();
            assert!((800..1_200).contains(&count), "{count} in {within:?}");
        }
        assert_eq!(Lifetime::new(Duration::MAX).of(1), Lifetime::new(Duration::MAX).of(1), "no overflow");
    }
}
