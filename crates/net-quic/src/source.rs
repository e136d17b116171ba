//! Where a server's connections come from: a socket, known to whichever runtime polls it first, and its handshakes.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use net_core::{
    Accept, Address, Attempts, Error, ErrorKind, Handshake, Permit, Result, Scheme, ports, resolve,
    tls::ServerTls,
};
use quinn::{AsyncUdpSocket, Runtime as _};
use tokio::{runtime::Handle, sync::watch, task::unconstrained, time::Instant};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    QuicConfig,
    crypto::{Failure, Resumes, ServerCrypto, Settings},
    error::of_handshake,
    parameters::{self, Purpose, transport},
    runtime::runtime,
    session::{Early, Shared, address, info},
    socket,
};

/// Whether the system spreads datagrams over the sockets that share a port.
const BALANCES: bool = cfg!(target_os = "linux");

/// What a client may have sent before a listener looks at it, in bytes: a first flight with early data.
const MAX_WAITING: u64 = 64 * 1024;
/// The same of all clients that wait.
const MAX_ALL_WAITING: u64 = 16 << 20;

/// How many clients one poll asks to show their address, before other tasks have their turn.
const MAX_RETRIES_PER_POLL: usize = 64;

/// What becomes of a session before it is given.
pub(crate) type Prepare<T> = fn(Shared) -> Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Where a server's connections come from.
pub(crate) struct Source<T> {
    socket: Registered,
    server: Arc<Server>,
    local: Address,
    prepare: Prepare<T>,
    /// Early data is on: the session of a client that resumes with it is given while the handshake runs.
    early: bool,
    unvalidated: Arc<AtomicUsize>,
    /// Whom each handshake that has yet to begin listens to.
    waiting: watch::Sender<()>,
    /// Clients that were asked to show their address since a poll last gave others their turn.
    retries: usize,
    /// How many are taken at the most as the listener closes.
    left: usize,
}

/// What the listeners at one address share.
struct Server {
    config: Arc<QuicConfig>,
    /// Several sockets have the port.
    shares_port: bool,
    tls: Settings<ServerTls>,
    endpoint: quinn::EndpointConfig,
    /// With keys of its own, by which any of the listeners knows what another one gave.
    quinn: quinn::ServerConfig,
}

/// A socket that becomes known to the runtime in which it is polled first.
enum Registered {
    /// Another one is bound where there is none: the first one is gone.
    NotYet(Option<UdpSocket>),
    Now {
        endpoint: quinn::Endpoint,
        next: Next,
        socket: Weak<dyn AsyncUdpSocket>,
    },
}

type Next = ReusableBoxFuture<'static, Option<quinn::Incoming>>;

/// A handshake with a client that has not shown that it receives at its address.
struct Unvalidated(Arc<AtomicUsize>);

impl Unvalidated {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Unvalidated {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens at `at` with `n` sockets, each a source of what `prepare` makes of sessions.
pub(crate) async fn bind<T>(
    at: &Address,
    n: usize,
    config: &Arc<QuicConfig>,
    tls: Option<&ServerTls>,
    purpose: Purpose,
    prepare: Prepare<T>,
) -> Result<Vec<Source<T>>> {
    if at.scheme() != Scheme::Quic {
        return Err(Error::new(ErrorKind::InvalidAddress, "listen").at(at));
    }
    let Some(tls) = tls else {
        let error = Error::new(ErrorKind::Unsupported, "listen").at(at);
        return Err(error.because("quic:// needs TLS settings: set them by with_server_tls"));
    };
    let early = config.early_data && purpose == Purpose::Streams;
    // Sockets that share a port and clients that move exclude each other.
    let n = if BALANCES && !config.migration { n.max(1) } else { 1 };
    let shares_port = n > 1 || config.reuse_port;
    let server = Server::new(config.clone(), shares_port, tls, purpose, early);
    let server = Arc::new(server.map_err(|error| error.at(at))?);
    let (first, local) = bind_first(at, config, n > 1).await?;
    let mut sockets = vec![first];
    for _ in 1..n {
        let socket =
            socket::bind(local, config, true).map_err(|error| Error::from_io(error, "listen").at(at))?;
        sockets.push(socket);
    }
    let unvalidated = Arc::<AtomicUsize>::default();
    let source = |socket| Source {
        socket: Registered::NotYet(Some(socket)),
        server: server.clone(),
        local: address(local),
        prepare,
        early,
        unvalidated: unvalidated.clone(),
        waiting: watch::Sender::new(()),
        retries: 0,
        left: config.max_incoming,
    };
    Ok(sockets.into_iter().map(source).collect())
}

/// Tries each address of `at` until one can be listened at.
async fn bind_first(at: &Address, config: &QuicConfig, shared: bool) -> Result<(UdpSocket, SocketAddr)> {
    let mut attempts = Attempts::default();
    for address in resolve::bindable(at, config.connect_timeout).await? {
        let place = attempts.begin(address);
        let bind = || {
            // A socket that would share the port starts beside a foreign one without an error. One that would not does not.
            if shared && !config.reuse_port && address.port() != 0 {
                drop(socket::bind(address, config, false)?);
            }
            let socket = socket::bind(address, config, shared || config.reuse_port)?;
            Ok((socket.local_addr()?, socket))
        };
        // A server that is stopped has told its clients, and answers for three of their time-outs whoever has not heard it (RFC
        // 9000 §10.2); some 80 ms nearby.
        match ports::outwait(address.port(), config.close_timeout, bind).await {
            Ok((local, socket)) => return Ok((socket, local)),
            Err(error) => attempts.fail(place, error),
        }
    }
    Err(attempts.into_error("listen").at(at))
}

impl Server {
    fn new(
        config: Arc<QuicConfig>,
        shares_port: bool,
        tls: &ServerTls,
        purpose: Purpose,
        early: bool,
    ) -> Result<Self> {
        let tls = Settings::new(tls.with_alpn(config.alpn.clone()), early);
        // It derives the keys of first packets; each connection has another one, of the settings that are in force.
        let crypto = ServerCrypto::new(&tls, Failure::default(), None)?;
        let mut quinn = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        quinn
            .transport_config(transport(&config, quinn::Side::Server, purpose)?)
            .migration(config.migration)
            .max_incoming(config.max_incoming)
            .incoming_buffer_size(MAX_WAITING)
            .incoming_buffer_size_total(MAX_ALL_WAITING);
        let endpoint = parameters::endpoint(&config)?;
        Ok(Self { config, shares_port, tls, endpoint, quinn })
    }

    /// Begins the handshake with `incoming`, under the settings that are in force; TLS leaves its error in what is returned.
    fn begin(
        &self,
        incoming: quinn::Incoming,
        resumes: Option<Resumes>,
        runtime: &Handle,
    ) -> Result<(quinn::Connecting, Failure)> {
        let failure = Failure::default();
        let mut config = self.quinn.clone();
        config.crypto = Arc::new(ServerCrypto::new(&self.tls, failure.clone(), resumes)?);
        // The connection is driven where its socket is, whoever runs the handshake.
        let _entered = runtime.enter();
        let connecting = incoming.accept_with(Arc::new(config));
        connecting
            .map(|connecting| (connecting, failure.clone()))
            .map_err(|error| of_handshake(error, &failure, "accept"))
    }
}

impl Registered {
    fn get(&mut self, server: &Server, local: &Address) -> io::Result<&mut Next> {
        if let Self::NotYet(socket) = self {
            Handle::try_current().map_err(io::Error::other)?;
            let socket = match (socket.take(), local.socket()) {
                (Some(socket), _) => socket,
                (None, Some(at)) => socket::bind(at, &server.config, server.shares_port)?,
                (None, None) => return Err(io::ErrorKind::NotConnected.into()),
            };
            let runtime = Arc::new(quinn::TokioRuntime);
            let socket = runtime.wrap_udp_socket(socket)?;
            let known = Arc::downgrade(&socket);
            let (config, server) = (server.endpoint.clone(), server.quinn.clone());
            let endpoint = quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)?;
            let next = ReusableBoxFuture::new(next(endpoint.clone()));
            *self = Self::Now { endpoint, next, socket: known };
        }
        match self {
            Self::Now { next, .. } => Ok(next),
            Self::NotYet(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl<T> Source<T> {
    /// Returns the address it listens at, with the port that the system chose.
    pub(crate) fn local(&self) -> &Address {
        &self.local
    }

    /// Takes the next client that waits; `None`: it was asked to show its address first.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<(quinn::Incoming, Address)>>> {
        let waiting = self.socket.get(&self.server, &self.local)?;
        let incoming = ready!(waiting.poll(cx));
        let (Registered::Now { endpoint, next: waiting, .. }, Some(incoming)) = (&mut self.socket, incoming)
        else {
            // The socket failed, or the runtime is gone in which it was: another one takes its place, when the
            // connections on this one are gone too.
            self.socket = Registered::NotYet(None);
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        waiting.set(next(endpoint.clone()));
        // RFC 9000 §8.1.2: a spoofed source never answers, so it holds nothing here.
        if !incoming.remote_address_validated()
            && self.unvalidated.load(Ordering::Relaxed) >= self.server.config.retry_threshold
        {
            // One that is not validated may always be asked to.
            let _ = incoming.retry();
            return Poll::Ready(Ok(None));
        }
        let peer = address(incoming.remote_address());
        Poll::Ready(Ok(Some((incoming, peer))))
    }
}

async fn next(endpoint: quinn::Endpoint) -> Option<quinn::Incoming> {
    endpoint.accept().await
}

impl<T: Send + 'static> Accept for Source<T> {
    type Socket = quinn::Incoming;
    type Output = T;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(quinn::Incoming, Address)>> {
        loop {
            if let Some(accepted) = ready!(self.poll_next(cx))? {
                return Poll::Ready(Ok(accepted));
            }
            self.retries += 1;
            if self.retries >= MAX_RETRIES_PER_POLL {
                self.retries = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn accept_waiting(&mut self) -> Option<io::Result<(quinn::Incoming, Address)>> {
        // Who comes meanwhile must not keep a listener from closing: no more than this waited as it began to.
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            // A task's used-up budget would look like an empty queue.
            let mut next = unconstrained(poll_fn(|cx| self.poll_next(cx)));
            match Pin::new(&mut next).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(accepted) => return accepted.transpose(),
                Poll::Pending => return None,
            }
        }
        None
    }

    fn handshake(&self, incoming: quinn::Incoming, peer: Address, permit: Permit) -> Handshake<T> {
        let runtime = match runtime("accept") {
            Ok(runtime) => runtime,
            Err(outside) => return Handshake::Done(Err(outside.at(&peer))),
        };
        let unvalidated = (!incoming.remote_address_validated()).then(|| Unvalidated::new(&self.unvalidated));
        let resumes = self.early.then(Resumes::default);
        let remote = incoming.remote_address();
        let began = Instant::now();
        let prepare = self.prepare;
        let port = self.local.port().unwrap_or_default();
        let listening = self.local.socket();
        let (server, waits) = (self.server.clone(), self.waiting.subscribe());
        Handshake::Running(Box::pin(async move {
            // Not before: a client that gets no place costs no greeting, and quinn refuses what is dropped.
            let (mut connecting, failure) =
                server.begin(incoming, resumes.clone(), &runtime).map_err(|error| error.at(&peer))?;
            drop(waits);
            let local = connecting.local_ip().map(|ip| SocketAddr::new(ip, port)).or(listening);
            let local = local.unwrap_or(remote);
            let resumed = async {
                match &resumes {
                    Some(resumes) => resumes.notified().await,
                    None => std::future::pending().await,
                }
            };
            let connected = tokio::select! {
                biased;
                connected = &mut connecting => connected,
                () = resumed => match connecting.into_0rtt() {
                    Ok((connection, accepted)) => {
                        let patience = permit.limits().handshake_timeout.saturating_sub(began.elapsed());
                        let never = std::future::pending();
                        let early =
                            Early::new(connection.clone(), accepted, failure, patience, never, unvalidated);
                        let info = net_core::Info::new(address(local), peer);
                        let shared = Shared::new(connection, info, None, Some(permit), &server.config);
                        return prepare(shared.with_early(early)).await;
                    }
                    Err(connecting) => connecting.await,
                },
            };
            let connection = connected.map_err(|error| of_handshake(error, &failure, "accept").at(&peer))?;
            drop(unvalidated);
            let info = info(local, remote, &connection);
            prepare(Shared::new(connection, info, None, Some(permit), &server.config)).await
        }))
    }
}

impl<T> Drop for Source<T> {
    /// Connections go on, and so their socket does; who comes now is refused, for as long as there is one.
    fn drop(&mut self) {
        let Registered::Now { endpoint, socket, .. } = &self.socket else { return };
        if let Some(port) = socket.upgrade().and_then(|socket| socket.local_addr().ok()).map(|at| at.port()) {
            let socket = socket.clone();
            ports::leave(port, move || socket.strong_count() > 0);
        }
        if (endpoint.open_connections() > 0 || self.waiting.receiver_count() > 0)
            && let Ok(runtime) = Handle::try_current()
        {
            let (endpoint, waiting) = (endpoint.clone(), std::mem::take(&mut self.waiting));
            runtime.spawn(async move {
                let refusing = async {
                    while let Some(incoming) = endpoint.accept().await {
                        incoming.refuse();
                    }
                };
                let idle = async {
                    waiting.closed().await;
                    endpoint.wait_idle().await;
                };
                tokio::select! {
                    () = refusing => {}
                    () = idle => {}
                }
            });
        }
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("local", &self.local).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
