//! What every listener accepts by: limits before handshakes, handshakes off the path.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io, iter,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::unconstrained,
    time::{Sleep, sleep},
};

use crate::{Address, Error, ErrorKind, Limit, Result};

mod admission;
mod handshakes;
mod incoming;
mod prefix;
mod reserve;

pub use admission::{Admission, Permit};
use handshakes::{Handshakes, ListenerNumber};
pub use incoming::{Handshaking, Incoming, IncomingConnection};
pub use prefix::{AddressGroup, Prefix};
use reserve::Reserve;

/// The shortest pause after the system could give no connection.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause, after many failures in a row.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How many connections one poll refuses, or begins the handshakes of, before other tasks have their turn.
const MAX_TURNS_PER_POLL: usize = 64;

/// Where raw connections come from, and what makes a usable one of them.
///
/// This is what a transport writes; [`Acceptor`] does the rest. The output may be a message connection or a byte
/// stream.
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, io, task::{Context, Poll}};
/// use net_core::{Accept, Acceptor, Address, Handshake, Permit, Scheme};
/// use tokio::net::{TcpListener, TcpStream};
///
/// struct Source(TcpListener);
///
/// impl Accept for Source {
///     type Socket = TcpStream;
///     type Output = (TcpStream, Permit);
///
///     fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
///         self.0.poll_accept(cx).map_ok(|(stream, peer)| (stream, Address::from_socket(Scheme::Tcp, peer)))
///     }
///
///     fn handshake(&self, stream: TcpStream, _: Address, permit: Permit) -> Handshake<Self::Output> {
///         Handshake::Done(Ok((stream, permit)))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let local = listener.local_addr()?;
/// let mut acceptor = Acceptor::new(Source(listener), Address::from_socket(Scheme::Tcp, local));
/// let near = TcpStream::connect(local).await?;
/// let (far, _permit) = poll_fn(|cx| acceptor.poll_accept(cx)).await?;
/// assert_eq!(far.peer_addr()?, near.local_addr()?);
/// # Ok(())
/// # }
/// ```
pub trait Accept: Send + Unpin + 'static {
    /// A connection as the system gives it.
    type Socket: Send + 'static;
    /// A connection that is ready for use.
    type Output: Send + 'static;

    /// Polls for the next raw connection and the address of its peer.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Address)>>;

    /// Takes a raw connection that waits as the listener closes; `None` where none waits any more.
    ///
    /// What waits and is not taken is lost. So a source that learns of connections by events asks the system itself:
    /// one may wait of which no event has told yet.
    fn accept_waiting(&mut self) -> Option<io::Result<(Self::Socket, Address)>> {
        // A task's used-up budget would look like an empty queue.
        let mut accepting = unconstrained(poll_fn(|cx| self.poll_accept(cx)));
        match Pin::new(&mut accepting).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(accepted) => Some(accepted),
            Poll::Pending => None,
        }
    }

    /// Takes the place that a raw connection was given before it was accepted, by a source that asks the [`Admission`] itself.
    /// Default: none, so the acceptor asks.
    fn take_permit(&self, _: &Self::Socket) -> Option<Permit> {
        None
    }

    /// Makes a raw connection usable. It keeps `permit` for as long as it is open.
    fn handshake(&self, socket: Self::Socket, peer: Address, permit: Permit) -> Handshake<Self::Output>;
}

/// What [`Accept::handshake`] gives.
///
/// # Examples
///
/// ```
/// use net_core::{Error, Handshake, Result};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
///
/// /// Asks the peer for the version that it speaks.
/// fn version(mut stream: DuplexStream) -> Handshake<u8> {
///     Handshake::Running(Box::pin(async move {
///         stream.read_u8().await.map_err(|error| Error::from_io(error, "handshake"))
///     }))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let (mut near, far) = tokio::io::duplex(64);
/// near.write_u8(7).await.expect("there is room");
/// match version(far) {
///     Handshake::Running(running) => assert_eq!(running.await?, 7),
///     Handshake::Done(_) => unreachable!("the peer has its part in it"),
/// }
/// # Ok(())
/// # }
/// ```
pub enum Handshake<T> {
    /// Nothing had to be exchanged with the peer.
    Done(Result<T>),
    /// The peer has its part in it: it runs beside accepting, with a deadline.
    Running(Pin<Box<dyn Future<Output = Result<T>> + Send>>),
}

impl<T> fmt::Debug for Handshake<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done(Ok(_)) => "Done(Ok)",
            Self::Done(Err(_)) => "Done(Err)",
            Self::Running(_) => "Running",
        })
    }
}

/// Accepts connections under limits, and survives what peers and the system do.
///
/// * A connection over a limit is refused before its handshake and told to the observer.
/// * Handshakes have a deadline; when the set is full, the oldest one is dropped, and one prefix of addresses may hold a
///   quarter of it. They run in the tasks of those who [ask for them](Self::poll_incoming), or in tasks of their own.
/// * The observer is told of each raw connection either that it was rejected or that it was accepted; of one that was
///   accepted and is not given, that its handshake failed. One that still runs when the acceptor is dropped ends with it.
/// * A shortage of descriptors is survived: a reserved one is given up to refuse the peer that waits, and accepting
///   pauses for 10 ms, longer when it goes on.
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, sync::Arc};
/// use net_core::{Acceptor, Admission, ErrorKind, Limits};
/// # use std::{io, task::{Context, Poll}};
/// # use net_core::{Accept, Address, Handshake, Permit, Scheme};
/// # struct Peers(usize);
/// # impl Accept for Peers {
/// #     type Socket = ();
/// #     type Output = Permit;
/// #     fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<((), Address)>> {
/// #         let Some(left) = self.0.checked_sub(1) else { return Poll::Pending };
/// #         self.0 = left;
/// #         Poll::Ready(Ok(((), Address::from_name(Scheme::Mem, "peer"))))
/// #     }
/// #     fn handshake(&self, (): (), _: Address, permit: Permit) -> Handshake<Permit> {
/// #         Handshake::Done(Ok(permit))
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// // `Peers` is an `Accept` of which two peers want in, and there is room for one.
/// let mut acceptor = Acceptor::new(Peers(2), "mem://peers".parse()?);
/// let limits = Limits { max_connections: 1, ..Limits::default() };
/// acceptor.set_admission(Arc::new(Admission::new(limits, None)));
/// let first = poll_fn(|cx| acceptor.poll_accept(cx)).await?;
/// acceptor.close(); // takes what waits: the second one is refused
/// let error = poll_fn(|cx| acceptor.poll_accept(cx)).await.expect_err("nothing is left");
/// assert_eq!(error.kind(), ErrorKind::Closed);
/// # drop(first);
/// # Ok(())
/// # }
/// ```
pub struct Acceptor<A: Accept> {
    source: Option<A>,
    local: Address,
    admission: Arc<Admission>,
    /// Taken as the source was closed, and whose they are.
    rest: VecDeque<(Incoming<A::Output>, Address)>,
    /// Whose the handshakes are that run, among those of the admission.
    number: ListenerNumber,
    /// What became ready in tasks of their own; none may run at all.
    ready: Option<Ready<A::Output>>,
    reserve: Reserve,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
}

/// Connections whose handshakes have succeeded in tasks of their own, and whose they are.
struct Ready<T> {
    tell: mpsc::UnboundedSender<(T, Address)>,
    /// Bounded by the connections that are let in: each holds its permit.
    told: mpsc::UnboundedReceiver<(T, Address)>,
}

impl<A: Accept> Acceptor<A> {
    /// Accepts from `source`, which listens at `local`, under the default limits.
    pub fn new(source: A, local: Address) -> Self {
        let admission = Arc::<Admission>::default();
        Self {
            source: Some(source),
            local,
            number: admission.handshakes().join(),
            admission,
            rest: VecDeque::new(),
            ready: None,
            reserve: Reserve::new(),
            pause: None,
            next_pause: MIN_PAUSE,
        }
    }

    /// Returns the address it listens at.
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// Puts it under the limits of `admission`, before it is asked for connections: handshakes that run by then are cut.
    pub fn set_admission(&mut self, admission: Arc<Admission>) {
        self.cut_handshakes();
        self.number = admission.handshakes().join();
        self.admission = admission;
    }

    fn cut_handshakes(&self) {
        self.admission.handshakes().cut(&self.admission, self.number);
    }

    /// Polls for the next connection that is ready for use; handshakes run in tasks of their own.
    ///
    /// An error means that it is closed and nothing is left.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<A::Output>> {
        let mut turns = MAX_TURNS_PER_POLL;
        loop {
            match ready!(self.poll_next(cx, &mut turns))? {
                (Incoming::Ready(output), _) => return Poll::Ready(Ok(output)),
                (Incoming::Handshaking(handshaking), peer) => self.start(handshaking, peer),
            }
        }
    }

    /// Polls for the next connection, with the handshake that may come first.
    ///
    /// An error means that it is closed and nothing is left.
    pub fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<A::Output>>> {
        self.poll_next(cx, &mut { MAX_TURNS_PER_POLL }).map_ok(|(incoming, _)| incoming)
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        turns: &mut usize,
    ) -> Poll<Result<(Incoming<A::Output>, Address)>> {
        while *turns > 0 {
            *turns -= 1;
            if let Some(taken) = self.rest.pop_front() {
                return Poll::Ready(Ok(taken));
            }
            if let Poll::Ready(ready) = self.poll_ready(cx) {
                return Poll::Ready(Ok(ready));
            }
            match self.poll_source(cx) {
                Poll::Ready(Some(taken)) => return Poll::Ready(Ok(taken)),
                Poll::Ready(None) => {}
                Poll::Pending if self.source.is_some() => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.admission.handshakes().poll_none(self.number, cx));
                    // The last one may have succeeded since, or be there though a task's used-up budget hid it.
                    let last = self.ready.as_mut().and_then(|ready| ready.told.try_recv().ok());
                    let closed = || Error::new(ErrorKind::Closed, "accept").at(&self.local);
                    return Poll::Ready(
                        last.map(|(output, peer)| (Incoming::Ready(output), peer)).ok_or_else(closed),
                    );
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what became ready in a task of its own.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<(Incoming<A::Output>, Address)> {
        let Some(ready) = &mut self.ready else { return Poll::Pending };
        match ready.told.poll_recv(cx) {
            Poll::Ready(Some((output, peer))) => Poll::Ready((Incoming::Ready(output), peer)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Stops listening: what waits in the system's queue is taken, then the source is dropped.
    ///
    /// [`poll_accept`](Self::poll_accept) gives what was taken and what the handshakes make of it, and ends after the last
    /// of them, wherever they run.
    pub fn close(&mut self) {
        self.pause = None;
        // Bounded: a peer that connects without end must not keep a server from closing.
        for _ in 0..self.admission.limits().max_connections {
            match self.source.as_mut().and_then(A::accept_waiting) {
                Some(Ok((socket, peer))) => {
                    self.rest.extend(self.admit(socket, peer));
                }
                Some(Err(error)) => {
                    self.admission.observe(|observer| observer.accept_failed(&error));
                    if !is_of_one_peer(&error) {
                        break;
                    }
                }
                None => break,
            }
        }
        self.source = None;
    }

    /// Takes one raw connection, and tells whose it is. `Ready(None)`: it was disposed of.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Incoming<A::Output>, Address)>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some(source) = &mut self.source else { return Poll::Pending };
        match ready!(source.poll_accept(cx)) {
            Ok((socket, peer)) => {
                self.next_pause = MIN_PAUSE;
                Poll::Ready(self.admit(socket, peer))
            }
            Err(error) => {
                self.survive(&error, cx);
                Poll::Ready(None)
            }
        }
    }

    /// Refuses one raw connection, or begins its handshake.
    fn admit(&self, socket: A::Socket, peer: Address) -> Option<(Incoming<A::Output>, Address)> {
        let source = self.source.as_ref()?;
        let given = source.take_permit(&socket);
        let permit = match given.map_or_else(|| self.admission.admit(peer.ip()), Ok) {
            Ok(permit) => permit,
            Err(limit) => {
                self.admission.observe(|observer| observer.rejected(&peer, limit));
                return None;
            }
        };
        let incoming = match source.handshake(socket, peer.clone(), permit) {
            Handshake::Done(output) => {
                self.admission.observe(|observer| observer.accepted(&peer));
                let told = output.inspect_err(|error| {
                    self.admission.observe(|observer| observer.handshake_failed(&peer, error));
                });
                Incoming::Ready(told.ok()?)
            }
            Handshake::Running(running) => {
                let place = Handshakes::begin(&self.admission, self.number, &peer)?;
                Incoming::Handshaking(Handshaking::new(running, place))
            }
        };
        Some((incoming, peer))
    }

    /// Runs a handshake in a task of its own.
    fn start(&mut self, handshaking: Handshaking<A::Output>, peer: Address) {
        // A listener may be closed where no runtime is any more; then the handshake is cut here.
        let Ok(runtime) = Handle::try_current() else { return };
        let ready = self.ready.get_or_insert_with(|| {
            let (tell, told) = mpsc::unbounded_channel();
            Ready { tell, told }
        });
        let (tell, admission) = (ready.tell.clone(), self.admission.clone());
        runtime.spawn(handshaking.run(move |output| {
            if let Err(mpsc::error::SendError((_, peer))) = tell.send((output, peer)) {
                admission.cut_handshake(&peer);
            }
        }));
    }

    /// Deals with an error of the system: the peer's fault is skipped, a shortage makes a pause.
    fn survive(&mut self, error: &io::Error, cx: &mut Context<'_>) {
        self.admission.observe(|observer| observer.accept_failed(error));
        if is_of_one_peer(error) {
            return;
        }
        if reserve::is_shortage(error)
            && let Some(source) = &mut self.source
        {
            // The peer at the head of the queue would wait for ever: it is accepted with the reserve and dropped.
            self.reserve.shed(|| {
                if let Poll::Ready(Ok((_, peer))) = source.poll_accept(cx) {
                    self.admission.observe(|observer| observer.rejected(&peer, Limit::Descriptors));
                }
            });
        }
        self.pause = Some(Box::pin(sleep(self.next_pause)));
        self.next_pause = (self.next_pause * 2).min(MAX_PAUSE);
    }
}

/// Tells whether `accept` failed because of one peer alone, or of a signal, and is to be tried again at once.
///
/// Linux passes network errors of a new connection on as errors of `accept`; they say nothing of the listener.
/// Source: accept(2), "Error handling".
fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    /// `EPROTO`, `ENOPROTOOPT`, `EOPNOTSUPP`, `ENONET`, `EHOSTDOWN`, which have no kind of their own.
    const LINUX: [i32; 5] = [71, 92, 95, 64, 112];
    matches!(
        error.kind(),
        Io::Interrupted
            | Io::ConnectionAborted
            | Io::ConnectionReset
            | Io::ConnectionRefused
            | Io::NetworkDown
            | Io::NetworkUnreachable
            | Io::HostUnreachable
            | Io::TimedOut
    ) || (cfg!(target_os = "linux") && error.raw_os_error().is_some_and(|code| LINUX.contains(&code)))
}

impl<A: Accept> Drop for Acceptor<A> {
    fn drop(&mut self) {
        self.cut_handshakes();
        let ready = self.ready.iter_mut().flat_map(|ready| {
            ready.told.close();
            iter::from_fn(|| ready.told.try_recv().ok())
        });
        for (_, peer) in ready {
            self.admission.cut_handshake(&peer);
        }
        // Those among them that have yet to begin were cut above.
        for (incoming, peer) in self.rest.drain(..) {
            if let Incoming::Ready(_) = incoming {
                self.admission.cut_handshake(&peer);
            }
        }
    }
}

impl<A: Accept> fmt::Debug for Acceptor<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("local", &self.local)
            .field("handshakes", &self.admission.handshakes().len(self.number))
            .field("closed", &self.source.is_none())
            .finish_non_exhaustive()
    }
}
