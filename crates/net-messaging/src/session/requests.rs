//! Requests of our own that wait for their answers.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use net_core::{Error, ErrorCode, ErrorKind, ErrorReply, Message, MessageKind, Result};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError, oneshot};

/// What a request waits on.
pub(crate) type Answer = oneshot::Receiver<Result<Message>>;

/// Requests of our own that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    state: Mutex<State>,
    /// One for each that may wait at once. Nothing is allocated until the first request.
    turns: OnceLock<Box<Semaphore>>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing is allocated until the first request: an idle session is smaller by it.
    entered: Option<Box<Entered>>,
    /// Nobody gets a turn any more.
    ended: bool,
    /// Nobody waits any more.
    closed: bool,
}

#[derive(Debug, Default)]
struct Entered {
    waiting: HashMap<u64, Waiter>,
    next_id: u64,
}

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Message>>,
    /// The request was made while the driver ran, so perhaps by a handler whose session cannot read on.
    inside: bool,
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "request")
}

impl State {
    fn remove(&mut self, id: u64) -> Option<Waiter> {
        self.entered.as_mut()?.waiting.remove(&id)
    }
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more may be entered, where `max` may wait at once; who came first has the first turn. `full` is told
    /// that it waits.
    pub(crate) async fn turn(&self, max: usize, full: impl FnOnce()) -> Result<SemaphorePermit<'_>> {
        let turns = self.turns.get_or_init(|| Box::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))));
        // Where it is not seen here, those turns are there to be seen by who ends them.
        if self.lock().ended {
            return Err(closed());
        }
        let turn = match turns.try_acquire() {
            Err(TryAcquireError::NoPermits) => {
                full();
                turns.acquire().await
            }
            turn => Ok(turn.map_err(|_| closed())?),
        };
        turn.map_err(|_| closed())
    }

    /// Gives nobody a turn any more; those who have one get their answers.
    pub(crate) fn take_no_more(&self) {
        self.lock().ended = true;
        if let Some(turns) = self.turns.get() {
            turns.close();
        }
    }

    /// Enters one more request.
    pub(crate) fn enter(&self, inside: bool) -> Result<(u64, Answer)> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        let Entered { waiting, next_id } = &mut **state.entered.get_or_insert_default();
        let (answer, receiver) = oneshot::channel();
        loop {
            let id = *next_id;
            *next_id = next_id.wrapping_add(1);
            // An id comes round again after 2^64 requests; one of that age that still waits keeps its own.
            if let Entry::Vacant(place) = waiting.entry(id) {
                place.insert(Waiter { answer, inside });
                return Ok((id, receiver));
            }
        }
    }

    /// Gives an answer to the request that waits for it; `false` where none does.
    pub(crate) fn answer(&self, message: Message) -> bool {
        let Some(waiter) = self.lock().remove(message.id()) else { return false };
        let result = match message.kind() {
            MessageKind::Error => {
                let error = |kind| Error::new(kind, "request");
                Err(match ErrorReply::decode(message.payload()) {
                    Some(reply) if reply.code == ErrorCode::Unauthenticated => {
                        error(ErrorKind::Unauthenticated).because(reply)
                    }
                    Some(reply) => error(ErrorKind::Rejected).because(reply),
                    None => error(ErrorKind::Rejected),
                })
            }
            _ => Ok(message),
        };
        // Nobody waits any more where the request timed out in this moment.
        waiter.answer.send(result).is_ok()
    }

    /// Forgets a request that nobody waits for any more.
    pub(crate) fn forget(&self, id: u64) {
        self.lock().remove(id);
    }

    /// Fails those requests that a handler may have made, since its session can read no further.
    pub(crate) fn fail_inside(&self) {
        let mut state = self.lock();
        let Some(entered) = &mut state.entered else { return };
        let inside: Vec<_> = entered.waiting.extract_if(|_, waiter| waiter.inside).collect();
        drop(state);
        for (_, waiter) in inside {
            let _ = waiter.answer.send(Err(Error::new(ErrorKind::Overloaded, "request")));
        }
    }

    /// Fails all requests and refuses further ones.
    pub(crate) fn close(&self) {
        self.take_no_more();
        let mut state = self.lock();
        state.closed = true;
        let entered = state.entered.take();
        drop(state);
        for waiter in entered.into_iter().flat_map(|entered| entered.waiting.into_values()) {
            let _ = waiter.answer.send(Err(Error::new(ErrorKind::Closed, "request")));
        }
    }

    /// Returns how many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().entered.as_ref().map_or(0, |entered| entered.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn a29_ids_that_a_peer_chooses_meet_a_hash_with_a_random_key() {
        fn seeded<K, V>(_: &HashMap<K, V, RandomState>) {}
        let requests = Requests::default();
        let (_, _waits) = requests.enter(false).expect("open");
        seeded(&requests.lock().entered.as_ref().expect("one waits").waiting);
        // A peer chooses what is looked up, never what is kept.
        for id in 1..10_000 {
            assert!(!requests.answer(Message::new(MessageKind::Response, id << 40, "")));
        }
        assert_eq!(requests.len(), 1);
    }

    #[test]
    fn ids_begin_at_0_and_skip_those_that_still_wait() {
        let requests = Requests::default();
        let (first, _waits) = requests.enter(false).expect("open");
        requests.lock().entered.as_mut().expect("one has been entered").next_id = u64::MAX;
        let (last, _waits) = requests.enter(false).expect("open");
        let (next, _waits) = requests.enter(false).expect("open");
        assert_eq!((first, last, next), (0, u64::MAX, 1));
    }
}
