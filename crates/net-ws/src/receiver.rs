//! The receiving half of a connection.

use std::{
    fmt,
    future::{Future, poll_fn},
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use net_core::{
    Error, Receiver, Result,
    framed::{Expected, ReadBuffer},
};
use net_tcp::stream::{ReadHalf, WriteHalf};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep},
};

use crate::{
    CloseFrame, Fragment, Kind, WsConfig, WsEvent, WsMessage,
    decode::{ControlPayload, Decoder, Role, Step},
    deflate::DeflateInfo,
    error::ProtocolError,
    keep_alive::{KeepAlive, PingLimit, Silence},
    link::Link,
};

/// Receives messages over WebSocket.
///
/// Through [`Receiver`] the bytes of a message come without its kind; what only WebSocket has are methods of this type. A
/// message is a view of the read buffer, in which its mask is taken off; one that was compressed or sent in fragments has
/// memory of its own.
///
/// Whoever receives answers pings, sends pings into the peer's silence, and gives a silent peer up. A Close frame of the peer
/// is the end, `None`; it is answered when the sender finishes or is dropped, so that what the peer has asked before can be
/// answered before.
///
/// A peer that breaks the protocol is told by a Close frame, then has [`WsConfig::close_timeout`] to end the connection; then
/// receiving gives an error of kind [`ErrorKind::Protocol`](net_core::ErrorKind::Protocol) or
/// [`ErrorKind::MessageTooLong`](net_core::ErrorKind::MessageTooLong) with a [`ProtocolError`] as its
/// source.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_ws::{Fragment, Kind, Ws};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let ws = Ws::default();
/// let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// let to = listener.local().clone();
/// let (near, far) = tokio::join!(ws.connect(&to), listener.accept());
/// let (mut near, mut far) = (near?, far?);
/// let first = Fragment { kind: Kind::Text, payload: "in ".into(), last: false };
/// let second = Fragment { payload: "parts".into(), last: true, ..first.clone() };
/// near.tx.feed_fragment(first.clone()).await?;
/// near.tx.feed_fragment(second).await?;
/// near.tx.ping(b"are you there?").await?;
/// assert_eq!(far.rx.recv_fragment().await?, Some(first));
/// assert_eq!(far.rx.recv_fragment().await?.expect("the second").payload, "parts");
/// # Ok(())
/// # }
/// ```
#[allow(clippy::struct_excessive_bools, reason = "independent of one another")]
pub struct WsReceiver<R = ReadHalf, W: AsyncWrite + Unpin = WriteHalf> {
    io: R,
    link: Arc<Link<W>>,
    input: ReadBuffer,
    decoder: Decoder,
    /// How many bytes are needed at least.
    missing: usize,
    /// The kind that the sender was told last.
    kind: Kind,
    /// Something has come since it slept last.
    came: bool,
    /// A message was given since it slept last.
    gave: bool,
    /// A control frame may wait to be written.
    answers: bool,
    /// A ping or a pong has come since somebody asked.
    heard: bool,
    state: State,
    keep_alive: Option<Box<KeepAlive>>,
    pings: Option<Box<PingLimit>>,
    max_pings: u32,
    close_timeout: Duration,
}

#[derive(Debug)]
enum State {
    Open,
    /// The peer broke the protocol; what was given before is answered first.
    Broken(ProtocolError),
    /// The peer was told, and may end the connection.
    Failing(ProtocolError, Pin<Box<Sleep>>),
    Ended,
    Failed(ProtocolError),
    /// The connection is gone.
    Gone(io::ErrorKind),
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Messages,
    Events,
    Fragments,
}

/// What came.
enum Came {
    Message(Kind, Bytes),
    Fragment(Fragment),
    Ping(ControlPayload),
    Pong(ControlPayload),
}

impl<R, W: AsyncWrite + Unpin> WsReceiver<R, W> {
    pub(crate) fn new(
        io: R,
        link: Arc<Link<W>>,
        role: Role,
        config: &WsConfig,
        agreed: Option<DeflateInfo>,
        read: BytesMut,
    ) -> Self {
        Self {
            io,
            link,
            input: ReadBuffer::from(read),
            decoder: Decoder::new(role, config, agreed),
            missing: 1,
            kind: Kind::Binary,
            came: false,
            gave: false,
            answers: false,
            heard: false,
            state: State::Open,
            keep_alive: KeepAlive::new(config).map(Box::new),
            pings: None,
            max_pings: config.max_pings_per_second,
            close_timeout: config.close_timeout,
        }
    }

    /// Returns what the Close frame of the peer says, where one has come that says something.
    pub fn close_frame(&self) -> Option<CloseFrame> {
        self.link.lock().peer_close().cloned()
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> WsReceiver<R, W> {
    /// Waits for the next message and its kind; `None` once the peer has closed.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv_message(&mut self) -> Result<Option<WsMessage>> {
        poll_fn(|cx| self.poll_recv_message(cx)).await
    }

    /// Polls for the next message and its kind; `None` once the peer has closed.
    pub fn poll_recv_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<WsMessage>>> {
        loop {
            return Poll::Ready(Ok(match ready!(self.poll_next(cx, Wanted::Messages))? {
                Some(Came::Message(kind, bytes)) => Some(message(kind, bytes)?),
                Some(_) => continue,
                None => None,
            }));
        }
    }

    /// Waits for whatever comes next: a message, a ping or a pong; `None` once the peer has closed.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost.
    pub async fn recv_event(&mut self) -> Result<Option<WsEvent>> {
        loop {
            return Ok(match poll_fn(|cx| self.poll_next(cx, Wanted::Events)).await? {
                Some(Came::Message(kind, bytes)) => Some(WsEvent::Message(message(kind, bytes)?)),
                Some(Came::Ping(payload)) => Some(WsEvent::Ping(Bytes::copy_from_slice(payload.as_ref()))),
                Some(Came::Pong(payload)) => Some(WsEvent::Pong(Bytes::copy_from_slice(payload.as_ref()))),
                Some(Came::Fragment(_)) => continue,
                None => None,
            });
        }
    }

    /// Waits for the next data frame, a part of a message or a whole one; `None` once the peer has closed.
    ///
    /// So a message may be longer than [`WsConfig::max_message_len`], which then bounds each frame, and what comes out of it.
    /// Of a message of which a part was received in this way the other methods give nothing: they pass over the rest of it. Where one
    /// of them was dropped inside a message, what it had of it comes with the next fragment.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no fragment is lost.
    pub async fn recv_fragment(&mut self) -> Result<Option<Fragment>> {
        loop {
            return Ok(match poll_fn(|cx| self.poll_next(cx, Wanted::Fragments)).await? {
                Some(Came::Fragment(fragment)) => Some(fragment),
                Some(Came::Message(kind, payload)) => Some(Fragment { kind, payload, last: true }),
                Some(_) => continue,
                None => None,
            });
        }
    }

    /// Polls for what is wanted.
    #[inline(never)]
    fn poll_next(&mut self, cx: &mut Context<'_>, wanted: Wanted) -> Poll<Result<Option<Came>>> {
        loop {
            match &mut self.state {
                State::Open => {}
                State::Broken(_) | State::Failing(..) => {
                    ready!(self.poll_fail(cx));
                    continue;
                }
                State::Ended => return Poll::Ready(Ok(None)),
                State::Failed(wrong) => return Poll::Ready(Err(wrong.during("receive"))),
                State::Gone(kind) => return Poll::Ready(Err(Error::from_io((*kind).into(), "receive"))),
            }
            let step = match self.decoder.next(&mut self.input, wanted == Wanted::Fragments) {
                Ok(step) => step,
                Err(wrong) => {
                    self.state = State::Broken(wrong);
                    if mem::take(&mut self.gave) {
                        // What was asked before is answered before the peer is told.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    continue;
                }
            };
            match step {
                Step::Missing(missing) => {
                    self.missing = missing;
                    ready!(self.poll_read(cx))?;
                }
                Step::Message(kind, payload) => {
                    self.given(kind);
                    return Poll::Ready(Ok(Some(Came::Message(kind, payload))));
                }
                Step::Fragment(fragment) => {
                    self.given(fragment.kind);
                    return Poll::Ready(Ok(Some(Came::Fragment(fragment))));
                }
                Step::Ping(payload) => {
                    self.heard = true;
                    let max = self.max_pings;
                    if !self.pings.get_or_insert_with(|| Box::new(PingLimit::new(max))).admits() {
                        self.state = State::Broken(ProtocolError::TooManyPings { max });
                        continue;
                    }
                    self.link.lock().pong(payload);
                    self.answers = true;
                    if wanted == Wanted::Events {
                        return Poll::Ready(Ok(Some(Came::Ping(payload))));
                    }
                }
                Step::Pong(payload) => {
                    self.heard = true;
                    if wanted == Wanted::Events {
                        return Poll::Ready(Ok(Some(Came::Pong(payload))));
                    }
                }
                Step::Close(frame) => {
                    self.link.lock().peer_closes(frame);
                    self.state = State::Ended;
                    self.input.clear();
                    if self.answers {
                        let _ = self.link.lock().poll_answers(cx);
                    }
                }
            }
        }
    }

    /// Notes that a message of this kind is given.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    fn given(&mut self, kind: Kind) {
        self.gave = true;
        if self.kind != kind {
            self.kind = kind;
            self.link.received(kind);
        }
    }

    /// Reads once. `Ready`: there is more input.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let expected = Expected { missing: self.missing, stride: self.decoder.stride() };
        loop {
            match self.input.poll_read(Pin::new(&mut self.io), cx, expected) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.gone(io::ErrorKind::UnexpectedEof))),
                Poll::Ready(Ok(_)) => {
                    self.came = true;
                    // Whose input never runs dry answers here: it never comes to where it sleeps.
                    self.poll_answers(cx);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.gone(error.kind()))),
                Poll::Pending => {}
            }
            self.gave = false;
            self.poll_answers(cx);
            let came = mem::take(&mut self.came);
            let Some(keep_alive) = &mut self.keep_alive else { return Poll::Pending };
            match ready!(keep_alive.poll(cx, came)) {
                Silence::GiveUp => return Poll::Ready(Err(self.gone(io::ErrorKind::TimedOut))),
                Silence::Ping => {
                    // Its timer is to be looked at again.
                    self.link.lock().ping();
                    self.answers = true;
                }
            }
        }
    }

    /// Writes the control frames that wait.
    #[inline]
    fn poll_answers(&mut self, cx: &mut Context<'_>) {
        if self.answers && self.link.lock().poll_answers(cx).is_ready() {
            self.answers = false;
        }
    }

    #[cold]
    fn gone(&mut self, kind: io::ErrorKind) -> Error {
        self.state = State::Gone(kind);
        self.input.clear();
        Error::from_io(kind.into(), "receive")
    }

    /// Tells the peer what it did wrong, then reads and discards until it ends the connection or its time is over.
    ///
    /// Closing a socket with unread input would reset the connection, and with it what the peer is told. Source: RFC 6455
    /// §7.1.1.
    #[cold]
    fn poll_fail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Broken(wrong) = self.state {
            let frame = CloseFrame::new(wrong.close_code(), wrong.to_string());
            self.link.close(&mut self.link.lock(), Some(&frame));
            self.state = State::Failing(wrong, Box::pin(sleep(self.close_timeout)));
        }
        let State::Failing(wrong, deadline) = &mut self.state else { return Poll::Ready(()) };
        let wrong = *wrong;
        let over = deadline.as_mut().poll(cx).is_ready();
        {
            let mut output = self.link.lock();
            // Not before it is told, and what is written in part is written whole.
            if let Poll::Ready(Ok(())) = output.poll_answers(cx) {
                let _ = output.poll_shutdown(cx);
            }
        }
        self.input.clear();
        let ended = loop {
            match self.input.poll_read(Pin::new(&mut self.io), cx, Expected::default()) {
                Poll::Ready(Ok(0) | Err(_)) => break true,
                Poll::Ready(Ok(_)) => self.input.clear(),
                Poll::Pending => break false,
            }
        };
        if !ended && !over {
            return Poll::Pending;
        }
        self.state = State::Failed(wrong);
        Poll::Ready(())
    }
}

fn message(kind: Kind, bytes: Bytes) -> Result<WsMessage> {
    Ok(match kind {
        Kind::Binary => WsMessage::Binary(bytes),
        // Looked at as it came: this cannot fail.
        Kind::Text => WsMessage::Text(
            ByteString::try_from(bytes).map_err(|_| ProtocolError::NotUtf8.during("receive"))?,
        ),
    })
}

impl<R, W> Receiver for WsReceiver<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if matches!(self.state, State::Open)
            && let Some((kind, message)) = self.decoder.next_plain(&mut self.input)
        {
            self.given(kind);
            return Poll::Ready(Ok(Some(message)));
        }
        loop {
            return Poll::Ready(Ok(match ready!(self.poll_next(cx, Wanted::Messages))? {
                Some(Came::Message(_, message)) => Some(message),
                Some(_) => continue,
                None => None,
            }));
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    fn peek(&mut self) -> Option<&[u8]> {
        if !matches!(self.state, State::Open) {
            return None;
        }
        let (kind, message) = self.decoder.peek(&mut self.input)?;
        self.gave = true;
        // What `given` does, which would borrow all of it.
        if self.kind != kind {
            self.kind = kind;
            self.link.received(kind);
        }
        Some(message)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    fn consume(&mut self) {
        self.decoder.consume(&mut self.input);
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        if !self.input.is_empty() || !matches!(self.state, State::Open) || self.decoder.is_inside() {
            return Poll::Ready(Ok(false));
        }
        self.missing = 1;
        ready!(self.poll_read(cx))?;
        Poll::Ready(Ok(true))
    }

    fn heard(&mut self) -> bool {
        mem::take(&mut self.heard)
    }

    fn incomplete_len(&self) -> usize {
        self.input.len() + self.decoder.begun_len()
    }

    /// Beside what has arrived it counts what this side keeps to compress and to decompress, both ways.
    fn held_len(&self) -> usize {
        self.input.held_len() + self.decoder.held_len() + self.link.kept_len()
    }

    fn release(&mut self) {
        self.input.release();
    }

    fn limit_message_len(&mut self, max: usize) -> Option<usize> {
        Some(self.decoder.limit_message_len(max))
    }
}

impl<R, W: AsyncWrite + Unpin> fmt::Debug for WsReceiver<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsReceiver").field("state", &self.state).finish_non_exhaustive()
    }
}
