//! Serves sessions over any transport.

use std::{
    fmt,
    ops::{Deref, RangeInclusive},
    sync::{Arc, OnceLock},
    time::Duration,
};

use net_core::{Address, Admission, Error, ErrorKind, GoAway, GoAwayReason, Result};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{CloseReason, Session, Sessions};

mod access;
mod builder;
mod serve;
mod sweep;
mod ticks;

pub use builder::ServerBuilder;

/// How far a server is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Accepting,
    /// The listeners close; sessions go on.
    Closing,
    /// Sessions end when what runs has finished.
    Draining,
    /// Sessions are cut.
    Stopped,
}

/// A server that listens. It is a handle: clones mean the same server, and when the last one is dropped, the server
/// stops and cuts what is active.
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
/// let server = Server::builder(memory.clone())
///     .on_message(|_, message| async move { Ok(message.into_reply()) })
///     .listen("mem://server")
///     .await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// assert_eq!(client.request("hello").await?.payload(), "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle stops the server"]
pub struct Server {
    shared: Arc<Shared>,
    _stop: Arc<StopOnDrop>,
}

struct Shared {
    local: Address,
    sessions: Sessions,
    admission: Arc<Admission>,
    phase: watch::Sender<Phase>,
    /// What a session is told that comes while the server drains.
    notice: watch::Sender<Option<GoAway>>,
    /// Each listener holds a receiver for as long as it is open.
    listening: watch::Sender<()>,
    /// Why a listener failed first, where nobody had closed it.
    failure: Arc<OnceLock<Arc<Error>>>,
    close_timeout: Duration,
}

struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}

impl Shared {
    /// Goes on to `phase`; there is no way back.
    fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|present| {
            let later = *present < phase;
            *present = (*present).max(phase);
            later
        });
    }

    /// Cuts all sessions, and reports what that cost.
    fn cut(&self) -> DrainReport {
        // First of all: who comes while they are cut is cut too.
        self.enter(Phase::Stopped);
        let sessions = self.sessions.list();
        let mut report = DrainReport { cut: sessions.len(), ..DrainReport::default() };
        for session in &sessions {
            report.requests_cut += session.activity().unfinished();
            report.messages_unsent += session.stats().waiting_messages + session.activity().blocked();
            session.cut(CloseReason::Drained);
        }
        report
    }
}

/// How a server ended.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone())
/// #     .on_message(|_, message| async move { Ok(message.into_reply()) })
/// #     .listen("mem://drain-report")
/// #     .await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// client.request("hello").await?;
/// let report = server.drain(Duration::from_secs(1)..=Duration::from_secs(10)).await;
/// assert_eq!((report.finished(), report.cut), (1, 0), "the client left as it was asked to");
/// assert_eq!(report.requests_cut + report.messages_unsent, 0, "nothing is lost");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Sessions that were active when it began, and those that waited to be accepted then.
    pub active: usize,
    /// Sessions that were cut at the deadline, with messages or running handlers perhaps lost.
    pub cut: usize,
    /// Requests and notifications of sessions that were cut, whose handlers were dropped or had yet to run.
    pub requests_cut: usize,
    /// Messages of sessions that were cut, which the transport had not taken.
    pub messages_unsent: usize,
    /// How long it took.
    pub took: Duration,
}

impl DrainReport {
    /// Returns how many sessions ended by themselves.
    pub fn finished(&self) -> usize {
        self.active.saturating_sub(self.cut)
    }
}

impl Server {
    /// Begins to configure a server over `transport`.
    pub fn builder<T: net_core::Transport>(transport: T) -> ServerBuilder<T> {
        ServerBuilder::new(transport)
    }

    /// Returns the address it listens at, with the port that the system chose.
    pub fn local(&self) -> &Address {
        &self.shared.local
    }

    /// Returns its sessions, in no order.
    pub fn sessions(&self) -> Vec<Session> {
        self.shared.sessions.list()
    }

    /// Returns the number of connections, those that are still in their handshake among them.
    pub fn connections(&self) -> usize {
        self.shared.admission.active()
    }

    /// Tells whether it accepts connections: it does not drain, and a listener is left that has not failed.
    pub fn is_accepting(&self) -> bool {
        *self.shared.phase.borrow() == Phase::Accepting && self.shared.listening.receiver_count() > 0
    }

    /// Waits until it accepts no more connections, because it drains or because its listeners have failed; the
    /// sessions that it has may go on.
    ///
    /// # Errors
    ///
    /// Why the listeners failed, where nobody drained or stopped the server.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> Result<()> {
        self.shared.listening.closed().await;
        if *self.shared.phase.borrow() != Phase::Accepting {
            return Ok(());
        }
        let failed = |kind| Error::new(kind, "serve").at(&self.shared.local);
        Err(match self.shared.failure.get() {
            Some(error) => failed(error.kind()).because(error.clone()),
            // Its loop panicked.
            None => failed(ErrorKind::Io),
        })
    }

    /// Returns how it waits for the network: `epoll`, `kqueue` or `IOCP`, whichever the platform has.
    pub fn io_model(&self) -> &'static str {
        if cfg!(any(target_os = "linux", target_os = "android", target_os = "illumos")) {
            "epoll"
        } else if cfg!(windows) {
            "IOCP"
        } else {
            "kqueue"
        }
    }

    /// Drains: accepts no more, serves on for the start of `within`, then lets running handlers finish and cuts what
    /// is left at its end.
    ///
    /// First the listeners take what waits in the system's queue, and close. Then every peer is asked to
    /// [go away](Session::go_away), and the sessions have the start of `within` to end by themselves, as every
    /// [`Client`](crate::Client) does once its requests are answered. After that no further message is read;
    /// running handlers complete, what was accepted is sent, and both sides finish. At the end of `within` the
    /// sessions that are left are cut where they stand.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the server closed to new connections, with those sessions that it had; it may be
    /// called again.
    pub async fn drain(&self, within: RangeInclusive<Duration>) -> DrainReport {
        self.drain_with(within, GoAway::new(GoAwayReason::Draining)).await
    }

    /// Drains as [`drain`](Self::drain) does, and tells `notice` to the peers: when they may come back, say.
    ///
    /// # Cancel safety
    ///
    /// As [`drain`](Self::drain).
    pub async fn drain_with(&self, within: RangeInclusive<Duration>, notice: GoAway) -> DrainReport {
        let sessions = &self.shared.sessions;
        let (start, end) = within.into_inner();
        let began = Instant::now();
        let start = start.min(end);
        let (present, before) = sessions.census();
        // Whoever is accepted from now on is told at once.
        self.shared.notice.send_replace(Some(notice));
        self.shared.enter(Phase::Closing);
        for session in sessions.list() {
            session.tell_to_go(notice);
        }
        // What waits in the system's queue becomes sessions first, and the address is free again.
        let _ = timeout(start.max(CUT_TIMEOUT).min(end), self.shared.listening.closed()).await;
        let active = present + (sessions.census().1 - before);
        if timeout(start.saturating_sub(began.elapsed()), sessions.emptied()).await.is_err() {
            self.shared.enter(Phase::Draining);
            for session in sessions.list() {
                session.drain();
            }
        }
        let mut report = DrainReport::default();
        if timeout(end.saturating_sub(began.elapsed()), sessions.emptied()).await.is_err() {
            report = self.shared.cut();
            // A handler that blocks its runtime cannot be cut; the drain ends all the same.
            let _ = timeout(CUT_TIMEOUT, sessions.emptied()).await;
        }
        // Whoever is in a handshake even now comes too late.
        self.shared.enter(Phase::Stopped);
        if let Some(observer) = self.shared.admission.observer() {
            observer.drained(active.saturating_sub(report.cut), report.cut);
        }
        DrainReport { active, took: began.elapsed(), ..report }
    }

    /// Stops: accepts no more, and ends every session within the close time-out.
    ///
    /// # Cancel safety
    ///
    /// As [`drain`](Self::drain).
    pub async fn stop(&self) -> DrainReport {
        self.drain(Duration::ZERO..=self.shared.close_timeout.saturating_mul(2)).await
    }
}

/// How long a drain waits for listeners that it has closed and for tasks that it has cut.
const CUT_TIMEOUT: Duration = Duration::from_millis(500);

/// The operations on its sessions.
impl Deref for Server {
    type Target = Sessions;

    fn deref(&self) -> &Sessions {
        &self.shared.sessions
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local", &format_args!("{}", self.local()))
            .field("sessions", &self.shared.sessions.len())
            .finish_non_exhaustive()
    }
}
