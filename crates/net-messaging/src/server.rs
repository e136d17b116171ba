//! Serves sessions over any transport.

use std::{
    fmt,
    ops::{Deref, RangeInclusive},
    sync::Arc,
    time::Duration,
};

use net_core::{Active, Address, Admission, Drained, GoAway, GoAwayReason, Lifecycle, Result};
use tokio::{sync::watch, time::timeout};

use crate::{CloseReason, Session, Sessions};

mod access;
mod builder;
mod own_runtime;
mod pairing;
mod serve;
mod sweep;

/// How long a drain waits for the last turns of loops whose sessions are gone.
const LAST_TURNS: Duration = Duration::from_millis(100);

pub use builder::ServerBuilder;

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
    life: Lifecycle,
    /// What a session is told that comes while the server drains.
    notice: watch::Sender<Option<GoAway>>,
    /// Each loop subscribes to it for as long as it has sessions.
    served: watch::Sender<()>,
    close_timeout: Duration,
}

struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.life.stop(&*self.0);
    }
}

impl Active for Shared {
    type Cut = DrainReport;

    fn census(&self) -> (usize, usize) {
        self.sessions.census()
    }

    fn go_away(&self) {
        if let Some(notice) = *self.notice.borrow() {
            self.sessions.list().iter().for_each(|session| session.tell_to_go(notice));
        }
    }

    fn drain(&self) {
        self.sessions.list().iter().for_each(Session::drain);
    }

    fn cut(&self) -> DrainReport {
        let sessions = self.sessions.list();
        let mut report = DrainReport { cut: sessions.len(), ..DrainReport::default() };
        for session in &sessions {
            report.requests_cut += session.activity().unfinished();
            report.messages_unsent += session.stats().waiting_messages + session.activity().blocked();
            session.cut(CloseReason::Drained);
        }
        report
    }

    async fn emptied(&self) {
        self.sessions.emptied().await;
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
    /// Connections that were cut in their handshake: they never became sessions.
    pub handshakes_cut: usize,
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
        self.shared.life.is_accepting()
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
        self.shared.life.closed().await.map_err(|error| error.at(&self.shared.local))
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
        // Whoever is accepted from now on is told at once.
        self.shared.notice.send_replace(Some(notice));
        let before = self.shared.admission.handshakes_cut();
        let Drained { active, cut, took, .. } = self.shared.life.drain(within, &*self.shared).await;
        // The sessions are gone; their loops have a few turns to take, unless something blocks them.
        let _ = timeout(LAST_TURNS, self.shared.served.closed()).await;
        let handshakes_cut = self.shared.admission.handshakes_cut() - before;
        let report = DrainReport { active, handshakes_cut, took, ..cut.unwrap_or_default() };
        if let Some(observer) = self.shared.admission.observer() {
            observer.drained(report.finished(), report.cut);
        }
        report
    }

    /// Stops: accepts no more, and ends every session within twice the [close time-out](crate::Limits::close_timeout).
    ///
    /// # Cancel safety
    ///
    /// As [`drain`](Self::drain).
    pub async fn stop(&self) -> DrainReport {
        self.drain(Duration::ZERO..=self.shared.close_timeout.saturating_mul(2)).await
    }
}

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
