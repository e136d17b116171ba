//! The loops of a server: one accepts, one looks at deadlines.

use std::{io, sync::Arc, thread};

use net_core::{Connection, Listener};
use tokio::{
    runtime,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::task::TaskTracker;

use super::Phase;
use crate::{Handler, Session, Sessions, driver::drive, session::Settings};

/// What every loop of a server needs.
pub(super) struct Serving<H> {
    pub(super) sessions: Sessions,
    pub(super) settings: Arc<Settings>,
    pub(super) handler: Arc<H>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl<H> Clone for Serving<H> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            settings: self.settings.clone(),
            handler: self.handler.clone(),
            phase: self.phase.clone(),
        }
    }
}

/// Starts the loops: on the caller's runtime, or each listener on a single-threaded runtime of its own.
pub(super) fn start<L: Listener, H: Handler>(
    listeners: Vec<L>,
    serving: &Serving<H>,
    open: &watch::Receiver<()>,
    own_runtimes: bool,
) -> io::Result<()> {
    if !own_runtimes {
        for listener in listeners {
            tokio::spawn(serving.clone().accept(listener, open.clone()));
        }
        tokio::spawn(serving.clone().sweep());
        return Ok(());
    }
    // All runtimes are built before the first one serves, so that an error leaves nothing behind.
    let runtimes = listeners
        .iter()
        .map(|_| runtime::Builder::new_current_thread().enable_all().build())
        .collect::<io::Result<Vec<_>>>()?;
    for (number, (listener, runtime)) in listeners.into_iter().zip(runtimes).enumerate() {
        let (serving, open) = (serving.clone(), open.clone());
        thread::Builder::new().name(format!("net-io-{number}")).spawn(move || {
            runtime.block_on(async {
                // One sweep serves all.
                let sweep = (number == 0).then(|| tokio::spawn(serving.clone().sweep()));
                serving.accept(listener, open).await;
                if let Some(sweep) = sweep {
                    // A sweep does not panic, and nothing aborts it.
                    let _ = sweep.await;
                }
            });
        })?;
    }
    Ok(())
}

impl<H: Handler> Serving<H> {
    /// Accepts connections until the server closes, then waits for its sessions to end. Holds `open` for as long as it
    /// may accept.
    async fn accept<L: Listener>(self, mut listener: L, open: watch::Receiver<()>) {
        let mut phase = self.phase.clone();
        let tasks = TaskTracker::new();
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                // The sender is gone only with the server.
                _ = phase.wait_for(|phase| *phase == Phase::Closing), if !closing => {
                    closing = true;
                    listener.close();
                }
                accepted = listener.accept() => match accepted {
                    Ok(connection) => self.serve(connection, &tasks),
                    Err(_) => break,
                },
            }
        }
        drop(listener);
        drop(open);
        tasks.close();
        tasks.wait().await;
    }

    fn serve<S: net_core::Sender, R: net_core::Receiver>(
        &self,
        connection: Connection<S, R>,
        tasks: &TaskTracker,
    ) {
        let Connection { tx, rx, info, .. } = connection;
        let session = Session::new(info, self.settings.clone());
        let registration = self.sessions.register(&session);
        let task = tasks.spawn(drive((tx, rx), session.clone(), self.handler.clone(), Some(registration)));
        session.set_task(task.abort_handle());
    }

    /// Looks at the deadlines of all sessions until the server has closed and the last of them has ended.
    async fn sweep(mut self) {
        let period = self.settings.config.sweep_interval();
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let sessions = self.sessions.clone();
        let ended = async {
            let _ = self.phase.wait_for(|phase| *phase == Phase::Closing).await;
            sessions.emptied().await;
        };
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                () = &mut ended => return,
                now = ticks.tick() => {
                    // A sweep that comes late was kept from running by something that blocks its runtime.
                    let late = now.elapsed().max(last.elapsed().saturating_sub(period));
                    if late > LATE && let Some(observer) = &self.settings.observer {
                        observer.runtime_blocked(late);
                    }
                    self.sessions.sweep(self.settings.clock);
                    last = Instant::now();
                }
            }
        }
    }
}

/// How late a sweep may come before observers are told.
const LATE: std::time::Duration = std::time::Duration::from_millis(100);
