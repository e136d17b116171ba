//! The receiving half of a stream.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use net_core::{Error, Permit, Result};
use quinn::{ReadError, VarInt};
use tokio::io::{AsyncRead, ReadBuf};

use super::bounded;
use crate::{
    error::{as_io, of_read},
    session::{Closing, Shared},
};

/// The receiving half of a stream.
///
/// Dropping it before the end asks the peer to stop. It keeps its session alive.
///
/// # Examples
///
/// ```no_run
/// # async fn example(session: net_quic::QuicSession) -> net_core::Result<()> {
/// let mut rx = session.accept_uni().await?;
/// while let Some(chunk) = rx.read_chunk(64 * 1024).await? {
///     println!("{} bytes", chunk.len());
/// }
/// # Ok(())
/// # }
/// ```
pub struct RecvStream {
    /// Gone as it is dropped alone.
    stream: Option<quinn::RecvStream>,
    session: Arc<Shared>,
    end: End,
    _permit: Option<Arc<Permit>>,
}

enum End {
    Open,
    /// All was read, and the peer is told of the end of the connection.
    Closing(Closing),
    Read,
}

impl RecvStream {
    pub(crate) fn new(stream: quinn::RecvStream, session: Arc<Shared>, permit: Option<Arc<Permit>>) -> Self {
        Self { stream: Some(stream), session, end: End::Open, _permit: permit }
    }

    /// Tells whether this client opened it before its handshake was over: the server may not take it, and another one has
    /// its number then.
    pub(crate) fn may_be_rejected(&self) -> bool {
        // quinn is asked last, under its lock: few sessions are given before their handshake is over.
        self.session.may_reject() && self.stream.as_ref().is_some_and(quinn::RecvStream::is_0rtt)
    }

    /// Reads what there is, at most as much as `buffer` holds, and returns how much; 0 at the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Reset`](net_core::ErrorKind::Reset) where the peer cut the stream, with its [`QuicCode`](crate::QuicCode),
    /// or why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing that was not returned is lost.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        match stream.read(buffer).await {
            Ok(read) => Ok(read.unwrap_or(0)),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Reads what has arrived as it arrived, without copying it, `max` bytes at the most; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing that was not returned is lost.
    pub fn read_chunk(
        &mut self,
        max: usize,
    ) -> impl Future<Output = Result<Option<Bytes>>> + Send + Sync + '_ {
        poll_fn(move |cx| {
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(None)) };
            let read = ready!(pin!(stream.read_chunk(max, true)).poll(cx));
            Poll::Ready(match read {
                Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
                Err(error) => Err(self.error(error)),
            })
        })
    }

    /// Reads everything up to the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MessageTooLong`](net_core::ErrorKind::MessageTooLong) where it is longer than `limit`, in bytes; else
    /// as [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what was read is lost.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>> {
        let Some(stream) = &mut self.stream else { return Ok(Vec::new()) };
        match stream.read_to_end(limit).await {
            Ok(all) => Ok(all),
            Err(quinn::ReadToEndError::Read(error)) => Err(self.error(error)),
            Err(too_long @ quinn::ReadToEndError::TooLong) => {
                let error = Error::new(net_core::ErrorKind::MessageTooLong, "read").because(too_long);
                Err(error.at(&self.session.info().remote))
            }
        }
    }

    /// Asks the peer to send no more of this stream, and drops what arrives of it; `code` is told, a code of 2^62 or more as
    /// 2^62 − 1 (RFC 9000 §16).
    pub fn stop(&mut self, code: u64) {
        if let Some(stream) = &mut self.stream {
            // An error means that all of it has been read.
            let _ = stream.stop(bounded(code));
        }
    }

    /// Tells whether what is read now is early data (0-RTT): the handshake is not over, so an attacker may have repeated
    /// it.
    ///
    /// Once the handshake is over, the peer is known to be the one that sent it.
    pub fn is_early(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Returns the number of the stream, unique in its session (RFC 9000 §2.1).
    pub fn id(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| VarInt::from(stream.id()).into_inner())
    }

    /// Tells that all was read, once a connection that ends with it has.
    #[cold]
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let End::Open = self.end {
            self.end = self.session.direction_ended().map_or(End::Read, End::Closing);
        }
        if let End::Closing(closing) = &mut self.end {
            ready!(closing.as_mut().poll(cx));
            self.end = End::Read;
        }
        Poll::Ready(())
    }

    fn error(&self, error: ReadError) -> Error {
        of_read(error, "read").at(&self.session.info().remote)
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let may_be_rejected = self.may_be_rejected();
        if let Some(mut stream) = self.stream.take()
            && may_be_rejected
        {
            // As quinn does when it drops it.
            let _ = stream.stop(VarInt::from_u32(0));
            self.session.keep_unread(stream);
        }
    }
}

impl AsyncRead for RecvStream {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let before = buffer.remaining();
        ready!(stream.poll_read_buf(cx, buffer)).map_err(|error| as_io(self.error(error)))?;
        if buffer.remaining() < before || before == 0 {
            return Poll::Ready(Ok(()));
        }
        self.poll_ended(cx).map(Ok)
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("id", &self.id()).finish_non_exhaustive()
    }
}
