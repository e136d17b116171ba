//! The end of a connection: what was accepted leaves, both sides finish.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use futures_util::future::poll_immediate;
use net_core::{GoAwayReason, Receiver, Sender};
use tokio::time::timeout;

use super::{Driver, Ended, MAX_MESSAGES_PER_WAKE};
use crate::{CloseReason, session::signal};

impl<S: Sender, R: Receiver> Driver<S, R> {
    /// Sends what was accepted and finishes, then reads until the peer has finished too.
    ///
    /// Closing a socket with unread input would reset the connection and destroy what was flushed, so the peer's
    /// input is read first, for the close time-out at the longest. How long the peer may take for what is sent is
    /// the stall time-out's matter: a slow reader loses nothing.
    pub(super) async fn finish(&mut self) {
        if !self.may_finish() {
            return self.hand_over().await;
        }
        let leaves = match self.session.reason() {
            Some(CloseReason::Drained) => Some(GoAwayReason::Draining),
            Some(CloseReason::Lifetime) => Some(GoAwayReason::Lifetime),
            Some(CloseReason::MemoryBudget) => Some(GoAwayReason::Overloaded),
            _ => None,
        };
        if let Some(reason) = leaves {
            self.tx.leave(reason);
        }
        let limit = self.session.limits().close_timeout;
        if !poll_fn(|cx| self.poll_finish(cx)).await || matches!(self.ended, Some(Ended::Clean)) {
            return;
        }
        // A peer that does not finish in time is left to itself. The timer is boxed: a session that lives has no need
        // of it.
        if poll_immediate(poll_fn(|cx| self.poll_discard(cx))).await.is_none() {
            let _ = Box::pin(timeout(limit, poll_fn(|cx| self.poll_discard(cx)))).await;
        }
    }

    /// Hands over what was accepted before the input broke, as far as the system takes it without waiting.
    ///
    /// A peer that breaks the protocol behind its requests has its answers to them all the same.
    async fn hand_over(&mut self) {
        if self.session.signal().raised() & signal::CUT != 0 {
            return;
        }
        poll_fn(|cx| {
            self.awake(cx);
            let _ = self.poll_output(cx);
            self.report();
            self.poll_flush(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Tells whether the connection can still carry what was accepted.
    fn may_finish(&self) -> bool {
        self.session.signal().raised() & signal::CUT == 0 && !matches!(self.ended, Some(Ended::Broken))
    }

    /// Empties outbox and replies, flushes and finishes; `false` where the connection broke meanwhile.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.awake(cx);
        // Nothing is read any more, so only what the peer takes tells whether it lives.
        self.hungry = false;
        loop {
            if !self.may_finish() {
                return Poll::Ready(false);
            }
            // Nothing is pushed any more, but what was fed without a signal is still in the outbox.
            if self.leaving.is_empty() {
                self.session.take_outbox(&mut self.leaving);
            }
            if self.poll_output(cx).is_ready() {
                if !self.session.outbox_is_empty() {
                    // It was fed behind what was blocked until now.
                    continue;
                }
                match self.tx.poll_finish(cx) {
                    Poll::Ready(finished) => {
                        self.dirty = false;
                        self.report();
                        return Poll::Ready(finished.is_ok());
                    }
                    Poll::Pending => self.dirty = true,
                }
            }
            if self.rest_while_finishing(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Sleeps; the sweep's verdict that the peer does not read is the one signal that still counts.
    fn rest_while_finishing(&mut self, cx: &mut Context<'_>) -> bool {
        self.report();
        self.poll_flush(cx);
        // Whatever was raised before has had its effect; a cut that is raised from now on wakes the task.
        self.session.signal().sleep(u32::MAX);
        self.sleep();
        self.may_finish()
    }

    /// Goes on to wait for the peer's end, unless it sends more than the memory budget allows.
    fn hold_while_discarding(&self) -> Poll<()> {
        let held = self.rx.held_len();
        if self.session.holds_more_or_less(held) && !self.session.count_held(held) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Reads and discards until the peer has finished or the connection broke.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..MAX_MESSAGES_PER_WAKE {
            match self.rx.poll_recv(cx) {
                Poll::Ready(Ok(Some(_))) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.hold_while_discarding(),
            }
        }
        // A peer that sends without end must not keep the deadline from being looked at.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
