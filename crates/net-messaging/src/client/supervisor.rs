//! The task that keeps a client's connection.

use std::{pin::pin, sync::Arc, time::Duration};

use net_core::{Address, Connection, GoAway, Transport};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{ClientState, Command};
use crate::{CloseReason, Handler, Reconnect, Session, auth, driver::drive, session::Settings};

/// What keeps a client's connection.
pub(super) struct Supervisor<T, H> {
    pub(super) transport: T,
    pub(super) server: Arc<Address>,
    pub(super) handler: Arc<H>,
    pub(super) settings: Arc<Settings>,
    pub(super) reconnect: Option<Reconnect>,
    pub(super) state: watch::Sender<ClientState>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Those who disconnected and wait for the end of the connection.
    pub(super) disconnecting: Vec<oneshot::Sender<()>>,
    /// Until it was let in for the first time: who waits for that, and is told why it is in vain.
    pub(super) first: Option<oneshot::Sender<CloseReason>>,
}

/// What follows when a connection has ended or an attempt has failed.
enum Next {
    /// Connects at once.
    Connect,
    /// Waits before the attempt of this number, and at least for as long as the server wants.
    Retry(u32, Duration),
    /// Stays as it is until it is told otherwise.
    Stay(ClientState),
    /// The last handle of the client is gone.
    Quit,
}

/// Tells who waits to be let in for the first time why it is in vain.
fn give_up(first: oneshot::Sender<CloseReason>, reason: CloseReason) -> Next {
    // It may not wait any more; then the last handle is gone, too.
    let _ = first.send(reason);
    Next::Stay(ClientState::Disconnected)
}

/// Waits until all requests that are under way are answered, and returns what the server said.
async fn finished(session: &Session) -> GoAway {
    session.answered().await;
    session.asked_to_leave().await
}

impl<T: Transport, H: Handler> Supervisor<T, H> {
    pub(super) async fn run(mut self, first: Connection<T::Sender, T::Receiver>) {
        let mut failed = 0;
        let mut next = self.converse(first, &mut failed).await;
        loop {
            next = match next {
                Next::Connect => self.connect(&mut failed).await,
                Next::Retry(attempt, least) => self.wait(attempt, least, &mut failed).await,
                Next::Stay(state) => self.stay(state, &mut failed).await,
                Next::Quit => return,
            };
        }
    }

    /// Keeps one connection until it ends.
    async fn converse(&mut self, connection: Connection<T::Sender, T::Receiver>, failed: &mut u32) -> Next {
        let Connection { tx, rx, info, .. } = connection;
        let session = Session::new(info, self.settings.clone());
        let began = Instant::now();
        let mut ticks = interval(self.settings.config.sweep_interval(&self.settings.limits));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut driving = pin!(drive((tx, rx), session.clone(), self.handler.clone(), None));
        let mut wanted = None;
        let (mut told, mut leaving, mut finishing) = (false, false, false);
        let reason = loop {
            tokio::select! {
                // Always in this order, so that a run under paused time can be repeated.
                biased;
                reason = &mut driving => break reason,
                _ = ticks.tick() => session.sweep(self.settings.clock.now()),
                command = self.commands.recv(), if !matches!(wanted, Some(Next::Quit)) => {
                    wanted = Some(self.follow(command));
                    session.close(CloseReason::ByUs);
                }
                () = session.activated(), if !told => {
                    told = true;
                    // One that the handler refused has begun to end.
                    if session.is_active() {
                        self.state.send_replace(ClientState::Connected(session.clone()));
                    }
                }
                _ = session.asked_to_leave(), if told && !leaving => {
                    leaving = true;
                    self.state.send_replace(ClientState::Leaving(session.clone()));
                }
                go_away = finished(&session), if leaving && !finishing => {
                    finishing = true;
                    session.set_reason(CloseReason::GoAway(go_away));
                    session.drain();
                }
            }
        };
        if let Some(wanted) = wanted {
            return wanted;
        }
        if let CloseReason::Unauthenticated(error) = &reason {
            // Without a second attempt, whatever kept the server from letting us in is the end of it.
            if let Some(reply) = error.reply()
                && (self.reconnect.is_none() || auth::is_final(reply.code))
            {
                return Next::Stay(ClientState::Refused(reply.clone()));
            }
        }
        // A server that has answered, though it cannot decide now, is asked again.
        let answered = reason.error().is_some_and(|error| error.reply().is_some())
            || session.go_away_received().is_some();
        if self.settings.access.source.is_none() || session.identity().is_some() {
            self.first = None;
        } else if !answered && let Some(first) = self.first.take() {
            return give_up(first, reason);
        }
        let Some(reconnect) = &self.reconnect else { return Next::Stay(ClientState::Disconnected) };
        if matches!(reason, CloseReason::ByUs | CloseReason::Refused) {
            return Next::Stay(ClientState::Disconnected);
        }
        if began.elapsed() >= reconnect.stable_after {
            *failed = 0;
        }
        let wanted = match &reason {
            CloseReason::Unauthenticated(error) => error.retry_after(),
            _ => session.go_away_received().and_then(|go_away| go_away.retry_after),
        };
        Next::Retry(*failed + 1, wanted.unwrap_or_default())
    }

    /// Tries to connect once.
    async fn connect(&mut self, failed: &mut u32) -> Next {
        self.enter(ClientState::Connecting { attempt: *failed });
        let connected = tokio::select! {
            // What is wanted comes before what happens at the same time.
            biased;
            command = self.commands.recv() => return self.follow(command),
            connected = self.transport.connect(&self.server) => connected,
        };
        match (connected, &self.reconnect) {
            (Ok(connection), _) => self.converse(connection, failed).await,
            (Err(error), Some(_)) => match self.first.take() {
                Some(first) => give_up(first, CloseReason::Failed(Arc::new(error))),
                None => Next::Retry(*failed + 1, Duration::ZERO),
            },
            (Err(_), None) => self.exhausted(1),
        }
    }

    /// Waits before an attempt, for `least` and the back-off, or gives up.
    async fn wait(&mut self, attempt: u32, least: Duration, failed: &mut u32) -> Next {
        let delay = self.reconnect.as_ref().and_then(|reconnect| reconnect.delay_after(attempt, least));
        let Some(delay) = delay else {
            return self.exhausted(*failed);
        };
        *failed = attempt;
        self.enter(ClientState::Waiting { attempt, delay });
        if let Some(observer) = &self.settings.observer {
            observer.reconnecting(&self.server, attempt, delay);
        }
        tokio::select! {
            biased;
            command = self.commands.recv() => self.follow(command),
            () = sleep(delay) => Next::Connect,
        }
    }

    /// Gives up after so many attempts.
    fn exhausted(&self, attempts: u32) -> Next {
        if let Some(observer) = &self.settings.observer {
            observer.exhausted(&self.server, attempts);
        }
        Next::Stay(ClientState::Exhausted)
    }

    /// Stays disconnected until the program wants otherwise.
    async fn stay(&mut self, state: ClientState, failed: &mut u32) -> Next {
        self.enter(state);
        let command = self.commands.recv().await;
        if matches!(command, Some(Command::Reconnect)) {
            // Who begins anew has all attempts before it.
            *failed = 0;
        }
        self.follow(command)
    }

    /// Tells what follows from a command, or from the loss of the last handle.
    fn follow(&mut self, command: Option<Command>) -> Next {
        match command {
            Some(Command::Reconnect) => Next::Connect,
            Some(Command::Disconnect(done)) => {
                self.disconnecting.push(done);
                Next::Stay(ClientState::Disconnected)
            }
            None => Next::Quit,
        }
    }

    /// Shows a state without a connection, and lets those go on who waited for the end of the last one.
    fn enter(&mut self, state: ClientState) {
        self.state.send_replace(state);
        self.disconnecting.clear();
    }
}
