//! The sending half of messages over a byte stream.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::{Failure, WriteQueue};
use crate::{
    Batch, Error, ErrorKind, Result, Sender,
    frame::{FrameError, Framing, without_first},
};

/// Sends messages as the frames of a byte stream.
///
/// Accepted messages are gathered, small ones in one buffer and large ones as they are, and written together when
/// the sender is flushed or its buffer is full. One that sleeps with nothing to send holds no buffer.
///
/// # Examples
///
/// ```
/// use net_core::{Sender, frame::Delimiter, framed::FrameSender};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let mut lines = FrameSender::new(Vec::new(), Delimiter::lines());
/// lines.feed("one").await?;
/// lines.send("two").await?;
/// assert_eq!(lines.get_ref(), b"one\ntwo\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FrameSender<W, F> {
    io: W,
    framing: F,
    queue: WriteQueue,
    /// In 32 bits: each idle session has one.
    max_buffered: u32,
    /// Something is accepted that the byte stream below has not been asked to flush.
    dirty: bool,
    finished: bool,
    /// Boxed, since nearly every sender never has one.
    failure: Option<Box<Failure>>,
    on_abort: fn(&mut W, &[IoSlice<'_>]),
    unsent_below: fn(&W) -> usize,
}

impl<W, F> FrameSender<W, F> {
    /// How many bytes are gathered before a message waits, unless set: 256 KiB.
    pub const DEFAULT_MAX_BUFFERED: usize = Self::DEFAULT_MAX as usize;
    const DEFAULT_MAX: u32 = 256 * 1024;

    /// Sends to `io` what `framing` makes of messages.
    pub fn new(io: W, framing: F) -> Self {
        Self {
            io,
            framing,
            queue: WriteQueue::default(),
            max_buffered: Self::DEFAULT_MAX,
            dirty: false,
            finished: false,
            failure: None,
            on_abort: |_, _| {},
            unsent_below: |_| 0,
        }
    }

    /// Sets how many bytes are gathered before a message waits, at most 4 GiB; one message always fits an empty buffer.
    #[must_use]
    pub fn with_max_buffered(mut self, bytes: usize) -> Self {
        self.max_buffered = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        self
    }

    /// Sets what tells the peer that the stream is cut, not ended: called when this sender is dropped while
    /// something that it accepted is not flushed.
    ///
    /// It is given what was accepted and is not written, or the beginning of it; where that ends, a frame ends. A stream
    /// without a reset can write a part of it, so that the peer sees the end inside a frame.
    #[must_use]
    pub fn with_abort(mut self, on_abort: fn(&mut W, &[IoSlice<'_>])) -> Self {
        self.on_abort = on_abort;
        self
    }

    /// Sets what tells how many bytes the stream below has taken and keeps: one that encrypts has what it wrote ahead of the
    /// network. Unless set, none.
    #[must_use]
    pub fn with_unsent_below(mut self, unsent_below: fn(&W) -> usize) -> Self {
        self.unsent_below = unsent_below;
        self
    }

    /// Returns the byte stream.
    pub fn get_ref(&self) -> &W {
        &self.io
    }

    /// Returns what marks the messages.
    pub fn framing(&self) -> &F {
        &self.framing
    }

    /// Returns how many bytes are gathered before a message waits.
    pub fn max_buffered(&self) -> usize {
        self.max_buffered as usize
    }

    /// Returns how many bytes are accepted and not yet written.
    pub fn buffered(&self) -> usize {
        self.queue.len()
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.buffered() >= self.max_buffered as usize
    }

    #[cold]
    fn error(&self) -> Error {
        match &self.failure {
            Some(failure) => failure.again("send"),
            None => Error::new(ErrorKind::Closed, "send"),
        }
    }
}

impl<W: AsyncWrite + Unpin, F: Framing> FrameSender<W, F> {
    /// Appends one message to what is gathered. The caller has made room.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_send`")]
    fn accept(&mut self, head: &[u8], body: &mut Bytes) -> Result<()> {
        let rest = self.accept_head(head, body)?.len();
        if rest < body.len() {
            body.advance(body.len() - rest);
        }
        self.queue.push(std::mem::take(body), self.io.is_write_vectored());
        self.framing.encode_suffix(self.queue.small());
        Ok(())
    }

    /// Appends what stands before a message, and its head; returns what is left of its body.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_send`")]
    fn accept_head<'b>(&mut self, head: &[u8], body: &'b [u8]) -> Result<&'b [u8]> {
        let taken = match self.framing.encode_prefix(head, body, self.queue.small()) {
            Ok(taken) => taken,
            Err(error) => return Err(self.refuse(error)),
        };
        self.dirty = true;
        if taken == head.len() {
            return Ok(body);
        }
        let (head, body) = without_first(taken, head, body);
        self.queue.small().extend_from_slice(head);
        Ok(body)
    }

    #[cold]
    fn refuse(&mut self, error: FrameError) -> Error {
        self.queue.release();
        Error::from_frame(error, "send")
    }

    /// Writes everything that is gathered.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_flush`")]
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match ready!(self.queue.poll_write(Pin::new(&mut self.io), cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }

    #[cold]
    fn fail(&mut self, error: io::Error) -> Error {
        let error = Error::from_io(error, "send");
        self.failure = Some(Box::new(Failure::Io(error.kind())));
        self.queue.clear();
        error
    }

    /// Waits for room for one message.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_send`")]
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.finished || self.failure.is_some() {
            return Poll::Ready(Err(self.error()));
        }
        if self.is_full() { self.poll_less(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Waits until less is gathered than may be.
    #[inline(never)]
    fn poll_less(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let written = self.poll_write_all(cx)?;
        if written.is_pending() && self.is_full() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_send`")]
    fn poll_accept(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        ready!(self.poll_room(cx))?;
        Poll::Ready(self.accept(head, body))
    }
}

impl<W, F> Sender for FrameSender<W, F>
where
    W: AsyncWrite + Send + Unpin + 'static,
    F: Framing,
{
    /// As that of the receiver, the path of a small message becomes part of the caller.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: a tenth of a small message's cost")]
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        self.poll_accept(cx, &[], message)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_send`")]
    fn poll_send_parts(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        self.poll_accept(cx, head, body)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_send`")]
    fn poll_send_copy(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Poll<Result<()>> {
        ready!(self.poll_room(cx))?;
        let rest = self.accept_head(head, body)?;
        self.queue.small().extend_from_slice(rest);
        self.framing.encode_suffix(self.queue.small());
        Poll::Ready(Ok(()))
    }

    fn poll_send_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<()>> {
        while let Some(message) = batch.front_mut() {
            ready!(self.poll_accept(cx, &[], message))?;
            batch.pop();
        }
        Poll::Ready(Ok(()))
    }

    fn unsent_len(&self) -> usize {
        self.buffered() + (self.unsent_below)(&self.io)
    }

    fn held_len(&self) -> usize {
        self.queue.held_len() + (self.unsent_below)(&self.io)
    }

    /// It becomes part of the caller, so that few calls lie between the write and the runtime: where a write wakes a peer
    /// that runs next on the same core, the processor no longer knows where those return to, and guesses each wrong.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "measured: a hundredth of the round trip of a message that comes alone"
    )]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.failure.is_some() {
            return Poll::Ready(Err(self.error()));
        }
        if self.finished || !self.dirty {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write_all(cx))?;
        // A stream that encrypts keeps what it has not yet written: only its own flush ends that.
        match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
            Ok(()) => {
                self.dirty = false;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_flush(cx))?;
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            Ok(()) => {
                self.finished = true;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }

    fn abort(&mut self) {
        // As if something were accepted that is not flushed.
        self.dirty = true;
    }
}

impl<W, F> Drop for FrameSender<W, F> {
    fn drop(&mut self) {
        if self.dirty && !self.finished && self.failure.is_none() {
            (self.on_abort)(&mut self.io, &self.queue.unsent());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Delimiter;

    /// A stream that takes one slice a write, and notes how long each write is.
    struct OneSlice(Vec<usize>);

    impl AsyncWrite for OneSlice {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn s3_a_large_message_leaves_in_one_write_where_a_stream_takes_one_slice() {
        let lines = Delimiter::lines().with_max_message_len(20_000);
        let mut sender = FrameSender::new(OneSlice(Vec::new()), lines);
        sender.send(vec![b'x'; 20_000]).await.expect("sent");
        assert_eq!(sender.get_ref().0, [20_001]);
    }

    #[tokio::test]
    async fn a_refused_message_leaves_no_buffer_behind() {
        let mut sender = FrameSender::new(Vec::new(), Delimiter::lines());
        sender.feed("two\nlines").await.expect_err("it contains its delimiter");
        assert_eq!(sender.queue.held_len(), 0);
        sender.feed("one").await.expect("a line");
        sender.feed("two\nlines").await.expect_err("it contains its delimiter");
        sender.flush().await.expect("written");
        assert_eq!(sender.get_ref(), b"one\n");
    }
}
