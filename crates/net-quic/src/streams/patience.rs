//! How long a session may be there without a stream.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use net_core::{Admission, Limit};
use tokio::time::{Instant, Sleep, sleep};

use crate::session::Shared;

/// How often it is looked within the time whether a session has a stream; nobody tells when the last one is gone.
const LOOKS: u32 = 4;
/// The shortest time between two looks.
const MIN_LOOK: Duration = Duration::from_millis(1);

/// How long a session may be there without a stream: it has a place on the server, and streams alone have deadlines.
pub(super) struct Patience {
    admission: Arc<Admission>,
    timer: Pin<Box<Sleep>>,
    seen: Seen,
}

/// What was seen of a session's streams.
enum Seen {
    /// None has come, and this is what it is held to.
    NoneYet(Limit),
    /// One was open at the last look, or has come since.
    Open,
    /// None was open at the last look.
    NoneOpen,
}

impl Patience {
    /// Begins with a session that has no stream yet; `None` where it may be so for ever.
    pub(super) fn new(admission: &Arc<Admission>) -> Option<Self> {
        let limits = admission.limits();
        let first = limits.first_message_timeout.map(|time| (time, Limit::FirstMessageTimeout));
        let idle = limits.idle_timeout.map(|time| (time, Limit::IdleTimeout));
        let (time, limit) = first.into_iter().chain(idle).min_by_key(|(time, _)| *time)?;
        let timer = Box::pin(sleep(time));
        Some(Self { admission: admission.clone(), timer, seen: Seen::NoneYet(limit) })
    }

    /// Goes on behind a stream that has come.
    pub(super) fn after_stream(mut self) -> Option<Self> {
        let idle = self.idle_timeout()?;
        // Not for each of many.
        if !matches!(self.seen, Seen::Open) {
            self.look_again(idle);
        }
        Some(self)
    }

    /// Waits until `session` has had no stream for too long, and tells the observer.
    ///
    /// It has one for as long as anybody but its listener holds it, or anything of it.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, session: &Arc<Shared>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let limit = match (&self.seen, self.idle_timeout()) {
                (Seen::NoneYet(limit), _) => *limit,
                (_, Some(idle)) if Arc::strong_count(session) > 1 => {
                    self.look_again(idle);
                    continue;
                }
                (Seen::Open, Some(idle)) => {
                    self.seen = Seen::NoneOpen;
                    self.wait(idle);
                    continue;
                }
                (Seen::Open | Seen::NoneOpen, _) => Limit::IdleTimeout,
            };
            if let Some(observer) = self.admission.observer() {
                observer.limited(session.info(), limit);
            }
            return Poll::Ready(());
        }
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.admission.limits().idle_timeout
    }

    fn look_again(&mut self, idle: Duration) {
        self.seen = Seen::Open;
        self.wait((idle / LOOKS).max(MIN_LOOK));
    }

    fn wait(&mut self, time: Duration) {
        // As far off as it can be told.
        let now = Instant::now();
        let until = now.checked_add(time).unwrap_or_else(|| now + Duration::from_hours(24 * 365));
        self.timer.as_mut().reset(until);
    }
}
