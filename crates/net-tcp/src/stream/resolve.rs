//! From names to addresses, with the last good answer to fall back on.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use net_core::{Address, Host, Result, resolve};
use tokio::time::{Instant, timeout};

/// How many names are remembered.
const MAX_NAMES: usize = 64;
/// How long an answer is good for falling back on it.
const MAX_AGE: Duration = Duration::from_hours(1);

/// What [`Resolve::resolve`] returns.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Turns a name into addresses; the system's own unless another one is given.
///
/// # Examples
///
/// ```
/// use std::{io, net::{Ipv4Addr, SocketAddr}, sync::Arc};
/// use net_core::{Address, Scheme};
/// use net_tcp::{TcpConfig, stream::{self, Connector, Resolve, Resolving}};
///
/// #[derive(Debug)]
/// struct Table;
///
/// impl Resolve for Table {
///     fn resolve<'a>(&'a self, name: &'a str, port: u16) -> Resolving<'a> {
///         Box::pin(async move {
///             match name {
///                 "db.internal" => Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]),
///                 _ => Err(io::Error::from(io::ErrorKind::NotFound)),
///             }
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let listener = stream::listen(&"tcp://127.0.0.1:0".parse()?, &TcpConfig::default()).await?;
/// # let port = listener.local().port().unwrap_or_default();
/// let connector = Connector::new(TcpConfig::default()).with_resolver(Arc::new(Table));
/// let stream = connector.connect(&Address::from_name(Scheme::Tcp, "db.internal").with_port(port)).await?;
/// assert_eq!(&stream.info().remote, listener.local());
/// # Ok(())
/// # }
/// ```
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// Returns the addresses of `name`, best first, each with `port`; the first sixteen are tried.
    ///
    /// # Errors
    ///
    /// The name cannot be resolved: it is [`ErrorKind::Unresolved`](net_core::ErrorKind::Unresolved) then, as it is where
    /// there is no address.
    ///
    /// # Cancel safety
    ///
    /// Its future is dropped when the time to connect is over.
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
        resolve::connectable_by(to, self.answer(to, patience)).await
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

    async fn answer(&self, to: &Address, patience: Duration) -> io::Result<Vec<SocketAddr>> {
        let Host::Name(name) = to.host() else { return Ok(Vec::new()) };
        let port = to.port().unwrap_or_default();
        let asking = self.resolve.resolve(name, port);
        let Some(good) = self.recall(name, port) else { return asking.await };
        match timeout(patience / 2, asking).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(_) | Err(_) => Ok(good),
        }
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

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::pending};

    use net_core::{ErrorKind, Scheme};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Gives its answers one after another; when there is none left it is silent.
    #[derive(Debug, Default)]
    struct Script(Mutex<VecDeque<io::Result<Vec<SocketAddr>>>>);

    impl Resolve for Script {
        fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
            let answer = self.0.lock().expect("unpoisoned").pop_front();
            Box::pin(async move {
                match answer {
                    Some(answer) => answer,
                    None => pending().await,
                }
            })
        }
    }

    fn resolver(answers: impl IntoIterator<Item = io::Result<Vec<SocketAddr>>>) -> Resolver {
        Resolver::new(Arc::new(Script(Mutex::new(answers.into_iter().collect()))))
    }

    fn ip(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 80).into()
    }

    fn name(name: &str) -> Address {
        Address::from_name(Scheme::Tcp, name).with_port(80)
    }

    fn no_such_name() -> io::Result<Vec<SocketAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a34_a_name_without_an_address_is_unresolved() {
        let resolver = resolver([no_such_name(), Ok(Vec::new())]);
        for _ in 0..2 {
            let error = resolver.connectable(&name("a"), PATIENCE).await.expect_err("nothing to try");
            assert_eq!(error.kind(), ErrorKind::Unresolved);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a34_the_last_good_answer_stands_in_for_none() {
        let resolver = resolver([no_such_name(), Ok(Vec::new())]);
        resolver.remember(&name("a"), &[ip(1), ip(2)]);
        for _ in 0..2 {
            let found = resolver.connectable(&name("a"), PATIENCE).await.expect("the last good answer");
            assert_eq!(found, [ip(1), ip(2)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a34_a_slow_answer_is_waited_for_half_of_the_time() {
        let resolver = resolver([]);
        resolver.remember(&name("a"), &[ip(1)]);
        let start = Instant::now();
        let found = resolver.connectable(&name("a"), PATIENCE).await.expect("the last good answer");
        assert_eq!((found, start.elapsed()), (vec![ip(1)], PATIENCE / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a34_a_new_answer_is_preferred_to_the_last_good_one() {
        let resolver = resolver([Ok(vec![ip(9)])]);
        resolver.remember(&name("a"), &[ip(1)]);
        assert_eq!(resolver.connectable(&name("a"), PATIENCE).await.expect("an answer"), [ip(9)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a34_what_was_good_is_forgotten_after_an_hour() {
        let resolver = resolver([no_such_name()]);
        resolver.remember(&name("a"), &[ip(1)]);
        tokio::time::advance(MAX_AGE).await;
        assert!(resolver.connectable(&name("a"), PATIENCE).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a34_the_memory_is_bounded() {
        let long = (0..=255).chain(0..=255).map(ip).collect();
        let resolver = resolver([Ok(long)]);
        let found = resolver.connectable(&name("a"), PATIENCE).await.expect("an answer");
        assert_eq!(found.len(), 16);
        for index in 0..=MAX_NAMES {
            resolver.remember(&name(&format!("host-{index}")), &found);
        }
        assert_eq!(resolver.good().len(), MAX_NAMES);
        assert!(resolver.recall("host-0", 80).is_none(), "the oldest has made place");
        assert!(resolver.recall(&format!("host-{MAX_NAMES}"), 80).is_some());
    }
}
