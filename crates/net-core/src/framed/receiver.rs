//! The receiving half of messages over a byte stream.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncRead;

use super::{Expected, Failure, ReadBuffer};
use crate::{
    Batch, Error, ErrorKind, Receiver, Result,
    frame::{Decoded, Framing},
};

/// Receives the frames of a byte stream as messages, each a view of the read buffer.
///
/// A large buffer is held only while bytes of an incomplete frame are in it; a receiver that sleeps holds none.
///
/// # Examples
///
/// ```
/// use net_core::{Receiver, Sender, frame::LengthPrefix, framed::{FrameReceiver, FrameSender}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (near, far) = tokio::io::duplex(1024);
/// let mut tx = FrameSender::new(near, LengthPrefix::default());
/// let mut rx = FrameReceiver::new(far, LengthPrefix::default());
/// tx.send("hello").await?;
/// assert_eq!(rx.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FrameReceiver<R, F> {
    io: R,
    framing: F,
    input: ReadBuffer,
    /// How many bytes the frame at the start of `input` misses at least.
    missing: usize,
    /// The length on the wire of the message that was shown; 0: none was.
    shown: u32,
    /// The length on the wire of the last message: frames of one length are read in whole multiples of it.
    stride: u32,
    state: State,
    /// Boxed, since nearly every receiver never has one.
    failure: Option<Box<Failure>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    /// The stream ended; `input` may still give messages.
    Ending,
    Ended,
    /// The reason stands in `failure`.
    Failed,
}

impl<R, F> FrameReceiver<R, F> {
    /// Receives from `io` what `framing` marks as messages.
    pub fn new(io: R, framing: F) -> Self {
        Self {
            io,
            framing,
            input: ReadBuffer::default(),
            missing: 1,
            shown: 0,
            stride: 0,
            state: State::Open,
            failure: None,
        }
    }

    /// Returns the byte stream.
    pub fn get_ref(&self) -> &R {
        &self.io
    }
}

impl<R: AsyncRead + Unpin, F: Framing> FrameReceiver<R, F> {
    /// Takes the next whole message out of the input, where there is one.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_recv`")]
    fn next_message(&mut self) -> Result<Option<Bytes>> {
        let input = self.input.bytes_mut();
        let before = input.len();
        if before == 0 {
            self.missing = 1;
            return Ok(None);
        }
        match self.framing.decode(input) {
            Ok(Decoded::Message(message)) => {
                // Of no use for a frame that no read buffer holds.
                self.stride = u32::try_from(before - input.len()).unwrap_or(0);
                Ok(Some(message))
            }
            Ok(Decoded::Incomplete { missing }) => {
                self.missing = missing;
                Ok(None)
            }
            Err(error) => Err(self.fail(Failure::Frame(error))),
        }
    }

    /// Reads until there is a message, or the stream has ended.
    #[inline(never)]
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            match self.state {
                State::Open => {
                    ready!(self.poll_read(cx))?;
                    if matches!(self.state, State::Open)
                        && let Some(message) = self.next_message()?
                    {
                        return Poll::Ready(Ok(Some(message)));
                    }
                }
                State::Ending => return Poll::Ready(self.end()),
                State::Ended => return Poll::Ready(Ok(None)),
                State::Failed => return Poll::Ready(Err(self.error())),
            }
        }
    }

    /// Reads once. `Ready`: there is more input, or the stream has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let expected = Expected { missing: self.missing, stride: self.stride as usize };
        match self.input.poll_read(Pin::new(&mut self.io), cx, expected) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => {
                self.state = State::Ending;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => {
                let error = Error::from_io(error, "receive");
                self.fail(Failure::Io(error.kind()));
                Poll::Ready(Err(error))
            }
        }
    }

    #[cold]
    fn fail(&mut self, failure: Failure) -> Error {
        self.state = State::Failed;
        self.failure = Some(Box::new(failure));
        self.input.clear();
        self.error()
    }

    /// Returns the error that ended it, again.
    #[cold]
    fn error(&self) -> Error {
        match &self.failure {
            Some(failure) => failure.again("receive"),
            None => Error::new(ErrorKind::Closed, "receive"),
        }
    }

    /// Takes what is left once the stream has ended.
    fn end(&mut self) -> Result<Option<Bytes>> {
        match self.framing.decode_end(self.input.bytes_mut()) {
            Ok(Some(message)) => Ok(Some(message)),
            Ok(None) => {
                self.state = State::Ended;
                self.input.clear();
                Ok(None)
            }
            Err(error) => Err(self.fail(Failure::Frame(error))),
        }
    }
}

impl<R, F> Receiver for FrameReceiver<R, F>
where
    R: AsyncRead + Send + Unpin + 'static,
    F: Framing,
{
    /// The path of a message that has arrived becomes part of the caller: moving the message through the memory of
    /// several calls costs more than all that they do.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: a tenth of a small message's cost")]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.shown = 0;
        if matches!(self.state, State::Open)
            && let Some(message) = self.next_message()?
        {
            return Poll::Ready(Ok(Some(message)));
        }
        self.poll_more(cx)
    }

    fn poll_recv_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<usize>> {
        let Some(first) = ready!(self.poll_recv(cx))? else { return Poll::Ready(Ok(0)) };
        batch.push(first);
        let mut count = 1;
        while !batch.is_full() && matches!(self.state, State::Open) {
            // An error that stands behind a message is kept for the next call.
            match self.next_message() {
                Ok(Some(message)) => batch.push(message),
                Ok(None) | Err(_) => break,
            }
            count += 1;
        }
        Poll::Ready(Ok(count))
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_recv`")]
    fn peek(&mut self) -> Option<&[u8]> {
        self.shown = 0;
        if !matches!(self.state, State::Open) {
            return None;
        }
        let rest = self.input.unread();
        let found = self.framing.find(rest)?;
        let message = rest.get(found.message)?;
        self.shown = u32::try_from(found.frame_len).ok()?;
        Some(message)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `poll_recv`")]
    fn consume(&mut self) {
        let shown = mem::take(&mut self.shown);
        if shown > 0 {
            self.stride = shown;
            self.input.consume(shown as usize);
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        self.shown = 0;
        if !self.input.is_empty() || !matches!(self.state, State::Open) {
            return Poll::Ready(Ok(false));
        }
        self.missing = 1;
        ready!(self.poll_read(cx))?;
        Poll::Ready(Ok(matches!(self.state, State::Open)))
    }

    fn incomplete_len(&self) -> usize {
        self.input.len()
    }

    fn held_len(&self) -> usize {
        self.input.held_len()
    }

    fn release(&mut self) {
        self.shown = 0;
        self.input.release();
    }

    fn limit_message_len(&mut self, max: usize) -> Option<usize> {
        let before = self.framing.max_message_len();
        self.framing.set_max_message_len(max);
        (self.framing.max_message_len() <= max).then_some(before)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::BytesMut;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::{
        frame::LengthPrefix,
        lend::{LENT_LEN, lend},
    };

    #[tokio::test]
    async fn an_empty_buffer_is_given_back_to_whoever_reads_next() {
        let (mut near, far) = duplex(LENT_LEN);
        let mut receiver = FrameReceiver::new(far, LengthPrefix::default());
        near.write_all(b"\0\0\0\x01a\0\0\0\x01b").await.expect("room");
        drop(receiver.recv().await.expect("well-formed"));
        receiver.release();
        assert!(receiver.held_len() > 5, "what has arrived stays");
        let message = receiver.recv().await.expect("well-formed").expect("a message");
        let start = message.as_ptr().addr();
        drop(message);
        receiver.release();
        assert_eq!(receiver.held_len(), 0);
        // The same memory, from its beginning on: two frames of 5 bytes, the second one's content.
        assert_eq!(lend().as_ptr().addr(), start - 9);
    }

    #[tokio::test]
    async fn a27_what_is_announced_over_a_lowered_limit_takes_no_memory() {
        let (mut near, far) = duplex(LENT_LEN);
        let mut receiver = FrameReceiver::new(far, LengthPrefix::default());
        assert_eq!(receiver.limit_message_len(1000), Some(1 << 20));
        near.write_all(&[0, 0x10, 0, 0, 1, 2, 3]).await.expect("room");
        assert_eq!(receiver.recv().await.expect_err("too long").kind(), ErrorKind::MessageTooLong);
        assert_eq!(receiver.held_len(), 0);
    }

    #[tokio::test]
    async fn a_receiver_that_sleeps_holds_no_large_buffer_however_much_came_before() {
        // Less than half of a lent buffer is left behind the last message, and too much to call it full.
        for (frames, rest) in [(10, 0), (40, 0), (45, 0), (45, 500), (49, 0)] {
            let mut wire = BytesMut::new();
            for _ in 0..frames {
                LengthPrefix::default().encode(&[7; 1000], &mut wire).expect("short");
            }
            wire.extend_from_slice(&[0, 0, 3]);
            wire.extend_from_slice(&vec![255; rest]);
            let (mut near, far) = duplex(LENT_LEN);
            near.write_all(&wire).await.expect("room");
            let framing = LengthPrefix::default().with_max_message_len(2000);
            let mut receiver = FrameReceiver::new(far, framing);
            for _ in 0..frames {
                receiver.recv().await.expect("well-formed").expect("a message");
            }
            assert!(receiver.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(receiver.incomplete_len(), 3 + rest);
            assert!(receiver.held_len() <= 3 + rest, "{} held", receiver.held_len());
        }
    }
}
