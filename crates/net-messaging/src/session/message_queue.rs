//! Messages that wait in one session, of which most never have any.

use std::collections::VecDeque;

use net_core::Message;

/// A queue that is empty keeps memory for at most so many messages.
const KEPT_CAPACITY: usize = 8;

/// Messages in order. It takes 8 bytes until the first one waits: there are three in each idle session.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "most sessions never have any")]
pub(crate) struct MessageQueue(Option<Box<VecDeque<Message>>>);

impl MessageQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|messages| messages.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |messages| messages.len())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.0.iter().flat_map(|messages| messages.iter())
    }

    pub(crate) fn push_back(&mut self, message: Message) {
        self.0.get_or_insert_default().push_back(message);
    }

    pub(crate) fn push_front(&mut self, message: Message) {
        self.0.get_or_insert_default().push_front(message);
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Message> {
        self.0.as_mut()?.pop_front()
    }

    pub(crate) fn pop_back(&mut self) -> Option<Message> {
        self.0.as_mut()?.pop_back()
    }

    /// Moves all but the first in front of those of `other`.
    pub(crate) fn move_behind_first(&mut self, other: &mut Self) {
        let Some(messages) = &mut self.0 else { return };
        for message in messages.drain(1.min(messages.len())..).rev() {
            other.push_front(message);
        }
    }

    /// Drops them all, and their memory.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Gives up memory that it does not use, where it is much.
    pub(crate) fn shrink(&mut self) {
        if self.0.as_ref().is_some_and(|messages| messages.is_empty() && messages.capacity() > KEPT_CAPACITY)
        {
            self.0 = None;
        }
    }
}
