//! A transport over a transport, with seeded faults: delay, loss, reordering, stalls, partitions, cuts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::sleep_until;

use crate::{
    Address, Admission, Connection, Guarantees, IncomingConnection, Listener, Receiver, Result, Sender,
    Transport,
};

mod cut;
mod faults;
mod receiver;
mod sender;
mod trace;

use cut::Cut;
pub use faults::Faults;
pub use receiver::LinkReceiver;
use receiver::Route;
pub use sender::LinkSender;
use trace::Trace;
pub use trace::{Direction, Event, Happening};

/// What goes wrong on a [`Link`], in both directions.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::testing::{Faults, LinkConfig};
///
/// // A link that answers slowly: only what comes back is delayed.
/// let back = Faults { delay: Duration::from_millis(200), ..Faults::default() };
/// let config = LinkConfig { seed: 7, back, ..LinkConfig::default() };
/// # let _ = config;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// What all chance is drawn from. Default: 0.
    pub seed: u64,
    /// The faults from the side that connects to the side that listens. Default: none.
    pub there: Faults,
    /// The faults from the side that listens to the side that connects. Default: none.
    pub back: Faults,
    /// Takes the promises away that datagrams do not have: what is lost stays lost, what is late stays late, and
    /// [`Guarantees`] say so. Default: false, lost messages are sent again by the link and the order is kept.
    pub unreliable: bool,
    /// When every connection that is then open is cut, counted from the link's first use. Default: never.
    pub cut_at: Option<Duration>,
    /// Bytes that are on their way in one direction of one connection; the sender waits for more. One message always
    /// fits. Default: 1 MiB.
    pub max_in_flight: usize,
}

impl LinkConfig {
    /// Gives both directions the same faults.
    pub fn both(seed: u64, faults: Faults) -> Self {
        Self { seed, there: faults.clone(), back: faults, ..Self::default() }
    }
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            there: Faults::default(),
            back: Faults::default(),
            unreliable: false,
            cut_at: None,
            max_in_flight: 1 << 20,
        }
    }
}

/// A transport whose messages meet seeded faults on their way over another transport.
///
/// Both sides go through the link: what connects and what listens. All waiting is tokio's, so that under paused time
/// an hour of faults takes no time. On a runtime with one thread and paused time, the same seed and the same calls
/// give the same [`trace`](Self::trace).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::{Listener, Transport, memory::Memory, testing::{Faults, Link, LinkConfig}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> net_core::Result<()> {
/// let slow = Faults { delay: Duration::from_millis(80), loss: 0.1, ..Faults::default() };
/// let link = Link::new(Memory::default(), LinkConfig::both(7, slow));
/// let mut listener = link.listen(&"mem://far".parse()?).await?;
/// let mut near = link.connect(listener.local()).await?;
/// let mut far = listener.accept().await?;
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// assert!(link.trace().iter().all(|event| event.at >= Duration::from_millis(160)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Link<T> {
    inner: T,
    shared: Arc<Shared>,
}

/// What all connections of a link share.
#[derive(Debug)]
struct Shared {
    config: LinkConfig,
    trace: Trace,
    connected: AtomicUsize,
    accepted: AtomicUsize,
}

impl<T> Link<T> {
    /// Puts faults between the two sides of `inner`.
    pub fn new(inner: T, config: LinkConfig) -> Self {
        let (connected, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { inner, shared: Arc::new(Shared { config, trace: Trace::default(), connected, accepted }) }
    }

    /// Returns what has happened so far, oldest first; no more than the first 100 000 events.
    pub fn trace(&self) -> Vec<Event> {
        self.shared.trace.events()
    }

    /// Returns the transport below.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }
}

impl Shared {
    fn faults(&self, direction: Direction) -> &Faults {
        match direction {
            Direction::There => &self.config.there,
            Direction::Back => &self.config.back,
        }
    }

    /// Waits as long as the exchange takes that opens a connection.
    async fn open(&self) {
        let start = self.trace.start();
        let now = tokio::time::Instant::now();
        let mut at = now;
        for faults in [&self.config.there, &self.config.back] {
            at = start + faults.passes(at.duration_since(start)) + faults.delay;
        }
        if at > now {
            sleep_until(at).await;
        }
    }

    /// Wraps one end of a connection, which sends in the direction `sends`.
    fn wrap<S: Sender, R: Receiver>(
        self: &Arc<Self>,
        connection: Connection<S, R>,
        sends: Direction,
    ) -> Connection<LinkSender<S>, LinkReceiver<R>> {
        let counter = match sends {
            Direction::There => &self.connected,
            Direction::Back => &self.accepted,
        };
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let now = tokio::time::Instant::now();
        let cut_at = self.config.cut_at.map(|at| self.trace.start() + at).filter(|at| *at > now);
        let cut = Arc::new(Cut::new(cut_at));
        let route = |direction| Route { shared: self.clone(), connection: number, direction };
        let Connection { tx, rx, info } = connection;
        Connection::new(
            LinkSender::new(tx, route(sends), cut.clone()),
            LinkReceiver::new(rx, route(sends.opposite()), cut),
            info,
        )
    }
}

impl<T: Transport> Transport for Link<T> {
    type Sender = LinkSender<T::Sender>;
    type Receiver = LinkReceiver<T::Receiver>;
    type Listener = LinkListener<T::Listener>;

    fn guarantees(&self) -> Guarantees {
        let below = self.inner.guarantees();
        let config = &self.shared.config;
        if !config.unreliable {
            return below;
        }
        let duplicates = config.there.duplicate > 0.0 || config.back.duplicate > 0.0;
        Guarantees {
            reliable: false,
            ordered: false,
            may_duplicate: below.may_duplicate || duplicates,
            ..below
        }
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Self::Sender, Self::Receiver>> {
        self.shared.open().await;
        let connection = self.inner.connect(to).await?;
        Ok(self.shared.wrap(connection, Direction::There))
    }

    async fn listen(&self, at: &Address) -> Result<Self::Listener> {
        self.shared.trace.start();
        Ok(LinkListener { inner: self.inner.listen(at).await?, shared: self.shared.clone() })
    }

    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<Self::Listener>> {
        self.shared.trace.start();
        let listeners = self.inner.listen_many(at, n).await?;
        Ok(listeners.into_iter().map(|inner| LinkListener { inner, shared: self.shared.clone() }).collect())
    }
}

/// Accepts the connections of a [`Link`].
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport, memory::{Memory, MemoryListener}};
/// use net_core::testing::{Link, LinkConfig, link::LinkListener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let link = Link::new(Memory::default(), LinkConfig::default());
/// let mut listener: LinkListener<MemoryListener> = link.listen(&"mem://far".parse()?).await?;
/// let near = link.connect(listener.local()).await?;
/// let far = listener.accept().await?;
/// assert_eq!(far.info.local, near.info.remote);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LinkListener<L> {
    inner: L,
    shared: Arc<Shared>,
}

impl<L: Listener> Listener for LinkListener<L> {
    type Sender = LinkSender<L::Sender>;
    type Receiver = LinkReceiver<L::Receiver>;

    fn local(&self) -> &Address {
        self.inner.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<Self::Sender, Self::Receiver>>> {
        let connection = ready!(self.inner.poll_accept(cx))?;
        Poll::Ready(Ok(self.shared.wrap(connection, Direction::Back)))
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingConnection<Self::Sender, Self::Receiver>>> {
        let shared = self.shared.clone();
        let wrap = move |connection| shared.wrap(connection, Direction::Back);
        self.inner.poll_incoming(cx).map_ok(|incoming| incoming.map(wrap))
    }

    fn close(&mut self) {
        self.inner.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.inner.set_admission(admission);
    }
}
