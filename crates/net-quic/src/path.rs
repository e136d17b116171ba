//! Changes of a connection's addresses.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use net_core::{Address, Error, ErrorKind, Result};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{Path, error::of_connection, session::Shared};

/// How often the addresses are looked at.
const LOOK: Duration = Duration::from_secs(1);
const WATCH: &str = "watch the path";

/// Watches the addresses of a connection, which change where a client moves (RFC 9000 §9); made by
/// [`QuicSession::watch_path`](crate::QuicSession::watch_path).
///
/// QUIC tells nobody, so they are looked at once a second while somebody waits. It does not keep the connection open.
///
/// # Examples
///
/// ```no_run
/// # async fn example(session: net_quic::QuicSession) {
/// let mut watch = session.watch_path();
/// while let Ok(path) = watch.changed().await {
///     println!("it is now at {}", path.remote);
/// }
/// # }
/// ```
pub struct PathWatch {
    session: Weak<Shared>,
    remote: Address,
    last: Path,
}

impl PathWatch {
    pub(crate) fn new(session: &Arc<Shared>) -> Self {
        let remote = session.info().remote.clone();
        Self { session: Arc::downgrade(session), remote, last: session.path() }
    }

    /// Waits until the addresses are others than those last known, and returns them.
    ///
    /// # Errors
    ///
    /// Why the connection is gone; [`ErrorKind::Closed`] where its last handle was dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no change is lost, but of several between two looks the last one is told.
    pub async fn changed(&mut self) -> Result<Path> {
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let dropped = || Error::new(ErrorKind::Closed, WATCH).at(&self.remote);
            let session = self.session.upgrade().ok_or_else(dropped)?;
            let path = session.path_from(self.last.local);
            if path != self.last {
                self.last = path;
                return Ok(path);
            }
            let (connection, gone) = (session.connection().clone(), session.gone());
            drop(session);
            tokio::select! {
                _ = looks.tick() => {}
                lost = connection.closed() => return Err(of_connection(lost, WATCH).at(&self.remote)),
                () = gone => return Err(dropped()),
            }
        }
    }
}

impl fmt::Debug for PathWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathWatch").field("last", &self.last).finish_non_exhaustive()
    }
}
