//! Why a session ended.

use std::{fmt, sync::Arc};

use net_core::{Error, ErrorKind, GoAway, Limit};

/// Why a session ended.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, CloseReason, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone())
/// #     .on_message(|_, message| async move { Ok(message.into_reply()) })
/// #     .listen("mem://close-reason")
/// #     .await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// client.request("hello").await?;
/// let session = server.sessions().remove(0);
/// client.disconnect().await;
/// let reason = session.closed().await;
/// assert!(matches!(reason, CloseReason::ByPeer) && reason.is_clean());
/// assert_eq!(reason.to_string(), "the peer finished");
/// assert!(reason.error().is_none() && reason.limit().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer finished.
    ByPeer,
    /// This side disconnected it.
    ByUs,
    /// The server drained or stopped.
    Drained,
    /// Nothing arrived from the peer for the idle time-out.
    Idle,
    /// The peer missed its heartbeats.
    HeartbeatMissed,
    /// The first message did not arrive in time.
    NoFirstMessage,
    /// A message began and did not arrive whole in time.
    MessageTimeout,
    /// A message that had begun arrived too slowly.
    TooSlow,
    /// The connection had lived for as long as it may.
    Lifetime,
    /// The peer asked to leave, and all that was under way has finished.
    GoAway(GoAway),
    /// The sessions of the server held all the memory they may, and this one was among those that held most.
    MemoryBudget,
    /// The peer took nothing of what waited for it, or its outbox stayed full, for the stall time-out.
    Stalled,
    /// The handler refused the session.
    Refused,
    /// A handler panicked.
    Panicked,
    /// The peer did not show who it is, or the server did not believe this client; the error tells which and why.
    Unauthenticated(Arc<Error>),
    /// The connection broke, or the peer broke the protocol.
    Failed(Arc<Error>),
}

impl CloseReason {
    /// Tells whether both sides ended it in an orderly way.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::ByPeer | Self::ByUs | Self::Drained | Self::Lifetime | Self::GoAway(_))
    }

    /// Returns the limit that was reached, where that ended it.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Idle => Some(Limit::IdleTimeout),
            Self::NoFirstMessage => Some(Limit::FirstMessageTimeout),
            Self::MessageTimeout => Some(Limit::MessageTimeout),
            Self::TooSlow => Some(Limit::MinDataRate),
            Self::Lifetime => Some(Limit::Lifetime),
            Self::MemoryBudget => Some(Limit::MemoryBudget),
            Self::Stalled => Some(Limit::StallTimeout),
            Self::Failed(error) if error.kind() == ErrorKind::MessageTooLong => Some(Limit::MessageLen),
            _ => None,
        }
    }

    /// Returns the error that broke the connection, where there is one.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) | Self::Unauthenticated(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("the peer finished"),
            Self::ByUs => f.write_str("disconnected by this side"),
            Self::Drained => f.write_str("drained"),
            Self::Idle => f.write_str("idle for too long"),
            Self::HeartbeatMissed => f.write_str("no heartbeat from the peer"),
            Self::NoFirstMessage => f.write_str("no first message in time"),
            Self::MessageTimeout => f.write_str("a message did not arrive whole in time"),
            Self::TooSlow => f.write_str("a message arrived too slowly"),
            Self::Lifetime => f.write_str("the connection has lived long enough"),
            Self::GoAway(go_away) => go_away.fmt(f),
            Self::MemoryBudget => f.write_str("too much memory was held"),
            Self::Stalled => f.write_str("the peer does not read"),
            Self::Refused => f.write_str("refused by the handler"),
            Self::Panicked => f.write_str("a handler panicked"),
            Self::Failed(error) | Self::Unauthenticated(error) => error.fmt(f),
        }
    }
}
