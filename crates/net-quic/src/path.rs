//! Changes of a connection's addresses.

use std::{fmt, sync::Arc, time::Duration};

use net_core::Result;
use tokio::time::{MissedTickBehavior, interval};

use crate::{Path, error::of_connection, session::Shared};

/// How often the addresses are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Watches the addresses of a connection, which change where a client moves (RFC 9000 §9); made by
/// [`QuicSession::watch_path`](crate::QuicSession::watch_path).
///
/// QUIC tells nobody, so they are looked at once a second while somebody waits.
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
    session: Arc<Shared>,
    last: Path,
}

impl PathWatch {
    pub(crate) fn new(session: Arc<Shared>) -> Self {
        let last = session.path();
        Self { session, last }
    }

    /// Waits until the addresses are others than those last known, and returns them.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no change is lost, but of several between two looks the last one is told.
    pub async fn changed(&mut self) -> Result<Path> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                lost = self.session.connection().closed() => {
                    return Err(of_connection(lost, "watch the path").at(&self.session.info().remote));
                }
            }
            let path = self.session.path();
            if path != self.last {
                self.last = path;
                return Ok(path);
            }
        }
    }
}

impl fmt::Debug for PathWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathWatch").field("last", &self.last).finish_non_exhaustive()
    }
}
