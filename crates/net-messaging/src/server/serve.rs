//! The loops of a server that accept.

use std::{
    io,
    sync::{Arc, OnceLock},
    thread,
};

use net_core::{Address, Connection, Error, GoAway, Listener};
use tokio::{runtime, sync::watch};
use tokio_util::task::TaskTracker;

use super::{Phase, sweep::Pulse, ticks::Ticks};
use crate::{
    CloseReason, Handler, Session, Sessions,
    driver::{Place, drive},
    session::Settings,
};

/// What every loop of a server needs.
pub(super) struct Serving<H> {
    pub(super) sessions: Sessions,
    pub(super) settings: Arc<Settings>,
    pub(super) handler: Arc<H>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) notice: watch::Receiver<Option<GoAway>>,
    /// Why a listener failed first.
    pub(super) failure: Arc<OnceLock<Arc<Error>>>,
}

impl<H> Clone for Serving<H> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            settings: self.settings.clone(),
            handler: self.handler.clone(),
            phase: self.phase.clone(),
            notice: self.notice.clone(),
            failure: self.failure.clone(),
        }
    }
}

/// Starts the loops: on the caller's runtime, or each listener on a single-threaded runtime of its own.
pub(super) fn start<L: Listener, H: Handler>(
    listeners: Vec<L>,
    serving: &Serving<H>,
    open: &watch::Receiver<()>,
    own_runtimes: bool,
    kernel_timer: bool,
) -> io::Result<()> {
    // Each loop holds a receiver for as long as it has sessions.
    let (sweeping, alive) = watch::channel(());
    if !own_runtimes {
        for listener in listeners {
            tokio::spawn(serving.clone().accept(listener, open.clone(), alive.clone()));
        }
        let ticks = if kernel_timer { Ticks::of_kernel } else { Ticks::of_runtime };
        tokio::spawn(serving.clone().sweep(sweeping, ticks(serving.sweep_interval()), Vec::new()));
        return Ok(());
    }
    // All runtimes are built before the first one serves, so that an error leaves nothing behind.
    let runtimes = listeners
        .iter()
        .map(|_| runtime::Builder::new_current_thread().enable_all().build())
        .collect::<io::Result<Vec<_>>>()?;
    serving.clone().sweep_aside(sweeping, runtimes.iter().map(Pulse::of).collect())?;
    for (number, (listener, runtime)) in listeners.into_iter().zip(runtimes).enumerate() {
        let (serving, open, alive) = (serving.clone(), open.clone(), alive.clone());
        thread::Builder::new()
            .name(format!("net-io-{number}"))
            .spawn(move || runtime.block_on(serving.accept(listener, open, alive)))?;
    }
    Ok(())
}

impl<H: Handler> Serving<H> {
    /// Accepts connections until the server closes, then waits for its sessions to end. Holds `open` for as long as it
    /// may accept, `alive` for as long as it has sessions.
    async fn accept<L: Listener>(
        self,
        mut listener: L,
        open: watch::Receiver<()>,
        alive: watch::Receiver<()>,
    ) {
        let mut phase = self.phase.clone();
        let tasks = TaskTracker::new();
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                // The sender is gone only with the server.
                _ = phase.wait_for(|phase| *phase >= Phase::Closing), if !closing => {
                    closing = true;
                    listener.close();
                }
                accepted = listener.accept() => match accepted {
                    Ok(connection) => self.serve(connection, &tasks),
                    Err(error) => {
                        if !closing {
                            self.failed(listener.local(), error);
                        }
                        break;
                    }
                },
            }
        }
        drop(listener);
        drop(open);
        tasks.close();
        tasks.wait().await;
        drop(alive);
    }

    /// Tells that a listener has ended that nobody closed.
    #[cold]
    fn failed(&self, at: &Address, error: Error) {
        if let Some(observer) = &self.settings.observer {
            observer.listener_failed(at, &error);
        }
        // The first one stays.
        let _ = self.failure.set(Arc::new(error));
    }

    fn serve<S: net_core::Sender, R: net_core::Receiver>(
        &self,
        connection: Connection<S, R>,
        tasks: &TaskTracker,
    ) {
        let Connection { tx, rx, info, .. } = connection;
        let session = Session::new(info, self.settings.clone());
        self.sessions.enter(&session);
        let place = Place { sessions: self.sessions.clone(), _counted: tasks.token() };
        let task = tokio::spawn(drive((tx, rx), session.clone(), self.handler.clone(), Some(place)));
        session.set_task(task.abort_handle());
        // It may have come too late to be found by who drained or cut the others.
        match *self.phase.borrow() {
            Phase::Accepting => {}
            Phase::Closing => {
                if let Some(notice) = *self.notice.borrow() {
                    session.tell_to_go(notice);
                }
            }
            Phase::Draining => session.drain(),
            Phase::Stopped => session.cut(CloseReason::Drained),
        }
    }
}
