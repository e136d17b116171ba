//! The sending half of a connection.

use std::{
    fmt,
    future::poll_fn,
    io, str,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use net_core::{Error, ErrorKind, GoAwayReason, Result, Sender, frame::FrameError, framed::WriteQueue};
use net_tcp::stream::WriteHalf;
use tokio::io::AsyncWrite;

use crate::{
    CloseCode, CloseFrame, Fragment, Kind, SendAs, WsConfig, WsMessage,
    decode::Role,
    deflate::{Compressor, DeflateInfo},
    frame::{Head, MAX_CONTROL_LEN, Opcode},
    link::{Link, put},
};

mod frames;
mod leaving;

use frames::{append, is_text};

/// Sends messages over WebSocket.
///
/// Through [`Sender`] a message goes out as what [`WsConfig::send_as`] says; what only WebSocket has are methods of this type.
/// Messages are gathered, and written together when the sender is flushed or has gathered enough. Of a server's messages
/// from 8 KiB on nothing is copied; a client copies, since it masks.
///
/// Dropping it with everything flushed sends a Close frame as far as there is room and ends the stream; with something
/// unflushed it cuts the connection.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Sender, Transport};
/// use net_ws::{CloseCode, Ws, WsMessage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let ws = Ws::default();
/// let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// let to = listener.local().clone();
/// let (near, far) = tokio::join!(ws.connect(&to), listener.accept());
/// let (mut near, mut far) = (near?, far?);
/// near.tx.feed_message("text".into()).await?;
/// near.tx.feed_message(WsMessage::Binary("bytes".into())).await?;
/// near.tx.close(CloseCode::NORMAL, "that is all").await?;
/// assert_eq!(far.rx.recv_message().await?, Some("text".into()));
/// assert_eq!(far.rx.recv_message().await?, Some(WsMessage::Binary("bytes".into())));
/// assert_eq!(far.rx.recv_message().await?, None);
/// assert_eq!(far.rx.close_frame().expect("one with a code").reason(), "that is all");
/// # Ok(())
/// # }
/// ```
#[allow(clippy::struct_excessive_bools, reason = "independent of one another")]
pub struct WsSender<W: AsyncWrite + Unpin = WriteHalf> {
    link: Arc<Link<W>>,
    queue: WriteQueue,
    /// A write was not finished: the rest of it is with the link, where the receiver may go on with it, or in the stream below.
    lent: bool,
    /// How long the queue may become before it is looked at what waits with the link.
    room: usize,
    compressor: Option<Box<Compressor>>,
    /// The compressor while messages go as they are.
    resting: Option<Box<Compressor>>,
    send_as: SendAs,
    masks: bool,
    /// Something is accepted that is not flushed.
    dirty: bool,
    finished: bool,
    /// The stream takes several slices a write.
    vectored: bool,
    /// A message whose fragments are sent one by one has begun.
    begun: Option<Kind>,
    max_message_len: usize,
    max_buffered: usize,
    /// What the Close frame says, where it is more than that all is done.
    close: Option<Box<CloseFrame>>,
    failure: Option<io::ErrorKind>,
    on_abort: fn(W),
    unsent_below: fn(&W) -> usize,
}

impl<W: AsyncWrite + Unpin> WsSender<W> {
    pub(crate) fn new(
        link: Arc<Link<W>>,
        role: Role,
        config: &WsConfig,
        agreed: Option<DeflateInfo>,
        on_abort: fn(W),
    ) -> Self {
        let compressor = agreed
            .zip(config.deflate)
            .map(|(agreed, deflate)| Box::new(Compressor::new(agreed, deflate.level, deflate.min_len)));
        let vectored = link.lock().io().is_some_and(AsyncWrite::is_write_vectored);
        Self {
            link,
            queue: WriteQueue::default(),
            lent: false,
            room: config.tcp.max_buffered.max(1),
            compressor,
            resting: None,
            send_as: config.send_as,
            masks: role == Role::Client,
            dirty: false,
            finished: false,
            vectored,
            begun: None,
            max_message_len: config.max_message_len,
            max_buffered: config.tcp.max_buffered.max(1),
            close: None,
            failure: None,
            on_abort,
            unsent_below: |_| 0,
        }
    }

    /// Sets what tells how many bytes the stream below has taken and keeps: one that encrypts has what it wrote ahead of the
    /// network. Unless set, none; over `wss` it is.
    #[must_use]
    pub fn with_unsent_below(mut self, unsent_below: fn(&W) -> usize) -> Self {
        self.unsent_below = unsent_below;
        self
    }
}

impl<W: AsyncWrite + Unpin> WsSender<W> {
    /// Offers one message of its own kind, as [`Sender::poll_send`] does.
    pub fn poll_send_message(&mut self, cx: &mut Context<'_>, message: &mut WsMessage) -> Poll<Result<()>> {
        ready!(self.poll_room(cx))?;
        let kind = message.kind();
        self.check(kind, &[], message.as_bytes(), true)?;
        let mut body = std::mem::replace(message, WsMessage::Binary(Bytes::new())).into_bytes();
        self.accept(kind, &[], &mut body);
        Poll::Ready(Ok(()))
    }

    /// Queues one message of its own kind, waiting for room.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MessageTooLong`], or [`ErrorKind::InvalidMessage`] inside a message that is sent in fragments, with the
    /// connection intact; or why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the message was accepted whole or not at all. Where a flush was dropped inside a frame, the receiver writes the
    /// rest and its answers behind it, whether or not anything is fed after that.
    pub async fn feed_message(&mut self, mut message: WsMessage) -> Result<()> {
        poll_fn(|cx| self.poll_send_message(cx, &mut message)).await
    }

    /// Sends one message of its own kind and flushes.
    ///
    /// # Errors
    ///
    /// As [`feed_message`](Self::feed_message).
    ///
    /// # Cancel safety
    ///
    /// As [`feed_message`](Self::feed_message).
    pub async fn send_message(&mut self, message: impl Into<WsMessage>) -> Result<()> {
        self.feed_message(message.into()).await?;
        poll_fn(|cx| self.poll_flush_all(cx)).await
    }

    /// Queues one fragment in a frame of its own, waiting for room. It is not compressed.
    ///
    /// Between the first and the last one of a message no other message may be sent; pings may.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidMessage`] where the message has begun as another kind, [`ErrorKind::MessageTooLong`], both with the
    /// connection intact; or why the connection is gone. Whether text is UTF-8 is for the peer to find out.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the fragment was accepted whole or not at all.
    pub async fn feed_fragment(&mut self, fragment: Fragment) -> Result<()> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        let Fragment { kind, payload, last } = fragment;
        if self.begun.is_some_and(|begun| begun != kind) {
            return Err(invalid("a message does not change its kind"));
        }
        if payload.len() > self.max_message_len {
            return Err(too_long(payload.len(), self.max_message_len));
        }
        let opcode = if self.begun.is_some() { Opcode::Continuation } else { Opcode::Data(kind) };
        self.begun = (!last).then_some(kind);
        self.push(Head { last, compressed: false, opcode, key: None, payload_len: 0 }, &[], payload);
        Ok(())
    }

    /// Sends a ping and flushes; the peer answers with a pong that [`WsReceiver::recv_event`](crate::WsReceiver::recv_event)
    /// gives. Of a payload of more than 125 bytes the beginning is sent.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the ping was accepted whole or not at all.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<()> {
        self.control(Opcode::Ping, payload).await
    }

    /// Sends a pong that nobody has asked for, and flushes. Pings are answered without it.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`ping`](Self::ping).
    pub async fn pong(&mut self, payload: &[u8]) -> Result<()> {
        self.control(Opcode::Pong, payload).await
    }

    async fn control(&mut self, opcode: Opcode, payload: &[u8]) -> Result<()> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        let payload = payload.get(..MAX_CONTROL_LEN).unwrap_or(payload);
        put(self.queue.small(), self.masks, opcode, payload);
        self.dirty = true;
        poll_fn(|cx| self.poll_flush_all(cx)).await
    }

    /// Compresses the messages that are accepted from now on, or sends them as they are. Default: `true`, where both sides have agreed
    /// on compression; else it changes nothing.
    ///
    /// It is for a secret that travels beside what a stranger chooses, and for what is compressed already. What is sent as it is leaves
    /// what [`DeflateMemory::Dedicated`](crate::DeflateMemory::Dedicated) keeps as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use net_core::{Listener, Transport};
    /// use net_ws::Ws;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> net_core::Result<()> {
    /// # let ws = Ws::default();
    /// # let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
    /// # let to = listener.local().clone();
    /// # let (near, _far) = tokio::join!(ws.connect(&to), listener.accept());
    /// # let mut near = near?;
    /// near.tx.set_compression(false);
    /// near.tx.send_message("session=4711".repeat(100)).await?;
    /// near.tx.set_compression(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_compression(&mut self, on: bool) {
        let (from, to) = if on {
            (&mut self.resting, &mut self.compressor)
        } else {
            (&mut self.compressor, &mut self.resting)
        };
        if let Some(compressor) = from.take() {
            *to = Some(compressor);
        }
    }

    /// Finishes with this code and reason: flushes and sends a Close frame.
    ///
    /// [`Connection::close`](net_core::Connection::close) and receiving until `None` wait for the peer's.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it may be called again, or [`finish`](Sender::finish).
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<()> {
        self.set_close(CloseFrame::new(code, reason));
        poll_fn(|cx| self.poll_finish_all(cx)).await
    }

    /// Sets what the Close frame says that [`finish`](Sender::finish) sends. Default: code 1000, or the code of the peer's
    /// Close frame where that was first.
    pub fn set_close(&mut self, frame: CloseFrame) {
        self.close = Some(Box::new(frame));
    }

    /// Waits for room for one message.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.finished || self.failure.is_some() || self.link.is_closing() {
            return Poll::Ready(Err(self.error("send")));
        }
        if self.queue.len() >= self.room {
            return self.poll_make_room(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// Refuses a message that cannot be sent, and leaves everything as it is. `known`: it is known to be of its kind.
    #[inline]
    fn check(&self, kind: Kind, head: &[u8], body: &[u8], known: bool) -> Result<()> {
        let len = head.len() + body.len();
        if len > self.max_message_len {
            return Err(too_long(len, self.max_message_len));
        }
        if self.begun.is_some() {
            return Err(invalid("a message in fragments is not finished"));
        }
        if kind == Kind::Text && !known && !is_text(head, body) {
            return Err(invalid("text is not UTF-8"));
        }
        Ok(())
    }

    /// Returns what a message is sent as that has no kind of its own.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    fn kind_of(&self, head: &[u8], body: &[u8]) -> (Kind, bool) {
        match self.send_as {
            SendAs::Text => (Kind::Text, false),
            SendAs::Received if self.link.last_received() == Kind::Text && is_text(head, body) => {
                (Kind::Text, true)
            }
            SendAs::Binary | SendAs::Received => (Kind::Binary, true),
        }
    }

    /// Appends one message, which was checked, to what is gathered.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    fn accept(&mut self, kind: Kind, head: &[u8], body: &mut Bytes) {
        let frame =
            Head { last: true, compressed: false, opcode: Opcode::Data(kind), key: None, payload_len: 0 };
        if self.compressor.is_some() && self.accept_compressed(frame, head, body) {
            *body = Bytes::new();
            return;
        }
        self.push(frame, head, std::mem::take(body));
    }

    /// Appends one message compressed; `false`: it goes as it is.
    #[inline(never)]
    fn accept_compressed(&mut self, frame: Head, head: &[u8], body: &[u8]) -> bool {
        let (queue, masks) = (&mut self.queue, self.masks);
        let Some(compressor) = &mut self.compressor else { return false };
        let sent = compressor.compress(head, body, |payload| {
            append(queue.small(), masks, Head { compressed: true, ..frame }, &[], payload);
        });
        self.link.keep(compressor.held_len());
        self.dirty |= sent.is_some();
        sent.is_some()
    }

    /// Appends one frame to what is gathered.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is the path of every message")]
    fn push(&mut self, frame: Head, head: &[u8], body: Bytes) {
        self.dirty = true;
        if self.masks {
            return append(self.queue.small(), true, frame, head, &body);
        }
        let small = self.queue.small();
        Head { payload_len: (head.len() + body.len()) as u64, ..frame }.encode(small);
        small.extend_from_slice(head);
        self.queue.push(body, self.vectored);
    }
}

#[cold]
fn invalid(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidMessage, "send").because(reason)
}

#[cold]
fn too_long(len: usize, max: usize) -> Error {
    Error::new(ErrorKind::MessageTooLong, "send").because(FrameError::TooLong { len: len as u64, max })
}

impl<W: AsyncWrite + Send + Unpin + 'static> Sender for WsSender<W> {
    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        self.poll_send_parts(cx, &[], message)
    }

    #[inline]
    fn poll_send_parts(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        ready!(self.poll_room(cx))?;
        let (kind, known) = self.kind_of(head, body);
        self.check(kind, head, body, known)?;
        self.accept(kind, head, body);
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn poll_send_copy(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Poll<Result<()>> {
        ready!(self.poll_room(cx))?;
        let (kind, known) = self.kind_of(head, body);
        self.check(kind, head, body, known)?;
        let frame =
            Head { last: true, compressed: false, opcode: Opcode::Data(kind), key: None, payload_len: 0 };
        if self.compressor.is_none() || !self.accept_compressed(frame, head, body) {
            self.dirty = true;
            append(self.queue.small(), self.masks, frame, head, body);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush_all(cx)
    }

    /// Flushes, then sends a Close frame: with the code of the peer's where that was first, else with 1000, unless
    /// [`set_close`](Self::set_close) has said another.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_finish_all(cx)
    }

    fn unsent_len(&self) -> usize {
        // All that was flushed is gone, and what was not is here, unless a flush found no room.
        self.queue.len() + if self.lent { self.link.lock().unsent_len(self.unsent_below) } else { 0 }
    }

    fn held_len(&self) -> usize {
        self.queue.held_len() + if self.lent { self.link.lock().held_len(self.unsent_below) } else { 0 }
    }

    fn leave(&mut self, reason: GoAwayReason) {
        let code = match reason {
            GoAwayReason::Overloaded => CloseCode::TRY_AGAIN_LATER,
            _ => CloseCode::GOING_AWAY,
        };
        self.set_close(code.into());
    }

    fn abort(&mut self) {
        // As if something were accepted that is not flushed.
        self.dirty = true;
    }
}

impl<W: AsyncWrite + Unpin> Drop for WsSender<W> {
    fn drop(&mut self) {
        let mut output = self.link.lock();
        let open = !self.finished && self.failure.is_none();
        if open && self.dirty {
            if let Some(io) = output.take_io() {
                (self.on_abort)(io);
            }
            return;
        }
        if open {
            let frame = self.close.as_deref().cloned().or_else(|| output.parting());
            self.link.close(&mut output, frame.as_ref());
            // As far as there is room: nobody waits for it any more.
            let _ = output.poll_answers(&mut Context::from_waker(Waker::noop()));
        }
        drop(output.take_io());
    }
}

impl<W: AsyncWrite + Unpin> fmt::Debug for WsSender<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsSender")
            .field("gathered", &self.queue.len())
            .field("compresses", &self.compressor.is_some())
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}
