//! Several handlers of one session at once.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use net_core::{Message, MessageKind, Receiver, Sender};

use super::{Driver, output::Origin};
use crate::{Handler, HandlerResult, session::signal};

/// One running handler, and what its reply is to.
struct Job<'a> {
    origin: Origin,
    /// When it was started.
    since: u64,
    future: Pin<Box<dyn Future<Output = HandlerResult> + Send + 'a>>,
}

impl Future for Job<'_> {
    type Output = (Origin, HandlerResult);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let origin = self.origin;
        self.future.as_mut().poll(cx).map(|result| (origin, result))
    }
}

type Running<'a> = FuturesUnordered<Job<'a>>;

enum Step {
    Start(Message),
    Stop,
}

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Hands messages to up to `max_concurrent` handlers at once, until the session is to end.
    pub(super) async fn run_concurrent<H: Handler>(&mut self, handler: &H) {
        let session = self.session.clone();
        let mut running: Running<'_> = FuturesUnordered::new();
        // What runs, oldest first.
        let mut origins: Vec<Origin> = Vec::new();
        while let Step::Start(message) = poll_fn(|cx| self.poll_step(cx, &mut running, &mut origins)).await {
            let origin = Origin::of(&message);
            origins.push(origin);
            let future = Box::pin(handler.message(&session, message));
            running.push(Job { origin, since: self.now(), future });
        }
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        running: &mut Running<'_>,
        origins: &mut Vec<Origin>,
    ) -> Poll<Step> {
        self.awake(cx);
        loop {
            while let Poll::Ready(Some((origin, result))) = running.poll_next_unpin(cx) {
                if let Some(place) = origins.iter().position(|other| *other == origin) {
                    origins.remove(place);
                }
                // The sweep watches the oldest one.
                self.session.activity().handled();
                self.reply(cx, origin, result);
            }
            let raised = self.session.signal().raised();
            if raised & signal::OVERDUE != 0 && !running.is_empty() {
                self.session.signal().lower(signal::OVERDUE);
                self.session.activity().handled();
                self.drop_overdue(cx, running, origins);
                // Those that are left stand in a new set, which wakes nobody for a future that it has not polled.
                continue;
            }
            if raised != 0 {
                self.heed(cx);
            }
            if self.is_stopped() {
                return Poll::Ready(Step::Stop);
            }
            // As with one handler, only replies that wait for room keep messages from being taken.
            let room = self.poll_output(cx).is_ready() || self.replies.is_empty();
            let leaving = self.session.signal().raised() & signal::CLOSE_LATER != 0;
            if leaving && running.is_empty() {
                return Poll::Ready(Step::Stop);
            }
            let free = !leaving && running.len() < self.settings().config.max_concurrent;
            if room && free {
                let next = match self.backlog.pop() {
                    Some(message) => Some(message),
                    None if self.ended.is_some() || self.is_drained() || self.is_spent() => None,
                    None => match self.poll_receive(cx) {
                        Poll::Ready(message) => message,
                        Poll::Pending => None,
                    },
                };
                if let Some(message) = next {
                    let origin = Origin::of(&message);
                    if origin.kind == MessageKind::Request && origins.contains(&origin) {
                        self.repeated(origin);
                        continue;
                    }
                    return Poll::Ready(Step::Start(message));
                }
                if (self.is_exhausted() || self.is_drained()) && running.is_empty() {
                    return Poll::Ready(Step::Stop);
                }
            }
            if let Some(oldest) = running.iter().map(|job| job.since).min() {
                self.session.activity().handling(oldest, running.len() + self.backlog.len());
            }
            if self.read_on(cx, origins) {
                continue;
            }
            if self.is_stopped() {
                return Poll::Ready(Step::Stop);
            }
            self.fail_what_cannot_be_answered();
            if self.rest(cx, signal::CLOSE_LATER) {
                return Poll::Pending;
            }
        }
    }

    /// Drops the handlers that have taken too long, and answers their requests by an error.
    #[cold]
    fn drop_overdue(&mut self, cx: &mut Context<'_>, running: &mut Running<'_>, origins: &mut Vec<Origin>) {
        let Some(limit) = self.session.limits().handler_timeout else { return };
        let now = self.now();
        for job in std::mem::take(running) {
            if u128::from(now.saturating_sub(job.since)) < limit.as_millis() {
                running.push(job);
                continue;
            }
            origins.retain(|origin| *origin != job.origin);
            self.reply_overdue(cx, job.origin);
        }
    }
}
