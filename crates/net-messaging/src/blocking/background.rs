//! The thread that drives the connection of a blocking client.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use net_core::{Error, Result};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    time::timeout,
};

use crate::{Client, Limits};

/// A thread with a runtime of its own.
pub(super) struct Background {
    runtime: Handle,
    /// Ends the thread: with the client that is to be disconnected first, or by being dropped.
    stop: Option<oneshot::Sender<Ending>>,
    /// Closed once the thread has ended. The lock makes it `Sync`; nobody waits for it but the last handle.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// How the thread ends.
struct Ending {
    client: Client,
    limit: Duration,
}

/// What the thread may take to end, beside the connection.
const MARGIN: Duration = Duration::from_millis(200);

impl Background {
    pub(super) fn start() -> Result<Self> {
        let failed = |error| Error::from_io(error, "start runtime");
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Ending>();
        let (running, ended) = mpsc::channel();
        let body = move || {
            // Whoever calls waits on a thread of its own; this one drives sockets, timers and tasks meanwhile.
            runtime.block_on(async {
                if let Ok(Ending { client, limit }) = stopped.await {
                    // A peer that does not finish in time is left to itself.
                    let _ = timeout(limit, client.disconnect()).await;
                }
            });
            // Name resolution that hangs in the system is not waited for.
            runtime.shutdown_background();
            drop(running);
        };
        thread::Builder::new().name("net-client".to_owned()).spawn(body).map_err(failed)?;
        Ok(Self { runtime: handle, stop: Some(stop), ended: Mutex::new(ended) })
    }

    /// Waits on this thread for what the other one drives.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Disconnects `client` and ends the thread, in bounded time; on a thread of a runtime without waiting for it.
    pub(super) fn end(&mut self, client: Client) {
        let Some(stop) = self.stop.take() else { return };
        let close_timeout =
            client.session().map_or_else(Limits::default, |session| *session.limits()).close_timeout;
        // What was accepted leaves, then the peer finishes: at most a close time-out each.
        let limit = close_timeout.saturating_mul(2);
        if stop.send(Ending { client, limit }).is_ok() && Handle::try_current().is_err() {
            let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
            // Nothing is ever sent: the thread's end closes the channel.
            let _ = ended.recv_timeout(limit.saturating_add(MARGIN));
        }
    }
}
