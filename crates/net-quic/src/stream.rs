//! Streams of a session: bytes in order, ended, reset or stopped apart from one another.

use std::{
    fmt,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use net_core::{Error, Permit, Result};
use quinn::{StoppedError, StreamId, VarInt, WriteError};
use tokio::io::AsyncWrite;

use crate::{
    error::{as_io, of_write},
    session::{Closing, Shared, is_rejected},
};

pub use recv::RecvStream;

mod recv;

/// What a stream is reset with whose sender of messages was dropped before all was flushed, or that was dropped by a panic.
pub const ABORTED: u32 = 1;

/// Waits until the peer has acknowledged everything, or reads no more.
type Acknowledged = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync>>;

/// The sending half of a stream.
///
/// Dropping it ends the stream: what was written still arrives, and then the end; [`reset`](Self::reset) cuts it instead, and
/// so does a panic that drops it, with [`ABORTED`], or the peer would take what there is for all. It keeps its session alive.
///
/// [`finish`](Self::finish) waits for the peer's acknowledgement; [`end`](Self::end) does not, and is what quinn calls `finish`.
/// `AsyncWriteExt::shutdown` waits as [`finish`](Self::finish) does: put a deadline on it.
///
/// # Examples
///
/// ```no_run
/// # async fn example(session: net_quic::QuicSession) -> net_core::Result<()> {
/// let (mut tx, mut rx) = session.open_bi().await?;
/// tx.set_priority(7);
/// tx.write_all(b"a request").await?;
/// tx.finish().await?; // all of it has arrived
/// let answer = rx.read_to_end(64 * 1024).await?;
/// # drop(answer);
/// # Ok(())
/// # }
/// ```
pub struct SendStream {
    /// With the session from its end until it is acknowledged, so that who waits for all streams knows of it.
    stream: Option<quinn::SendStream>,
    id: StreamId,
    session: Arc<Shared>,
    end: End,
    /// Opened before the handshake was over, by a client: the server may not take it, and another one has its number then.
    early: bool,
    /// The place of a message connection among those that a server admits.
    _permit: Option<Arc<Permit>>,
}

enum End {
    Open,
    /// The peer was told that nothing follows.
    Told,
    /// It is being waited for.
    Waiting(Acknowledged),
    /// The peer has all of it, and is told of the end of the connection.
    Closing(Closing),
    /// The peer has all of it.
    Acknowledged,
    /// It was waited for in vain, which stays so; boxed, since few streams end so.
    Failed(Box<WriteError>),
    Reset,
}

impl SendStream {
    pub(crate) fn new(stream: quinn::SendStream, session: Arc<Shared>, permit: Option<Arc<Permit>>) -> Self {
        session.sender_opened();
        let id = stream.id();
        Self { stream: Some(stream), id, session, end: End::Open, early: false, _permit: permit }
    }

    /// Tells whether this client opened it before its handshake was over.
    pub(crate) fn with_early(mut self, early: bool) -> Self {
        self.early = early;
        self
    }

    /// Writes a part of `bytes`, as much as there is room for, and returns how much.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](net_core::ErrorKind::Closed) where the stream has ended or the peer reads no more of it, with
    /// its [`QuicCode`](crate::QuicCode), or why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: where the future is dropped, nothing was written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        poll_fn(|cx| self.poll_some(cx, bytes)).await.map_err(|error| self.error(error, "write"))
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a beginning may have been written.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes all of `chunk`, which is kept as it is until it is acknowledged, and not copied.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a beginning may have been written.
    pub fn write_chunk(&mut self, chunk: Bytes) -> impl Future<Output = Result<()>> + Send + Sync + '_ {
        // A task that serves a stream is moved about with this future: as an `async fn` it would hold the chunk more than once.
        let mut chunk = [chunk];
        poll_fn(move |cx| {
            loop {
                let written = ready!(self.poll_chunks(cx, &mut chunk));
                if let Err(error) = written {
                    return Poll::Ready(Err(self.error(error, "write")));
                }
                if chunk.iter().all(Bytes::is_empty) {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    /// Tells the peer that nothing follows, without waiting; dropping does the same.
    #[doc(alias = "finish")]
    pub fn end(&mut self) {
        if matches!(self.end, End::Open) {
            if let Some(mut stream) = self.stream.take() {
                self.tell_end(&mut stream);
                if self.early {
                    self.stream = Some(stream);
                } else {
                    self.session.hold(stream);
                }
            }
            // Last, so that it is open or held whenever somebody looks.
            self.leave_open(End::Told);
        }
    }

    /// Tells the peer that nothing follows, and waits until it has acknowledged everything.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](net_core::ErrorKind::Closed) where the peer reads no more of it, or why the connection is
    /// gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it may be called again, and a failure stays one.
    pub async fn finish(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_finished(cx)).await.map_err(|error| self.error(error, "finish"))
    }

    /// Cuts the stream: what has not arrived is given up, and the peer learns `code`, of which it is agreed what it
    /// means; a code of 2^62 or more is sent as 2^62 − 1 (RFC 9000 §16).
    pub fn reset(&mut self, code: u64) {
        if matches!(self.end, End::Closing(_) | End::Acknowledged | End::Reset) {
            return;
        }
        self.take_back();
        if let Some(stream) = &mut self.stream {
            // An error means that it has ended already.
            let _ = stream.reset(bounded(code));
            self.leave_open(End::Reset);
        }
    }

    /// Waits until the peer reads no more, and returns the code it gave; `None` where it has acknowledged a stream that
    /// was ended, and at once where this side [reset](Self::reset) it.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn stopped(&self) -> Result<Option<u64>> {
        if let End::Reset = self.end {
            // quinn tells nobody when a reset is known.
            return Ok(None);
        }
        let Some(stopped) = self.look(quinn::SendStream::stopped) else { return Ok(None) };
        match stopped.await {
            Ok(code) => Ok(code.map(VarInt::into_inner)),
            Err(error) => Err(self.error(error.into(), "wait for the peer")),
        }
    }

    /// Sets which streams of a session go first: those of a higher priority before those of a lower one, in turns where
    /// it is the same. Default: 0.
    pub fn set_priority(&self, priority: i32) {
        self.look(|stream| {
            if !(self.early && is_rejected(stream)) {
                // One that is acknowledged has nothing to send.
                let _ = stream.set_priority(priority);
            }
        });
    }

    /// Returns the number of the stream, unique in its session (RFC 9000 §2.1).
    pub fn id(&self) -> u64 {
        VarInt::from(self.id).into_inner()
    }

    /// Cuts the stream of a sender of messages that was dropped too early.
    pub(crate) fn abort(&mut self, _: &[IoSlice<'_>]) {
        self.reset(ABORTED.into());
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.session
    }

    /// Makes the peer learn of a stream on which nothing was sent: an empty frame, sent again until it has arrived.
    pub(crate) fn announce(&mut self) {
        if let Some(stream) = &mut self.stream {
            // Where there is no room, what is written next announces it.
            let _ = pin!(stream.write(&[])).poll(&mut Context::from_waker(std::task::Waker::noop()));
        }
    }

    fn error(&self, error: WriteError, operation: &'static str) -> Error {
        of_write(error, operation).at(&self.session.info().remote)
    }

    fn leave_open(&mut self, end: End) {
        if matches!(self.end, End::Open) {
            self.session.sender_ended();
        } else {
            self.session.cut();
        }
        self.end = end;
    }

    fn tell_end(&self, stream: &mut quinn::SendStream) {
        if self.early {
            self.session.finish_early(stream);
        } else {
            // It is reset or closed already, and told of elsewhere.
            let _ = stream.finish();
        }
    }

    /// Looks at the stream, wherever it is.
    fn look<T>(&self, look: impl FnOnce(&quinn::SendStream) -> T) -> Option<T> {
        match &self.stream {
            Some(stream) => Some(look(stream)),
            None => self.session.look_at(self.id, look),
        }
    }

    /// Takes the stream back from the session, if that has it.
    fn take_back(&mut self) {
        if self.stream.is_none() {
            self.stream = self.session.give_back(self.id);
        }
    }

    #[inline]
    fn poll_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, WriteError>> {
        match &mut self.stream {
            Some(stream) if matches!(self.end, End::Open) => Pin::new(stream).poll_write(cx, bytes),
            _ => Poll::Ready(Err(WriteError::ClosedStream)),
        }
    }

    /// Writes a part of `chunks`, and takes it off them.
    fn poll_chunks(&mut self, cx: &mut Context<'_>, chunks: &mut [Bytes]) -> Poll<Result<(), WriteError>> {
        match &mut self.stream {
            // What waits for room is known to the connection, not to this future, and stays so when it is dropped.
            Some(stream) if matches!(self.end, End::Open) => {
                pin!(stream.write_chunks(chunks)).poll(cx).map_ok(drop)
            }
            _ => Poll::Ready(Err(WriteError::ClosedStream)),
        }
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.end();
        if let End::Told = self.end {
            let Some(stopped) = self.look(quinn::SendStream::stopped) else { return Poll::Ready(Ok(())) };
            self.end = End::Waiting(Box::pin(stopped));
        }
        match &mut self.end {
            End::Waiting(acknowledged) => {
                let failure = match ready!(acknowledged.as_mut().poll(cx)) {
                    Ok(None) => {
                        self.take_back();
                        self.end = match self.session.direction_ended() {
                            Some(closing) => End::Closing(closing),
                            None => End::Acknowledged,
                        };
                        return self.poll_finished(cx);
                    }
                    Ok(Some(code)) => WriteError::Stopped(code),
                    Err(error) => error.into(),
                };
                self.end = End::Failed(Box::new(failure.clone()));
                Poll::Ready(Err(failure))
            }
            End::Closing(closing) => {
                ready!(closing.as_mut().poll(cx));
                self.end = End::Acknowledged;
                Poll::Ready(Ok(()))
            }
            End::Failed(failure) => Poll::Ready(Err(WriteError::clone(failure))),
            End::Reset => Poll::Ready(Err(WriteError::ClosedStream)),
            End::Open | End::Told | End::Acknowledged => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if matches!(self.end, End::Open) && std::thread::panicking() {
            self.reset(ABORTED.into());
        }
        let Some(mut stream) = self.stream.take() else { return self.session.keep_held(self.id) };
        let is_open = matches!(self.end, End::Open);
        if is_open {
            self.tell_end(&mut stream);
        }
        match self.end {
            _ if self.early => self.session.keep_early(stream),
            End::Open | End::Told | End::Waiting(_) | End::Failed(_) => self.session.keep(stream, false),
            End::Reset => self.session.keep(stream, true),
            End::Closing(_) | End::Acknowledged => {}
        }
        if is_open {
            // Last, so that it is open or kept whenever somebody looks.
            self.session.sender_ended();
        }
    }
}

/// Returns `code`, or the greatest that QUIC has (RFC 9000 §16).
pub(crate) fn bounded(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

impl AsyncWrite for SendStream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_some(cx, bytes).map_err(|error| as_io(self.error(error, "write")))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match self.poll_some(cx, slice) {
                Poll::Ready(Ok(len)) => {
                    written += len;
                    if len < slice.len() {
                        break;
                    }
                }
                // What was written is told first.
                _ if written > 0 => break,
                other => return other.map_err(|error| as_io(self.error(error, "write"))),
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is written is with QUIC, which sends it by itself.
    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream, and waits until the peer has acknowledged everything.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finished(cx).map_err(|error| as_io(self.error(error, "finish")))
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream").field("id", &self.id()).finish_non_exhaustive()
    }
}
