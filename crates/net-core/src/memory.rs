//! Messages between tasks of one process: the reference implementation of the laws, and what tests run on.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::{
    Accept, Acceptor, Address, Admission, Connection, Error, ErrorKind, Guarantees, Handshake, Host, Info,
    Listener, Permit, Result, Scheme, Transport,
};

mod pipe;

pub use pipe::{MemoryReceiver, MemorySender};

/// A connection in memory.
pub type MemoryConnection = Connection<MemorySender, MemoryReceiver>;

/// How many connections wait to be accepted before more are refused.
const BACKLOG: usize = 1024;

/// Returns the two ends of a connection.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (mut near, mut far) = net_core::memory::pair();
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
pub fn pair() -> (MemoryConnection, MemoryConnection) {
    let address = Address::from_name(Scheme::Mem, "pair");
    let config = MemoryConfig::default();
    let (near, far) = ends(&config, &address);
    (near.connection(), far.connection())
}

/// How memory connections are made.
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, Listener, Transport, memory::{Memory, MemoryConfig}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::new(MemoryConfig { max_message_len: 4, ..MemoryConfig::default() });
/// let listener = memory.listen(&"mem://short".parse()?).await?;
/// let mut near = memory.connect(listener.local()).await?;
/// let error = near.send("hello").await.expect_err("it is too long");
/// assert_eq!(error.kind(), ErrorKind::MessageTooLong);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Bytes that are accepted while the peer does not receive; one message always fits. Default: 256 KiB.
    pub max_buffered: usize,
    /// The longest message, in bytes. Default: 1 MiB.
    pub max_message_len: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { max_buffered: 256 * 1024, max_message_len: 1 << 20 }
    }
}

/// Carries messages in memory, at addresses such as `mem://name`; its clones share one set of listeners.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport, memory::Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let mut listener = memory.listen(&"mem://echo".parse()?).await?;
/// let near = memory.connect(listener.local()).await?;
/// let far = listener.accept().await?;
/// # let _ = (near, far);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    config: MemoryConfig,
    listeners: Listeners,
}

type Listeners = Arc<Mutex<HashMap<Box<str>, mpsc::Sender<End>>>>;

impl Memory {
    /// Creates a transport with listeners of its own.
    pub fn new(config: MemoryConfig) -> Self {
        Self { config, listeners: Listeners::default() }
    }
}

fn lock(listeners: &Listeners) -> MutexGuard<'_, HashMap<Box<str>, mpsc::Sender<End>>> {
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name<'a>(address: &'a Address, operation: &'static str) -> Result<&'a str> {
    match address.host() {
        Host::Name(name) if address.scheme() == Scheme::Mem => Ok(name),
        _ => Err(Error::new(ErrorKind::InvalidAddress, operation).at(address)),
    }
}

impl Transport for Memory {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;
    type Listener = MemoryListener;

    fn guarantees(&self) -> Guarantees {
        Guarantees::stream(self.config.max_message_len)
    }

    async fn connect(&self, to: &Address) -> Result<MemoryConnection> {
        let refused = || Error::new(ErrorKind::Refused, "connect").at(to);
        let listener = lock(&self.listeners).get(name(to, "connect")?).cloned().ok_or_else(refused)?;
        let (near, far) = ends(&self.config, to);
        listener.try_send(far).map_err(|_| refused())?;
        Ok(near.connection())
    }

    async fn listen(&self, at: &Address) -> Result<MemoryListener> {
        let name: Box<str> = name(at, "listen")?.into();
        let (tx, rx) = mpsc::channel(BACKLOG);
        let mut listeners = lock(&self.listeners);
        if listeners.get(&name).is_some_and(|listener| !listener.is_closed()) {
            return Err(Error::new(ErrorKind::AddressInUse, "listen").at(at));
        }
        listeners.insert(name.clone(), tx);
        let source = Source { arrivals: rx, name, listeners: self.listeners.clone() };
        Ok(MemoryListener(Acceptor::new(source, at.clone())))
    }
}

/// Accepts connections in memory.
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, Transport, memory::{Memory, MemoryListener}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (memory, at) = (Memory::default(), "mem://echo".parse()?);
/// let listener: MemoryListener = memory.listen(&at).await?;
/// let error = memory.listen(&at).await.expect_err("the name is taken");
/// assert_eq!(error.kind(), ErrorKind::AddressInUse);
/// drop(listener);
/// assert!(memory.listen(&at).await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryListener(Acceptor<Source>);

impl Listener for MemoryListener {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;

    fn local(&self) -> &Address {
        self.0.local()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<MemoryConnection>> {
        self.0.poll_accept(cx)
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.0.set_admission(admission);
    }
}

/// One end of a connection on its way to the listener.
#[derive(Debug)]
struct End {
    tx: MemorySender,
    rx: MemoryReceiver,
    address: Address,
}

impl End {
    fn connection(self) -> MemoryConnection {
        Connection::new(self.tx, self.rx, Info::new(self.address.clone(), self.address))
    }
}

fn ends(config: &MemoryConfig, address: &Address) -> (End, End) {
    let (near_tx, far_rx) = pipe::pipe(config);
    let (far_tx, near_rx) = pipe::pipe(config);
    let end = |tx, rx| End { tx, rx, address: address.clone() };
    (end(near_tx, near_rx), end(far_tx, far_rx))
}

/// The waiting connections of one listener.
#[derive(Debug)]
struct Source {
    arrivals: mpsc::Receiver<End>,
    name: Box<str>,
    listeners: Listeners,
}

impl Accept for Source {
    type Socket = End;
    type Output = MemoryConnection;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(End, Address)>> {
        // The transport keeps the sending side for as long as this listener lives.
        self.arrivals.poll_recv(cx).map(|end| {
            let end = end.ok_or(io::ErrorKind::NotConnected)?;
            let peer = end.address.clone();
            Ok((end, peer))
        })
    }

    fn handshake(&self, mut end: End, _: Address, permit: Permit) -> Handshake<MemoryConnection> {
        let permit = Arc::new(permit);
        end.tx.hold(permit.clone());
        end.rx.hold(permit);
        Handshake::Done(Ok(end.connection()))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.arrivals.close();
        let mut listeners = lock(&self.listeners);
        // Another listener may have taken the name since.
        if listeners.get(&self.name).is_some_and(mpsc::Sender::is_closed) {
            listeners.remove(&self.name);
        }
    }
}
