//! The task that drives one connection: input to the handler, replies and pushes to the peer.
//!
//! ```text
//! loop: move the outbox into the sender | receive what is ready, hand each message to the handler in order
//!       | flush once, when no more input is ready | sleep until input, room or a signal
//! ```
//!
//! Whenever the driver is about to wait, for whatever reason, it has flushed first.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use futures_util::{FutureExt, future::poll_immediate};
use net_core::{Error, Info, Message, Receiver, Sender, frame::FrameError};
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    CloseReason, Format, Handler, Session, Sessions,
    rate_limit::Gate,
    session::{Settings, message_queue::MessageQueue, outbox::cost, signal},
};

mod admit;
mod answer;
mod authenticate;
mod backlog;
mod concurrent;
mod finish;
mod gate;
mod input;
mod output;
mod present;
mod run;

use backlog::Backlog;

/// A wake-up handles at most so many messages before others have their turn.
const MAX_MESSAGES_PER_WAKE: u32 = 256;
/// A wake-up handles messages of at most so many bytes before others have their turn: with 64 KiB messages on 64
/// connections, half as many cost 8 % more, and a quarter 45 %.
const MAX_BYTES_PER_WAKE: u64 = 512 * 1024;
/// How much a framing may put beside a message.
const MAX_MARK_LEN: usize = 64;

/// What drives one connection.
pub(crate) struct Driver<S: Sender, R> {
    tx: S,
    rx: R,
    session: Session,
    format: Format,
    /// The longest frame that is taken.
    max_len: usize,
    /// Messages that wait for the handler.
    backlog: Backlog,
    /// What was taken out of the outbox and waits for room.
    leaving: MessageQueue,
    /// Replies that wait for room, behind `leaving`.
    replies: MessageQueue,
    /// How the input ended.
    ended: Option<Ended>,
    /// The sender has taken something that is not flushed.
    dirty: bool,
    /// The task that was registered with the signal.
    waker: Option<Waker>,
    /// This wake-up.
    wake: Wake,
    /// Messages handed to the sender so far, and how much of them waited when the driver looked last.
    accepted: u32,
    watched: Option<Box<output::Watched>>,
    /// All input at hand was taken: the receiver waits for more.
    hungry: bool,
    /// How much of an incomplete message had arrived when the driver looked last.
    arrived: u32,
    /// The server drains: no further request is taken.
    draining: bool,
    /// Holds the peer to the rate limits, where there are any.
    gate: Option<Box<Gate>>,
}

/// What happened since the task was woken, or since its last report.
#[derive(Clone, Copy, Debug, Default)]
struct Wake {
    /// The task runs.
    awake: bool,
    /// When it was asked for the time first; 0: it was not, as in most.
    now: u64,
    received: u32,
    sent: u32,
    received_bytes: u64,
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The peer finished.
    Clean,
    /// The connection broke; the reason is noted.
    Broken,
}

/// Drives a connection from its first message to its end, and returns why it ended.
///
/// `place` is what the session has among those of a server. It is no `async fn`: that would keep each argument twice,
/// and there is one of these for each idle session.
pub(crate) fn drive<S: Sender, R: Receiver, H: Handler>(
    (tx, rx): (S, R),
    session: Session,
    handler: Arc<H>,
    place: Option<Place>,
) -> impl Future<Output = CloseReason> + Send {
    let mut driver = Driver::new(tx, rx, session.clone());
    let mut guard = Guard { session, place, opened: false };
    async move {
        guard.opened = true;
        // A panic is caught once a wake-up, not once a message; whatever it leaves behind is dropped.
        if AssertUnwindSafe(driver.work(&*handler)).catch_unwind().await.is_err() {
            guard.session.set_reason(CloseReason::Panicked);
        }
        drop(driver);
        guard.session.begin_to_end();
        let reason = guard.session.set_reason(CloseReason::ByPeer).clone();
        // A handler that hangs or panics here has had its chance: the session ends all the same. Of a session that
        // nobody knows it never heard.
        if guard.session.is_known() {
            let _ = AssertUnwindSafe(tell(&guard.session, &*handler, &reason)).catch_unwind().await;
        }
        drop(guard);
        reason
    }
}

/// Tells the handler that the session has ended.
async fn tell<H: Handler>(session: &Session, handler: &H, reason: &CloseReason) {
    let mut told = pin!(handler.disconnected(session, reason));
    if poll_immediate(told.as_mut()).await.is_some() {
        return;
    }
    match session.limits().handler_timeout {
        // One that takes too long is not waited for. The timer is boxed: a session that lives has no need of it.
        Some(limit) => drop(Box::pin(timeout(limit, told)).await),
        None => told.await,
    }
}

/// The place of a session among those of a server.
pub(crate) struct Place {
    /// Where it is found until it has ended.
    pub(crate) sessions: Sessions,
    /// Lets go of whoever waits for all of them. It lies here since a future around this one costs each wake-up a call.
    pub(crate) _counted: TaskTrackerToken,
}

/// Ends the session whatever ends its task: a return, a panic, an abort.
struct Guard {
    session: Session,
    place: Option<Place>,
    /// The task has run, so that observers know of the session.
    opened: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let session = &self.session;
        // A task that is aborted was cut by a drain or a stop.
        let reason = session.set_reason(CloseReason::Drained).clone();
        // Whoever learns that it has ended no longer finds it among the sessions.
        if let Some(Place { sessions, .. }) = &self.place {
            sessions.remove(session.id());
        }
        session.end();
        if self.opened {
            session.observe(|observer| observer.closed(session.info(), reason.error()));
        }
    }
}

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Serves the session from its admission to the end of its connection.
    async fn work<H: Handler>(&mut self, handler: &H) {
        self.session.observe(|observer| observer.opened(self.info()));
        let known = match self.introduce() {
            Some(introducing) => introducing.await,
            None => true,
        };
        self.install_gate();
        if known && self.admit(handler).await {
            self.session.activate();
            if self.settings().config.max_concurrent > 1 {
                self.run_concurrent(handler).await;
            } else {
                self.run(handler).await;
            }
        }
        self.session.begin_to_end();
        self.finish().await;
    }

    fn new(tx: S, rx: R, session: Session) -> Self {
        Self {
            tx,
            rx,
            format: session.config().format,
            max_len: session.limits().max_message_len.unwrap_or(usize::MAX),
            session,
            backlog: Backlog::default(),
            leaving: MessageQueue::default(),
            replies: MessageQueue::default(),
            ended: None,
            dirty: false,
            waker: None,
            wake: Wake::default(),
            accepted: 0,
            watched: None,
            hungry: false,
            arrived: 0,
            draining: false,
            gate: None,
        }
    }

    fn settings(&self) -> &Settings {
        self.session.settings()
    }

    fn info(&self) -> &Info {
        self.session.info()
    }

    /// Begins a wake-up, where one has not begun.
    #[inline]
    fn awake(&mut self, cx: &Context<'_>) {
        if !self.wake.awake {
            self.begin(cx);
        }
    }

    fn begin(&mut self, cx: &Context<'_>) {
        // A task keeps its waker, so one registration usually does.
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.session.signal().register(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        self.session.signal().start();
        self.wake = Wake { awake: true, ..Wake::default() };
    }

    /// Returns when this wake-up was, to within itself.
    fn now(&mut self) -> u64 {
        if self.wake.now == 0 {
            self.wake.now = self.settings().clock.now();
        }
        self.wake.now
    }

    /// Prepares to wait: flushes, tells what happened, sleeps. `false`: something other than `ignored` was raised
    /// meanwhile, so look again.
    ///
    /// Where this wake-up has handled its share, whatever was raised waits for the next one, which is due at once:
    /// other tasks have their turn first.
    #[inline(never)]
    fn rest(&mut self, cx: &mut Context<'_>, ignored: u32) -> bool {
        self.rest_inline(cx, ignored)
    }

    /// As [`rest`](Self::rest), for the place where most wake-ups end: few calls lie between its write and the runtime.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "see `Sender::poll_flush` of `net_core::framed::FrameSender`")]
    fn rest_inline(&mut self, cx: &mut Context<'_>, ignored: u32) -> bool {
        let spent = self.is_spent();
        self.report();
        self.poll_flush(cx);
        if matches!(self.ended, Some(Ended::Broken)) {
            return false;
        }
        // What is pushed while there is no room waits in the outbox: room wakes the driver.
        let blocked = if self.is_blocked() { signal::PUSHED } else { 0 };
        if !self.session.signal().sleep(if spent { u32::MAX } else { ignored | blocked }) {
            return false;
        }
        self.sleep();
        if spent {
            cx.waker().wake_by_ref();
        }
        true
    }

    /// Holds as little memory as it can while nothing happens.
    fn sleep(&mut self) {
        self.wake.awake = false;
        if !self.hungry {
            // It has not waited for input, so it may hold a buffer that is empty by now.
            self.rx.release();
        }
        self.backlog.shrink();
        if !self.backlog.is_settled() && self.settings().budget.is_half_used() {
            self.backlog.settle();
        }
        self.leaving.shrink();
        self.replies.shrink();
    }

    /// Tells counters, observers and the sweep what happened since the last report.
    fn report(&mut self) {
        let Wake { now, received, received_bytes, sent, sent_bytes, .. } = self.wake;
        if received > 0 {
            // Of messages the payload counts, as of those that are sent.
            let head = if self.format == Format::Message { Message::HEAD_LEN as u64 } else { 0 };
            let received = u64::from(received);
            self.session.count_received(received, received_bytes.saturating_sub(received * head));
            self.session.activity().received();
        }
        if sent > 0 {
            self.session.count_sent(sent.into(), sent_bytes);
            self.session.activity().sent();
            self.accepted = self.accepted.wrapping_add(sent);
        }
        if self.gate.is_some() {
            self.report_refused();
        }
        self.wake = Wake { awake: true, now, ..Wake::default() };
        let len = self.rx.incomplete_len();
        // Only growth is looked at, so that of a longer message the lowest bits will do.
        #[allow(clippy::cast_possible_truncation, reason = "compared with itself")]
        let incomplete = len as u32;
        if incomplete > self.arrived || self.rx.heard() {
            self.session.activity().heard();
        }
        self.arrived = incomplete;
        self.account();
        if !self.hungry && self.ended.is_none() {
            // What is at hand and was not read may be whole.
            self.session.activity().complete();
            return self.session.activity().unread();
        }
        self.session.activity().reading();
        // What arrives whole proves progress, however much has arrived of the message behind it.
        if received > 0 || incomplete == 0 {
            self.session.activity().complete();
        }
        if incomplete > 0 {
            let now = self.now();
            self.session.activity().incomplete(now, len);
        }
    }

    /// Holds what has arrived and is not handled, and what the peer does not take, to the server's memory budget; and what
    /// has arrived to the longest message.
    #[inline]
    fn account(&mut self) {
        let incomplete = self.rx.incomplete_len();
        if self.ended.is_none() && incomplete > self.max_len.saturating_add(MAX_MARK_LEN) {
            self.too_long(incomplete);
        }
        let held = self.held();
        if self.session.holds_more_or_less(held) && !self.session.count_held(held) {
            self.backlog.settle();
            if !self.session.count_held(self.held()) {
                self.session.close(CloseReason::MemoryBudget);
            }
        }
    }

    /// Returns how much memory is held of what has arrived and is not handled, and of what the sender took and the peer does
    /// not.
    fn held(&self) -> usize {
        let unsent = self.watched.as_deref().map_or(0, output::Watched::held);
        let held = self.rx.held_len() + self.backlog.pinned() + unsent;
        if self.replies.is_empty() { held } else { held + self.replies.iter().map(cost).sum::<usize>() }
    }

    /// Ends the session because a message is longer than the limits allow.
    #[cold]
    fn too_long(&mut self, len: usize) {
        let source = FrameError::TooLong { len: len as u64, max: self.max_len };
        self.broken(Error::from_frame(source, "receive"));
    }

    /// Tells whether something waits for room in the sender.
    #[inline]
    fn is_blocked(&self) -> bool {
        !self.leaving.is_empty() || !self.replies.is_empty()
    }

    /// Notes that the connection broke, and why.
    #[cold]
    fn broken(&mut self, error: Error) {
        self.ended = Some(Ended::Broken);
        let error = error.at(&self.info().remote);
        let reason = CloseReason::Failed(Arc::new(error));
        if let Some(limit) = reason.limit() {
            self.session.limited(limit);
        }
        self.session.set_reason(reason);
    }
}

impl<S: Sender, R> Drop for Driver<S, R> {
    fn drop(&mut self) {
        // Where messages are lost that the session had accepted, the peer does not take that for all there was.
        if !self.leaving.is_empty() || !self.replies.is_empty() || !self.session.outbox_is_empty() {
            self.tx.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use net_core::{Connection, Listener, Transport, frame::AnyFraming};
    use net_tcp::{Tcp, TcpConfig};

    use super::*;
    use crate::HandlerResult;

    #[derive(Debug)]
    struct Echo;

    impl Handler for Echo {
        async fn message(&self, _: &Session, message: Message) -> HandlerResult {
            Ok(Some(message.into_reply()))
        }
    }

    #[tokio::test]
    async fn the_drivers_future_stays_within_1_kib() {
        let tcp = Tcp::with_framing(TcpConfig::default(), AnyFraming::default());
        let mut listener =
            tcp.listen(&"tcp://127.0.0.1:0".parse().expect("an address")).await.expect("listens");
        let _near = tcp.connect(listener.local()).await.expect("connects");
        let Connection { tx, rx, info, .. } = listener.accept().await.expect("accepts");
        let driving = drive((tx, rx), Session::new(info, Settings::of_test()), Arc::new(Echo), None);
        let len = size_of_val(&driving);
        assert!(len <= 1024, "{len} bytes for every idle session");
        // Tokio rounds a task up to 128 bytes, with what it adds, so that one byte more takes 128 in each idle session.
        assert!(len <= 664, "{len} bytes: the task takes more than 768");
    }
}
