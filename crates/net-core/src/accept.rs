//! What every listener accepts by: limits before handshakes, handshakes off the path.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinSet, unconstrained},
    time::{Sleep, sleep, timeout},
};

use crate::{Address, Error, ErrorKind, Limit, Result};

mod admission;
mod reserve;

pub use admission::{Admission, Permit, Prefix};
use reserve::Reserve;

/// The shortest pause after the system could give no connection.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause, after many failures in a row.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How many refused connections one poll disposes of before other tasks have their turn.
const MAX_REFUSED_PER_POLL: usize = 64;

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
    /// The peer has its part in it: it runs as a task of its own, with a deadline.
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
/// * Handshakes run as tasks with a deadline; when the set is full, the oldest one is dropped, and one prefix of
///   addresses may hold a quarter of it.
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
    /// Ready for use, taken as the source was closed, and whose they are.
    rest: VecDeque<(A::Output, Address)>,
    handshakes: JoinSet<Result<A::Output>>,
    /// The running handshakes, oldest first.
    running: VecDeque<Running>,
    reserve: Reserve,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
}

struct Running {
    task: AbortHandle,
    peer: Address,
    prefix: Option<Prefix>,
}

impl<A: Accept> Acceptor<A> {
    /// Accepts from `source`, which listens at `local`, under the default limits.
    pub fn new(source: A, local: Address) -> Self {
        Self {
            source: Some(source),
            local,
            admission: Arc::default(),
            rest: VecDeque::new(),
            handshakes: JoinSet::new(),
            running: VecDeque::new(),
            reserve: Reserve::new(),
            pause: None,
            next_pause: MIN_PAUSE,
        }
    }

    /// Returns the address it listens at.
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// Puts it under the limits of `admission`.
    pub fn set_admission(&mut self, admission: Arc<Admission>) {
        self.admission = admission;
    }

    /// Polls for the next connection that is ready for use.
    ///
    /// An error means that it is closed and nothing is left.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<A::Output>> {
        if let Some((output, _)) = self.rest.pop_front() {
            return Poll::Ready(Ok(output));
        }
        for _ in 0..MAX_REFUSED_PER_POLL {
            if let Poll::Ready(Some(output)) = self.poll_handshakes(cx) {
                return Poll::Ready(Ok(output));
            }
            match self.poll_source(cx) {
                Poll::Ready(Some(output)) => return Poll::Ready(Ok(output)),
                Poll::Ready(None) => {}
                Poll::Pending if self.source.is_none() && self.handshakes.is_empty() => {
                    return Poll::Ready(Err(Error::new(ErrorKind::Closed, "accept").at(&self.local)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Stops listening: what waits in the system's queue is taken, then the source is dropped.
    ///
    /// [`poll_accept`](Self::poll_accept) gives what was taken and what the handshakes make of it.
    pub fn close(&mut self) {
        self.pause = None;
        // Bounded: a peer that connects without end must not keep a server from closing.
        for _ in 0..self.admission.limits().max_connections {
            match self.source.as_mut().and_then(A::accept_waiting) {
                Some(Ok((socket, peer))) => {
                    if let Some(output) = self.admit(socket, peer.clone()) {
                        self.rest.push_back((output, peer));
                    }
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

    /// Takes one raw connection. `Ready(None)`: it was disposed of, or its handshake runs.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<A::Output>> {
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

    /// Refuses one raw connection, or begins its handshake. Gives it where it is ready for use at once.
    fn admit(&mut self, socket: A::Socket, peer: Address) -> Option<A::Output> {
        let source = self.source.as_ref()?;
        let permit = match self.admission.admit(peer.ip()) {
            Ok(permit) => permit,
            Err(limit) => {
                self.admission.observe(|observer| observer.rejected(&peer, limit));
                return None;
            }
        };
        match source.handshake(socket, peer.clone(), permit) {
            Handshake::Done(output) => {
                self.admission.observe(|observer| observer.accepted(&peer));
                output
                    .inspect_err(|error| {
                        self.admission.observe(|observer| observer.handshake_failed(&peer, error));
                    })
                    .ok()
            }
            Handshake::Running(handshake) => {
                self.start(handshake, peer);
                None
            }
        }
    }

    fn start(&mut self, handshake: Pin<Box<dyn Future<Output = Result<A::Output>> + Send>>, peer: Address) {
        let limits = *self.admission.limits();
        let prefix = peer.ip().and_then(Prefix::of);
        let held = self.running.iter().filter(|one| prefix.is_some() && one.prefix == prefix).count();
        if held >= (limits.max_handshakes / 4).max(1) {
            self.admission.observe(|observer| observer.rejected(&peer, Limit::HandshakesPerPrefix));
            return;
        }
        self.admission.observe(|observer| observer.accepted(&peer));
        if self.running.len() >= limits.max_handshakes {
            self.drop_oldest();
        }
        let within_deadline = async move {
            timeout(limits.handshake_timeout, handshake)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "handshake")))
        };
        // A listener may be closed where no runtime is any more.
        let Ok(runtime) = Handle::try_current() else {
            let error = Error::new(ErrorKind::Closed, "handshake");
            self.admission.observe(|observer| observer.handshake_failed(&peer, &error));
            return;
        };
        let task = self.handshakes.spawn_on(within_deadline, &runtime);
        self.running.push_back(Running { task, peer, prefix });
    }

    /// Drops the oldest handshake, but none that is over and waits to be taken.
    fn drop_oldest(&mut self) {
        let oldest = self.running.iter().position(|one| !one.task.is_finished());
        if let Some(oldest) = oldest.and_then(|oldest| self.running.remove(oldest)) {
            oldest.task.abort();
            let error = Error::new(ErrorKind::LimitReached, "handshake").because(Limit::Handshakes.as_str());
            self.admission.observe(|observer| observer.handshake_failed(&oldest.peer, &error));
        }
    }

    /// Takes the next finished handshake; failed ones are told and skipped.
    fn poll_handshakes(&mut self, cx: &mut Context<'_>) -> Poll<Option<A::Output>> {
        while let Some(joined) = ready!(self.handshakes.poll_join_next_with_id(cx)) {
            let id = match &joined {
                Ok((id, _)) => *id,
                Err(error) => error.id(),
            };
            let place = self.running.iter().position(|one| one.task.id() == id);
            let finished = place.and_then(|place| self.running.remove(place));
            // Dropped in favour of a newer one, which was told when it happened, though it may have ended since.
            let Some(finished) = finished else { continue };
            let error = match joined {
                Ok((_, Ok(output))) => return Poll::Ready(Some(output)),
                Ok((_, Err(error))) => error,
                Err(stopped) => Error::new(ErrorKind::Io, "handshake").because(stopped),
            };
            self.admission.observe(|observer| observer.handshake_failed(&finished.peer, &error));
        }
        Poll::Ready(None)
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
        let ended =
            self.running.drain(..).map(|one| one.peer).chain(self.rest.drain(..).map(|(_, peer)| peer));
        for peer in ended {
            self.admission.cut_handshake(&peer);
        }
    }
}

impl<A: Accept> fmt::Debug for Acceptor<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("local", &self.local)
            .field("handshakes", &self.running.len())
            .field("closed", &self.source.is_none())
            .finish_non_exhaustive()
    }
}
