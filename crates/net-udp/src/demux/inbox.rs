//! What has arrived for one session and waits to be taken: bounded, and woken once a batch.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use net_core::ErrorKind;

use crate::{UdpConfig, intake::Arrival};

/// What each datagram costs in memory beside its bytes.
const COST: usize = 64;

/// What has arrived for one session and waits to be taken.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Whether the session has ended by itself, which is asked for each message that is sent.
    failed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    datagrams: VecDeque<Bytes>,
    cost: usize,
    receiver: Option<Waker>,
    over: Option<Over>,
    /// Why the session has ended by itself, which senders are told though this side's receiving had ended before.
    failure: Option<ErrorKind>,
}

/// Why nothing more arrives.
#[derive(Clone, Copy, Debug)]
enum Over {
    /// This side has finished.
    Finished,
    Failed(ErrorKind),
}

/// What waits for all sessions of a listener, and what their receivers have taken and not given yet.
#[derive(Debug, Default)]
pub(crate) struct Queued(AtomicUsize);

/// What a receiver has taken out of its inbox, and gives one by one.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    datagrams: VecDeque<Bytes>,
    /// What they cost together; counted as waiting until the last of them is given, once for all of them.
    cost: usize,
}

impl Taken {
    pub(crate) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Gives the next one.
    pub(crate) fn pop(&mut self, queued: &Queued) -> Option<Bytes> {
        let datagram = self.datagrams.pop_front();
        if self.datagrams.is_empty() {
            self.clear(queued);
        }
        datagram
    }

    /// Drops what is left.
    pub(crate) fn clear(&mut self, queued: &Queued) {
        self.datagrams.clear();
        if self.cost > 0 {
            queued.give_back(mem::take(&mut self.cost));
        }
    }
}

impl Queued {
    fn give_back(&self, cost: usize) {
        self.0.fetch_sub(cost, Ordering::Relaxed);
    }
}

impl Inbox {
    /// Appends what has arrived as far as there is room, and wakes who receives. Returns how many datagrams were dropped.
    pub(crate) fn deliver(
        &self,
        arrivals: impl Iterator<Item = Arrival>,
        queued: &Queued,
        config: &UdpConfig,
    ) -> usize {
        let mut state = self.state();
        let is_over = state.over.is_some();
        let (mut dropped, mut added) = (0, 0);
        let total = queued.0.load(Ordering::Relaxed);
        for arrival in arrivals {
            if is_over {
                continue;
            }
            let (waited, dropped_before) = (state.datagrams.len(), dropped);
            for datagram in arrival.into_datagrams() {
                let cost = datagram.len() + COST;
                // One always fits, wherever nothing else waits.
                let fits = state.datagrams.is_empty()
                    || (state.datagrams.len() < config.max_queued
                        && state.cost + cost <= config.max_queued_len);
                let all = total + added;
                if fits && (all == 0 || all + cost <= config.max_queued_total_len) {
                    state.datagrams.push_back(datagram);
                    state.cost += cost;
                    added += cost;
                } else {
                    dropped += 1;
                }
            }
            if dropped > dropped_before {
                // As views of all that arrived they would hold what was dropped, too, for which nobody is charged.
                for admitted in state.datagrams.iter_mut().skip(waited) {
                    *admitted = Bytes::copy_from_slice(admitted);
                }
            }
        }
        queued.0.fetch_add(added, Ordering::Relaxed);
        let receiver = if added > 0 { state.receiver.take() } else { None };
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        dropped
    }

    /// Moves all that waits into `taken`, which is empty. It stays empty where nothing will come.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, taken: &mut Taken) -> Poll<Result<(), ErrorKind>> {
        let mut state = self.state();
        if state.datagrams.is_empty() {
            match state.over {
                Some(Over::Finished) => return Poll::Ready(Ok(())),
                Some(Over::Failed(why)) => return Poll::Ready(Err(why)),
                None => {}
            }
            if !state.receiver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.receiver = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        mem::swap(&mut state.datagrams, &mut taken.datagrams);
        taken.cost = mem::take(&mut state.cost);
        Poll::Ready(Ok(()))
    }

    /// Returns how much memory waits.
    pub(crate) fn cost(&self) -> usize {
        self.state().cost
    }

    /// Ends the session, because of `why`: what waits is still given.
    pub(crate) fn fail(&self, why: ErrorKind) {
        self.end(Over::Failed(why));
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Ends receiving, since this side has finished: what waits is still given.
    pub(crate) fn finish(&self) {
        self.end(Over::Finished);
    }

    fn end(&self, over: Over) {
        let mut state = self.state();
        state.over.get_or_insert(over);
        if let Over::Failed(why) = over {
            state.failure.get_or_insert(why);
        }
        let receiver = state.receiver.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Tells why the session has ended by itself, where it has.
    pub(crate) fn failure(&self) -> Option<ErrorKind> {
        if !self.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.state().failure
    }

    /// Drops what waits: nobody receives any more.
    pub(crate) fn abandon(&self, queued: &Queued) {
        let mut state = self.state();
        state.over.get_or_insert(Over::Finished);
        let unread = mem::take(&mut state.datagrams);
        queued.give_back(mem::take(&mut state.cost));
        drop(state);
        drop(unread);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
