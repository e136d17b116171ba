//! Whether the peer is still there: pings into its silence, and an end of patience.

use std::{
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::{Instant, Sleep, sleep};

use crate::WsConfig;

/// Looks at whether anything comes from the peer.
///
/// There is one timer for each connection, which is neither moved nor looked at while messages come: each time it fires,
/// whether something has come since says what is to be done. So no clock is read for a message.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    tick: Duration,
    /// After so many ticks in silence the peer is given up.
    patience: u32,
    pings: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// Who is woken by the timer.
    waker: Option<Waker>,
    /// Something has come since the timer fired last.
    heard: bool,
    silent: u32,
}

/// What is to be done in the silence of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Ping,
    GiveUp,
}

impl KeepAlive {
    /// Returns what `config` asks for, where it asks for anything.
    pub(crate) fn new(config: &WsConfig) -> Option<Self> {
        // Nobody is given up who was not asked.
        let half = config.idle_timeout.map(|idle| (idle / 2).max(Duration::from_nanos(1)));
        let tick = match (config.ping_interval, half) {
            (Some(interval), Some(half)) => interval.min(half),
            (Some(tick), None) => tick,
            (None, _) => config.idle_timeout?,
        };
        let patience = config.idle_timeout.map_or(u32::MAX, |idle| {
            let ticks = idle.as_nanos().div_ceil(tick.as_nanos().max(1));
            u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
        });
        let pings = config.ping_interval.is_some();
        Some(Self { tick, patience, pings, timer: None, waker: None, heard: false, silent: 0 })
    }

    /// Looks at the timer before the receiver sleeps; where something has come since it slept last, `came`, only whether it
    /// wakes who sleeps.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, came: bool) -> Poll<Silence> {
        if came {
            self.heard = true;
            let set = self.timer.as_ref().is_some_and(|timer| !timer.is_elapsed());
            // One that has fired in the same wake-up as something came wakes nobody again before it is set anew.
            if set && self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        self.poll_timer(cx)
    }

    #[cold]
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.tick)));
            self.waker = Some(cx.waker().clone());
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(Instant::now() + self.tick);
            if std::mem::take(&mut self.heard) {
                self.silent = 0;
                continue;
            }
            self.silent += 1;
            if self.silent >= self.patience {
                return Poll::Ready(Silence::GiveUp);
            }
            if self.pings {
                return Poll::Ready(Silence::Ping);
            }
        }
    }
}

/// Holds the peer to a number of pings a second.
pub(crate) struct PingLimit(RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Duration>>);

impl PingLimit {
    pub(crate) fn new(per_second: u32) -> Self {
        let quota = Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Self(RateLimiter::direct_with_clock(quota, SinceStart(Instant::now())))
    }

    /// Tells whether one more may come now.
    pub(crate) fn admits(&self) -> bool {
        self.0.check().is_ok()
    }
}

impl fmt::Debug for PingLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PingLimit")
    }
}

/// The runtime's time, which tests may pause.
#[derive(Clone, Copy, Debug)]
struct SinceStart(Instant);

impl clock::Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
