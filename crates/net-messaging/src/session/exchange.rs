//! One request of ours and its answer.

use std::error::Error as StdError;

use bytes::Bytes;
use net_core::{Error, ErrorKind, GoAway, Limit, Message, MessageKind, Result};
use tokio::{sync::SemaphorePermit, time::Instant};

use super::Session;

impl Session {
    /// Sends a request and waits for its answer, however long that takes.
    pub(super) async fn exchange(&self, payload: Bytes) -> Result<Message> {
        let max = self.settings().limits.max_in_flight;
        let turn = self.0.requests.turn(max, || self.limited(Limit::InFlight)).await.map_err(|error| {
            // Who asked to leave gets no further request: the next connection takes it.
            match self.go_away_received() {
                Some(go_away) => Error::new(ErrorKind::Closed, "request").because(go_away),
                None => error,
            }
        })?;
        let (id, answer) = self.0.requests.enter(self.0.signal.is_inside())?;
        let _entry = Entry { session: self, id, _turn: turn };
        // Read only for somebody who watches.
        let began = self.settings().observer.as_ref().map(|_| Instant::now());
        self.send_wait(Message::new(MessageKind::Request, id, payload)).await?;
        let answer = answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "request")));
        if let (Some(began), Ok(_)) = (began, &answer) {
            self.observe(|observer| observer.request_finished(&self.0.info, began.elapsed()));
        }
        answer
    }
}

/// Tells whether a request failed before it was sent, because the peer asked to leave.
pub(crate) fn is_unsent(error: &Error) -> bool {
    error.kind() == ErrorKind::Closed && StdError::source(error).is_some_and(<dyn StdError>::is::<GoAway>)
}

/// A request that waits; forgotten when its future is dropped.
struct Entry<'a> {
    session: &'a Session,
    id: u64,
    _turn: SemaphorePermit<'a>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let session = &self.session.0;
        session.requests.forget(self.id);
        if session.requests.len() == 0 {
            session.changed.notify_waiters();
        }
    }
}
