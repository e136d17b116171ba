//! What all handles, streams and halves of a session share, and how it ends when the last of them is gone.

use std::{
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use net_core::{ConnectionId, Error, ErrorKind, Info, Permit, Result};
use quinn::{RecvStream, SendDatagramError, SendStream, StreamId};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    Early, Path, REFUSED, address,
    addresses::{canonical, local_of},
    kept::{Kept, is_unacknowledged},
};
use crate::{
    QuicConfig, QuicStats,
    error::{of_connection, of_write},
    socket,
};

/// How often it is looked whether a reset is known, or datagrams have left; quinn tells nobody.
const LOOK: Duration = Duration::from_millis(10);

/// What all handles of a session share.
pub(crate) struct Shared {
    connection: quinn::Connection,
    info: Info,
    /// The same with what the handshake agreed on, where the session began before that was known.
    established: OnceLock<Info>,
    /// What a client can move.
    client: Option<Client>,
    /// The handshake, where the session began before it was over.
    early: Option<Early>,
    /// Senders that have neither ended nor reset their stream.
    open: AtomicUsize,
    ended: Notify,
    kept: Mutex<Kept>,
    datagrams: Datagrams,
    /// The room for datagrams where none waits to be sent, in bytes.
    datagram_room: usize,
    /// New streams of the peer are refused.
    refuses: AtomicBool,
    /// How many packets had left when this side closed the connection.
    pub(super) sent_at_close: OnceLock<u64>,
    /// Gone with this: who waits for that asks by it.
    gone: OnceLock<watch::Sender<()>>,
    /// How many directions of its only stream have to end for it to end; 0 where it ends otherwise.
    pub(super) directions: AtomicUsize,
    /// The place among those that a server admits.
    permit: Option<Permit>,
    /// Where what outlives the last handle runs.
    pub(super) runtime: Handle,
    close_timeout: Duration,
    pub(super) max_streams: MaxStreams,
}

/// How many streams the peer may have open at once.
pub(super) struct MaxStreams {
    pub(super) bidi: u32,
    pub(super) uni: u32,
}

/// The socket of a client.
pub(crate) struct Client {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) config: Arc<QuicConfig>,
}

#[derive(Default)]
struct Datagrams {
    refused: AtomicU64,
    read: AtomicU64,
    unread: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        connection: quinn::Connection,
        info: Info,
        client: Option<Client>,
        permit: Option<Permit>,
        config: &QuicConfig,
    ) -> Self {
        Self {
            datagram_room: connection.datagram_send_buffer_space(),
            connection,
            info,
            established: OnceLock::new(),
            client,
            early: None,
            open: AtomicUsize::new(0),
            ended: Notify::new(),
            kept: Mutex::default(),
            datagrams: Datagrams::default(),
            refuses: AtomicBool::new(false),
            sent_at_close: OnceLock::new(),
            gone: OnceLock::new(),
            directions: AtomicUsize::new(0),
            permit,
            runtime: Handle::current(),
            close_timeout: config.close_timeout,
            max_streams: MaxStreams { bidi: config.max_bidi_streams, uni: config.max_uni_streams },
        }
    }

    /// Makes it a session whose handshake is still running.
    pub(crate) fn with_early(mut self, early: Early) -> Self {
        self.early = Some(early);
        self
    }

    pub(crate) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    pub(crate) fn info(&self) -> &Info {
        if self.early.as_ref().is_some_and(Early::is_established) {
            return self.established.get_or_init(|| with_tls(self.info.clone(), &self.connection));
        }
        &self.info
    }

    /// Returns the information of one stream: a number of its own, and all else that of the session.
    pub(crate) fn info_of_stream(&self) -> Info {
        let mut info = self.info().clone();
        info.id = ConnectionId::next();
        info
    }

    /// Tells whether the peer may not take what this side sent before the handshake was over.
    pub(crate) fn may_reject(&self) -> bool {
        self.early.is_some() && self.client.is_some()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.early.as_ref().is_some_and(Early::is_running)
    }

    /// Tells whether it is known that the server took what was sent before the handshake was over.
    fn is_early_accepted(&self) -> bool {
        self.early.as_ref().is_some_and(Early::is_accepted)
    }

    /// Opens a stream that may be early.
    pub(crate) async fn open_early(&self) -> Result<(SendStream, RecvStream), quinn::ConnectionError> {
        match &self.early {
            Some(early) => early.open_bi(&self.connection).await,
            None => self.connection.open_bi().await,
        }
    }

    /// Ends a stream that was opened early.
    pub(crate) fn finish_early(&self, stream: &mut SendStream) {
        if let Some(early) = &self.early {
            early.finish(stream);
        }
    }

    /// Waits until the handshake is over, and tells whether the server took what was sent before; `None` where the session
    /// began after it.
    pub(crate) async fn established(&self) -> Result<Option<bool>> {
        let operation = if self.client.is_some() { "connect" } else { "accept" };
        let accepted = match &self.early {
            Some(early) => {
                let accepted = early.established(&self.connection, operation).await;
                Some(accepted.map_err(|error| error.at(&self.info.remote))?)
            }
            None => None,
        };
        match self.connection.close_reason() {
            Some(lost) => Err(of_connection(lost, operation).at(&self.info.remote)),
            None => Ok(accepted),
        }
    }

    pub(crate) fn sender_opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sender_ended(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.notify_waiters();
        }
    }

    /// Keeps a stream that was ended, or `cut`, until the peer knows it.
    pub(crate) fn keep(&self, stream: SendStream, cut: bool) {
        self.kept().keep(stream, cut);
    }

    /// Holds a stream that was ended for its sender, so that [`settle`](Self::settle) waits for it.
    pub(crate) fn hold(&self, stream: SendStream) {
        self.kept().held.insert(stream.id(), stream);
    }

    /// Lets its sender look at a stream that is held.
    pub(crate) fn look_at<T>(&self, id: StreamId, look: impl FnOnce(&SendStream) -> T) -> Option<T> {
        self.kept().held.get(&id).map(look)
    }

    /// Gives a stream that is held back to its sender.
    pub(crate) fn give_back(&self, id: StreamId) -> Option<SendStream> {
        self.kept().held.remove(&id)
    }

    /// Keeps a stream that is held, the sender of which is dropped, until the peer knows it.
    pub(crate) fn keep_held(&self, id: StreamId) {
        let mut kept = self.kept();
        if let Some(stream) = kept.held.remove(&id) {
            kept.keep(stream, false);
        }
    }

    /// Keeps a stream that was opened early and has ended.
    pub(crate) fn keep_early(&self, stream: SendStream) {
        let mut kept = self.kept();
        if self.is_early_accepted() {
            kept.keep(stream, false);
        } else {
            kept.early.ended.push(stream);
        }
    }

    /// Keeps a stream that was opened early and is not read any more, where another one may have its number.
    pub(crate) fn keep_unread(&self, stream: RecvStream) {
        if !self.is_early_accepted() {
            self.kept().early.unread.push(stream);
        }
    }

    /// Has [`settle`](Self::settle) look again: a stream that it waits for was cut.
    pub(crate) fn cut(&self) {
        self.ended.notify_waiters();
    }

    /// Waits until no sender is open, the peer has acknowledged every stream and every datagram has left.
    pub(crate) async fn settle(&self) -> Result<()> {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.open.load(Ordering::Acquire) > 0 {
                tokio::select! {
                    () = ended => {}
                    lost = self.connection.closed() => return Err(of_connection(lost, "close").at(&self.info.remote)),
                }
                continue;
            }
            let waited_for = self.kept().waited_for().map(SendStream::stopped);
            let Some(acknowledged) = waited_for else { break };
            tokio::select! {
                () = ended => {}
                acknowledged = acknowledged => if let Err(error) = acknowledged {
                    return Err(of_write(error.into(), "close").at(&self.info.remote));
                }
            }
        }
        while datagrams_wait(&self.connection, self.datagram_room) {
            sleep(LOOK).await;
        }
        match self.connection.close_reason() {
            None => Ok(()),
            Some(lost) => {
                let error = of_connection(lost, "close").at(&self.info.remote);
                // Whose work is done closes as this side would have: where nothing of ours is left, both have what they want.
                let is_done = error.kind() == ErrorKind::Closed
                    && !datagrams_are_left(&self.connection, self.datagram_room);
                if is_done { Ok(()) } else { Err(error) }
            }
        }
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> Result<bool> {
        let mut sending = pin!(self.connection.send_datagram_wait(datagram));
        match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome.map(|()| true).map_err(|error| self.datagram_error(error)),
            Poll::Pending => {
                self.datagrams.refused.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
        }
    }

    pub(crate) async fn send_datagram_wait(&self, datagram: Bytes) -> Result<()> {
        let sent = self.connection.send_datagram_wait(datagram).await;
        sent.map_err(|error| self.datagram_error(error))
    }

    pub(crate) async fn recv_datagram(&self) -> Result<Bytes> {
        let mut reading = pin!(self.connection.read_datagram());
        let read = poll_fn(|cx| {
            let polled = reading.as_mut().poll(cx);
            match &polled {
                Poll::Ready(Ok(_)) => {
                    self.datagrams.read.fetch_add(1, Ordering::Relaxed);
                }
                // None waits: what arrived and was not read had to make room.
                Poll::Pending => {
                    let read = self.datagrams.read.load(Ordering::Relaxed);
                    let arrived = self.connection.stats().frame_rx.datagram;
                    self.datagrams.unread.store(arrived.saturating_sub(read), Ordering::Relaxed);
                }
                Poll::Ready(Err(_)) => {}
            }
            polled
        });
        read.await.map_err(|error| of_connection(error, "receive").at(&self.info.remote))
    }

    fn datagram_error(&self, error: SendDatagramError) -> Error {
        let kind = match error {
            SendDatagramError::TooLarge => ErrorKind::MessageTooLong,
            SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled => ErrorKind::Unsupported,
            SendDatagramError::ConnectionLost(lost) => {
                return of_connection(lost, "send").at(&self.info.remote);
            }
        };
        Error::new(kind, "send").at(&self.info.remote).because(error)
    }

    pub(crate) fn stats(&self) -> QuicStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QuicStats::new(
            &self.connection.stats(),
            read(&self.datagrams.refused),
            read(&self.datagrams.unread),
            self.connection.max_datagram_size(),
        )
    }

    pub(crate) fn path(&self) -> Path {
        let remote = canonical(self.connection.remote_address());
        self.path_from(self.info.local.socket().unwrap_or(remote))
    }

    /// Returns the addresses of the connection, of which this side's was `known` before.
    pub(crate) fn path_from(&self, known: SocketAddr) -> Path {
        let remote = canonical(self.connection.remote_address());
        let local = match &self.client {
            Some(client) => {
                client.endpoint.local_addr().map_or(known, |local| local_of(local, remote, Some(known.ip())))
            }
            None => {
                self.connection.local_ip().map_or(known, |ip| canonical(SocketAddr::new(ip, known.port())))
            }
        };
        Path { local, remote }
    }

    pub(crate) fn rebind(&self) -> Result<()> {
        let Some(client) = &self.client else {
            let error = Error::new(ErrorKind::Unsupported, "rebind").at(&self.info.local);
            return Err(error.because("a server stays where its clients know it to be"));
        };
        let _runtime = self.runtime.enter();
        let moved = socket::for_client(&client.config, self.path().remote.is_ipv6())
            .and_then(|socket| client.endpoint.rebind(socket));
        moved.map_err(|error| Error::from_io(error, "rebind").at(&self.info.local))
    }

    /// Waits until the last handle, stream and half is gone, without being one.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut told = self.gone.get_or_init(|| watch::Sender::new(())).subscribe();
        async move { while told.changed().await.is_ok() {} }
    }

    /// Refuses the bidirectional streams that the peer opens from now on: who opens one must not wait for an answer in vain.
    pub(crate) fn refuse_streams(&self) {
        if self.refuses.swap(true, Ordering::Relaxed) || self.connection.close_reason().is_some() {
            return;
        }
        self.connection.set_max_concurrent_bi_streams(0_u32.into());
        let (connection, gone) = (self.connection.clone(), self.gone());
        self.runtime.spawn(async move {
            // What the peer was allowed to open before is no more than that.
            let refusing = async {
                while let Ok((mut tx, mut rx)) = connection.accept_bi().await {
                    // Gone already is as good.
                    let _ = (tx.reset(REFUSED.into()), rx.stop(REFUSED.into()));
                }
            };
            tokio::select! {
                () = refusing => {}
                () = gone => {}
            }
        });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let has_early = !kept.early.ended.is_empty() || !kept.early.unread.is_empty();
        if has_early && self.is_early_accepted() {
            // Their numbers stay theirs: they are streams like any other.
            let early = std::mem::take(&mut kept.early);
            kept.ended.extend(early.ended);
        }
        kept
    }
}

/// Tells whether datagrams wait to be sent.
fn datagrams_wait(connection: &quinn::Connection, room: usize) -> bool {
    connection.close_reason().is_none() && datagrams_are_left(connection, room)
}

/// Tells whether datagrams have not left, where there is less than all of the `room` for them; those of a connection that is
/// lost never will.
fn datagrams_are_left(connection: &quinn::Connection, room: usize) -> bool {
    connection.datagram_send_buffer_space() < room
}

/// Returns what is known of a connection between `local` and `remote`.
pub(crate) fn info(local: SocketAddr, remote: SocketAddr, connection: &quinn::Connection) -> Info {
    with_tls(Info::new(address(local), address(remote)), connection)
}

fn with_tls(info: Info, connection: &quinn::Connection) -> Info {
    let agreed = connection.handshake_data().and_then(|data| data.downcast::<net_core::tls::TlsInfo>().ok());
    match agreed {
        Some(tls) => info.with_details(*tls),
        None => info,
    }
}

impl Drop for Shared {
    /// quinn closes a connection with its last handle, whatever is on its way; so the last one waits elsewhere.
    fn drop(&mut self) {
        let Kept { mut ended, mut cut, early, .. } =
            std::mem::take(self.kept.get_mut().unwrap_or_else(PoisonError::into_inner));
        if self.connection.close_reason().is_some() {
            return;
        }
        // Of those that the server did not take quinn knows that there is nothing to wait for.
        ended.extend(early.ended);
        ended.retain(is_unacknowledged);
        cut.retain(is_unacknowledged);
        let room = self.datagram_room;
        if ended.is_empty() && cut.is_empty() && !datagrams_wait(&self.connection, room) {
            return;
        }
        let (connection, permit) = (self.connection.clone(), self.permit.take());
        let patience = self.close_timeout;
        self.runtime.spawn(async move {
            let known = async {
                for stream in &ended {
                    // Where the connection is lost, nothing arrives any more.
                    let _ = stream.stopped().await;
                }
                // The packet that closes a connection is sent once, and may be lost; a reset is sent until it is known.
                while cut.iter().any(is_unacknowledged) && connection.close_reason().is_none() {
                    sleep(LOOK).await;
                }
                while datagrams_wait(&connection, room) {
                    sleep(LOOK).await;
                }
            };
            let _ = timeout(patience, known).await;
            drop((ended, cut, connection, permit));
        });
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("info", &self.info).finish_non_exhaustive()
    }
}
