//! The sessions of a server.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use net_core::{ConnectionId, Message};
use tokio::{sync::Notify, task::yield_now};

use crate::{
    BroadcastReport, CloseReason, Session,
    session::{Settings, activity::Due, outbox::detach, signal},
};

/// The sessions of a server. It is a handle: clones are cheap and mean the same sessions.
///
/// A handler that sends to others than its own session takes one from
/// [`ServerBuilder::sessions`](crate::ServerBuilder::sessions) before the server listens.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let builder = Server::builder(memory.clone());
/// let everyone = builder.sessions();
/// let server = builder
///     .on_message(move |_, message| {
///         let report = everyone.broadcast(message.into_payload());
///         async move { Ok(net_core::Message::from(format!("told {}", report.sent))) }
///     })
///     .listen("mem://everyone")
///     .await?;
/// # let _ = Client::builder(memory).connect(server.local()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Sessions(Arc<Inner>);

/// How many sessions a sweep looks at before other tasks have their turn.
const SWEPT_AT_ONCE: usize = 1024;

#[derive(Default)]
struct Inner {
    /// Keyed by numbers of our own, so no peer chooses them.
    /// In the order in which they were opened: what reaches all of them does so in that order, in every run.
    sessions: Mutex<BTreeMap<ConnectionId, Session>>,
    /// How many have ever been entered; counted under the lock.
    entered: AtomicUsize,
    changed: Notify,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Session>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Returns the session with this number, while it lasts.
    pub fn get(&self, id: ConnectionId) -> Option<Session> {
        self.lock().get(&id).cloned()
    }

    /// Returns all of them, in no order.
    pub fn list(&self) -> Vec<Session> {
        self.lock().values().cloned().collect()
    }

    /// Sends a message to all of them without waiting for any: a slow one has its outbox's policy applied.
    ///
    /// The payload is shared, not copied for each. A session that ends in this moment is not counted.
    pub fn broadcast(&self, message: impl Into<Message>) -> BroadcastReport {
        self.broadcast_if(message, |_| true)
    }

    /// Sends a message to those of them for which `wanted` holds.
    pub fn broadcast_if(
        &self,
        message: impl Into<Message>,
        wanted: impl Fn(&Session) -> bool,
    ) -> BroadcastReport {
        let message = detach(message.into());
        let mut report = BroadcastReport::default();
        for session in self.list().iter().filter(|session| wanted(session)) {
            if let Ok(delivery) = session.send_own(message.clone()) {
                report.count(delivery);
            }
        }
        report
    }

    /// Disconnects one of them; `false` where there is none with this number.
    pub fn disconnect(&self, id: ConnectionId) -> bool {
        let session = self.get(id);
        if let Some(session) = &session {
            session.disconnect();
        }
        session.is_some()
    }

    /// Disconnects those for which `condition` holds, and returns how many they are.
    pub fn disconnect_if(&self, condition: impl Fn(&Session) -> bool) -> usize {
        let chosen: Vec<_> = self.list().into_iter().filter(|session| condition(session)).collect();
        chosen.iter().for_each(Session::disconnect);
        chosen.len()
    }

    /// Enters a session; the guard of its driver removes it.
    pub(crate) fn enter(&self, session: &Session) {
        let mut sessions = self.lock();
        sessions.insert(session.id(), session.clone());
        self.0.entered.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many there are, and how many have ever been.
    pub(crate) fn census(&self) -> (usize, usize) {
        let sessions = self.lock();
        (sessions.len(), self.0.entered.load(Ordering::Relaxed))
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.lock().remove(&id);
        self.0.changed.notify_waiters();
    }

    /// Waits until there is none.
    pub(crate) async fn emptied(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Looks at the deadlines of all of them, and at the memory that they hold together; other tasks have their turn
    /// meanwhile, however many there are.
    pub(crate) async fn sweep(&self, settings: &Settings) {
        let sessions = self.list();
        for part in sessions.chunks(SWEPT_AT_ONCE) {
            let now = settings.clock.now();
            for session in part {
                session.sweep(now);
            }
            yield_now().await;
        }
        let excess = settings.budget.excess();
        if excess > 0 {
            shed(sessions, excess);
        }
    }
}

impl Session {
    /// Looks at the deadlines of this session.
    pub(crate) fn sweep(&self, now: u64) {
        self.forget_full();
        self.age_out(now);
        match self.activity().due(now, self.settings()) {
            Due::Nothing => {}
            Due::Raise(bit) => self.signal().raise(bit),
            Due::Close(reason) => self.close(reason),
        }
    }

    /// Takes no further request, and ends when what runs has finished.
    pub(crate) fn drain(&self) {
        self.signal().raise(signal::DRAIN);
    }

    /// Ends without sending what waits.
    pub(crate) fn cut(&self, reason: CloseReason) {
        self.close(reason);
        self.abort();
    }
}

/// Cuts the sessions that hold most, until those that are left hold less by `excess`.
#[cold]
fn shed(sessions: Vec<Session>, mut excess: usize) {
    let mut holders: Vec<_> = sessions
        .into_iter()
        .map(|session| (session.counted(), session))
        .filter(|(counted, _)| *counted > 0)
        .collect();
    holders.sort_unstable_by_key(|(counted, _)| std::cmp::Reverse(*counted));
    for (counted, session) in holders {
        session.close(CloseReason::MemoryBudget);
        excess = excess.saturating_sub(counted);
        if excess == 0 {
            break;
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use net_core::{Address, DataRate, Info, Limits};

    use super::*;
    use crate::{
        SessionConfig,
        session::{Role, Settings},
    };

    #[test]
    fn an_outbox_that_was_full_and_is_empty_ends_no_session() {
        let at: Address = "mem://full".parse().expect("an address");
        let session = Session::new(Info::new(at.clone(), at), Settings::of_test());
        // Whoever found it full notes so only after the driver has emptied it.
        session.activity().full(1);
        session.sweep(1 + 10_000);
        assert!(session.close_reason().is_none(), "{:?}", session.close_reason());
        let _ = session.send("waits").expect("is open");
        session.activity().full(1);
        session.sweep(1 + 10_000);
        assert!(matches!(session.close_reason(), Some(CloseReason::Stalled)));
    }

    #[test]
    fn a_message_longer_than_32_bits_count_is_not_too_slow() {
        let min_data_rate = Some(DataRate { bytes_per_second: u32::MAX, grace: Duration::ZERO });
        let limits = Limits { min_data_rate, message_timeout: None, ..Limits::default() };
        let settings = Settings::new(SessionConfig::default(), &limits, None, 1 << 20, Role::Server);
        let at: Address = "mem://long".parse().expect("an address");
        let session = Session::new(Info::new(at.clone(), at), Arc::new(settings));
        session.activity().incomplete(1, usize::MAX);
        session.sweep(1 + 3_000);
        assert!(session.close_reason().is_none(), "{:?}", session.close_reason());
        session.activity().incomplete(1, 1 << 20);
        session.sweep(1 + 3_000);
        assert!(matches!(session.close_reason(), Some(CloseReason::TooSlow)), "{:?}", session.close_reason());
    }
}
