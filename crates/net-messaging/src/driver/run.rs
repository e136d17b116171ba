//! One handler after another.

use std::{
    future::poll_fn,
    mem,
    pin::pin,
    task::{Context, Poll, ready},
};

use net_core::{Message, Receiver, Sender};

use super::{Driver, Ended, output::Origin};
use crate::{
    CloseReason, Handler,
    session::{Role, signal},
};

/// How the wait beside a handler ended.
pub(super) enum Beside {
    /// The handler is dropped: it took too long, and its request has its answer.
    Overdue,
    /// The handler is dropped: the session ends.
    Stopped,
}

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Hands messages to the handler, one after another, until the session is to end.
    ///
    /// The handler's future lives in this one's memory, in one place for all messages: nothing is allocated for a
    /// message, and a handler that does not wait costs no turn of this state machine.
    pub(super) async fn run<H: Handler>(&mut self, handler: &H) {
        let session = self.session.clone();
        let mut handling = pin!(None);
        let mut origin = Origin::NONE;
        let (mut idle, mut waited) = (true, false);
        poll_fn(|cx| {
            self.awake(cx);
            loop {
                if idle {
                    let dry = H::ANSWERS && self.answer(cx, handler, &session);
                    let Some(message) = ready!(self.poll_message(cx, dry)) else { return Poll::Ready(()) };
                    origin = Origin::of(&message);
                    handling.set(Some(handler.message(&session, message)));
                    idle = false;
                }
                let Some(future) = handling.as_mut().as_pin_mut() else { return Poll::Ready(()) };
                match future.poll(cx) {
                    Poll::Ready(result) => {
                        if mem::take(&mut waited) {
                            self.session.activity().handled();
                        }
                        self.reply(cx, origin, result);
                    }
                    Poll::Pending => {
                        waited = true;
                        match ready!(self.poll_beside(cx, origin)) {
                            Beside::Overdue => {}
                            Beside::Stopped => return Poll::Ready(()),
                        }
                    }
                }
                handling.set(None);
                idle = true;
            }
        })
        .await;
    }

    /// Polls for the next message that is for the handler; `None` when the session is to end. `dry`: nothing is there to be
    /// received, and what comes wakes the driver.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a message is not moved through the memory of a call")]
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>, mut dry: bool) -> Poll<Option<Message>> {
        loop {
            if mem::take(&mut dry) {
                // All that could hold it back was looked at before the receiver was found dry.
                if self.rest_inline(cx, 0) {
                    return Poll::Pending;
                }
                continue;
            }
            let disturbed = self.session.signal().raised() != 0 || self.is_blocked();
            if disturbed && let Some(stopped) = self.poll_disturbed(cx) {
                return stopped;
            }
            if let Some(message) = self.backlog.pop() {
                return Poll::Ready(Some(message));
            }
            if self.ended.is_some() || self.is_drained() {
                return Poll::Ready(None);
            }
            if !self.is_spent() {
                match self.poll_receive(cx) {
                    Poll::Ready(Some(message)) => return Poll::Ready(Some(message)),
                    // The input has ended.
                    Poll::Ready(None) => continue,
                    Poll::Pending => {}
                }
            }
            if self.rest(cx, 0) {
                return Poll::Pending;
            }
        }
    }

    /// Heeds what was raised and makes room for what waits to be sent; `None`: go on.
    #[cold]
    fn poll_disturbed(&mut self, cx: &mut Context<'_>) -> Option<Poll<Option<Message>>> {
        loop {
            self.heed(cx);
            if self.is_stopped() || self.session.signal().raised() & signal::CLOSE_LATER != 0 {
                return Some(Poll::Ready(None));
            }
            // Only replies that wait for room keep the driver from reading, so that they do not become ever more.
            if self.poll_output(cx).is_ready() || self.replies.is_empty() {
                return None;
            }
            self.hungry = false;
            // A client always reads: what the server waits for may be that its own messages are taken.
            if self.settings().role == Role::Client && self.read_on(cx, &[]) {
                continue;
            }
            if self.is_stopped() {
                return Some(Poll::Ready(None));
            }
            if self.rest(cx, 0) {
                return Some(Poll::Pending);
            }
        }
    }

    /// Does everything else while the handler waits: output, answers to its requests, deadlines.
    pub(super) fn poll_beside(&mut self, cx: &mut Context<'_>, origin: Origin) -> Poll<Beside> {
        let handled = usize::from(origin != Origin::NONE);
        let now = self.now();
        self.session.activity().handling(now, handled + self.backlog.len());
        loop {
            let raised = self.session.signal().raised();
            if raised != 0 {
                if raised & signal::OVERDUE != 0 {
                    self.session.signal().lower(signal::OVERDUE);
                    self.session.activity().handled();
                    self.reply_overdue(cx, origin);
                    return Poll::Ready(Beside::Overdue);
                }
                self.heed(cx);
            }
            if self.is_stopped() {
                return Poll::Ready(Beside::Stopped);
            }
            let _ = self.poll_output(cx);
            if self.read_on(cx, &[origin]) {
                continue;
            }
            if self.is_stopped() {
                return Poll::Ready(Beside::Stopped);
            }
            self.fail_what_cannot_be_answered();
            if self.rest(cx, signal::CLOSE_LATER) {
                return Poll::Pending;
            }
        }
    }

    /// Fails requests of our own whose answers can never be read.
    pub(super) fn fail_what_cannot_be_answered(&self) {
        if matches!(self.ended, Some(Ended::Clean)) {
            self.session.requests().close();
        } else if self.backlog.is_full() {
            self.session.requests().fail_inside();
        }
    }

    /// Heeds the signals that have no place of their own in the loops.
    #[cold]
    pub(super) fn heed(&mut self, cx: &mut Context<'_>) {
        let raised = self.session.signal().raised();
        if raised & signal::HEARTBEAT != 0 {
            self.send_heartbeat(cx);
        }
        if raised & signal::DRAIN != 0 {
            self.session.signal().lower(signal::DRAIN);
            self.draining = true;
        }
        if raised & signal::OVERDUE != 0 {
            // The handler finished in the same moment.
            self.session.signal().lower(signal::OVERDUE);
        }
    }

    /// Tells whether the server drains and nothing is left to be handled; that is the reason then.
    pub(super) fn is_drained(&self) -> bool {
        let drained = self.draining && self.backlog.is_empty();
        if drained {
            self.session.set_reason(CloseReason::Drained);
        }
        drained
    }
}
