//! How the two halves of a client's connection end together.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Whether this side has finished, and who waits to learn of it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    finished: bool,
    receiver: Option<Waker>,
}

impl Ending {
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.finished = true;
        let receiver = state.receiver.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Waits until this side has finished.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.finished {
            return Poll::Ready(());
        }
        if !state.receiver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.receiver = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
