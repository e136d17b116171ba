//! How sessions behave: format, limits, time-outs.

use std::time::Duration;

use net_core::AcceptLimits;

use crate::{AuthenticationConfig, RateLimit};

/// What stands in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Format {
    /// Kind, id and payload: requests find their answers, heartbeats prove life.
    #[default]
    Message,
    /// The payload alone, for peers that only frame. Each is a notification to the handler, and of what the handler
    /// returns only the payload is sent. There are no requests, heartbeats and error messages.
    Raw,
}

/// What happens when a message is sent to a session whose outbox is full.
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

/// The bounds of what waits to be sent to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct OutboxConfig {
    /// Messages. Default: 1024.
    pub max_messages: usize,
    /// Bytes of payload, with what each message costs besides; one message always fits. Default: 1 MiB.
    pub max_bytes: usize,
    /// Above this many bytes a message is [`Queued`](crate::Delivery::Queued) rather than sent at once, and below
    /// it again those who wait to send go on. Default: 512 KiB.
    pub high_water: usize,
    /// What happens when it is full. Default: [`Overflow::Disconnect`].
    pub overflow: Overflow,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self { max_messages: 1024, max_bytes: 1 << 20, high_water: 512 * 1024, overflow: Overflow::default() }
    }
}

/// How each side proves that it lives, in [`Format::Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Heartbeat {
    /// A heartbeat is sent when nothing was sent for this long. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub interval: Duration,
    /// A peer of which nothing arrived for so many intervals is dead. Default: 3.
    pub missed: u32,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), missed: 3 }
    }
}

/// How one session behaves, on a server and on a client.
///
/// Deadlines are looked at by one sweep for all sessions of a server, so they are kept to within an eighth of the
/// shortest of them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_messaging::SessionConfig;
///
/// let config = SessionConfig { idle_timeout: Some(Duration::from_secs(600)), ..SessionConfig::default() };
/// assert_eq!(config.max_concurrent, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct SessionConfig {
    /// What stands in a frame. Default: [`Format::Message`].
    pub format: Format,
    /// How many handlers of one session run at once; at 1, messages are handled strictly one after another.
    /// [`Format::Raw`] needs 1, since its answers carry no number. Default: 1.
    pub max_concurrent: usize,
    /// Requests of our own that wait for their answers; one more waits until there is room. Default: 1024.
    pub max_in_flight: usize,
    /// The bounds of what waits to be sent.
    pub outbox: OutboxConfig,
    /// Proof of life; `None` sends and expects none. Default: every 10 s, dead after 3.
    pub heartbeat: Option<Heartbeat>,
    /// A session of which nothing arrived for this long, not even a heartbeat, is closed. Default: 120 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub idle_timeout: Option<Duration>,
    /// The first message of a client must have arrived whole within this time. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub first_message_timeout: Option<Duration>,
    /// A message whose first byte has arrived must be whole within this time. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub message_timeout: Option<Duration>,
    /// A handler that runs longer is dropped and its request answered by an error. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub handler_timeout: Option<Duration>,
    /// A peer that takes nothing of what waits for it for this long is disconnected. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub stall_timeout: Option<Duration>,
    /// How long a closing session waits for the peer to finish. Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub close_timeout: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            format: Format::default(),
            max_concurrent: 1,
            max_in_flight: 1024,
            outbox: OutboxConfig::default(),
            heartbeat: Some(Heartbeat::default()),
            idle_timeout: Some(Duration::from_mins(2)),
            first_message_timeout: Some(Duration::from_secs(30)),
            message_timeout: Some(Duration::from_secs(30)),
            handler_timeout: Some(Duration::from_secs(30)),
            stall_timeout: Some(Duration::from_secs(10)),
            close_timeout: Duration::from_secs(1),
        }
    }
}

impl SessionConfig {
    /// Returns how often the deadlines of sessions are looked at.
    pub(crate) fn sweep_interval(&self) -> Duration {
        let heartbeat = self.heartbeat.map(|heartbeat| heartbeat.interval);
        let deadlines = [
            heartbeat,
            self.idle_timeout,
            self.first_message_timeout,
            self.message_timeout,
            self.handler_timeout,
            self.stall_timeout,
        ];
        let shortest = deadlines.into_iter().flatten().min().unwrap_or(Duration::from_secs(8));
        (shortest / 8).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Returns what is wrong with the combination of settings.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self { max_concurrent: 0, .. } => Err("max_concurrent is 0, so no message would ever be handled"),
            Self { max_in_flight: 0, .. } => Err("max_in_flight is 0, so no request could ever be sent"),
            Self { format: Format::Raw, max_concurrent: 2.., .. } => {
                Err("max_concurrent above 1 needs the message format: raw answers carry no number")
            }
            _ => Ok(()),
        }
    }
}

/// How a server behaves.
///
/// # Examples
///
/// ```
/// use net_messaging::ServerConfig;
///
/// let config = ServerConfig { io_threads: Some(2), ..ServerConfig::default() };
/// assert_eq!(config.accept.max_connections, 10_000);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ServerConfig {
    /// How each session behaves.
    pub session: SessionConfig,
    /// Limits of the connections that are accepted.
    pub accept: AcceptLimits,
    /// Single-threaded runtimes to serve on, each with a listener of its own where the transport can share an
    /// address; `Some(0)` is one for each core, `None` the caller's runtime. Default: `None`.
    pub io_threads: Option<usize>,
    /// What somebody may use who has not shown who it is, where there is an
    /// [`Authenticator`](crate::Authenticator).
    pub authentication: AuthenticationConfig,
    /// How often peers may ask. Default: as often as they like.
    pub rate_limits: Vec<RateLimit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_the_defaults_are_those_of_the_documentation() {
        let server = ServerConfig::default();
        assert_eq!(server.io_threads, None, "the caller's runtime");
        assert_eq!(server.accept.max_connections, 10_000);
        let session = server.session;
        assert_eq!(session.first_message_timeout, Some(Duration::from_secs(30)));
        assert_eq!(session.heartbeat.map(|heartbeat| heartbeat.interval), Some(Duration::from_secs(10)));
        assert_eq!(session.format, Format::Message);
        assert_eq!((session.max_concurrent, session.max_in_flight), (1, 1024));
        assert_eq!((session.outbox.max_messages, session.outbox.max_bytes), (1024, 1 << 20));
        assert!(session.check().is_ok());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let raw = SessionConfig { format: Format::Raw, max_concurrent: 2, ..SessionConfig::default() };
        assert!(raw.check().is_err(), "raw answers carry no number");
        assert!(SessionConfig { max_concurrent: 0, ..SessionConfig::default() }.check().is_err());
        assert!(SessionConfig { max_in_flight: 0, ..SessionConfig::default() }.check().is_err());
    }
}
