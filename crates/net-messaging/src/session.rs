//! One conversation with one peer: its identity, its attributes, and what is sent through it.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use net_core::{ConnectionId, Error, ErrorKind, Info, Message, MessageKind, Result, frame::FrameError};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::{CloseReason, Delivery, Format, Identity, Overflow};

pub(crate) mod activity;
mod attributes;
mod driven;
mod known;
pub(crate) mod outbox;
pub(crate) mod requests;
mod settings;
pub(crate) mod signal;
mod stats;

pub(crate) use settings::{Role, Settings};
pub use stats::SessionStats;

use activity::{Activity, Clock};
use attributes::Attributes;
use outbox::{Outbox, Waiting};
use requests::Requests;
use signal::Signal;
use stats::Counters;

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SessionState {
    /// The connection stands; the handler has not admitted it yet.
    Created = 0,
    /// Messages flow.
    Active = 1,
    /// It ends: nothing more is accepted, what was accepted leaves.
    Disconnecting = 2,
    /// It has ended.
    Closed = 3,
}

/// One conversation with one peer. It is a handle: clones are cheap and mean the same session.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let server = Server::builder(memory.clone())
///     .on_message(|session, message| {
///         session.set_attribute("greeted", true);
///         async move { Ok(message.into_reply()) }
///     })
///     .listen("mem://session")
///     .await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// client.request("hello").await?;
/// let session = &server.sessions()[0];
/// assert_eq!(session.attribute::<bool>("greeted")?.as_deref(), Some(&true));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    info: Info,
    settings: Arc<Settings>,
    state: AtomicU8,
    signal: Signal,
    activity: Activity,
    outbox: Mutex<Outbox>,
    waiting: Waiting,
    requests: Requests,
    attributes: Attributes,
    /// Told when there is room in the outbox or among the requests, and when the session ends.
    changed: Notify,
    counters: Counters,
    reason: OnceLock<CloseReason>,
    task: OnceLock<AbortHandle>,
    identity: OnceLock<Box<Identity>>,
}

impl Session {
    pub(crate) fn new(info: Info, settings: Arc<Settings>) -> Self {
        let activity = Activity::default();
        activity.open(settings.clock.now());
        Self(Arc::new(Inner {
            info,
            settings,
            state: AtomicU8::new(SessionState::Created as u8),
            signal: Signal::default(),
            activity,
            outbox: Mutex::default(),
            waiting: Waiting::default(),
            requests: Requests::default(),
            attributes: Attributes::default(),
            changed: Notify::new(),
            counters: Counters::default(),
            reason: OnceLock::new(),
            task: OnceLock::new(),
            identity: OnceLock::new(),
        }))
    }

    /// Returns its number, unique for the life of the process.
    pub fn id(&self) -> ConnectionId {
        self.0.info.id
    }

    /// Returns what is known of its connection.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// Returns where it is in its life.
    pub fn state(&self) -> SessionState {
        match self.0.state.load(Ordering::Acquire) {
            0 => SessionState::Created,
            1 => SessionState::Active,
            2 => SessionState::Disconnecting,
            _ => SessionState::Closed,
        }
    }

    /// Tells whether messages flow.
    pub fn is_active(&self) -> bool {
        self.state() == SessionState::Active
    }

    /// Returns why it ended, once it has begun to.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.0.reason.get()
    }

    /// Returns for how long it has been open.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.0.activity.age(self.clock().now()))
    }

    /// Returns for how long nothing was received or sent, to within a millisecond.
    pub fn idle_time(&self) -> Duration {
        Duration::from_millis(self.0.activity.idle(self.clock().now()))
    }

    /// Returns what it has carried so far; the driver adds to these figures once for each batch of messages.
    pub fn stats(&self) -> SessionStats {
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SessionStats {
            received_messages: read(&counters.received),
            received_bytes: read(&counters.received_bytes),
            sent_messages: read(&counters.sent),
            sent_bytes: read(&counters.sent_bytes),
            dropped_messages: read(&counters.dropped),
            limited_messages: read(&counters.limited),
            unexpected_responses: read(&counters.unexpected),
            waiting_messages: self.0.waiting.messages(),
            waiting_bytes: self.0.waiting.bytes(),
            requests_in_flight: self.0.requests.len(),
        }
    }

    /// Attaches a value under `name`, in place of what stood there.
    pub fn set_attribute<T: Any + Send + Sync>(&self, name: &str, value: T) {
        self.0.attributes.set(name, value);
    }

    /// Returns the value under `name`, where there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] where the value under `name` is of another type.
    pub fn attribute<T: Any + Send + Sync>(&self, name: &str) -> Result<Option<Arc<T>>> {
        self.0.attributes.get(name)
    }

    /// Removes the value under `name`; tells whether there was one.
    pub fn remove_attribute(&self, name: &str) -> bool {
        self.0.attributes.remove(name)
    }

    /// Sends a message without waiting: a notification, unless a [`Message`] says otherwise.
    ///
    /// It leaves behind everything sent before it, when the driver runs next.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] once the session has begun to end; [`ErrorKind::MessageTooLong`].
    pub fn send(&self, message: impl Into<Message>) -> Result<Delivery> {
        let delivery = self.push(message.into(), false)?;
        self.flush();
        Ok(delivery)
    }

    /// Queues a message as [`send`](Self::send) does, but leaves the driver asleep until [`flush`](Self::flush) or
    /// the next `send`: messages that belong together leave in one write. What a handler feeds to its own session
    /// leaves before its reply.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&self, message: impl Into<Message>) -> Result<Delivery> {
        let delivery = self.push(message.into(), false)?;
        if self.0.signal.is_inside() {
            // The driver runs and need not be woken: what a handler fed goes out before its reply.
            self.flush();
        }
        Ok(delivery)
    }

    /// Wakes the driver for what was fed.
    pub fn flush(&self) {
        self.0.signal.raise(signal::PUSHED);
    }

    /// Sends a message, waiting for room in the outbox.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] once the session has begun to end; [`ErrorKind::MessageTooLong`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the message was accepted whole or not at all; which of the two, the caller does not learn.
    pub async fn send_wait(&self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        let cost = outbox::cost(&message);
        loop {
            let changed = self.0.changed.notified();
            if self.0.waiting.fits(cost, &self.config().outbox) && self.send(message.clone())?.is_accepted() {
                return Ok(());
            }
            if self.state() >= SessionState::Disconnecting {
                return Err(self.closed_error("send"));
            }
            changed.await;
        }
    }

    /// Sends a request and waits for its answer, for 30 s at the longest.
    ///
    /// # Errors
    ///
    /// As [`request_within`](Self::request_within).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the request; its answer is counted as unexpected and dropped.
    pub async fn request(&self, payload: impl Into<Bytes>) -> Result<Message> {
        self.request_within(payload.into(), Duration::from_secs(30)).await
    }

    /// Sends a request and waits for its answer, for `limit` at the longest.
    ///
    /// Any number of requests may wait at once; their answers may come in any order. At most
    /// [`max_in_flight`](crate::SessionConfig::max_in_flight) are on their way, further ones wait their turn.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Rejected`] with the peer's [`ErrorReply`](net_core::ErrorReply) as its
    /// source where it was answered by an error; [`ErrorKind::Closed`] where the session ended first;
    /// [`ErrorKind::Overloaded`] where it was sent by a handler of a session whose own queue of requests is full, so
    /// that the answer could never be read; [`ErrorKind::Unsupported`] in [`Format::Raw`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the request; its answer is counted as unexpected and dropped.
    pub async fn request_within(&self, payload: impl Into<Bytes>, limit: Duration) -> Result<Message> {
        if self.config().format == Format::Raw {
            return Err(Error::new(ErrorKind::Unsupported, "request").at(&self.0.info.remote));
        }
        let answer = timeout(limit, self.exchange(payload.into())).await;
        answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "request"))).map_err(|error| {
            // The reason that ended the session tells more than that it ended.
            if error.kind() == ErrorKind::Closed {
                self.closed_error("request")
            } else {
                error.at(&self.0.info.remote)
            }
        })
    }

    async fn exchange(&self, payload: Bytes) -> Result<Message> {
        let (id, answer) = loop {
            let changed = self.0.changed.notified();
            if let Some(entered) =
                self.0.requests.enter(self.config().max_in_flight, self.0.signal.is_inside())?
            {
                break entered;
            }
            changed.await;
        };
        let _entry = Entry { session: self, id };
        // Read only for somebody who watches.
        let began = self.settings().observer.as_ref().map(|_| Instant::now());
        self.send_wait(Message::new(MessageKind::Request, id, payload)).await?;
        let answer = answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "request")));
        if let (Some(began), Ok(_)) = (began, &answer) {
            self.observe(|observer| observer.request_finished(&self.0.info, began.elapsed()));
        }
        answer
    }

    /// Disconnects: what was accepted is sent, then both sides finish. In the session's own handler it acts when the
    /// handler returns.
    pub fn disconnect(&self) {
        // The first reason stays.
        let _ = self.0.reason.set(CloseReason::ByUs);
        self.0.signal.raise(if self.0.signal.is_inside() { signal::CLOSE_LATER } else { signal::CLOSE });
    }

    /// Waits until the session has ended, and returns why.
    ///
    /// In a handler of the session it waits for that handler too: until the handler time-out.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> CloseReason {
        loop {
            let changed = self.0.changed.notified();
            if self.state() == SessionState::Closed {
                return self.0.reason.get().cloned().unwrap_or(CloseReason::ByUs);
            }
            changed.await;
        }
    }

    pub(crate) fn push(&self, message: Message, own: bool) -> Result<Delivery> {
        let (len, max) = (message.payload().len(), self.settings().max_payload_len());
        if len > max {
            let source = FrameError::TooLong { len: len as u64, max };
            return Err(Error::from_frame(source, "send").at(&self.0.info.remote));
        }
        let mut outbox = self.outbox();
        // Looked at under the lock, so that what is accepted is seen by the driver that ends.
        if self.state() >= SessionState::Disconnecting {
            drop(outbox);
            return Err(self.closed_error("send"));
        }
        if !self.is_known() {
            drop(outbox);
            return Err(self.unknown_error());
        }
        let pushed = outbox.push(message, own, &self.0.waiting, &self.config().outbox);
        drop(outbox);
        if pushed.dropped > 0 {
            self.0.counters.dropped.fetch_add(pushed.dropped, Ordering::Relaxed);
            self.observe(|observer| observer.dropped(&self.0.info, pushed.dropped));
        }
        if pushed.delivery == Delivery::Full && self.config().outbox.overflow == Overflow::Disconnect {
            self.0.activity.full(self.clock().now());
        }
        Ok(pushed.delivery)
    }

    /// Sends a message that other sessions receive too.
    pub(crate) fn send_shared(&self, message: &Message) -> Result<Delivery> {
        let delivery = self.push(message.clone(), true)?;
        self.flush();
        Ok(delivery)
    }

    fn closed_error(&self, operation: &'static str) -> Error {
        let error = Error::new(ErrorKind::Closed, operation).at(&self.0.info.remote);
        match self.0.reason.get() {
            Some(reason) => error.because(reason.to_string()),
            None => error,
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> Clock {
        self.0.settings.clock
    }
}

/// A request that waits; forgotten when its future is dropped.
struct Entry<'a> {
    session: &'a Session,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.session.0.requests.forget(self.id);
        self.session.0.changed.notify_waiters();
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Session {}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id().get())
            .field("remote", &format_args!("{}", self.0.info.remote))
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
