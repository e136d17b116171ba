//! What a listener gives: connections that are ready for use, and handshakes for the server to run.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use tokio::time::timeout;

use super::handshakes::Place;
use crate::{BoxReceiver, BoxSender, Connection, Error, ErrorKind, Result};

/// A connection that a listener gives: ready for use, or with a handshake before it.
///
/// A server runs the handshake in the task that serves the connection after it, which spares a second task and its
/// hand-over; [`Listener::accept`](crate::Listener::accept) runs it in a task of its own.
///
/// # Examples
///
/// ```
/// use std::future::poll_fn;
/// use net_core::{Listener, Transport, memory::Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let mut listener = memory.listen(&"mem://greeter".parse()?).await?;
/// let mut near = memory.connect(listener.local()).await?;
///
/// let incoming = poll_fn(|cx| listener.poll_incoming(cx)).await?;
/// tokio::spawn(async move {
///     // Of a handshake that fails the observer knows.
///     let Some(mut connection) = incoming.run(|connection| connection).await else { return Ok(()) };
///     connection.send("welcome").await
/// });
/// assert_eq!(near.recv().await?.expect("a message"), "welcome");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum Incoming<T> {
    /// Ready for use.
    Ready(T),
    /// Its peer has a part in what comes first.
    Handshaking(Handshaking<T>),
}

/// A message connection that a [`Listener`](crate::Listener) gives.
///
/// # Examples
///
/// ```
/// use net_core::{Incoming, IncomingConnection};
///
/// fn describe(incoming: &IncomingConnection) -> String {
///     match incoming {
///         Incoming::Ready(connection) => format!("{} is here", connection.info.remote),
///         Incoming::Handshaking(_) => "somebody may come".into(),
///     }
/// }
/// # let _ = describe;
/// ```
pub type IncomingConnection<S = BoxSender, R = BoxReceiver> = Incoming<Connection<S, R>>;

impl<T: 'static> Incoming<T> {
    /// Makes something else of the connection, once it is there.
    pub fn map<U>(self, make: impl FnOnce(T) -> U + Send + 'static) -> Incoming<U> {
        match self {
            Self::Ready(connection) => Incoming::Ready(make(connection)),
            Self::Handshaking(handshaking) => Incoming::Handshaking(handshaking.map(make)),
        }
    }

    /// Runs the handshake, where there is one, and hands the connection to `then`, as [`Handshaking::run`] does.
    ///
    /// `None`: it failed, took too long or gave way to a newer one, which the observer was told.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts the handshake.
    pub async fn run<U>(self, then: impl FnOnce(T) -> U) -> Option<U> {
        match self {
            Self::Ready(connection) => Some(then(connection)),
            // Boxed: the task that serves the connection after it has no need of its memory.
            Self::Handshaking(handshaking) => Box::pin(handshaking.run(then)).await,
        }
    }
}

/// A handshake for the server to run: bounded in time and number by the [`Limits`](crate::Limits) of its listener, with
/// which it ends.
///
/// Dropping it, or what [`run`](Self::run) returns, cuts the handshake.
///
/// # Examples
///
/// [`Incoming`] has one.
pub struct Handshaking<T> {
    running: Pin<Box<dyn Future<Output = Result<T>> + Send>>,
    place: Place,
}

impl<T: 'static> Handshaking<T> {
    pub(super) fn new(running: Pin<Box<dyn Future<Output = Result<T>> + Send>>, place: Place) -> Self {
        Self { running, place }
    }

    /// Runs it, and hands the connection to `then`: a listener that closes waits until that has returned.
    ///
    /// `None`: it failed, took too long or gave way to a newer one, which the observer was told.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts the handshake.
    pub fn run<U>(self, then: impl FnOnce(T) -> U) -> impl Future<Output = Option<U>> {
        let Self { mut running, place } = self;
        async move {
            // It may lose its place whenever it waits.
            let shaking = poll_fn(|cx| {
                if place.is_held(cx) { running.as_mut().poll(cx).map(Some) } else { Poll::Ready(None) }
            });
            let ended = match place.timeout() {
                // The timer is boxed: the task of a connection has no need of it later.
                Some(limit) => Box::pin(timeout(limit, shaking))
                    .await
                    .unwrap_or_else(|_| Some(Err(Error::new(ErrorKind::TimedOut, "handshake")))),
                None => shaking.await,
            };
            place.end(ended?).map(then)
        }
    }

    fn map<U>(self, make: impl FnOnce(T) -> U + Send + 'static) -> Handshaking<U> {
        let Self { running, place } = self;
        Handshaking { running: Box::pin(async move { running.await.map(make) }), place }
    }
}

impl<T> fmt::Debug for Handshaking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshaking").field("place", &self.place).finish_non_exhaustive()
    }
}
