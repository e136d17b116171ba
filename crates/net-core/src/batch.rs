//! Messages that travel through one call together.

use std::collections::VecDeque;

use bytes::Bytes;

/// A queue of messages, bounded in number and bytes, that one call fills or empties.
///
/// It is reused, so that it allocates only until it has grown to what is needed.
///
/// # Examples
///
/// ```
/// use net_core::Batch;
///
/// let mut batch = Batch::new(256, 256 * 1024);
/// batch.push("hello".into());
/// assert_eq!((batch.len(), batch.bytes(), batch.is_full()), (1, 5, false));
/// assert_eq!(batch.pop().as_deref(), Some(&b"hello"[..]));
/// ```
#[derive(Debug)]
pub struct Batch {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// What the oldest message counts for, once it was lent to a sender that may have taken it.
    lent: Option<usize>,
    max_messages: usize,
    max_bytes: usize,
}

impl Batch {
    /// Creates a batch that is full at `max_messages` or at `max_bytes`; one message always fits an empty one.
    pub fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, lent: None, max_messages: max_messages.max(1), max_bytes }
    }

    /// Appends a message. The bounds are for those who fill: they ask [`is_full`](Self::is_full) first.
    #[inline]
    pub fn push(&mut self, message: Bytes) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    /// Takes the oldest message.
    #[inline]
    pub fn pop(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes -= self.lent.take().unwrap_or(message.len());
        Some(message)
    }

    /// Returns the oldest message, for a sender that takes it in place; [`pop`](Self::pop) then removes what is left.
    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut Bytes> {
        let front = self.messages.front_mut()?;
        self.lent.get_or_insert(front.len());
        Some(front)
    }

    /// Tells whether no message is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns the number of messages.
    #[inline]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns the bytes of all messages.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tells whether a bound is reached.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.messages.len() >= self.max_messages
            || (self.bytes >= self.max_bytes && !self.messages.is_empty())
    }

    /// Drops all messages; the memory for as many stays.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
        self.lent = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_place_counts_no_more() {
        let mut batch = Batch::new(10, 8);
        for message in ["12345", "678"] {
            batch.push(message.into());
        }
        assert!(batch.is_full());
        // Offered twice, as to a sender that had no room at first.
        batch.front_mut().expect("the first");
        assert_eq!(std::mem::take(batch.front_mut().expect("the first")), "12345");
        batch.pop();
        assert_eq!((batch.len(), batch.bytes(), batch.is_full()), (1, 3, false));
        batch.pop();
        assert_eq!((batch.len(), batch.bytes()), (0, 0));
    }

    #[test]
    fn one_message_fits_whatever_the_bounds() {
        let mut batch = Batch::new(0, 0);
        assert!(!batch.is_full());
        batch.push("a message".into());
        assert!(batch.is_full());
    }
}
