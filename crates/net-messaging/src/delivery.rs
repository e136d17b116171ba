//! What became of a message that was sent without waiting.

/// What became of a message that was sent without waiting.
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
