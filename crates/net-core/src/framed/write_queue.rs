//! What waits to be written to a byte stream.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    iter, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::lend::{lend, take_back};

/// A message from this length on keeps its own memory on its way out: it is not copied, but is one more slice for
/// the kernel to walk.
const WHOLE_LEN: usize = 8 * 1024;
/// How many slices one vectored write takes.
const SLICES: usize = 64;

/// What waits to be written to a byte stream, for senders that gather messages.
///
/// Small pieces stand together in one buffer, which the thread lends for as long as something is in it; large ones
/// keep their own memory, and one vectored write takes both in order.
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, pin::Pin};
/// use bytes::Bytes;
/// use net_core::framed::WriteQueue;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (mut queue, mut stream) = (WriteQueue::default(), Vec::new());
/// queue.small().extend_from_slice(b"mark ");
/// queue.push(Bytes::from_static(b"message"), true);
/// poll_fn(|cx| queue.poll_write(Pin::new(&mut stream), cx)).await?;
/// assert_eq!(stream, b"mark message");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct WriteQueue {
    /// Where small pieces are gathered.
    small: BytesMut,
    /// Large ones; nothing until the first of them.
    large: Option<Box<LargeQueue>>,
}

/// Large pieces, and where among the small ones they stand.
#[derive(Debug, Default)]
struct LargeQueue {
    pieces: VecDeque<Large>,
    /// The bytes of the large ones.
    len: usize,
    /// The bytes of the small ones that stand before the last of the large ones.
    small_before: usize,
}

/// A piece that keeps its own memory.
#[derive(Debug)]
struct Large {
    /// How many bytes of the gathered small ones stand before it, behind the large one before.
    before: usize,
    piece: Bytes,
}

/// Returns what is gathered in the order of the wire.
fn pieces<'a>(mut small: &'a [u8], large: Option<&'a LargeQueue>) -> impl Iterator<Item = &'a [u8]> {
    let mut large = large.into_iter().flat_map(|queue| &queue.pieces);
    let mut next = None;
    let mut ended = false;
    iter::from_fn(move || {
        if let Some(piece) = next.take() {
            return Some(piece);
        }
        if ended {
            return None;
        }
        let Some(Large { before, piece }) = large.next() else {
            ended = true;
            return Some(small);
        };
        let (first, rest) = small.split_at_checked(*before).unwrap_or((small, &[]));
        small = rest;
        next = Some(&piece[..]);
        Some(first)
    })
    .filter(|piece| !piece.is_empty())
}

impl WriteQueue {
    /// Returns how many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.small.len() + self.large.as_ref().map_or(0, |large| large.len)
    }

    /// Tells whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how much memory is held, in bytes: the buffer of small pieces, and the large pieces as long as they are.
    pub fn held_len(&self) -> usize {
        self.small.capacity() + self.large.as_ref().map_or(0, |large| large.len)
    }

    /// Returns the buffer of small pieces: what is appended to it goes out behind all that waits.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    pub fn small(&mut self) -> &mut BytesMut {
        if self.small.capacity() == 0 {
            self.small = lend();
        }
        &mut self.small
    }

    /// Appends `piece`, which keeps its own memory where it has 8 KiB or more and the stream is `vectored`: takes several
    /// slices a write.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    pub fn push(&mut self, piece: Bytes, vectored: bool) {
        // A stream that takes one slice a write would send what stands before the piece ahead of it, in a write of its own.
        if piece.len() < WHOLE_LEN || !vectored {
            self.small().extend_from_slice(&piece);
        } else {
            self.push_large(piece);
        }
    }

    #[inline(never)]
    fn push_large(&mut self, piece: Bytes) {
        let large = self.large.get_or_insert_default();
        let before = self.small.len() - large.small_before;
        large.small_before += before;
        large.len += piece.len();
        large.pieces.push_back(Large { before, piece });
    }

    /// Writes everything; `Ready(Ok)`: nothing waits any more, and the buffer is given back. `Pending`: what is small and still
    /// waits has a buffer of about its own length.
    ///
    /// # Errors
    ///
    /// As the stream's, and [`WriteZero`](io::ErrorKind::WriteZero) where it takes nothing.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `FrameSender::poll_flush`")]
    pub fn poll_write<W: AsyncWrite>(
        &mut self,
        io: Pin<&mut W>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let written = self.poll_write_out(io, cx);
        if written.is_pending() {
            self.settle();
        }
        written
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `FrameSender::poll_flush`")]
    fn poll_write_out<W: AsyncWrite>(
        &mut self,
        mut io: Pin<&mut W>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.large.is_some() {
            ready!(self.poll_write_vectored(io.as_mut(), cx))?;
        }
        while !self.small.is_empty() {
            let written = some(ready!(io.as_mut().poll_write(cx, &self.small))?)?;
            if written == self.small.len() {
                // Unlike an advance, this leaves the buffer whole, and nothing has to be reclaimed.
                self.small.clear();
            } else {
                self.small.advance(written);
            }
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Writes up to the last of the large pieces. It is apart from the rest because the slices make its stack frame long.
    #[inline(never)]
    fn poll_write_vectored<W: AsyncWrite>(
        &mut self,
        mut io: Pin<&mut W>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.large.as_ref().is_some_and(|large| !large.pieces.is_empty()) {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(pieces(&self.small, self.large.as_deref())) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            let written = ready!(io.as_mut().poll_write_vectored(cx, slices))?;
            self.take_off(some(written)?);
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what is small and waits to a buffer of its own length, where it would keep a lent one from others: a peer that does
    /// not read costs what waits for it. [`poll_write`](Self::poll_write) does it where it is `Pending`.
    #[cold]
    pub fn settle(&mut self) {
        if self.small.capacity() / 4 > self.small.len() {
            let waiting = BytesMut::from(&self.small[..]);
            take_back(mem::replace(&mut self.small, waiting));
        }
    }

    /// Gives the buffer back, where nothing is in it.
    #[inline]
    pub fn release(&mut self) {
        if self.small.is_empty() && self.small.capacity() > 0 {
            take_back(mem::take(&mut self.small));
        }
    }

    /// Drops all that waits.
    pub fn clear(&mut self) {
        self.large = None;
        self.small = BytesMut::new();
    }

    /// Returns the beginning of what waits: as many pieces as one write takes.
    pub fn unsent(&self) -> Vec<IoSlice<'_>> {
        pieces(&self.small, self.large.as_deref()).take(SLICES).map(IoSlice::new).collect()
    }

    /// Takes what was written off what is gathered.
    fn take_off(&mut self, mut written: usize) {
        let Some(queue) = &mut self.large else { return };
        while let Some(front) = queue.pieces.front_mut() {
            let small = written.min(front.before);
            self.small.advance(small);
            front.before -= small;
            queue.small_before -= small;
            written -= small;
            let large = written.min(front.piece.len());
            queue.len -= large;
            written -= large;
            if large < front.piece.len() {
                return front.piece.advance(large);
            }
            queue.pieces.pop_front();
        }
        self.small.advance(written);
    }
}

impl Drop for WriteQueue {
    fn drop(&mut self) {
        take_back(mem::take(&mut self.small));
    }
}

/// Refuses a write of nothing, which would be tried for ever.
fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a9_what_waits_for_a_peer_that_does_not_read_keeps_no_lent_buffer() {
        let (mut near, mut far) = duplex(10);
        let mut queue = WriteQueue::default();
        queue.small().extend_from_slice(&[1; 110]);
        assert!(queue.held_len() > 1_000, "it stands in a lent buffer");
        let mut written = poll_fn(|cx| Poll::Ready(queue.poll_write(Pin::new(&mut near), cx))).await;
        assert!(written.is_pending() && (100..200).contains(&queue.held_len()), "{} held", queue.held_len());
        // What is appended meanwhile, small and large, leaves behind it.
        queue.small().extend_from_slice(&[2; 1_000]);
        queue.push(Bytes::from(vec![3; WHOLE_LEN]), true);
        assert!(queue.held_len() >= queue.len());
        let mut arrived = Vec::new();
        while written.is_pending() {
            let mut some = [0; 10];
            let len = far.read(&mut some).await.expect("read");
            arrived.extend_from_slice(&some[..len]);
            // A budget that is used up would look like a full stream.
            tokio::task::yield_now().await;
            written = poll_fn(|cx| Poll::Ready(queue.poll_write(Pin::new(&mut near), cx))).await;
        }
        drop(near);
        far.read_to_end(&mut arrived).await.expect("read");
        assert_eq!(arrived, [&[1; 110][..], &[2; 1_000], &[3; WHOLE_LEN]].concat());
        assert_eq!((queue.len(), queue.held_len()), (0, 0));
    }
}
