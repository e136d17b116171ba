//! The sending half of messages over a byte stream.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    iter,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::Failure;
use crate::{
    Batch, Error, ErrorKind, Result, Sender,
    frame::{Framing, without_first},
    lend::{LENT_LEN, lend, take_back},
};

/// Messages of at least this length keep their own memory and leave by a vectored write; shorter ones are copied
/// behind one another, which is cheaper than one more slice for the kernel to walk.
const WHOLE_LEN: usize = 8 * 1024;
/// How many slices one vectored write takes.
const SLICES: usize = 64;

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
    /// Whole pieces that stand before `tail` on the wire.
    pieces: VecDeque<Bytes>,
    /// The bytes in `pieces`.
    pieces_len: usize,
    /// Where small messages are gathered.
    tail: BytesMut,
    max_buffered: usize,
    /// Something is accepted that the byte stream below has not been asked to flush.
    dirty: bool,
    state: State,
    on_abort: fn(&mut W, &[IoSlice<'_>]),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Finished,
    Failed(Failure),
}

impl<W, F> FrameSender<W, F> {
    /// How many bytes are gathered before a message waits, unless set: 256 KiB.
    pub const DEFAULT_MAX_BUFFERED: usize = 256 * 1024;

    /// Sends to `io` what `framing` makes of messages.
    pub fn new(io: W, framing: F) -> Self {
        Self {
            io,
            framing,
            pieces: VecDeque::new(),
            pieces_len: 0,
            tail: BytesMut::new(),
            max_buffered: Self::DEFAULT_MAX_BUFFERED,
            dirty: false,
            state: State::Open,
            on_abort: |_, _| {},
        }
    }

    /// Sets how many bytes are gathered before a message waits; one message always fits an empty buffer.
    #[must_use]
    pub fn with_max_buffered(mut self, bytes: usize) -> Self {
        self.max_buffered = bytes.max(1);
        self
    }

    /// Sets what tells the peer that the stream is cut, not ended: called when this sender is dropped while
    /// something that it accepted is not flushed.
    ///
    /// It is given the beginning of what was not written, up to the end of a frame at the most: a stream without a
    /// reset can be cut inside of it.
    #[must_use]
    pub fn with_abort(mut self, on_abort: fn(&mut W, &[IoSlice<'_>])) -> Self {
        self.on_abort = on_abort;
        self
    }

    /// Returns the byte stream.
    pub fn get_ref(&self) -> &W {
        &self.io
    }

    /// Returns how many bytes are accepted and not yet written.
    pub fn buffered(&self) -> usize {
        self.pieces_len + self.tail.len()
    }

    #[cold]
    fn error(&self) -> Error {
        match self.state {
            State::Failed(failure) => failure.again("send"),
            State::Open | State::Finished => Error::new(ErrorKind::Closed, "send"),
        }
    }
}

impl<W: AsyncWrite + Unpin, F: Framing> FrameSender<W, F> {
    /// Appends one message to what is gathered. The caller has made room.
    #[inline]
    fn accept(&mut self, head: &[u8], body: &mut Bytes) -> Result<()> {
        if self.tail.capacity() == 0 {
            self.tail = lend();
        }
        let taken = match self.framing.encode_prefix(head, body, &mut self.tail) {
            Ok(taken) => taken,
            Err(error) => return Err(Error::from_frame(error, "send")),
        };
        let (head, rest) = without_first(taken, head, body);
        self.tail.extend_from_slice(head);
        let taken = body.len() - rest.len();
        body.advance(taken);
        if body.len() < WHOLE_LEN {
            self.tail.extend_from_slice(body);
            *body = Bytes::new();
        } else {
            self.seal();
            self.pieces_len += body.len();
            self.pieces.push_back(std::mem::take(body));
        }
        self.framing.encode_suffix(&mut self.tail);
        self.dirty = true;
        Ok(())
    }

    /// Closes the gathered small messages into a piece.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces_len += self.tail.len();
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// Writes everything that is gathered.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.pieces.is_empty() {
            self.seal();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.pieces.len().min(SLICES);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            let slices = slices.get(..count).unwrap_or_default();
            let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
            let mut written = ready!(self.check(written))?;
            self.pieces_len -= written;
            while let Some(front) = self.pieces.front_mut() {
                if front.len() > written {
                    front.advance(written);
                    break;
                }
                written -= front.len();
                self.pieces.pop_front();
            }
        }
        while !self.tail.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.tail);
            let written = ready!(self.check(written))?;
            self.tail.advance(written);
        }
        if self.tail.capacity() > 0 {
            take_back(std::mem::take(&mut self.tail));
        }
        Poll::Ready(Ok(()))
    }

    fn check(&mut self, written: Poll<io::Result<usize>>) -> Poll<Result<usize>> {
        let error = match ready!(written) {
            // A write of nothing would be tried for ever.
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(written) => return Poll::Ready(Ok(written)),
            Err(error) => error,
        };
        Poll::Ready(Err(self.fail(error)))
    }

    #[cold]
    fn fail(&mut self, error: io::Error) -> Error {
        self.state = State::Failed(Failure::Io(error.kind()));
        self.pieces = VecDeque::new();
        self.pieces_len = 0;
        self.tail = BytesMut::new();
        Error::from_io(error, "send")
    }

    #[inline]
    fn poll_accept(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        if !matches!(self.state, State::Open) {
            return Poll::Ready(Err(self.error()));
        }
        if self.buffered() >= self.max_buffered {
            let written = self.poll_write_all(cx)?;
            if written.is_pending() && self.buffered() >= self.max_buffered {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.accept(head, body))
    }
}

impl<W, F> Sender for FrameSender<W, F>
where
    W: AsyncWrite + Send + Unpin + 'static,
    F: Framing,
{
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        self.poll_accept(cx, &[], message)
    }

    fn poll_send_parts(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        self.poll_accept(cx, head, body)
    }

    fn poll_send_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<()>> {
        while let Some(message) = batch.front_mut() {
            ready!(self.poll_accept(cx, &[], message))?;
            batch.pop();
        }
        Poll::Ready(Ok(()))
    }

    fn unsent_len(&self) -> usize {
        self.buffered()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.state {
            State::Open if !self.dirty => return Poll::Ready(Ok(())),
            State::Open => {}
            State::Finished => return Poll::Ready(Ok(())),
            State::Failed(_) => return Poll::Ready(Err(self.error())),
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
        if matches!(self.state, State::Finished) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_flush(cx))?;
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            Ok(()) => {
                self.state = State::Finished;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }
}

impl<W, F> Drop for FrameSender<W, F> {
    fn drop(&mut self) {
        if self.dirty && matches!(self.state, State::Open) {
            let unsent = self.pieces.iter().map(|piece| &piece[..]).chain(iter::once(&self.tail[..]));
            let unsent: Vec<_> = unsent.take(SLICES).map(IoSlice::new).collect();
            (self.on_abort)(&mut self.io, &unsent);
        }
        if self.tail.capacity() >= LENT_LEN / 2 {
            take_back(std::mem::take(&mut self.tail));
        }
    }
}
