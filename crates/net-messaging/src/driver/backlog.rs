//! Messages that arrive while the handler waits.

use std::collections::VecDeque;

use bytes::BytesMut;
use net_core::{Message, framed::ReadBuffer};

use super::output::Origin;

/// At most so many messages.
const MAX_MESSAGES: usize = 64;
/// At most messages of so many bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Payloads from this length on are never copied.
const KEPT_LEN: usize = 32 * 1024;
/// The memory behind the payloads that one read brought.
const READ_BUFFER_LEN: usize = ReadBuffer::LENT_LEN;

/// Messages that wait for the handler. It is boxed, since most sessions never have any.
#[derive(Debug, Default)]
pub(super) struct Backlog(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    /// Each with the number of the buffer of which it is a view.
    messages: VecDeque<(u32, Message)>,
    bytes: usize,
    /// How many of them, from the front on, are settled: they have memory of their own.
    settled: usize,
}

impl Queue {
    /// Returns the number of the buffer of which `payload` is a view: that of the last one, if it stands behind that.
    fn buffer_of(&self, payload: &[u8]) -> u32 {
        let Some((number, last)) = self.messages.back() else { return 0 };
        let distance = payload.as_ptr().addr().checked_sub(last.payload().as_ptr().addr());
        let same = self.settled < self.messages.len() && distance.is_some_and(|far| far < READ_BUFFER_LEN);
        if same { *number } else { number.wrapping_add(1) }
    }

    /// Returns how many buffers those pin that are not settled.
    fn buffers(&self) -> usize {
        match (self.messages.get(self.settled), self.messages.back()) {
            (Some((first, _)), Some((last, _))) => last.wrapping_sub(*first) as usize + 1,
            _ => 0,
        }
    }
}

impl Backlog {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|queue| queue.messages.is_empty())
    }

    /// Tells whether no more messages may wait.
    pub(super) fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.messages.len() >= MAX_MESSAGES || queue.bytes >= MAX_BYTES)
    }

    /// Tells whether a message of this kind and id waits.
    pub(super) fn contains(&self, origin: Origin) -> bool {
        self.0
            .as_ref()
            .is_some_and(|queue| queue.messages.iter().any(|(_, message)| Origin::of(message) == origin))
    }

    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.messages.len())
    }

    /// Returns how much memory they pin: their bytes, and the buffers into which they were read.
    #[inline]
    pub(super) fn pinned(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.bytes + queue.buffers() * READ_BUFFER_LEN)
    }

    /// Tells whether any of them pins more than it is long.
    pub(super) fn is_settled(&self) -> bool {
        self.0.as_ref().is_none_or(|queue| queue.settled == queue.messages.len())
    }

    /// Copies the short ones out of the buffers into which they were read, so that these are free again.
    #[cold]
    pub(super) fn settle(&mut self) {
        let Some(queue) = &mut self.0 else { return };
        let Queue { messages, settled, .. } = &mut **queue;
        let lengths = messages.range(*settled..).map(|(_, message)| message.payload().len());
        // One piece of memory for all of them.
        let mut copies = BytesMut::with_capacity(lengths.filter(|len| *len < KEPT_LEN).sum());
        for (_, message) in messages.range_mut(*settled..) {
            if message.payload().len() < KEPT_LEN {
                copies.extend_from_slice(message.payload());
                *message = Message::new(message.kind(), message.id(), copies.split().freeze());
            }
        }
        *settled = messages.len();
    }

    pub(super) fn push(&mut self, message: Message) {
        let queue = self.0.get_or_insert_default();
        queue.bytes += message.payload().len();
        let buffer = queue.buffer_of(message.payload());
        queue.messages.push_back((buffer, message));
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Message> {
        let queue = self.0.as_mut()?;
        let (_, message) = queue.messages.pop_front()?;
        queue.bytes -= message.payload().len();
        queue.settled = queue.settled.saturating_sub(1);
        Some(message)
    }

    /// Gives its memory back where nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}
