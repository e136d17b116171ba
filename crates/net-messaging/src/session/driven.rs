//! What the driver, the sweep and the server do with a session.

use std::{collections::VecDeque, sync::atomic::Ordering};

use net_core::{Message, Observer};
use tokio::task::AbortHandle;

use super::{
    Session, SessionState, Settings, activity::Activity, requests::Requests, signal, signal::Signal,
    stats::add,
};
use crate::{CloseReason, Overflow, SessionConfig};

impl Session {
    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        &self.0.settings.config
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
        // The first reason stays.
        if matches!(reason, CloseReason::Stalled | CloseReason::HeartbeatMissed) {
            self.0.signal.raise(signal::CUT);
        }
        let _ = self.0.reason.set(reason);
        self.0.signal.raise(signal::CLOSE);
    }

    /// Notes why the session ends.
    pub(crate) fn set_reason(&self, reason: CloseReason) -> &CloseReason {
        self.0.reason.get_or_init(|| reason)
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

    /// Refuses what is sent from now on.
    pub(crate) fn begin_to_end(&self) {
        let outbox = self.outbox();
        self.0.state.fetch_max(SessionState::Disconnecting as u8, Ordering::AcqRel);
        drop(outbox);
        self.0.changed.notify_waiters();
    }

    /// Ends the session: nothing of it runs any more.
    pub(crate) fn end(&self) {
        self.begin_to_end();
        self.0.requests.close();
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
    pub(crate) fn take_outbox(&self, leaving: &mut VecDeque<Message>) {
        self.0.signal.lower(signal::PUSHED);
        self.outbox().take(leaving);
    }

    /// Gives what finds no room back, all but the first, where the oldest are to be dropped for newer ones.
    pub(crate) fn give_back(&self, leaving: &mut VecDeque<Message>) {
        if self.config().outbox.overflow == Overflow::DropOldest && leaving.len() > 1 {
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
        let config = &self.config().outbox;
        self.0.activity.room();
        // Those who wait go on when half of the room is free again, not at every message.
        let low_water = config.high_water / 2;
        if before > low_water && now <= low_water || self.0.waiting.messages() <= config.max_messages / 2 {
            self.0.changed.notify_waiters();
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

    /// Gives an answer of the peer to the request that waits for it.
    pub(crate) fn answer(&self, message: Message) {
        if self.0.requests.answer(message) {
            self.0.changed.notify_waiters();
        } else {
            add(&self.0.counters.unexpected, 1);
        }
    }
}
