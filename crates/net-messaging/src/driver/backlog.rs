//! Messages that arrive while the handler waits.

use std::collections::VecDeque;

use net_core::Message;

use super::output::Origin;

/// At most so many messages.
const MAX_MESSAGES: usize = 64;
/// At most messages of so many bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Messages that wait for the handler. It is boxed, since most sessions never have any.
#[derive(Debug, Default)]
pub(super) struct Backlog(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
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
            .is_some_and(|queue| queue.messages.iter().any(|message| Origin::of(message) == origin))
    }

    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.messages.len())
    }

    /// Returns how many bytes of payload wait.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.bytes)
    }

    pub(super) fn push(&mut self, message: Message) {
        let queue = self.0.get_or_insert_default();
        queue.bytes += message.payload().len();
        queue.messages.push_back(message);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Message> {
        let queue = self.0.as_mut()?;
        let message = queue.messages.pop_front()?;
        queue.bytes -= message.payload().len();
        Some(message)
    }

    /// Gives its memory back where nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}
