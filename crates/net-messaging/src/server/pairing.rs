//! What brings a session and its task together where the task begins with a handshake.

use std::sync::{Mutex, PoisonError};

use tokio::task::AbortHandle;

use crate::Session;

/// Brings a session and its task together: the task is known once it is spawned, the session once the handshake is over,
/// and either may be first.
#[derive(Debug, Default)]
pub(super) struct Pairing(Mutex<Option<Half>>);

/// One of the two.
#[derive(Debug)]
pub(super) enum Half {
    Session(Session),
    Task(AbortHandle),
}

impl Pairing {
    /// Brings one of the two; gives both to whoever comes second.
    pub(super) fn bring(&self, half: Half) -> Option<(Session, AbortHandle)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (waiting.take(), half) {
            (Some(Half::Session(session)), Half::Task(task))
            | (Some(Half::Task(task)), Half::Session(session)) => Some((session, task)),
            (_, half) => {
                *waiting = Some(half);
                None
            }
        }
    }
}
