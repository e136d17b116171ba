//! One handler after another.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use net_core::{Message, Receiver, Sender};

use super::{Driver, Ended, output::Origin};
use crate::{
    CloseReason, Handler,
    session::{Role, signal},
};

/// How the handling of one message ended.
pub(super) enum Outcome {
    /// The handler returned; its reply is on its way.
    Handled,
    /// The handler was dropped: the session ends.
    Stopped,
}

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Hands messages to the handler, one after another, until the session is to end.
    pub(super) async fn run<H: Handler>(&mut self, handler: &H) {
        let session = self.session.clone();
        while let Some(message) = poll_fn(|cx| self.poll_message(cx)).await {
            let origin = Origin::of(&message);
            // The future lives in this one's memory: nothing is allocated for a message.
            let mut handling = pin!(handler.message(&session, message));
            let outcome = poll_fn(|cx| {
                self.awake(cx);
                if let Poll::Ready(result) = handling.as_mut().poll(cx) {
                    self.session.activity().handled();
                    self.reply(cx, origin, result);
                    return Poll::Ready(Outcome::Handled);
                }
                self.poll_beside(cx, origin)
            });
            if matches!(outcome.await, Outcome::Stopped) {
                break;
            }
        }
    }

    /// Polls for the next message that is for the handler; `None` when the session is to end.
    #[inline]
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.awake(cx);
        loop {
            if self.session.signal().raised() != 0 {
                self.heed(cx);
            }
            if self.is_stopped() || self.session.signal().raised() & signal::CLOSE_LATER != 0 {
                return Poll::Ready(None);
            }
            let room = self.poll_output(cx).is_ready();
            if room && !self.is_spent() {
                if let Some(message) = self.take_message() {
                    self.wake.handled += 1;
                    self.wake.handled_bytes += message.payload().len();
                    return Poll::Ready(Some(message));
                }
                if self.is_exhausted() || self.is_drained() {
                    return Poll::Ready(None);
                }
                if self.ended.is_none() && self.poll_receive(cx).is_ready() {
                    continue;
                }
            } else if room {
                if self.rest_briefly(cx, 0) {
                    return Poll::Pending;
                }
                continue;
            } else if self.settings().role == Role::Client && self.read_on(cx, &[]) {
                // A client always reads: what the server waits for may be that its own messages are taken.
                continue;
            }
            if self.is_stopped() {
                return Poll::Ready(None);
            }
            if self.rest(cx, 0) {
                return Poll::Pending;
            }
        }
    }

    /// Does everything else while the handler waits: output, answers to its requests, deadlines.
    fn poll_beside(&mut self, cx: &mut Context<'_>, origin: Origin) -> Poll<Outcome> {
        self.session.activity().handling(self.wake.now);
        loop {
            let raised = self.session.signal().raised();
            if raised != 0 {
                if raised & signal::OVERDUE != 0 {
                    self.session.signal().lower(signal::OVERDUE);
                    self.session.activity().handled();
                    self.reply_overdue(cx, origin);
                    return Poll::Ready(Outcome::Handled);
                }
                self.heed(cx);
            }
            if self.is_stopped() {
                return Poll::Ready(Outcome::Stopped);
            }
            let _ = self.poll_output(cx);
            if self.read_on(cx, &[origin]) {
                continue;
            }
            if self.is_stopped() {
                return Poll::Ready(Outcome::Stopped);
            }
            self.fail_what_cannot_be_answered();
            let later = signal::CLOSE_LATER;
            let rests = if self.is_spent() { self.rest_briefly(cx, later) } else { self.rest(cx, later) };
            if rests {
                return Poll::Pending;
            }
        }
    }

    /// Fails requests of our own whose answers can never be read.
    pub(super) fn fail_what_cannot_be_answered(&self) {
        if matches!(self.ended, Some(Ended::Clean)) && self.input.is_empty() {
            self.session.requests().close();
        } else if self.is_backlog_full() {
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
        if raised & signal::OVERDUE != 0 {
            // The handler finished in the same moment.
            self.session.signal().lower(signal::OVERDUE);
        }
    }

    /// Tells whether the server drains and nothing is left to be handled; that is the reason then.
    pub(super) fn is_drained(&self) -> bool {
        let drained = self.session.signal().raised() & signal::DRAIN != 0
            && self.backlog.is_empty()
            && self.input.is_empty();
        if drained {
            self.session.set_reason(CloseReason::Drained);
        }
        drained
    }
}
