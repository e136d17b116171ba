//! From names to addresses, with the last good answer to fall back on.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use net_core::{Address, Error, ErrorKind, Host, Result};
use tokio::time::{Instant, timeout};

/// How many names are remembered.
const MAX_NAMES: usize = 64;
/// How many addresses of one name are tried and remembered: an answer may be any length.
const MAX_ADDRESSES: usize = 16;
/// How long an answer is good for falling back on it.
const MAX_AGE: Duration = Duration::from_hours(1);

/// What [`Resolve::resolve`] returns.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Turns a name into addresses; the system's own unless another one is given.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// Returns the addresses of `name`, best first, each with `port`.
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> Resolving<'a>;
}

/// Asks the system: the hosts file, DNS, or what else it is set up for.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
    }
}

/// Resolves the hosts of addresses, and remembers what was good.
///
/// When a name cannot be resolved, or not in half of the time that connecting may take, the addresses to which it
/// resolved when connecting succeeded last are tried instead: a name server that fails takes no service with it. At
/// most 64 names are remembered, 16 addresses of each, for an hour.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    resolve: Arc<dyn Resolve>,
    good: Arc<Mutex<Vec<Good>>>,
}

#[derive(Debug)]
struct Good {
    name: Box<str>,
    addresses: Vec<IpAddr>,
    since: Instant,
}

impl Resolver {
    pub(super) fn new(resolve: Arc<dyn Resolve>) -> Self {
        Self { resolve, good: Arc::default() }
    }

    /// Returns the addresses to connect to. A name's answer is waited for without end where there is nothing to fall
    /// back on, else for half of `patience`.
    pub(super) async fn connectable(&self, to: &Address, patience: Duration) -> Result<Vec<SocketAddr>> {
        let port = to.port().unwrap_or_default();
        let (v6, v4) = (SocketAddr::from((Ipv6Addr::LOCALHOST, port)), (Ipv4Addr::LOCALHOST, port).into());
        match to.host() {
            Host::Any => Ok(vec![v6, v4]),
            // What a wildcard listener calls its own address is reached through loopback.
            Host::V6(ip, _) if ip.is_unspecified() => Ok(vec![v6, v4]),
            Host::V4(ip) if ip.is_unspecified() => Ok(vec![v4]),
            Host::V4(_) | Host::V6(..) => Ok(to.socket().into_iter().collect()),
            Host::Name(name) => self.name(name, port, patience).await,
        }
        .map_err(|error| failed(error, "connect", to))
    }

    /// Returns the addresses to listen at.
    pub(super) async fn bindable(&self, at: &Address) -> Result<Vec<SocketAddr>> {
        let port = at.port().unwrap_or_default();
        match at.host() {
            // One socket serves both families; where there is no IPv6, the other one does.
            Host::Any => Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]),
            Host::V4(_) | Host::V6(..) => Ok(at.socket().into_iter().collect()),
            Host::Name(name) => self.ask(name, port).await,
        }
        .map_err(|error| failed(error, "listen", at))
    }

    /// Remembers that one of `addresses` was connected to by `to`'s name.
    pub(super) fn remember(&self, to: &Address, addresses: &[SocketAddr]) {
        let Host::Name(name) = to.host() else { return };
        let mut good = self.good();
        good.retain(|one| one.name != *name);
        if good.len() >= MAX_NAMES {
            good.remove(0);
        }
        let addresses = addresses.iter().map(SocketAddr::ip).collect();
        good.push(Good { name: name.clone(), addresses, since: Instant::now() });
    }

    async fn name(&self, name: &str, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
        let Some(good) = self.recall(name, port) else { return self.ask(name, port).await };
        match timeout(patience / 2, self.ask(name, port)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(_)) | Err(_) => Ok(good),
        }
    }

    async fn ask(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for address in self.resolve.resolve(name, port).await? {
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    fn recall(&self, name: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let good = self.good();
        let one = good.iter().find(|one| *one.name == *name && one.since.elapsed() < MAX_AGE)?;
        Some(one.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
    }

    fn good(&self) -> MutexGuard<'_, Vec<Good>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: io::Error, operation: &'static str, address: &Address) -> Error {
    Error::new(ErrorKind::Unresolved, operation).at(address).because(error)
}
