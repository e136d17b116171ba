//! What the driver, the sweep and the server do with a session.

use std::{sync::atomic::Ordering, time::Duration};

use net_core::{GoAway, GoAwayReason, Limit, Limits, Message, Observer};
use tokio::task::AbortHandle;

use super::{
    Session, SessionState, Settings, activity::Activity, message_queue::MessageQueue, outbox::Outbox,
    requests::Requests, signal, signal::Signal, stats::add,
};
use crate::{CloseReason, Overflow, SessionConfig};

impl Session {
    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        &self.0.settings.config
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.settings.limits
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.0.signal
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.0.activity
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.0.requests
    }

    pub(crate) fn observe(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.0.settings.observer {
            tell(&**observer);
        }
    }

    /// Begins to end the session, for the first reason that is given.
    pub(crate) fn close(&self, reason: CloseReason) {
        let cut =
            matches!(reason, CloseReason::Stalled | CloseReason::HeartbeatMissed | CloseReason::MemoryBudget);
        let limit = reason.limit();
        // The first reason stays; it stands before the driver is told to look.
        if self.0.reason.set(Box::new(reason)).is_ok()
            && let Some(limit) = limit
        {
            self.limited(limit);
        }
        if cut {
            self.0.signal.raise(signal::CUT);
        }
        self.0.signal.raise(signal::CLOSE);
    }

    /// Tells that a limit is reached.
    #[cold]
    pub(crate) fn limited(&self, limit: Limit) {
        self.observe(|observer| observer.limited(&self.0.info, limit));
    }

    /// Notes that the peer asks to leave; what it says first counts.
    pub(crate) fn note_go_away(&self, go_away: GoAway) {
        let _ = self.0.rare.make().go_away.set(go_away);
        self.0.requests.take_no_more();
        self.0.changed.notify_waiters();
    }

    /// Waits until the peer asks to leave.
    pub(crate) async fn asked_to_leave(&self) -> GoAway {
        loop {
            let changed = self.0.changed.notified();
            if let Some(go_away) = self.go_away_received() {
                return go_away;
            }
            changed.await;
        }
    }

    /// Waits until no request of ours waits for its answer.
    pub(crate) async fn answered(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.requests.len() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Asks the peer to leave once the connection has lived long enough, and drains the session after the grace.
    pub(crate) fn age_out(&self, now: u64) {
        let Some(lifetime) = self.limits().lifetime else { return };
        let age = Duration::from_millis(self.0.activity.age(now));
        let life = lifetime.of(self.id().get());
        if age < life {
            return;
        }
        if self.0.activity.retire() {
            self.limited(Limit::Lifetime);
            // A peer that cannot be told is drained all the same.
            self.tell_to_go(GoAway::new(GoAwayReason::Lifetime));
        }
        if age >= life.saturating_add(lifetime.grace) {
            self.set_reason(CloseReason::Lifetime);
            self.drain();
        }
    }

    /// Counts what the driver holds of the peer's input; `false` where the budget does not allow it.
    #[cold]
    pub(crate) fn count_held(&self, held: usize) -> bool {
        let (share, budget) = (&self.0.input, &self.0.settings.budget);
        share.shrink(held, budget);
        share.grow(held, budget)
    }

    /// Tells whether what the driver holds has to be counted anew.
    #[inline]
    pub(crate) fn holds_more_or_less(&self, held: usize) -> bool {
        self.0.input.differs(held)
    }

    /// Returns how much of the budget is counted for this session.
    pub(crate) fn counted(&self) -> usize {
        self.0.input.counted() + self.0.outbox_share.counted()
    }

    /// Notes why the session ends.
    pub(crate) fn set_reason(&self, reason: CloseReason) -> &CloseReason {
        self.0.reason.get_or_init(|| Box::new(reason))
    }

    /// Returns why it ends, where that is settled.
    pub(crate) fn reason(&self) -> Option<&CloseReason> {
        self.0.reason.get().map(|reason| &**reason)
    }

    pub(crate) fn activate(&self) {
        self.0.state.store(SessionState::Active as u8, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Waits until the handler has admitted it.
    pub(crate) async fn activated(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.state() >= SessionState::Active {
                return;
            }
            changed.await;
        }
    }

    /// Refuses what is sent from now on, and fails the requests that wait: no answer is read any more.
    pub(crate) fn begin_to_end(&self) {
        let outbox = self.outbox();
        self.0.state.fetch_max(SessionState::Disconnecting as u8, Ordering::AcqRel);
        drop(outbox);
        self.0.requests.close();
        self.0.changed.notify_waiters();
    }

    /// Ends the session: nothing of it runs any more.
    pub(crate) fn end(&self) {
        self.begin_to_end();
        // A handle that is kept keeps no memory of what was not sent.
        let mut outbox = self.outbox();
        *outbox = Outbox::default();
        self.0.outbox_share.shrink(0, &self.0.settings.budget);
        drop(outbox);
        self.0.input.shrink(0, &self.0.settings.budget);
        self.0.state.store(SessionState::Closed as u8, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Remembers the task that drives it, so that a drain that has taken too long can cut it.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        // A session is driven once.
        let _ = self.0.task.set(task);
    }

    /// Cuts the session where it stands.
    pub(crate) fn abort(&self) {
        if let Some(task) = self.0.task.get() {
            task.abort();
        }
    }

    /// Moves what was pushed into `leaving`, which is empty.
    pub(crate) fn take_outbox(&self, leaving: &mut MessageQueue) {
        self.0.signal.lower(signal::PUSHED);
        self.outbox().take(leaving);
    }

    /// Gives what finds no room back, all but the first, where the oldest are to be dropped for newer ones.
    pub(crate) fn give_back(&self, leaving: &mut MessageQueue) {
        if self.limits().outbox.overflow == Overflow::DropOldest && leaving.len() > 1 {
            self.outbox().give_back(leaving);
            self.0.signal.raise(signal::PUSHED);
        }
    }

    /// Tells whether nothing that was pushed waits to be taken.
    pub(crate) fn outbox_is_empty(&self) -> bool {
        self.outbox().is_empty()
    }

    /// Takes messages that the transport has accepted off the bounds of the outbox.
    pub(crate) fn left(&self, messages: usize, cost: usize) {
        let (before, now) = self.0.waiting.remove(messages, cost);
        let config = &self.limits().outbox;
        self.0.activity.room();
        if self.0.outbox_share.differs(now) {
            let outbox = self.outbox();
            self.0.outbox_share.shrink(self.0.waiting.bytes(), &self.0.settings.budget);
            drop(outbox);
        }
        // Those who wait go on when half of the room is free again, not at every message.
        let low_water = config.high_water / 2;
        if before > low_water && now <= low_water || self.0.waiting.messages() <= config.max_messages / 2 {
            self.0.changed.notify_waiters();
        }
    }

    /// Forgets that the outbox was full where nothing waits: who found it full may have noted that only after the
    /// driver had emptied it.
    pub(crate) fn forget_full(&self) {
        if self.0.waiting.messages() == 0 {
            self.0.activity.room();
        }
    }

    /// Counts what arrived.
    pub(crate) fn count_received(&self, messages: u64, bytes: u64) {
        add(&self.0.counters.received, messages);
        add(&self.0.counters.received_bytes, bytes);
        self.observe(|observer| observer.received(&self.0.info, messages, bytes));
    }

    /// Counts what was refused because of a rate limit.
    pub(crate) fn count_limited(&self, messages: u64) {
        add(&self.0.counters.limited, messages);
    }

    /// Counts what was handed to the transport.
    pub(crate) fn count_sent(&self, messages: u64, bytes: u64) {
        add(&self.0.counters.sent, messages);
        add(&self.0.counters.sent_bytes, bytes);
        self.observe(|observer| observer.sent(&self.0.info, messages, bytes));
    }

    /// Counts messages that nobody will get, and tells the observer.
    pub(crate) fn count_dropped(&self, messages: u64) {
        self.0.counters.dropped.fetch_add(messages, Ordering::Relaxed);
        self.observe(|observer| observer.dropped(&self.0.info, messages));
    }

    /// Gives an answer of the peer to the request that waits for it.
    pub(crate) fn answer(&self, message: Message) {
        if !self.0.requests.answer(message) {
            add(&self.0.counters.unexpected, 1);
        }
    }
}
