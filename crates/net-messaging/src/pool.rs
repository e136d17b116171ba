//! Connections that are used in turn, by any number of tasks.

use std::{fmt, ops::Deref, sync::Arc};

use deadpool::managed::{Object, PoolError};
use net_core::{Address, Error, ErrorKind, Result, Transport};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{Client, ClientBuilder, Handler};

mod config;
mod connector;

pub use config::{HealthCheck, PoolConfig, PoolStatus};
use connector::Connector;

/// Connections to one server, or to several that serve alike, used in turn. It is a handle: clones mean the same
/// pool.
///
/// Connections are made when they are needed, to each address in turn and to the next one where an address fails. A
/// connection that was lost while it waited is replaced before anybody sees it. The pool sends no request again: one
/// whose connection was lost may have been served.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Pool, PoolConfig, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let server = Server::builder(memory.clone())
///     .on_message(|_, message| async move { Ok(message.into_reply()) })
///     .listen("mem://pool")
///     .await?;
/// let config = PoolConfig { max_size: 4, ..PoolConfig::default() };
/// let pool = Pool::new([server.local()], config, move || Client::builder(memory.clone()))?;
/// let client = pool.acquire().await?;
/// assert_eq!(client.request("hello").await?.payload(), "hello");
/// drop(client); // released
/// assert_eq!(pool.status().idle, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pool {
    clients: deadpool::managed::Pool<Connector>,
    /// One permit for each connection and for each task that waits for one.
    places: Arc<Semaphore>,
}

impl Pool {
    /// Creates a pool of connections to `addresses`, each made by what `builder` returns. Nothing is connected yet.
    ///
    /// A connection belongs to the runtime of the task for which it was made. The pool replaces what is lost, so
    /// that the builder's own reconnection is best left off.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] where there is no address or a setting is out of its range;
    /// [`ErrorKind::InvalidAddress`].
    pub fn new<A, T, H>(
        addresses: impl IntoIterator<Item = A>,
        config: PoolConfig,
        builder: impl Fn() -> ClientBuilder<T, H> + Send + Sync + 'static,
    ) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
        T: Transport,
        H: Handler,
    {
        let addresses: Vec<Address> = addresses
            .into_iter()
            .map(|address| address.try_into().map_err(Into::into))
            .collect::<Result<_>>()?;
        let invalid = |what| Error::new(ErrorKind::InvalidConfig, "pool").because(what);
        config.check().map_err(invalid)?;
        if addresses.is_empty() {
            return Err(invalid("no address to connect to"));
        }
        let places = Arc::new(Semaphore::new(config.max_size + config.max_waiting));
        let max_size = config.max_size;
        let clients = deadpool::managed::Pool::builder(Connector::new(addresses, config, builder))
            .max_size(max_size)
            .build()
            .map_err(|error| Error::new(ErrorKind::InvalidConfig, "pool").because(error))?;
        Ok(Self { clients, places })
    }

    /// Takes a connection: one that waits and is healthy, else a new one, else the next one that is released.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Overloaded`] at once where too many wait already; [`ErrorKind::TimedOut`] where none became free,
    /// or none could be made, within the [acquire time-out](PoolConfig::acquire_timeout); why no address could be
    /// connected to, each with its own reason in the source; [`ErrorKind::Closed`] once the pool is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no place and no connection is lost.
    pub async fn acquire(&self) -> Result<PooledClient> {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return Err(self.refusal()) };
        let limit = self.connector().config().acquire_timeout;
        match timeout(limit, self.clients.get()).await {
            Ok(Ok(client)) => Ok(PooledClient { client: Some(client), _place: place }),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(Error::new(ErrorKind::Closed, "acquire")),
            // Neither hooks nor time-outs of its own are configured.
            Ok(Err(error)) => Err(Error::new(ErrorKind::InvalidConfig, "acquire").because(error.to_string())),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// Returns how its connections are used at this moment.
    pub fn status(&self) -> PoolStatus {
        let status = self.clients.status();
        PoolStatus {
            max_size: status.max_size,
            open: status.size,
            idle: status.available,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }

    /// Returns the addresses that it connects to.
    pub fn addresses(&self) -> &[Address] {
        self.connector().addresses()
    }

    /// Closes: connections that wait end, those in use end when they are released, and nobody acquires one any more.
    pub fn close(&self) {
        self.clients.close();
        self.places.close();
    }

    /// Tells whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.clients.is_closed()
    }

    fn connector(&self) -> &Connector {
        self.clients.manager()
    }

    fn refusal(&self) -> Error {
        if self.is_closed() {
            return Error::new(ErrorKind::Closed, "acquire");
        }
        let waiting = self.connector().config().max_waiting;
        Error::new(ErrorKind::Overloaded, "acquire")
            .because(format!("all connections are in use, and {waiting} tasks wait for one"))
    }

    fn timed_out(&self) -> Error {
        let limit = self.connector().config().acquire_timeout;
        Error::new(ErrorKind::TimedOut, "acquire")
            .because(format!("no connection within {limit:?}, of at most {}", self.status().max_size))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// A connection out of a [`Pool`], which goes back there when it is dropped.
///
/// # Examples
///
/// ```
/// # use net_core::memory::Memory;
/// # use net_messaging::{Client, Pool, PoolConfig, Server};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone()).listen("mem://pooled").await?;
/// # let pool = Pool::new([server.local()], PoolConfig::default(), move || Client::builder(memory.clone()))?;
/// let client = pool.acquire().await?;
/// client.send("all that a client can do")?;
/// client.discard(); // it does not go back: the next one is new
/// assert_eq!(pool.status().open, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it gives it back"]
pub struct PooledClient {
    /// Empty only while it is dropped.
    client: Option<Object<Connector>>,
    _place: OwnedSemaphorePermit,
}

impl PooledClient {
    /// Ends the connection instead of giving it back: whoever knows that its state is spoilt keeps it from others.
    pub fn discard(mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

impl Deref for PooledClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        match &self.client {
            Some(client) => client,
            None => unreachable!("only `discard` and `drop` take it out, which consume the handle"),
        }
    }
}

impl Drop for PooledClient {
    fn drop(&mut self) {
        // What is lost makes room at once, not when somebody looks at it.
        if let Some(client) = self.client.take_if(|client| !client.is_connected()) {
            drop(Object::take(client));
        }
    }
}

impl fmt::Debug for PooledClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledClient").field(&**self).finish()
    }
}
