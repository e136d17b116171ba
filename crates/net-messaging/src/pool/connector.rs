//! Makes the connections of a pool, and looks at those that have waited.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use net_core::{Address, Error, ErrorKind, Result, Transport};
use tokio::time::timeout;

use super::{HealthCheck, PoolConfig};
use crate::{Client, ClientBuilder, Handler};

type Connecting = Pin<Box<dyn Future<Output = Result<Client>> + Send>>;

/// Makes the connections of a pool, and looks at those that have waited.
pub(super) struct Connector {
    addresses: Vec<Address>,
    /// The address that is tried first next time.
    next: AtomicUsize,
    config: PoolConfig,
    /// Transport and handler are erased here: a connection is made seldom enough.
    connect: Box<dyn Fn(Address) -> Connecting + Send + Sync>,
}

impl Connector {
    pub(super) fn new<T: Transport, H: Handler>(
        addresses: Vec<Address>,
        config: PoolConfig,
        builder: impl Fn() -> ClientBuilder<T, H> + Send + Sync + 'static,
    ) -> Self {
        let connect = Box::new(move |address| Box::pin(builder().connect::<Address>(address)) as Connecting);
        Self { addresses, next: AtomicUsize::new(0), config, connect }
    }

    pub(super) fn config(&self) -> &PoolConfig {
        &self.config
    }

    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    async fn connect_to(&self, address: &Address, limit: Duration) -> Result<Client> {
        let connected = timeout(limit, (self.connect)(address.clone())).await;
        connected.unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "connect").at(address)))
    }
}

impl Manager for Connector {
    type Type = Client;
    type Error = Error;

    /// Connects to the address whose turn it is, or to the first one behind it that answers.
    async fn create(&self) -> Result<Client> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len();
        let (before, from) = self.addresses.split_at(first);
        let mut failures = Vec::new();
        for address in from.iter().chain(before) {
            match self.connect_to(address, self.config.connect_timeout).await {
                Ok(client) => return Ok(client),
                Err(error) => failures.push(error),
            }
        }
        Err(all_failed(failures))
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<Error> {
        if !client.is_connected() {
            return Err(RecycleError::message("disconnected"));
        }
        let HealthCheck::Ping { payload, timeout } = &self.config.check else { return Ok(()) };
        match client.request_within(payload.clone(), *timeout).await {
            // A server that refuses the request is alive.
            Err(error) if error.kind() != ErrorKind::Rejected => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Joins the failures of all addresses into one error, of the last one's kind.
fn all_failed(mut failures: Vec<Error>) -> Error {
    let Some(last) = failures.pop() else { return Error::new(ErrorKind::Unreachable, "acquire") };
    if failures.is_empty() {
        return last;
    }
    let kind = last.kind();
    failures.push(last);
    let reports: Vec<_> = failures.iter().map(Error::report).collect();
    Error::new(kind, "acquire").because(reports.join("; "))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
