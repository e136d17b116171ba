//! What both halves of a connection share: the way out, and the control frames that go before messages.

use std::{
    io,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use net_core::framed::WriteQueue;
use tokio::io::AsyncWrite;

use crate::{
    CloseCode, CloseFrame, Kind,
    decode::{ControlPayload, Role},
    frame::{Head, Key, Opcode, apply},
};

/// So many pongs wait to be written; of further pings the last one alone is answered.
///
/// "The endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame." Source: RFC 6455 §5.5.3.
const MAX_PONGS: usize = 64;

/// What both halves of a connection share.
///
/// The sender gathers messages by itself and takes the lock once a flush; the receiver takes it for control frames.
pub(crate) struct Link<W> {
    output: Mutex<Output<W>>,
    /// The last message that was received is text.
    text: AtomicBool,
    /// A Close frame is on its way: no message may follow it.
    closing: AtomicBool,
}

/// The way out.
pub(crate) struct Output<W> {
    /// Gone once the sender is.
    io: Option<W>,
    masks: bool,
    /// Control frames that wait to be written.
    control: BytesMut,
    pongs: usize,
    /// The ping that is answered behind those.
    latest: Option<Box<ControlPayload>>,
    /// A part of what the sender gathered is written, so that nothing may stand between it and the rest.
    busy: bool,
    /// A Close frame was put among the control frames.
    closes: bool,
    /// What the Close frame of the peer says; nothing where there was none.
    peer_close: Option<Box<Option<CloseFrame>>>,
}

impl<W> Link<W> {
    pub(crate) fn new(io: W, role: Role) -> Self {
        let output = Output {
            io: Some(io),
            masks: role == Role::Client,
            control: BytesMut::new(),
            pongs: 0,
            latest: None,
            busy: false,
            closes: false,
            peer_close: None,
        };
        Self { output: Mutex::new(output), text: AtomicBool::new(false), closing: AtomicBool::new(false) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Output<W>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the last message is that was received.
    pub(crate) fn received(&self, kind: Kind) {
        self.text.store(kind == Kind::Text, Ordering::Relaxed);
    }

    /// Returns what the last message is that was received.
    #[inline]
    pub(crate) fn last_received(&self) -> Kind {
        if self.text.load(Ordering::Relaxed) { Kind::Text } else { Kind::Binary }
    }

    /// Tells whether a Close frame is on its way.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Puts a Close frame behind the control frames that wait, unless there is one.
    pub(crate) fn close(&self, output: &mut Output<W>, frame: Option<&CloseFrame>) {
        if !output.closes {
            output.closes = true;
            output.latest = None;
            let payload = frame.map(CloseFrame::encode).unwrap_or_default();
            output.put(Opcode::Close, &payload);
            self.closing.store(true, Ordering::Relaxed);
        }
    }
}

impl<W> Output<W> {
    /// Answers a ping.
    pub(crate) fn pong(&mut self, payload: ControlPayload) {
        if self.closes || self.io.is_none() {
            return;
        }
        if self.pongs < MAX_PONGS {
            self.pongs += 1;
            self.put(Opcode::Pong, payload.as_ref());
        } else {
            self.latest = Some(Box::new(payload));
        }
    }

    /// Puts a control frame behind those that wait.
    pub(crate) fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        put(&mut self.control, self.masks, opcode, payload);
    }

    /// Notes that the peer closes.
    pub(crate) fn peer_closes(&mut self, frame: Option<CloseFrame>) {
        self.peer_close = Some(Box::new(frame));
    }

    /// Returns what the Close frame of the peer says, where one has come and says something.
    pub(crate) fn peer_close(&self) -> Option<&CloseFrame> {
        self.peer_close.as_deref()?.as_ref()
    }

    /// Returns what the Close frame of this side says, where nothing else is set: what the peer's says, else that all is
    /// done.
    ///
    /// "When sending a Close frame in response, the endpoint typically echos the status code it received." Source: RFC 6455
    /// §5.5.1.
    pub(crate) fn parting(&self) -> Option<CloseFrame> {
        match self.peer_close.as_deref() {
            Some(peer) => peer.as_ref().map(|frame| frame.code().into()),
            None => Some(CloseCode::NORMAL.into()),
        }
    }

    pub(crate) fn io(&self) -> Option<&W> {
        self.io.as_ref()
    }

    pub(crate) fn take_io(&mut self) -> Option<W> {
        self.io.take()
    }
}

/// Appends a control frame to `out`.
pub(crate) fn put(out: &mut BytesMut, masks: bool, opcode: Opcode, payload: &[u8]) {
    let key = masks.then(Key::random);
    Head { last: true, compressed: false, opcode, key, payload_len: payload.len() as u64 }.encode(out);
    let at = out.len();
    out.put_slice(payload);
    if let (Some(key), Some(payload)) = (key, out.get_mut(at..)) {
        apply(key, payload);
    }
}

impl<W: AsyncWrite + Unpin> Output<W> {
    /// Writes the control frames, then what the sender has gathered, then the control frames that came meanwhile.
    pub(crate) fn poll_write(
        &mut self,
        queue: &mut WriteQueue,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.busy && !self.control.is_empty() {
            ready!(self.poll_control(cx))?;
        }
        if !queue.is_empty() {
            let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            self.busy = true;
            ready!(queue.poll_write(Pin::new(io), cx))?;
        }
        self.busy = false;
        if self.control.is_empty() { Poll::Ready(Ok(())) } else { self.poll_control(cx) }
    }

    /// Writes what waits as [`poll_write`](Self::poll_write) does, then has the stream below write what it keeps.
    pub(crate) fn poll_flush(
        &mut self,
        queue: &mut WriteQueue,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_write(queue, cx))?;
        match &mut self.io {
            Some(io) => Pin::new(io).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes the control frames, where the sender is not in the midst of a message: it writes them then.
    pub(crate) fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.busy || self.control.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_control(cx))?;
        match &mut self.io {
            Some(io) => Pin::new(io).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else {
            self.control.clear();
            return Poll::Ready(Ok(()));
        };
        loop {
            while !self.control.is_empty() {
                let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.control))?;
                if written == 0 {
                    // It would be tried for ever.
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.control.advance(written);
            }
            self.pongs = 0;
            // Control frames are few and far between: nothing is kept for them.
            self.control = BytesMut::new();
            match self.latest.take() {
                Some(latest) => put(&mut self.control, self.masks, Opcode::Pong, (*latest).as_ref()),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Tells the stream below that nothing follows.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
