//! Talks to a server over any transport, and comes back when the connection is lost.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use net_core::{Address, Error, ErrorCode, ErrorKind, ErrorReply, Message, Result, Transport};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use crate::{Delivery, Session, session::is_unsent};

mod builder;
mod supervisor;

pub use builder::ClientBuilder;

/// Where a client is.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, ClientState, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone()).listen("mem://client-state").await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// assert!(matches!(client.state(), ClientState::Connected(session) if session.is_active()));
///
/// let mut state = client.watch_state();
/// server.stop().await;
/// state.wait_for(|state| *state == ClientState::Disconnected).await.expect("the client lives");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// It is connecting: for the `attempt`th time since the connection was lost, 0 the first time ever.
    Connecting {
        /// The number of the attempt.
        attempt: u32,
    },
    /// Messages flow.
    Connected(Session),
    /// The server asked to leave: what is under way finishes, nothing new is sent on this connection.
    Leaving(Session),
    /// The connection is lost; it waits before the next attempt.
    Waiting {
        /// The number of the attempt that follows.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
    },
    /// It was disconnected by its program or by its server, and does not come back by itself.
    Disconnected,
    /// All attempts to reconnect have failed.
    Exhausted,
    /// The server did not believe who it is, and it does not come back by itself; so too where authentication failed
    /// for another reason and it was not to reconnect.
    Refused(ErrorReply),
}

/// A client of a server. It is a handle: clones mean the same connection, which ends when the last one is dropped.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Reconnect, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let server = Server::builder(memory.clone())
///     .on_message(|_, message| async move { Ok(message.into_reply()) })
///     .listen("mem://client")
///     .await?;
/// let client = Client::builder(memory).reconnect(Reconnect::default()).connect(server.local()).await?;
/// assert_eq!(client.request("hello").await?.payload(), "hello");
/// client.disconnect().await;
/// assert!(!client.is_connected());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    server: Arc<Address>,
    state: watch::Receiver<ClientState>,
    commands: mpsc::Sender<Command>,
    request_timeout: Duration,
    /// It reconnects by itself.
    comes_back: bool,
}

/// What a program wants of the task that keeps the connection.
#[derive(Debug)]
enum Command {
    /// What it holds is dropped once the connection has ended.
    Disconnect(oneshot::Sender<()>),
    Reconnect,
}

impl Client {
    /// Begins to configure a client over `transport`.
    pub fn builder<T: Transport>(transport: T) -> ClientBuilder<T> {
        ClientBuilder::new(transport)
    }

    /// Returns the address of the server.
    pub fn server(&self) -> &Address {
        &self.server
    }

    /// Returns where it is.
    pub fn state(&self) -> ClientState {
        self.state.borrow().clone()
    }

    /// Returns what tells each change of its state.
    pub fn watch_state(&self) -> watch::Receiver<ClientState> {
        self.state.clone()
    }

    /// Tells whether messages flow.
    pub fn is_connected(&self) -> bool {
        self.session().is_some()
    }

    /// Returns the session of the present connection, where there is one.
    pub fn session(&self) -> Option<Session> {
        match &*self.state.borrow() {
            ClientState::Connected(session) if is_open(session) => Some(session.clone()),
            _ => None,
        }
    }

    fn current(&self, operation: &'static str) -> Result<Session> {
        self.session().ok_or_else(|| self.closed_error(operation))
    }

    /// Returns why there is no connection.
    fn closed_error(&self, operation: &'static str) -> Error {
        let error = |kind| Error::new(kind, operation).at(&self.server);
        match &*self.state.borrow() {
            ClientState::Refused(reply) => error(match reply.code {
                ErrorCode::TimedOut => ErrorKind::TimedOut,
                _ => ErrorKind::Unauthenticated,
            })
            .because(reply.clone()),
            ClientState::Connected(session) | ClientState::Leaving(session) => {
                match session.go_away_received() {
                    Some(go_away) => error(ErrorKind::Closed).because(go_away),
                    None => error(ErrorKind::Closed),
                }
            }
            _ => error(ErrorKind::Closed),
        }
    }

    /// Sends a message without waiting: a notification, unless a [`Message`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] while there is no connection; [`ErrorKind::MessageTooLong`].
    pub fn send(&self, message: impl Into<Message>) -> Result<Delivery> {
        self.current("send")?.send(message)
    }

    /// Queues a message as [`send`](Self::send) does, until [`flush`](Self::flush) or the next `send`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&self, message: impl Into<Message>) -> Result<Delivery> {
        self.current("send")?.feed(message)
    }

    /// Sends what was fed.
    pub fn flush(&self) {
        if let Some(session) = self.session() {
            session.flush();
        }
    }

    /// Sends a message, waiting for a connection and for room, for the request time-out at the longest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Closed`] where the client does not come back or the connection was lost;
    /// [`ErrorKind::MessageTooLong`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the message was accepted whole or not at all.
    pub async fn send_wait(&self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        let sending = async { self.connected().await?.send_wait(message).await };
        timeout(self.request_timeout, sending)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "send").at(&self.server)))
    }

    /// Sends a request and waits for its answer, for the configured time at the longest.
    ///
    /// # Errors
    ///
    /// As [`request_within`](Self::request_within).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the request.
    pub async fn request(&self, payload: impl Into<Bytes>) -> Result<Message> {
        self.request_within(payload.into(), self.request_timeout).await
    }

    /// Sends a request and waits for its answer, for `limit` at the longest.
    ///
    /// While the client reconnects, it waits for the connection first; so it does where the server has asked to leave,
    /// since nothing new is sent to that. A request whose connection is lost fails: it is not sent again, since the
    /// server may have served it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Rejected`] where it was answered by an error; [`ErrorKind::Closed`] where
    /// the connection was lost or the client does not come back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the request.
    pub async fn request_within(&self, payload: impl Into<Bytes>, limit: Duration) -> Result<Message> {
        let payload = payload.into();
        let began = Instant::now();
        loop {
            let session = match self.session() {
                Some(session) => session,
                None => timeout(limit.saturating_sub(began.elapsed()), self.connected())
                    .await
                    .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "request").at(&self.server)))?,
            };
            match session.request_within(payload.clone(), limit.saturating_sub(began.elapsed())).await {
                // The server asked to leave before the request was sent: the next connection takes it.
                Err(error) if self.comes_back && is_unsent(&error) => {}
                answer => return answer,
            }
        }
    }

    /// Waits until there is a connection, and returns its session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] where the client was disconnected or all attempts have failed, or where the server asked
    /// to leave and the client does not come back by itself; [`ErrorKind::Unauthenticated`] where the server refused
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn connected(&self) -> Result<Session> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                ClientState::Connected(session) if is_open(session) => return Ok(session.clone()),
                ClientState::Disconnected | ClientState::Exhausted | ClientState::Refused(_) => break,
                ClientState::Leaving(_) if !self.comes_back => break,
                _ => {}
            }
            if state.changed().await.is_err() {
                break;
            }
        }
        Err(self.closed_error("connect"))
    }

    /// Disconnects: what was accepted is sent, both sides finish, and the client does not come back by itself.
    ///
    /// It returns when the connection has ended, even where another handle has it [connect anew](Self::reconnect)
    /// straight away.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it disconnects all the same.
    pub async fn disconnect(&self) {
        // The state is not what to wait for: it may pass by unseen where somebody connects anew.
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Disconnect(done)).await.is_ok() {
            // Nothing is ever sent: it ends when the other half is dropped.
            let _ = ended.await;
        }
    }

    /// Connects anew at once: instead of waiting, after a disconnect, or in place of the present connection.
    pub fn reconnect(&self) {
        // A full queue already holds a command that has not been looked at.
        let _ = self.commands.try_send(Command::Reconnect);
    }
}

/// Tells whether something new may be sent.
fn is_open(session: &Session) -> bool {
    session.is_active() && session.go_away_received().is_none()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &format_args!("{}", self.server))
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
