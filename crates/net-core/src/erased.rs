//! Transports chosen at run time: one allocation for each half of a connection, none for a message.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    Address, Admission, Connection, Guarantees, IncomingConnection, Listener, Receiver, Result, Sender,
    Transport,
};

/// A sending half chosen at run time.
pub type BoxSender = Box<dyn Sender>;
/// A receiving half chosen at run time.
pub type BoxReceiver = Box<dyn Receiver>;
/// A listener chosen at run time.
pub type BoxListener = Box<dyn Listener<Sender = BoxSender, Receiver = BoxReceiver>>;

/// A transport chosen at run time, made by [`Transport::boxed`].
///
/// # Examples
///
/// ```
/// use net_core::{BoxTransport, Listener, Transport, memory::Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let transport: BoxTransport = Memory::default().boxed();
/// let mut listener = transport.listen(&"mem://echo".parse()?).await?;
/// let to = listener.local().clone();
/// let (near, far) = tokio::join!(transport.connect(&to), listener.accept());
/// # let _ = (near?, far?);
/// # Ok(())
/// # }
/// ```
pub struct BoxTransport(Box<dyn DynTransport>);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Transport`] with its futures and halves boxed.
trait DynTransport: Send + Sync {
    fn guarantees(&self) -> Guarantees;
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, Result<Connection>>;
    fn listen_many<'a>(&'a self, at: &'a Address, n: usize) -> BoxFuture<'a, Result<Vec<BoxListener>>>;
    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<BoxListener>>;
}

impl<T: Transport> DynTransport for T {
    fn guarantees(&self) -> Guarantees {
        Transport::guarantees(self)
    }

    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, Result<Connection>> {
        Box::pin(async move { Ok(Transport::connect(self, to).await?.boxed()) })
    }

    fn listen<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<BoxListener>> {
        Box::pin(async move { Ok(erase(Transport::listen(self, at).await?)) })
    }

    fn listen_many<'a>(&'a self, at: &'a Address, n: usize) -> BoxFuture<'a, Result<Vec<BoxListener>>> {
        Box::pin(
            async move { Ok(Transport::listen_many(self, at, n).await?.into_iter().map(erase).collect()) },
        )
    }
}

pub(crate) fn transport(transport: impl Transport) -> BoxTransport {
    BoxTransport(Box::new(transport))
}

fn erase(listener: impl Listener) -> BoxListener {
    Box::new(Erased(listener))
}

impl Transport for BoxTransport {
    type Sender = BoxSender;
    type Receiver = BoxReceiver;
    type Listener = BoxListener;

    fn guarantees(&self) -> Guarantees {
        self.0.guarantees()
    }

    async fn connect(&self, to: &Address) -> Result<Connection> {
        self.0.connect(to).await
    }

    async fn listen(&self, at: &Address) -> Result<BoxListener> {
        self.0.listen(at).await
    }

    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<BoxListener>> {
        self.0.listen_many(at, n).await
    }

    fn boxed(self) -> Self {
        self
    }
}

/// A listener that boxes what it accepts.
struct Erased<L>(L);

impl<L: Listener> Listener for Erased<L> {
    type Sender = BoxSender;
    type Receiver = BoxReceiver;

    fn local(&self) -> &Address {
        self.0.local()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection>> {
        self.0.poll_accept(cx).map_ok(Connection::boxed)
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<IncomingConnection>> {
        self.0.poll_incoming(cx).map_ok(|incoming| incoming.map(Connection::boxed))
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.0.set_admission(admission);
    }
}

impl fmt::Debug for BoxTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxTransport")
    }
}

impl fmt::Debug for dyn Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Sender")
    }
}

impl fmt::Debug for dyn Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Receiver")
    }
}

impl<S, R> fmt::Debug for dyn Listener<Sender = S, Receiver = R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Listener")
    }
}
