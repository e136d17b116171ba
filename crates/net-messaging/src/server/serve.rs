//! The loops of a server that accept.

use std::{future::Future, io, sync::Arc, thread};

use futures_util::{FutureExt, future::OptionFuture};
use net_core::{
    Address, Admission, Connection, Error, GoAway, Incoming, IncomingConnection, Lifecycle, Listener, Phase,
    Ticks, last_turns,
};
use tokio::{runtime, sync::watch, task::AbortHandle};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    own_runtime::OwnRuntime,
    pairing::{Half, Pairing},
    sweep::Pulse,
};
use crate::{
    CloseReason, Handler, Session, Sessions,
    driver::{Place, drive},
    session::Settings,
};

/// What every loop of a server needs.
pub(super) struct Serving<H> {
    pub(super) sessions: Sessions,
    pub(super) admission: Arc<Admission>,
    pub(super) settings: Arc<Settings>,
    pub(super) handler: Arc<H>,
    pub(super) life: Lifecycle,
    pub(super) notice: watch::Receiver<Option<GoAway>>,
}

impl<H> Clone for Serving<H> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            admission: self.admission.clone(),
            settings: self.settings.clone(),
            handler: self.handler.clone(),
            life: self.life.clone(),
            notice: self.notice.clone(),
        }
    }
}

/// Starts the loops: on the caller's runtime, or each listener on a single-threaded runtime of its own. Each subscribes to `served`
/// for as long as it has sessions.
pub(super) fn start<L: Listener, H: Handler>(
    listeners: Vec<L>,
    serving: &Serving<H>,
    served: watch::Sender<()>,
    own_runtimes: bool,
    kernel_timer: bool,
) -> io::Result<()> {
    let alive = served.subscribe();
    if !own_runtimes {
        for listener in listeners {
            tokio::spawn(serving.accept(listener, alive.clone()));
        }
        let period = serving.sweep_interval();
        // Where no descriptor is left for it, deadlines are looked at all the same.
        let ticks = if kernel_timer { Ticks::of_kernel(period).ok() } else { None };
        let ticks = ticks.unwrap_or_else(|| Ticks::of_runtime(period));
        tokio::spawn(serving.clone().sweep(served, ticks, Vec::new()));
        return Ok(());
    }
    // All runtimes are built before the first one serves; where a thread cannot be started, the caller stops those that were.
    let runtimes = listeners
        .iter()
        .map(|_| OwnRuntime::build(runtime::Builder::new_current_thread().enable_all()))
        .collect::<io::Result<Vec<_>>>()?;
    serving
        .clone()
        .sweep_aside(served, runtimes.iter().filter_map(OwnRuntime::handle).map(Pulse::of).collect())?;
    for (number, (listener, runtime)) in listeners.into_iter().zip(runtimes).enumerate() {
        let accepting = serving.accept(listener, alive.clone());
        thread::Builder::new().name(format!("net-io-{number}")).spawn(move || runtime.run(accepting))?;
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
            let (serving, tasks) = (Arc::new(self.clone()), tasks.clone());
            move |incoming| serving.serve(incoming, &tasks)
        });
        async move {
            if let Err(error) = accepting.await {
                serving.failed(&local, &error);
            }
            tasks.close();
            tasks.wait().await;
            // What tells peers of the end of their connections leaves before whoever drains goes on, and may end the process.
            last_turns().await;
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
        self: &Arc<Self>,
        incoming: IncomingConnection<S, R>,
        tasks: &TaskTracker,
    ) {
        match incoming {
            Incoming::Ready(connection) => {
                let (session, driving) = self.open(connection, tasks.token());
                let task = tokio::spawn(driving);
                self.join(&session, task.abort_handle());
            }
            Incoming::Handshaking(handshaking) => {
                let (pairing, token) = (Arc::new(Pairing::default()), tasks.token());
                let driving = handshaking.run({
                    let (serving, pairing) = (self.clone(), pairing.clone());
                    move |connection| {
                        let (session, driving) = serving.open(connection, token);
                        if let Some((session, task)) = pairing.bring(Half::Session(session)) {
                            serving.join(&session, task);
                        }
                        driving
                    }
                });
                // One after the other in the same memory.
                let task = tokio::spawn(driving.map(OptionFuture::from).flatten());
                if let Some((session, task)) = pairing.bring(Half::Task(task.abort_handle())) {
                    self.join(&session, task);
                }
            }
        }
    }

    /// Opens a session over a connection that is ready for use; `token` tells that it has not ended.
    fn open<S: net_core::Sender, R: net_core::Receiver>(
        &self,
        connection: Connection<S, R>,
        token: TaskTrackerToken,
    ) -> (Session, impl Future<Output = CloseReason> + Send + use<S, R, H>) {
        let Connection { tx, rx, info, .. } = connection;
        let session = Session::new(info, self.settings.clone());
        self.sessions.enter(&session);
        let place = Place { sessions: self.sessions.clone(), _counted: token };
        let driving = drive((tx, rx), session.clone(), self.handler.clone(), Some(place));
        (session, driving)
    }

    /// Tells the session its task, and how far the server is.
    fn join(&self, session: &Session, task: AbortHandle) {
        session.set_task(task);
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
