//! The loops of a server that accept.

use std::{future::Future, io, sync::Arc, thread};

use net_core::{Address, Connection, Error, GoAway, Lifecycle, Listener, Phase};
use tokio::{runtime, sync::watch};
use tokio_util::task::TaskTracker;

use super::{sweep::Pulse, ticks::Ticks};
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
    pub(super) life: Lifecycle,
    pub(super) notice: watch::Receiver<Option<GoAway>>,
}

impl<H> Clone for Serving<H> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            settings: self.settings.clone(),
            handler: self.handler.clone(),
            life: self.life.clone(),
            notice: self.notice.clone(),
        }
    }
}

/// Starts the loops: on the caller's runtime, or each listener on a single-threaded runtime of its own.
pub(super) fn start<L: Listener, H: Handler>(
    listeners: Vec<L>,
    serving: &Serving<H>,
    own_runtimes: bool,
    kernel_timer: bool,
) -> io::Result<()> {
    // Each loop holds a receiver for as long as it has sessions.
    let (sweeping, alive) = watch::channel(());
    if !own_runtimes {
        for listener in listeners {
            tokio::spawn(serving.accept(listener, alive.clone()));
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
        let accepting = serving.accept(listener, alive.clone());
        thread::Builder::new().name(format!("net-io-{number}")).spawn(move || runtime.block_on(accepting))?;
    }
    Ok(())
}

impl<H: Handler> Serving<H> {
    /// Accepts connections until the server closes, then waits for its sessions to end. Holds `alive` for as long as it
    /// has sessions.
    fn accept<L: Listener>(
        &self,
        listener: L,
        alive: watch::Receiver<()>,
    ) -> impl Future<Output = ()> + use<L, H> {
        let serving = self.clone();
        let tasks = TaskTracker::new();
        let local = listener.local().clone();
        let accepting = self.life.accept(listener, {
            let (serving, tasks) = (self.clone(), tasks.clone());
            move |connection| serving.serve(connection, &tasks)
        });
        async move {
            if let Err(error) = accepting.await {
                serving.failed(&local, &error);
            }
            tasks.close();
            tasks.wait().await;
            drop(alive);
        }
    }

    /// Tells that a listener has ended that nobody closed.
    #[cold]
    fn failed(&self, at: &Address, error: &Error) {
        if let Some(observer) = &self.settings.observer {
            observer.listener_failed(at, error);
        }
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
        match self.life.phase() {
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
