//! What became of a message that was sent without waiting.

/// What became of a message that was sent without waiting.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Delivery, Limits, OutboxConfig, Overflow, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone()).listen("mem://delivery").await?;
/// let outbox = OutboxConfig { max_messages: 2, overflow: Overflow::Refuse, ..OutboxConfig::default() };
/// let limits = Limits { outbox, ..Limits::default() };
/// let client = Client::builder(memory).limits(limits).connect(server.local()).await?;
/// // On this runtime nothing leaves before the next `.await`.
/// assert_eq!(client.feed("one")?, Delivery::Sent);
/// assert!(client.feed("two")?.is_accepted());
/// assert_eq!(client.feed("three")?, Delivery::Full);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a message that was dropped or refused does not arrive"]
pub enum Delivery {
    /// It leaves with the next write.
    Sent,
    /// It waits behind much that the peer has not taken yet: the outbox is above its high-water mark.
    Queued,
    /// The outbox is full, and its policy drops messages.
    Dropped,
    /// The outbox is full: the message was refused.
    Full,
}

impl Delivery {
    /// Tells whether the message was accepted.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Sent | Self::Queued)
    }
}

/// What became of a message that was sent to many sessions.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone())
/// #     .on_message(|_, message| async move { Ok(message.into_reply()) })
/// #     .listen("mem://broadcast-report")
/// #     .await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// client.request("let me in").await?;
/// let report = server.broadcast("news for all");
/// assert_eq!((report.sent, report.queued), (1, 0));
/// assert_eq!(report.dropped + report.full, 0, "nobody misses it");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastReport {
    /// Sessions to which it leaves with the next write.
    pub sent: usize,
    /// Sessions whose peers are slow, but which accepted it.
    pub queued: usize,
    /// Sessions whose full outboxes drop messages.
    pub dropped: usize,
    /// Sessions whose full outboxes refused it.
    pub full: usize,
}

impl BroadcastReport {
    pub(crate) fn count(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Sent => self.sent += 1,
            Delivery::Queued => self.queued += 1,
            Delivery::Dropped => self.dropped += 1,
            Delivery::Full => self.full += 1,
        }
    }
}
