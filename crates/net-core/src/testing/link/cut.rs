//! The end of a connection that its link cuts, seen by both of its halves.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use tokio::time::Instant;

use crate::{Error, ErrorKind};

/// Whether and when a connection is cut.
#[derive(Debug)]
pub(super) struct Cut {
    /// When it is cut in any case.
    pub(super) at: Option<Instant>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    done: bool,
    receiver: Option<Waker>,
}

impl Cut {
    pub(super) fn new(at: Option<Instant>) -> Self {
        Self { at, state: Mutex::default() }
    }

    /// Tells whether the connection is cut by now.
    pub(super) fn is_done(&self) -> bool {
        self.lock().done || self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Cuts the connection and wakes the receiving half.
    pub(super) fn cut(&self) {
        let receiver = {
            let mut state = self.lock();
            state.done = true;
            state.receiver.take()
        };
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Has the receiving half woken when the sending half cuts.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut state = self.lock();
        match &mut state.receiver {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.receiver = Some(cx.waker().clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a half of a cut connection gives.
pub(super) fn reset(operation: &'static str) -> Error {
    Error::new(ErrorKind::Reset, operation)
}
