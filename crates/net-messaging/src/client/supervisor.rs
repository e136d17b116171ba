//! The task that keeps a client's connection.

use std::{pin::pin, sync::Arc};

use net_core::{Address, Connection, Transport};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{ClientState, Command};
use crate::{CloseReason, Handler, Reconnect, Session, driver::drive, session::Settings};

/// What keeps a client's connection.
pub(super) struct Supervisor<T, H> {
    pub(super) transport: T,
    pub(super) server: Arc<Address>,
    pub(super) handler: Arc<H>,
    pub(super) settings: Arc<Settings>,
    pub(super) reconnect: Option<Reconnect>,
    pub(super) state: watch::Sender<ClientState>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// What follows when a connection has ended or an attempt has failed.
enum Next {
    /// Connects at once.
    Connect,
    /// Waits before the attempt of this number.
    Retry(u32),
    /// Stays as it is until it is told otherwise.
    Stay(ClientState),
    /// The last handle of the client is gone.
    Quit,
}

impl<T: Transport, H: Handler> Supervisor<T, H> {
    pub(super) async fn run(mut self, first: Connection<T::Sender, T::Receiver>) {
        let mut failed = 0;
        let mut next = self.converse(first, &mut failed).await;
        loop {
            next = match next {
                Next::Connect => self.connect(&mut failed).await,
                Next::Retry(attempt) => self.wait(attempt, &mut failed).await,
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
        let mut ticks = interval(self.settings.config.sweep_interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut driving = pin!(drive((tx, rx), session.clone(), self.handler.clone(), None));
        let mut wanted = None;
        let mut told = false;
        let reason = loop {
            tokio::select! {
                // Always in this order, so that a run under paused time can be repeated.
                biased;
                reason = &mut driving => break reason,
                _ = ticks.tick() => session.sweep(self.settings.clock.now()),
                command = self.commands.recv(), if !matches!(wanted, Some(Next::Quit)) => {
                    wanted = Some(match command {
                        Some(Command::Reconnect) => Next::Connect,
                        Some(Command::Disconnect) => Next::Stay(ClientState::Disconnected),
                        None => Next::Quit,
                    });
                    session.close(CloseReason::ByUs);
                }
                () = session.activated(), if !told => {
                    told = true;
                    // One that the handler refused has begun to end.
                    if session.is_active() {
                        self.state.send_replace(ClientState::Connected(session.clone()));
                    }
                }
            }
        };
        if let Some(wanted) = wanted {
            return wanted;
        }
        let Some(reconnect) = &self.reconnect else { return Next::Stay(ClientState::Disconnected) };
        if matches!(reason, CloseReason::ByUs | CloseReason::Refused) {
            return Next::Stay(ClientState::Disconnected);
        }
        if began.elapsed() >= reconnect.stable_after {
            *failed = 0;
        }
        Next::Retry(*failed + 1)
    }

    /// Tries to connect once.
    async fn connect(&mut self, failed: &mut u32) -> Next {
        self.state.send_replace(ClientState::Connecting { attempt: *failed });
        let connected = tokio::select! {
            // What is wanted comes before what happens at the same time.
            biased;
            command = self.commands.recv() => return match command {
                Some(Command::Reconnect) => Next::Connect,
                Some(Command::Disconnect) => Next::Stay(ClientState::Disconnected),
                None => Next::Quit,
            },
            connected = self.transport.connect(&self.server) => connected,
        };
        match (connected, &self.reconnect) {
            (Ok(connection), _) => self.converse(connection, failed).await,
            (Err(_), Some(_)) => Next::Retry(*failed + 1),
            (Err(_), None) => Next::Stay(ClientState::Exhausted),
        }
    }

    /// Waits before an attempt, or gives up.
    async fn wait(&mut self, attempt: u32, failed: &mut u32) -> Next {
        let Some(delay) = self.reconnect.as_ref().and_then(|reconnect| reconnect.delay(attempt)) else {
            return Next::Stay(ClientState::Exhausted);
        };
        *failed = attempt;
        self.state.send_replace(ClientState::Waiting { attempt, delay });
        if let Some(observer) = &self.settings.observer {
            observer.reconnecting(&self.server, attempt, delay);
        }
        tokio::select! {
            biased;
            command = self.commands.recv() => match command {
                Some(Command::Reconnect) => Next::Connect,
                Some(Command::Disconnect) => Next::Stay(ClientState::Disconnected),
                None => Next::Quit,
            },
            () = sleep(delay) => Next::Connect,
        }
    }

    /// Stays disconnected until the program wants otherwise.
    async fn stay(&mut self, state: ClientState, failed: &mut u32) -> Next {
        self.state.send_replace(state);
        match self.commands.recv().await {
            Some(Command::Reconnect) => {
                // Who begins anew has all attempts before it.
                *failed = 0;
                Next::Connect
            }
            Some(Command::Disconnect) => Next::Stay(ClientState::Disconnected),
            None => Next::Quit,
        }
    }
}
