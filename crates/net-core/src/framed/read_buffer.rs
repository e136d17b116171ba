//! What was read from a byte stream and is not taken yet.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use crate::lend::{LENT_LEN, lend, take_back, take_back_viewed};

/// Input of at most this length that waits for the rest of its frame moves to a buffer of its own size, so that a
/// peer cannot pin a large buffer with a few bytes.
const SMALL_REST: usize = LENT_LEN / 8;
/// Memory is taken for at most this many bytes beyond what has arrived, or for as much again as has arrived.
const GROWTH: usize = 64 * 1024;
/// Moving at least this much of a frame to another buffer costs more than reading it with a call of its own.
const LARGE_REST: usize = 4 * 1024;
/// To move this much of a frame, so that the next read has more room than the frame needs, costs more than one more read.
const LARGE_PART: usize = 16 * 1024;
/// A read has room for at least this much, unless it completes a large frame.
const MIN_READ: usize = 32 * 1024;

/// What was read from a byte stream and is not taken yet, for receivers that find messages in it.
///
/// The buffer is lent by the thread and given back before its owner sleeps, unless much of it is in use. Memory is taken
/// for 64 KiB beyond what has arrived, or for as much again as has arrived, whatever a frame announces.
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, pin::Pin};
/// use net_core::framed::{Expected, ReadBuffer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut stream = &b"one two"[..];
/// let mut buffer = ReadBuffer::default();
/// poll_fn(|cx| buffer.poll_read(Pin::new(&mut stream), cx, Expected::default())).await?;
/// buffer.consume(4);
/// assert_eq!(buffer.unread(), b"two");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: BytesMut,
    /// `bytes` was lent and has not grown since.
    lent: bool,
    /// How much at the start of `bytes` was consumed; moving its start once for all of it costs less.
    consumed: u32,
}

/// What a receiver knows of what it reads next, so that little of it has to be moved.
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, pin::Pin};
/// use net_core::framed::{Expected, ReadBuffer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut stream = &b"\x05hello"[..];
/// let mut buffer = ReadBuffer::default();
/// let frame_len = 6;
/// while buffer.len() < frame_len {
///     let expected = Expected { missing: frame_len - buffer.len(), ..Expected::default() };
///     let read = poll_fn(|cx| buffer.poll_read(Pin::new(&mut stream), cx, expected)).await?;
///     assert_ne!(read, 0, "the stream ended inside the frame");
/// }
/// assert_eq!(buffer.unread(), b"\x05hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// How many bytes the frame at the start misses at least. Default: 1.
    pub missing: usize,
    /// The length of the last frame, or 0: frames of one length are read in whole multiples of it. Default: 0.
    pub stride: usize,
}

impl Default for Expected {
    fn default() -> Self {
        Self { missing: 1, stride: 0 }
    }
}

impl ReadBuffer {
    /// How long a buffer is that the thread lends: 65 KiB.
    pub const LENT_LEN: usize = LENT_LEN;

    /// Returns what was read and is not consumed.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.consumed as usize..).unwrap_or_default()
    }

    /// Returns what was read and is not consumed, to be changed in place.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    pub fn unread_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.consumed as usize..).unwrap_or_default()
    }

    /// Returns how many bytes were read and are not consumed.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.consumed as usize
    }

    /// Tells whether all that was read is consumed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how much memory it holds, in bytes.
    #[inline]
    pub fn held_len(&self) -> usize {
        self.bytes.capacity()
    }

    /// Leaves `count` bytes behind, at most as many as there are.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "more is consumed than there is");
        match u32::try_from(self.consumed as usize + count) {
            Ok(consumed) => self.consumed = consumed,
            Err(_) => self.bytes_mut().advance(count),
        }
    }

    /// Returns the buffer without what was consumed, so that parts can be split off its front.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    pub fn bytes_mut(&mut self) -> &mut BytesMut {
        if self.consumed > 0 {
            let consumed = mem::take(&mut self.consumed) as usize;
            if consumed == self.bytes.len() {
                // What is read next may stand where this stood.
                self.bytes.clear();
            } else {
                self.bytes.advance(consumed);
            }
        }
        &mut self.bytes
    }

    /// Reads once. `Ready(0)`: the stream has ended. `Pending`: the buffer is given back, unless much of it is in use.
    ///
    /// # Errors
    ///
    /// As the stream's.
    pub fn poll_read(
        &mut self,
        io: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
        expected: Expected,
    ) -> Poll<io::Result<usize>> {
        self.bytes_mut();
        self.make_room(expected.missing);
        let limit = self.read_limit(expected);
        let read = poll_read_buf(io, cx, &mut (&mut self.bytes).limit(limit));
        if read.is_pending() {
            self.settle();
        }
        read
    }

    /// Gives the buffer back, where it is empty: the next connection that reads takes it, still in the cache.
    pub fn release(&mut self) {
        if self.bytes_mut().is_empty() && self.bytes.capacity() > 0 {
            self.clear();
        }
    }

    /// Drops all that is left and gives the buffer back.
    pub fn clear(&mut self) {
        self.consumed = 0;
        self.replace(BytesMut::new(), false);
    }

    /// Makes room for what is read next.
    fn make_room(&mut self, missing: usize) {
        let len = self.bytes.len();
        if self.bytes.capacity() == 0 && missing <= LENT_LEN {
            // The usual case, straight: it slept and holds nothing.
            self.bytes = lend();
            self.lent = true;
            return;
        }
        let room = self.bytes.capacity() - len;
        // What is announced is a claim, what has arrived is a fact: memory follows the fact.
        let wanted = missing.min(len.max(GROWTH)).max(MIN_READ);
        let is_large = missing >= LARGE_REST || len >= LARGE_PART;
        if room >= wanted || (is_large && room >= missing) {
            return;
        }
        if len + wanted > LENT_LEN {
            self.bytes.reserve(wanted);
            self.lent = false;
        } else if !self.bytes.try_reclaim(LENT_LEN - len) {
            // No buffer, a small one, or one of which views are still held.
            let mut lent = lend();
            lent.extend_from_slice(&self.bytes);
            self.replace(lent, true);
        }
    }

    /// Returns how much the next read may bring.
    ///
    /// A large frame is read up to its end and no further where another one like it would not fit behind it: the
    /// next one then starts in a fresh buffer, and no part of it has to be moved there.
    fn read_limit(&self, Expected { missing, stride }: Expected) -> usize {
        let room = self.bytes.capacity() - self.bytes.len();
        if missing >= LARGE_REST && room < missing.saturating_mul(2).saturating_add(self.bytes.len()) {
            return missing.min(room);
        }
        if self.bytes.is_empty() && (LARGE_REST..=room).contains(&stride) {
            return room - room % stride;
        }
        room
    }

    /// Gives the buffer back before sleeping, unless much of it is in use.
    ///
    /// Its capacity does not tell whether it is large: that shrinks as messages are cut from its front.
    fn settle(&mut self) {
        if self.bytes.is_empty() {
            // The usual case, straight.
            self.replace(BytesMut::new(), false);
        } else if self.bytes.len() <= SMALL_REST {
            let rest = BytesMut::from(&self.bytes[..]);
            self.replace(rest, false);
        }
    }

    /// Goes on with `bytes`, which was lent where `lent`, and gives the buffer before it back.
    fn replace(&mut self, bytes: BytesMut, lent: bool) {
        let before = mem::replace(&mut self.bytes, bytes);
        if mem::replace(&mut self.lent, lent) {
            take_back_viewed(before);
        } else {
            take_back(before);
        }
    }
}

/// What was read before, by whoever read the beginning of the stream.
impl From<BytesMut> for ReadBuffer {
    fn from(bytes: BytesMut) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.replace(BytesMut::new(), false);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn the_rest_of_a_large_frame_is_read_to_where_the_frame_stands() {
        const FRAME: usize = 64 * 1024 + 4;
        // As TLS gives it: whole records, and then a few bytes.
        let (records, rest) = (vec![1; 64 * 1024], [2; 4]);
        let mut stream = AsyncReadExt::chain(&records[..], &rest[..]);
        let mut buffer = ReadBuffer::default();
        let mut stood = None;
        while buffer.len() < FRAME {
            let expected = Expected { missing: FRAME - buffer.len(), ..Expected::default() };
            let read = poll_fn(|cx| buffer.poll_read(Pin::new(&mut stream), cx, expected)).await;
            assert_ne!(read.expect("read"), 0, "the frame is whole");
            let stands = buffer.unread().as_ptr();
            assert_eq!(*stood.get_or_insert(stands), stands, "it was moved with {} bytes", buffer.len());
        }
        assert!(buffer.unread().ends_with(&[1, 2, 2, 2, 2]));
    }
}
