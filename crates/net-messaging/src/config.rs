//! How sessions and servers behave: format, concurrency, heartbeats.

use std::time::Duration;

use net_core::Limits;

use crate::{AuthenticationConfig, RateLimit};

/// What stands in a frame.
///
/// # Examples
///
/// ```
/// use net_core::{Transport, memory::Memory};
/// use net_messaging::{Format, Server, SessionConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let server = Server::builder(memory.clone())
///     .session(SessionConfig { format: Format::Raw, ..SessionConfig::default() })
///     .on_message(|_, message| async move { Ok(message.into_reply()) })
///     .listen("mem://raw")
///     .await?;
/// let mut peer = memory.connect(server.local()).await?;
/// peer.send("a frame without a head").await?;
/// assert_eq!(peer.recv().await?.as_deref(), Some(&b"a frame without a head"[..]));
/// # Ok(())
/// # }
/// ```
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

/// How each side proves that it lives, in [`Format::Message`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Heartbeat, SessionConfig};
///
/// let heartbeat = Heartbeat { interval: Duration::from_secs(2), ..Heartbeat::default() };
/// // A server that has vanished without a word is given up after so long.
/// assert_eq!(heartbeat.interval * heartbeat.missed, Duration::from_secs(6));
///
/// let session = SessionConfig { heartbeat: Some(heartbeat), ..SessionConfig::default() };
/// let builder = Client::builder(Memory::default()).session(session);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Heartbeat {
    /// A heartbeat is sent when nothing was sent for this long; 0 is refused. Default: 10 s.
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
/// # Examples
///
/// ```
/// use net_messaging::SessionConfig;
///
/// let config = SessionConfig { max_concurrent: 8, ..SessionConfig::default() };
/// assert!(config.heartbeat.is_some());
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
    /// [`Format::Raw`] needs 1, since its answers carry no number. At most
    /// [`max_in_flight`](crate::Limits::max_in_flight). Default: 1.
    pub max_concurrent: usize,
    /// Proof of life; `None` sends and expects none. Default: every 10 s, dead after 3.
    pub heartbeat: Option<Heartbeat>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { format: Format::default(), max_concurrent: 1, heartbeat: Some(Heartbeat::default()) }
    }
}

impl SessionConfig {
    /// Returns how often the deadlines of sessions are looked at: a sweep dates what happened since the one before it, and the
    /// deadline passes before the next one, so that each is late by two of them at most, an eighth of the shortest.
    pub(crate) fn sweep_interval(&self, limits: &Limits) -> Duration {
        let deadlines = [
            self.heartbeat.map(|heartbeat| heartbeat.interval),
            Some(limits.handshake_timeout),
            limits.idle_timeout,
            limits.first_message_timeout,
            limits.message_timeout,
            limits.handler_timeout,
            limits.stall_timeout,
            limits.lifetime.map(|lifetime| lifetime.after),
        ];
        let shortest = deadlines.into_iter().flatten().min().unwrap_or(Duration::from_secs(8));
        (shortest / 16).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Returns what is wrong with the combination of settings.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), &'static str> {
        limits.check()?;
        if limits.max_in_flight == 0 {
            return Err("max_in_flight is 0, so no request could ever be sent");
        }
        match self {
            Self { heartbeat: Some(Heartbeat { interval: Duration::ZERO, .. }), .. } => {
                Err("heartbeat.interval is 0, which nobody could keep to")
            }
            Self { max_concurrent: 0, .. } => Err("max_concurrent is 0, so no message would ever be handled"),
            Self { max_concurrent, .. } if *max_concurrent > limits.max_in_flight => {
                Err("max_concurrent is above max_in_flight, which bounds the requests of a peer")
            }
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
/// assert_eq!(config.limits.max_connections, 10_000);
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
    /// Limits and time-outs.
    pub limits: Limits,
    /// Single-threaded runtimes to serve on, each with a listener of its own where the transport can share an
    /// address; `Some(0)` is one for each core, `None` the caller's runtime. Default: `None`.
    pub io_threads: Option<usize>,
    /// On the caller's runtime, deadlines are looked at by a timer of the kernel instead of the runtime's: a runtime without
    /// other timers then waits for input at less cost, two hundredths of a round trip with one message in flight. Paused time
    /// does not move it, and listening panics on a runtime without I/O, as sockets do. Linux; elsewhere it makes no difference. Default: false.
    pub kernel_timer: bool,
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
        assert_eq!(server.limits, Limits::default());
        let session = server.session;
        assert_eq!(session.heartbeat.map(|heartbeat| heartbeat.interval), Some(Duration::from_secs(10)));
        assert_eq!((session.format, session.max_concurrent), (Format::Message, 1));
        assert!(session.check(&server.limits).is_ok());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let raw = SessionConfig { format: Format::Raw, max_concurrent: 2, ..SessionConfig::default() };
        assert!(raw.check(&Limits::default()).is_err(), "raw answers carry no number");
        assert!(
            SessionConfig { max_concurrent: 0, ..SessionConfig::default() }
                .check(&Limits::default())
                .is_err()
        );
        let heartbeat = Some(Heartbeat { interval: Duration::ZERO, ..Heartbeat::default() });
        let restless = SessionConfig { heartbeat, ..SessionConfig::default() };
        let error = restless.check(&Limits::default()).expect_err("0 is no interval");
        assert!(error.starts_with("heartbeat.interval is 0"), "{error}");
        let limits = Limits { idle_timeout: Some(Duration::ZERO), ..Limits::default() };
        let error = SessionConfig::default().check(&limits).expect_err("0 is no time-out");
        assert!(error.starts_with("idle_timeout is 0"), "{error}");
        let limits = Limits { max_in_flight: 0, ..Limits::default() };
        assert!(SessionConfig::default().check(&limits).is_err());
        let limits = Limits { max_in_flight: 4, ..Limits::default() };
        let at_once = |max_concurrent| SessionConfig { max_concurrent, ..SessionConfig::default() };
        assert!(at_once(4).check(&limits).is_ok());
        let error = at_once(5).check(&limits).expect_err("the peer may not have as many in flight");
        assert!(error.starts_with("max_concurrent is above max_in_flight"), "{error}");
    }
}
