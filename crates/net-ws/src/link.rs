//! What both halves of a connection share: the way out, and the control frames that go before messages.

use std::{
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
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
    /// How much memory the sender keeps to compress.
    kept: AtomicUsize,
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
    /// What is left of what the sender gathered where a part of it may be written, so that nothing may stand between that part
    /// and this. It ends with a frame: control frames go behind it, then what the sender has gathered since. The receiver writes
    /// it where it has to write behind it. Nothing until the stream below was full for the first time.
    rest: Option<Box<WriteQueue>>,
    /// The stream below may keep a control frame, which it is to be made to write.
    unflushed: bool,
    /// A Close frame was put among the control frames.
    closes: bool,
    waiting: Waiting,
    /// What the Close frame of the peer says; nothing where there was none.
    peer_close: Option<Box<Option<CloseFrame>>>,
}

/// Who polls the way out.
#[derive(Clone, Copy)]
enum Half {
    Sender,
    Receiver,
}

/// Who waits for the stream below, which knows of one waiter alone.
#[derive(Default)]
struct Waiting {
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

impl Waiting {
    /// Returns the place of this half and the one of the other.
    fn of(&mut self, half: Half) -> (&mut Option<Waker>, &mut Option<Waker>) {
        match half {
            Half::Sender => (&mut self.sender, &mut self.receiver),
            Half::Receiver => (&mut self.receiver, &mut self.sender),
        }
    }
}

/// Wakes both halves.
struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}

impl<W> Link<W> {
    pub(crate) fn new(io: W, role: Role) -> Self {
        let output = Output {
            io: Some(io),
            masks: role == Role::Client,
            control: BytesMut::new(),
            pongs: 0,
            latest: None,
            rest: None,
            unflushed: false,
            closes: false,
            waiting: Waiting::default(),
            peer_close: None,
        };
        Self {
            output: Mutex::new(output),
            text: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            kept: AtomicUsize::new(0),
        }
    }

    /// Notes how much memory the sender keeps to compress.
    pub(crate) fn keep(&self, len: usize) {
        self.kept.store(len, Ordering::Relaxed);
    }

    /// Returns how much memory the sender keeps to compress.
    pub(crate) fn kept_len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
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

    /// Asks the peer for a sign of life, unless this side has said that nothing follows, or the last question waits yet.
    pub(crate) fn ping(&mut self) {
        if !self.closes && self.io.is_some() && self.control.is_empty() {
            self.put(Opcode::Ping, &[]);
        }
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

    /// Returns the stream below, of which nothing else is to be had afterwards.
    pub(crate) fn take_io(&mut self) -> Option<W> {
        self.waiting.sender = None;
        self.waiting.receiver.take().into_iter().for_each(Waker::wake);
        self.rest = None;
        self.io.take()
    }

    /// Returns the bytes of what the sender gathered that wait here.
    pub(crate) fn rest_len(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Returns the bytes of what the sender gathered that wait here and, as `below` tells, in the stream below.
    pub(crate) fn unsent_len(&self, below: fn(&W) -> usize) -> usize {
        self.rest_len() + self.io.as_ref().map_or(0, below)
    }

    /// Returns the memory that these hold.
    pub(crate) fn held_len(&self, below: fn(&W) -> usize) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.held_len()) + self.io.as_ref().map_or(0, below)
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
    /// Writes what is written in part, then the control frames, then what the sender has gathered.
    ///
    /// `Pending`: `queue` has what is not begun; the rest of what is, is here, so that the receiver may go on with it.
    pub(crate) fn poll_write(
        &mut self,
        queue: &mut WriteQueue,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_for(Half::Sender, cx, |output, cx| output.poll_gathered(queue, cx))
    }

    /// Writes what waits as [`poll_write`](Self::poll_write) does, then has the stream below write what it keeps.
    pub(crate) fn poll_flush(
        &mut self,
        queue: &mut WriteQueue,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_for(Half::Sender, cx, |output, cx| {
            ready!(output.poll_gathered(queue, cx))?;
            output.poll_below(cx)
        })
    }

    /// Writes the control frames, behind what is written of the sender's in part. `Ready(Ok)`: none waits any more.
    pub(crate) fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        self.poll_for(Half::Receiver, cx, |output, cx| {
            ready!(output.poll_control_behind(cx))?;
            output.poll_below(cx)
        })
    }

    /// Tells the stream below that nothing follows.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_for(Half::Receiver, cx, |output, cx| match &mut output.io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        })
    }

    /// Polls the stream below for one half, and keeps the other one's wake-up.
    ///
    /// A stream wakes who has polled it last. So where both wait it is told of both, and who finds it ready wakes the other.
    #[inline]
    fn poll_for<T>(
        &mut self,
        half: Half,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let other = self.waiting.of(half).1.take();
        let polled = match other.as_ref().filter(|other| !other.will_wake(cx.waker())) {
            None => poll(self, cx),
            Some(other) => {
                let both = Waker::from(Arc::new(Both(cx.waker().clone(), other.clone())));
                poll(self, &mut Context::from_waker(&both))
            }
        };
        let (own, beside) = self.waiting.of(half);
        if polled.is_pending() {
            (*own, *beside) = (Some(cx.waker().clone()), other);
        } else {
            *own = None;
            other.into_iter().for_each(Waker::wake);
        }
        polled
    }

    fn poll_gathered(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let behind = self.poll_control_behind(cx);
        if behind.is_pending() {
            // It waits with what is here.
            queue.settle();
        }
        ready!(behind)?;
        if queue.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // "The application MUST NOT send any more data frames after sending a Close frame." Source: RFC 6455 §5.5.1.
        let Some(io) = self.io.as_mut().filter(|_| !self.closes) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = queue.poll_write(Pin::new(io), cx);
        if !queue.is_empty() {
            // Full, or broken inside a frame.
            mem::swap(queue, self.rest.get_or_insert_default());
        }
        written
    }

    /// Writes the control frames behind what is written in part.
    #[inline]
    fn poll_control_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let (Some(rest), Some(io)) = (&mut self.rest, &mut self.io)
            && !rest.is_empty()
        {
            ready!(rest.poll_write(Pin::new(io), cx))?;
        }
        if self.control.is_empty() { Poll::Ready(Ok(())) } else { self.poll_control(cx) }
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
                self.unflushed = true;
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

    /// Has the stream below write what it keeps.
    fn poll_below(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(io) = &mut self.io {
            ready!(Pin::new(io).poll_flush(cx))?;
        }
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}
