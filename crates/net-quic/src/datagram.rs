//! Messages as datagrams of QUIC (RFC 9221): encrypted, under congestion control, and lost where they are lost.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use net_core::{
    Acceptor, Address, Admission, Connection, Error, ErrorKind, Guarantees, IncomingConnection, Info,
    Listener, Receiver, Result, Sender, Transport,
    tls::{ClientTls, ServerTls},
};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    QuicConfig, QuicSession,
    parameters::Purpose,
    runtime::runtime,
    session::Shared,
    setup::{Setup, UNCHANGED, only},
    source::Source,
};

/// The longest message: what every path and every connection ID leaves room for in a packet.
///
/// 1200 bytes (RFC 9000 §14) less a head of 1 + 20 + 4, a tag of 16 and the head of the frame, 9.
const MAX_MESSAGE_LEN: usize = 1150;

/// Carries messages as datagrams over QUIC, at addresses such as `quic://host:port`: the second, unreliable mode.
///
/// A message is one datagram of 1150 bytes at the most. It may be lost, and overtake another; it does not come twice. Where
/// there is no room for one, the sender waits. Longer ones, as the path allows, go by
/// [`QuicSession::send_datagram`](QuicSession::send_datagram).
///
/// # Examples
///
/// ```no_run
/// use net_core::{Transport, tls::ClientTls};
/// use net_quic::{QuicConfig, QuicDatagrams};
///
/// # async fn example(tls: ClientTls) -> net_core::Result<()> {
/// let datagrams = QuicDatagrams::new(QuicConfig::default()).with_client_tls(tls);
/// let mut connection = datagrams.connect(&"quic://example.org:4433".parse()?).await?;
/// connection.send("here I am").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct QuicDatagrams(Setup);

impl QuicDatagrams {
    /// Creates a transport with these settings.
    pub fn new(config: QuicConfig) -> Self {
        Self(Setup::new(config))
    }

    /// Connects with these settings; the host of an address is the name that is sent and verified.
    #[must_use]
    pub fn with_client_tls(self, tls: ClientTls) -> Self {
        Self(self.0.with_client_tls(tls))
    }

    /// Listens with these settings.
    #[must_use]
    pub fn with_server_tls(self, tls: ServerTls) -> Self {
        Self(self.0.with_server_tls(tls))
    }

    /// Returns the settings.
    pub fn config(&self) -> &QuicConfig {
        self.0.config()
    }

    /// Waits until the connections of this value's clients in this runtime have ended, what was flushed has been delivered, and
    /// their servers were told: what a program does before its runtime ends.
    ///
    /// It waits for those that are still open, too, and for a lost one's time-outs, so put a deadline on it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_idle(&self) {
        self.0.connector().wait_idle().await;
    }
}

impl Default for QuicDatagrams {
    fn default() -> Self {
        Self::new(QuicConfig::default())
    }
}

impl Transport for QuicDatagrams {
    type Sender = DatagramSender;
    type Receiver = DatagramReceiver;
    type Listener = DatagramListener;

    fn guarantees(&self) -> Guarantees {
        Guarantees { may_duplicate: false, ..Guarantees::datagrams(MAX_MESSAGE_LEN) }
    }

    async fn connect(&self, to: &Address) -> Result<Connection<DatagramSender, DatagramReceiver>> {
        let shared = self.0.connector().connect(to, Purpose::Datagrams, false).await?;
        Ok(connection(shared, self.config().max_buffered))
    }

    async fn listen(&self, at: &Address) -> Result<DatagramListener> {
        only(self.listen_many(at, 1).await?, at)
    }

    /// Gives one listener where clients may [migrate](QuicConfig::migration), which excludes sharing a port.
    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<DatagramListener>> {
        let acceptors = self.0.listen(at, n, Purpose::Datagrams, UNCHANGED).await?;
        let max_buffered = self.config().max_buffered;
        Ok(acceptors.into_iter().map(|acceptor| DatagramListener { acceptor, max_buffered }).collect())
    }
}

/// Makes a message connection of a session.
fn connection(shared: Shared, max_buffered: usize) -> Connection<DatagramSender, DatagramReceiver> {
    let info: Info = shared.info().clone();
    let session = Arc::new(shared);
    let ending = Arc::<Ending>::default();
    let tx = DatagramSender {
        session: session.clone(),
        max_buffered,
        sending: None,
        waits: false,
        ending: ending.clone(),
    };
    let rx = DatagramReceiver { session, receiving: None, ending };
    Connection::new(tx, rx, info)
}

/// Whether this side has finished, and who waits to learn of it: nobody is told of the peer's end, so there is nothing to wait
/// for behind one's own.
#[derive(Default)]
struct Ending {
    finished: AtomicBool,
    receiver: AtomicWaker,
}

/// Accepts connections whose messages are datagrams.
///
/// # Examples
///
/// ```no_run
/// use net_core::{Listener, Transport, tls::ServerTls};
/// use net_quic::QuicDatagrams;
///
/// # async fn example(tls: ServerTls) -> net_core::Result<()> {
/// let datagrams = QuicDatagrams::default().with_server_tls(tls);
/// let mut listener = datagrams.listen(&"quic://:4433".parse()?).await?;
/// let mut far = listener.accept().await?;
/// while let Some(message) = far.recv().await? {
///     far.send(message).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DatagramListener {
    acceptor: Acceptor<Source<Shared>>,
    max_buffered: usize,
}

impl Listener for DatagramListener {
    type Sender = DatagramSender;
    type Receiver = DatagramReceiver;

    fn local(&self) -> &Address {
        self.acceptor.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<DatagramSender, DatagramReceiver>>> {
        runtime("accept")?;
        let max_buffered = self.max_buffered;
        self.acceptor.poll_accept(cx).map_ok(|shared| connection(shared, max_buffered))
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingConnection<DatagramSender, DatagramReceiver>>> {
        runtime("accept")?;
        let max_buffered = self.max_buffered;
        let made = move |shared| connection(shared, max_buffered);
        self.acceptor.poll_incoming(cx).map_ok(|incoming| incoming.map(made))
    }

    fn close(&mut self) {
        self.acceptor.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.acceptor.set_admission(admission);
    }
}

/// The sending half of a connection whose messages are datagrams.
///
/// What was sent still leaves when both halves are dropped, [`close_timeout`](QuicConfig::close_timeout) at the longest.
///
/// # Examples
///
/// ```no_run
/// use net_core::{Sender, Transport};
/// use net_quic::QuicDatagrams;
///
/// # async fn example(datagrams: QuicDatagrams) -> net_core::Result<()> {
/// let mut connection = datagrams.connect(&"quic://example.org:4433".parse()?).await?;
/// connection.tx.send("here I am").await?;
/// println!("{:?}", connection.tx.session().stats().round_trip);
/// # Ok(())
/// # }
/// ```
pub struct DatagramSender {
    session: Arc<Shared>,
    /// What the settings say, for the session.
    max_buffered: usize,
    /// What hands a datagram over; its memory is used again.
    sending: Option<Sending>,
    /// Whether the last one waits for room; it belongs to no message any more.
    waits: bool,
    ending: Arc<Ending>,
}

type Sending = ReusableBoxFuture<'static, Result<()>>;
type Receiving = ReusableBoxFuture<'static, Result<Bytes>>;

impl DatagramSender {
    /// Returns the session, for what else it has.
    pub fn session(&self) -> QuicSession {
        QuicSession::new(self.session.clone(), net_core::frame::LengthPrefix::default(), self.max_buffered)
    }

    /// Waits until the datagram before has found room.
    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(sending) = self.sending.as_mut().filter(|_| self.waits) else { return Poll::Ready(Ok(())) };
        let sent = ready!(sending.poll(cx));
        self.waits = false;
        Poll::Ready(sent)
    }
}

impl Sender for DatagramSender {
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        let failed = |kind| Error::new(kind, "send").at(&self.session.info().remote);
        if self.ending.finished.load(Ordering::Relaxed) {
            return Poll::Ready(Err(failed(ErrorKind::Closed)));
        }
        if message.len() > MAX_MESSAGE_LEN {
            return Poll::Ready(Err(failed(ErrorKind::MessageTooLong)));
        }
        ready!(self.poll_sending(cx))?;
        let sent = send(self.session.clone(), std::mem::take(message));
        let sending = match &mut self.sending {
            Some(sending) => {
                sending.set(sent);
                sending
            }
            None => self.sending.insert(Sending::new(sent)),
        };
        let sent = sending.poll(cx);
        self.waits = sent.is_pending();
        if self.waits { Poll::Ready(Ok(())) } else { sent }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_sending(cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_sending(cx))?;
        self.ending.finished.store(true, Ordering::Release);
        self.ending.receiver.wake();
        Poll::Ready(Ok(()))
    }
}

async fn send(session: Arc<Shared>, datagram: Bytes) -> Result<()> {
    session.send_datagram_wait(datagram).await
}

async fn next(session: Arc<Shared>) -> Result<Bytes> {
    session.recv_datagram().await
}

/// The receiving half of a connection whose messages are datagrams.
///
/// `None` comes once this side's sender has finished, behind what has arrived by then; of the peer's end it is told by an error
/// where the connection is closed.
///
/// # Examples
///
/// ```no_run
/// use net_core::Receiver;
/// use net_quic::DatagramReceiver;
///
/// # async fn example(mut rx: DatagramReceiver) -> net_core::Result<()> {
/// while let Some(message) = rx.recv().await? {
///     println!("{} bytes", message.len());
/// }
/// # Ok(())
/// # }
/// ```
pub struct DatagramReceiver {
    session: Arc<Shared>,
    receiving: Option<Receiving>,
    ending: Arc<Ending>,
}

impl Receiver for DatagramReceiver {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let receiving = self.receiving.get_or_insert_with(|| Receiving::new(next(self.session.clone())));
        let received = match receiving.poll(cx) {
            Poll::Ready(received) => received,
            Poll::Pending => {
                self.ending.receiver.register(cx.waker());
                let finished = self.ending.finished.load(Ordering::Acquire);
                return if finished { Poll::Ready(Ok(None)) } else { Poll::Pending };
            }
        };
        receiving.set(next(self.session.clone()));
        Poll::Ready(received.map(Some))
    }
}

impl fmt::Debug for QuicDatagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicDatagrams").field("config", self.config()).finish_non_exhaustive()
    }
}

impl fmt::Debug for DatagramSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramSender").field("session", &self.session).finish_non_exhaustive()
    }
}

impl fmt::Debug for DatagramReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramReceiver").field("session", &self.session).finish_non_exhaustive()
    }
}
