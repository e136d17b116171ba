//! What waits to be sent to one peer.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use net_core::{Limit, Message, OutboxConfig, Overflow};

use super::{
    memory::{Budget, Share},
    message_queue::MessageQueue,
};
use crate::Delivery;

/// Payloads from this length on are kept as they are; shorter ones are copied, since a view of a few bytes may pin
/// a read buffer of many.
const KEPT_LEN: usize = 8 * 1024;
/// How much room is made at once for payloads that are copied.
const COPIES_LEN: usize = 4 * 1024;
/// What a message takes besides its payload, for the bounds.
const OVERHEAD: usize = size_of::<Message>() + 16;

/// Messages in the order they were pushed, not yet taken by the driver.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    messages: MessageQueue,
    /// Where payloads are copied to; nothing while nothing waits.
    copies: Option<Box<BytesMut>>,
}

/// How much waits, in the outbox and in the driver's hands; read without the outbox's lock.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// What became of a push.
pub(super) struct Pushed {
    pub(super) delivery: Delivery,
    pub(super) dropped: u64,
    /// The limit that is reached, where one is.
    pub(super) limit: Option<Limit>,
}

impl Pushed {
    /// The message finds no room.
    #[cold]
    fn refuse(&mut self, config: &OutboxConfig) {
        if matches!(config.overflow, Overflow::DropNewest | Overflow::DropOldest) {
            self.delivery = Delivery::Dropped;
            self.dropped += 1;
        }
    }
}

pub(crate) fn cost(message: &Message) -> usize {
    message.payload().len() + OVERHEAD
}

impl Outbox {
    /// Appends `message`, or does what `config` says of a full outbox, and of a budget that is used up.
    ///
    /// `own`: the payload has no other memory behind it, so it needs no copy.
    pub(super) fn push(
        &mut self,
        message: Message,
        own: bool,
        waiting: &Waiting,
        config: &OutboxConfig,
        share: &Share,
        budget: &Budget,
    ) -> Pushed {
        let mut pushed = Pushed { delivery: Delivery::Full, dropped: 0, limit: None };
        let cost = cost(&message);
        if !waiting.fits(cost, config) {
            pushed.limit = Some(waiting.limit(config));
            pushed.refuse(config);
            if config.overflow != Overflow::DropOldest {
                return pushed;
            }
            while !waiting.fits(cost, config)
                && let Some(oldest) = self.messages.pop_front()
            {
                waiting.remove(1, self::cost(&oldest));
                pushed.dropped += 1;
            }
            // What is left is in the driver's hands.
            if !waiting.fits(cost, config) {
                return pushed;
            }
            pushed.dropped -= 1;
        }
        let held = waiting.bytes() + cost;
        if !share.covers(held) && !share.grow(held, budget) {
            pushed.limit = Some(Limit::MemoryBudget);
            pushed.refuse(config);
            return pushed;
        }
        let message = if own || message.payload().len() >= KEPT_LEN { message } else { self.copy(&message) };
        self.messages.push_back(message);
        let bytes = waiting.add(cost);
        pushed.delivery = if bytes > config.high_water { Delivery::Queued } else { Delivery::Sent };
        pushed
    }

    fn copy(&mut self, message: &Message) -> Message {
        let payload = message.payload();
        let copies = self.copies.get_or_insert_default();
        if copies.capacity() < payload.len() {
            **copies = BytesMut::with_capacity(COPIES_LEN.max(payload.len()));
        }
        copies.extend_from_slice(payload);
        Message::new(message.kind(), message.id(), copies.split().freeze())
    }

    /// Moves everything into `leaving`, which is empty.
    pub(super) fn take(&mut self, leaving: &mut MessageQueue) {
        std::mem::swap(&mut self.messages, leaving);
        // An outbox that sleeps holds nothing.
        self.copies = None;
    }

    /// Takes back all but the first of what has not left, in front of what was pushed meanwhile.
    pub(super) fn give_back(&mut self, leaving: &mut MessageQueue) {
        leaving.move_behind_first(&mut self.messages);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl Waiting {
    pub(super) fn fits(&self, cost: usize, config: &OutboxConfig) -> bool {
        let (messages, bytes) = (self.messages.load(Ordering::Acquire), self.bytes.load(Ordering::Acquire));
        messages == 0 || (messages < config.max_messages && bytes + cost <= config.max_bytes)
    }

    /// Returns the bound that keeps a message out.
    fn limit(&self, config: &OutboxConfig) -> Limit {
        if self.messages() >= config.max_messages { Limit::OutboxMessages } else { Limit::OutboxBytes }
    }

    fn add(&self, cost: usize) -> usize {
        self.messages.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(cost, Ordering::AcqRel) + cost
    }

    /// Takes off what was sent or dropped, and returns the bytes that waited before and wait now.
    pub(super) fn remove(&self, messages: usize, cost: usize) -> (usize, usize) {
        self.messages.fetch_sub(messages, Ordering::AcqRel);
        let before = self.bytes.fetch_sub(cost, Ordering::AcqRel);
        (before, before - cost)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    pub(super) fn messages(&self) -> usize {
        self.messages.load(Ordering::Acquire)
    }
}

/// Copies a short payload that will be kept, so that it does not pin what it was a view of.
pub(crate) fn detach(message: Message) -> Message {
    if message.payload().len() >= KEPT_LEN {
        return message;
    }
    Message::new(message.kind(), message.id(), Bytes::copy_from_slice(message.payload()))
}
