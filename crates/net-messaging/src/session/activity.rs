//! When what happened last, for the sweep that looks at the deadlines of all sessions.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Settings, signal};
use crate::CloseReason;

/// Milliseconds since the start of a server or client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time now; never 0, which stands for never.
    #[inline]
    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// What happened since the sweep looked last: it dates that when it comes by. A driver that reads no clock in a wake-up takes
/// less time for it, and deadlines come later by one sweep at most, never earlier.
const UNDATED: u64 = u64::MAX;

/// When what happened last; 0 is never. Written by the driver, read and dated by the sweep.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    opened: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    /// A message has arrived whole.
    started: AtomicBool,
    /// Since when a message has been arriving.
    incomplete: AtomicU64,
    /// How much of it has arrived, as far as 32 bits tell: an idle session is smaller by it.
    arrived: AtomicU32,
    /// Since when the handler that runs has been running.
    handling: AtomicU64,
    /// Since when the peer has taken nothing of what waits.
    stalled: AtomicU64,
    /// Since when the outbox has been full.
    full: AtomicU64,
    /// Input is left unread: why nothing is heard of the peer is no fault of its own.
    unread: AtomicBool,
    /// The peer was asked to leave because the connection has lived long enough.
    retired: AtomicBool,
    /// Requests that are being handled or wait for it, while a handler waits for something.
    unfinished: AtomicU32,
    /// Replies that wait for room.
    blocked: AtomicU32,
}

/// What the sweep finds to do.
pub(crate) enum Due {
    Nothing,
    Raise(u32),
    Close(CloseReason),
}

macro_rules! since {
    ($(#[$doc:meta] $set:ident, $clear:ident, $field:ident;)*) => {$(
        #[$doc]
        #[inline]
        pub(crate) fn $set(&self, now: u64) {
            if self.$field.load(Ordering::Relaxed) == 0 {
                self.$field.store(now, Ordering::Relaxed);
            }
        }

        #[inline]
        pub(crate) fn $clear(&self) {
            if self.$field.load(Ordering::Relaxed) != 0 {
                self.$field.store(0, Ordering::Relaxed);
            }
        }
    )*};
}

impl Activity {
    since! {
        /// A message has begun to arrive.
        begun, complete, incomplete;
        /// A handler waits for something.
        begin_to_handle, end_to_handle, handling;
        /// The peer takes nothing.
        stalled, moving, stalled;
        /// The outbox refuses messages.
        full, room, full;
    }

    /// Notes how much of an incomplete message has arrived.
    #[inline]
    pub(crate) fn incomplete(&self, now: u64, arrived: usize) {
        self.begun(now);
        self.arrived.store(u32::try_from(arrived).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Notes that a handler waits for something, and how many requests are unfinished.
    #[inline]
    pub(crate) fn handling(&self, now: u64, unfinished: usize) {
        self.begin_to_handle(now);
        self.unfinished.store(u32::try_from(unfinished).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn handled(&self) {
        self.end_to_handle();
        self.unfinished.store(0, Ordering::Relaxed);
    }

    /// Returns how many requests are unfinished.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed) as usize
    }

    /// Notes how many replies wait for room.
    pub(crate) fn block(&self, replies: usize) {
        self.blocked.store(u32::try_from(replies).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Returns how many replies wait for room.
    pub(crate) fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Relaxed) as usize
    }

    /// Notes that the peer is asked to leave; `true` the first time.
    pub(crate) fn retire(&self) -> bool {
        !self.retired.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn open(&self, now: u64) {
        self.opened.store(now, Ordering::Relaxed);
    }

    /// Returns how many milliseconds ago the session began.
    pub(crate) fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.opened.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn received(&self) {
        self.heard();
        if !self.started.load(Ordering::Relaxed) {
            self.started.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that the peer lives, though no message of it has arrived whole.
    #[inline]
    pub(crate) fn heard(&self) {
        self.received.store(UNDATED, Ordering::Relaxed);
    }

    /// Notes that input is left unread for now.
    #[inline]
    pub(crate) fn unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Notes that all input at hand has been read.
    #[inline]
    pub(crate) fn reading(&self) {
        if self.unread.load(Ordering::Relaxed) {
            // The peer had no means to prove that it lives.
            self.heard();
            self.unread.store(false, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn sent(&self) {
        self.sent.store(UNDATED, Ordering::Relaxed);
    }

    /// Returns for how many milliseconds nothing was received or sent; what the sweep has not dated is of this moment.
    pub(crate) fn idle(&self, now: u64) -> u64 {
        let last = [&self.opened, &self.received, &self.sent].map(|at| at.load(Ordering::Relaxed));
        now.saturating_sub(last.into_iter().fold(0, u64::max))
    }

    /// Dates what happened since the last time.
    fn date(&self, now: u64) {
        for at in [&self.received, &self.sent] {
            // What happens in between is of this moment too, and need not wait for the next one.
            if at.load(Ordering::Relaxed) == UNDATED {
                at.store(now, Ordering::Relaxed);
            }
        }
    }

    /// Looks at every deadline; for the sweep alone, which dates what has happened.
    pub(crate) fn due(&self, now: u64, settings: &Settings) -> Due {
        let Settings { config, limits, .. } = settings;
        self.date(now);
        let at = |place: &AtomicU64| place.load(Ordering::Relaxed);
        let passed = |since: u64, limit: Option<Duration>| {
            since != 0
                && limit.is_some_and(|limit| u128::from(now.saturating_sub(since)) >= limit.as_millis())
        };
        let opened = at(&self.opened);
        let received = at(&self.received).max(opened);
        if passed(at(&self.stalled), limits.stall_timeout) || passed(at(&self.full), limits.stall_timeout) {
            return Due::Close(CloseReason::Stalled);
        }
        let heartbeat = config.heartbeat.filter(|_| settings.heartbeats());
        if !self.unread.load(Ordering::Relaxed) {
            if passed(at(&self.incomplete), limits.message_timeout) {
                return Due::Close(CloseReason::MessageTimeout);
            }
            let began = at(&self.incomplete);
            let arrived = self.arrived.load(Ordering::Relaxed);
            if let Some(rate) = limits.min_data_rate.filter(|_| began != 0 && arrived != u32::MAX)
                && !rate.is_kept(arrived.into(), Duration::from_millis(now.saturating_sub(began)))
            {
                return Due::Close(CloseReason::TooSlow);
            }
            if !self.started.load(Ordering::Relaxed) && passed(opened, limits.first_message_timeout) {
                return Due::Close(CloseReason::NoFirstMessage);
            }
            if passed(received, limits.idle_timeout) {
                return Due::Close(CloseReason::Idle);
            }
            let patience =
                heartbeat.map(|heartbeat| heartbeat.interval.saturating_mul(heartbeat.missed.max(1)));
            if passed(received, patience) {
                return Due::Close(CloseReason::HeartbeatMissed);
            }
        }
        // Before the heartbeat, which is due again and again where there is no room for it.
        if passed(at(&self.handling), limits.handler_timeout) {
            return Due::Raise(signal::OVERDUE);
        }
        if passed(at(&self.sent).max(opened), heartbeat.map(|heartbeat| heartbeat.interval)) {
            return Due::Raise(signal::HEARTBEAT);
        }
        Due::Nothing
    }
}
