//! A client for programs without an async runtime: each call waits for its result.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use net_core::{Address, Error, ErrorKind, Message, Result, Transport};
use tokio::runtime::Handle;

use crate::{ClientBuilder, ClientState, Delivery, Handler, Session};

mod background;

use background::Background;

/// A client whose calls wait for their results.
///
/// It has a thread of its own, named `net-client`, that drives the connection: heartbeats, reconnection and handlers
/// go on between calls. It is a handle: clones mean the same connection, and threads may use it at once. When the
/// last one is dropped, what was accepted is sent and the connection ends; that takes no longer than twice the
/// [close time-out](crate::Limits::close_timeout).
///
/// A thread of an async runtime must not wait: every call that would gives [`ErrorKind::Unsupported`] there, and
/// [`net_messaging::Client`](crate::Client) is what serves. A thread of `spawn_blocking` counts as one: there,
/// `Handle::block_on` waits for the async client.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Server};
///
/// # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
/// # let memory = Memory::default();
/// # let server = runtime.block_on(
/// #     Server::builder(memory.clone())
/// #         .on_message(|_, message| async move { Ok(message.into_reply()) })
/// #         .listen("mem://blocking"),
/// # )?;
/// let client = Client::builder(memory).connect_blocking(server.local())?;
/// assert_eq!(client.request("hello")?.payload(), "hello");
/// client.disconnect()?;
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    client: crate::Client,
    background: Background,
}

impl<T: Transport, H: Handler> ClientBuilder<T, H> {
    /// Connects to `address` and waits until connected: the form of [`connect`](Self::connect) for programs without
    /// an async runtime.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`ErrorKind::Unsupported`] on a thread of an async runtime; [`ErrorKind::Io`]
    /// where the system gives no thread.
    pub fn connect_blocking<A>(self, address: A) -> Result<Client>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        refuse_inside("connect")?;
        let background = Background::start()?;
        let client = background.wait(self.connect(address))?;
        Ok(Client(Arc::new(Inner { client, background })))
    }
}

impl Client {
    /// Returns the address of the server.
    pub fn server(&self) -> &Address {
        self.0.client.server()
    }

    /// Returns where it is.
    pub fn state(&self) -> ClientState {
        self.0.client.state()
    }

    /// Tells whether messages flow.
    pub fn is_connected(&self) -> bool {
        self.0.client.is_connected()
    }

    /// Returns the session of the present connection, where there is one: its attributes, counters and
    /// [`send`](Session::send) wait for nothing.
    pub fn session(&self) -> Option<Session> {
        self.0.client.session()
    }

    /// Sends a message without waiting: a notification, unless a [`Message`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] while there is no connection; [`ErrorKind::MessageTooLong`].
    pub fn send(&self, message: impl Into<Message>) -> Result<Delivery> {
        self.0.client.send(message)
    }

    /// Queues a message as [`send`](Self::send) does, until [`flush`](Self::flush) or the next `send`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&self, message: impl Into<Message>) -> Result<Delivery> {
        self.0.client.feed(message)
    }

    /// Sends what was fed.
    pub fn flush(&self) {
        self.0.client.flush();
    }

    /// Sends a message, waiting for a connection and for room, for the request time-out at the longest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Closed`] where the client does not come back or the connection was lost;
    /// [`ErrorKind::MessageTooLong`]; [`ErrorKind::Unsupported`] on a thread of an async runtime.
    pub fn send_wait(&self, message: impl Into<Message>) -> Result<()> {
        self.wait("send", self.0.client.send_wait(message))?
    }

    /// Sends a request and waits for its answer, for the configured time at the longest.
    ///
    /// # Errors
    ///
    /// As [`request_within`](Self::request_within).
    pub fn request(&self, payload: impl Into<Bytes>) -> Result<Message> {
        self.wait("request", self.0.client.request(payload))?
    }

    /// Sends a request and waits for its answer, for `limit` at the longest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Rejected`] where it was answered by an error; [`ErrorKind::Closed`] where
    /// the connection was lost or the client does not come back; [`ErrorKind::Unsupported`] on a thread of an async
    /// runtime.
    pub fn request_within(&self, payload: impl Into<Bytes>, limit: Duration) -> Result<Message> {
        self.wait("request", self.0.client.request_within(payload, limit))?
    }

    /// Waits until there is a connection, for `limit` at the longest, and returns its session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Closed`] where the client was disconnected or all attempts have failed;
    /// [`ErrorKind::Unsupported`] on a thread of an async runtime.
    pub fn connected(&self, limit: Duration) -> Result<Session> {
        let connected = async {
            // The timer belongs to the runtime that drives the connection.
            let waiting = tokio::time::timeout(limit, self.0.client.connected());
            waiting
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "connect").at(self.server())))
        };
        self.wait("connect", connected)?
    }

    /// Disconnects: what was accepted is sent, both sides finish, and the client does not come back by itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] on a thread of an async runtime.
    pub fn disconnect(&self) -> Result<()> {
        self.wait("disconnect", self.0.client.disconnect())
    }

    /// Connects anew at once: instead of waiting, after a disconnect, or in place of the present connection.
    pub fn reconnect(&self) {
        self.0.client.reconnect();
    }

    fn wait<F: Future>(&self, operation: &'static str, future: F) -> Result<F::Output> {
        refuse_inside(operation).map_err(|error| error.at(self.server()))?;
        Ok(self.0.background.wait(future))
    }
}

/// Fails on a thread of an async runtime: waiting there would stop every other task of it.
fn refuse_inside(operation: &'static str) -> Result<()> {
    if Handle::try_current().is_err() {
        return Ok(());
    }
    let why = "this thread belongs to an async runtime, which a blocking call would stop; \
               use net_messaging::Client there";
    Err(Error::new(ErrorKind::Unsupported, operation).because(why))
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.background.end(self.client.clone());
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.client).finish()
    }
}
