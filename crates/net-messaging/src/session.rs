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
use net_core::{
    ConnectionId, Error, ErrorKind, GoAway, GoAwayReason, Info, Limit, Message, MessageKind, OutboxConfig,
    Overflow, Result, frame::FrameError,
};
use tokio::{sync::Notify, task::AbortHandle, time::timeout};

use crate::{CloseReason, Delivery, Format};

pub(crate) mod activity;
mod attributes;
mod driven;
mod exchange;
mod known;
pub(crate) mod memory;
pub(crate) mod message_queue;
pub(crate) mod outbox;
mod rare;
pub(crate) mod requests;
mod settings;
pub(crate) mod signal;
mod stats;

pub(crate) use exchange::is_unsent;
pub(crate) use settings::{Role, Settings};
pub use stats::SessionStats;

use activity::{Activity, Clock};
use memory::Share;
use outbox::{Outbox, Pushed, Waiting};
use rare::Rare;
use requests::Requests;
use signal::Signal;
use stats::Counters;

/// Where a session is in its life.
///
/// # Examples
///
/// ```
/// use net_messaging::{Client, Server, SessionState};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = net_core::memory::Memory::default();
/// # let server = Server::builder(memory.clone()).listen("mem://session-state").await?;
/// # let client = Client::builder(memory).connect(server.local()).await?;
/// let session = client.connected().await?;
/// assert_eq!(session.state(), SessionState::Active);
/// session.disconnect();
/// session.closed().await;
/// assert!(session.state() > SessionState::Disconnecting);
/// # Ok(())
/// # }
/// ```
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
    /// Told when there is room in the outbox, when the session is admitted and when it ends.
    changed: Notify,
    counters: Counters,
    reason: OnceLock<Box<CloseReason>>,
    task: OnceLock<AbortHandle>,
    /// What of the memory budget is counted for the outbox, and for what arrived and is not handled.
    outbox_share: Share,
    input: Share,
    rare: Rare,
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
            changed: Notify::new(),
            counters: Counters::default(),
            reason: OnceLock::new(),
            task: OnceLock::new(),
            outbox_share: Share::default(),
            input: Share::default(),
            rare: Rare::default(),
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
        self.0.reason.get().map(|reason| &**reason)
    }

    /// Returns for how long it has been open.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.0.activity.age(self.clock().now()))
    }

    /// Returns for how long nothing was received or sent; too little by at most a sixteenth of the shortest deadline, and by at
    /// most a second.
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
        self.0.rare.make().attributes.set(name, value);
    }

    /// Returns the value under `name`, where there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] where the value under `name` is of another type.
    pub fn attribute<T: Any + Send + Sync>(&self, name: &str) -> Result<Option<Arc<T>>> {
        self.0.rare.get().map_or(Ok(None), |held| held.attributes.get(name))
    }

    /// Removes the value under `name`; tells whether there was one.
    pub fn remove_attribute(&self, name: &str) -> bool {
        self.0.rare.get().is_some_and(|held| held.attributes.remove(name))
    }

    /// Sends a message without waiting: a notification, unless a [`Message`] says otherwise.
    ///
    /// It leaves behind everything sent before it, when the driver runs next.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] once the session has begun to end; [`ErrorKind::MessageTooLong`].
    pub fn send(&self, message: impl Into<Message>) -> Result<Delivery> {
        let pushed = self.push(message.into(), false)?;
        self.flush();
        Ok(pushed.delivery)
    }

    /// Queues a message as [`send`](Self::send) does, but leaves the driver asleep until [`flush`](Self::flush) or
    /// the next `send`: messages that belong together leave in one write. What a handler feeds to its own session
    /// leaves before its reply; what reaches the high-water mark of the outbox leaves without a flush.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&self, message: impl Into<Message>) -> Result<Delivery> {
        let pushed = self.push(message.into(), false)?;
        // Where the driver runs it need not be woken, and what a handler fed goes out before its reply. Nor is it left
        // asleep while the outbox fills.
        if self.0.signal.is_inside() || pushed.delivery != Delivery::Sent {
            self.flush();
        }
        Ok(pushed.delivery)
    }

    /// Wakes the driver for what was fed.
    pub fn flush(&self) {
        self.0.signal.raise(signal::PUSHED);
    }

    /// Sends a message, waiting for room in the outbox.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] once the session has begun to end; [`ErrorKind::MessageTooLong`];
    /// [`ErrorKind::Overloaded`] where the [memory budget](crate::Limits::memory_budget) leaves no room for it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the message was accepted whole or not at all; which of the two, the caller does not learn.
    pub async fn send_wait(&self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        let cost = outbox::cost(&message);
        loop {
            let changed = self.0.changed.notified();
            if self.0.waiting.fits(cost, &self.limits().outbox) {
                // Who waits drops nothing and refuses nothing, whatever is done with those who do not.
                let pushed = self.push_or(message.clone(), false, Overflow::Refuse)?;
                // What was fed and not flushed would be in the way for ever.
                self.flush();
                if pushed.delivery.is_accepted() {
                    return Ok(());
                }
                if pushed.limit == Some(Limit::MemoryBudget) {
                    let error = Error::new(ErrorKind::Overloaded, "send").at(&self.0.info.remote);
                    return Err(error.because(Limit::MemoryBudget.as_str()));
                }
            } else {
                self.flush();
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
    /// [`max_in_flight`](crate::Limits::max_in_flight) are on their way, further ones wait their turn.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Rejected`] with the peer's [`ErrorReply`](net_core::ErrorReply) as its
    /// source where it was answered by an error; [`ErrorKind::Closed`] where the session ended first;
    /// [`ErrorKind::Overloaded`] where it was sent by a handler of a session whose own queue of requests is full, so
    /// that the answer could never be read; [`ErrorKind::Closed`] with the peer's [`GoAway`] as its source where the
    /// peer asked to leave, so that the request was not sent; [`ErrorKind::Unsupported`] in [`Format::Raw`].
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
            if error.kind() == ErrorKind::Closed && !is_unsent(&error) {
                self.closed_error("request")
            } else {
                error.at(&self.0.info.remote)
            }
        })
    }

    /// Disconnects: what was accepted is sent, then both sides finish. In the session's own handler it acts when the
    /// handler returns.
    pub fn disconnect(&self) {
        // The first reason stays.
        let _ = self.0.reason.set(Box::new(CloseReason::ByUs));
        self.0.signal.raise(if self.0.signal.is_inside() { signal::CLOSE_LATER } else { signal::CLOSE });
    }

    /// Asks the peer to send nothing new and to leave once what runs is answered, and to come back after
    /// `retry_after` at the earliest. A [`Client`](crate::Client) does so by itself; who does not know the notice
    /// loses nothing.
    ///
    /// The session goes on until one side ends it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`ErrorKind::Unsupported`] in [`Format::Raw`], which has no such message.
    pub fn go_away(&self, reason: GoAwayReason, retry_after: Option<Duration>) -> Result<Delivery> {
        if self.config().format == Format::Raw {
            return Err(Error::new(ErrorKind::Unsupported, "go away").at(&self.0.info.remote));
        }
        let mut notice = GoAway::new(reason);
        notice.retry_after = retry_after;
        self.send(Message::new(MessageKind::GoAway, 0, notice.encode()))
    }

    /// Returns what the peer said when it asked to leave, once it has.
    pub fn go_away_received(&self) -> Option<GoAway> {
        self.0.rare.get()?.go_away.get().copied()
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
                return self.close_reason().cloned().unwrap_or(CloseReason::ByUs);
            }
            changed.await;
        }
    }

    fn push(&self, message: Message, own: bool) -> Result<Pushed> {
        self.push_or(message, own, self.limits().outbox.overflow)
    }

    /// Puts a message into the outbox, or does what `overflow` says where it is full.
    fn push_or(&self, message: Message, own: bool, overflow: Overflow) -> Result<Pushed> {
        let (len, max) = (message.payload().len(), self.settings().max_payload_len());
        if len > max {
            self.limited(Limit::MessageLen);
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
        let bounds = OutboxConfig { overflow, ..self.limits().outbox };
        let budget = &self.settings().budget;
        let pushed = outbox.push(message, own, &self.0.waiting, &bounds, &self.0.outbox_share, budget);
        drop(outbox);
        if let Some(limit) = pushed.limit {
            self.overflowed(&pushed, limit, overflow);
        }
        Ok(pushed)
    }

    #[cold]
    fn overflowed(&self, pushed: &Pushed, limit: Limit, overflow: Overflow) {
        self.limited(limit);
        if pushed.dropped > 0 {
            self.count_dropped(pushed.dropped);
        }
        // That others hold much is no fault of this peer.
        if limit != Limit::MemoryBudget
            && pushed.delivery == Delivery::Full
            && overflow == Overflow::Disconnect
        {
            self.0.activity.full(self.clock().now());
        }
    }

    /// Sends a message whose payload has no other memory behind it, or is kept by many.
    pub(crate) fn send_own(&self, message: Message) -> Result<Delivery> {
        let pushed = self.push(message, true)?;
        self.flush();
        Ok(pushed.delivery)
    }

    fn closed_error(&self, operation: &'static str) -> Error {
        // Every end is given its reason when it begins, but for that of the peer's input.
        let reason = self.close_reason().unwrap_or(&CloseReason::ByPeer);
        Error::new(ErrorKind::Closed, operation).at(&self.0.info.remote).because(reason.to_string())
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> Clock {
        self.0.settings.clock
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

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn a_session_fits_the_place_before_its_task() {
        // With the two counts of its `Arc`. The socket's registration and the task begin at multiples of 128 bytes; a session of up
        // to 488 lies between them without a gap (glibc), and eight bytes more take 128 in each idle session.
        let len = size_of::<Inner>() + 16;
        assert!(len <= 488, "{len} bytes for every idle session");
    }
}
