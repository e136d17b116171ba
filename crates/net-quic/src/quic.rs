//! Messages over QUIC, and the sessions below them.

use std::{fmt, sync::Arc};

use net_core::{
    Address, Connection, Error, ErrorKind, Guarantees, Result, Transport,
    frame::{Framing, LengthPrefix},
    framed::{FrameReceiver, FrameSender},
    tls::{ClientTls, ServerTls},
};
use tokio::time::{Instant, timeout};

use crate::{
    EarlySession, QuicConfig, QuicListener, QuicSession, QuicSessions, RecvStream, SendStream,
    error::of_connection,
    listener::Messages,
    parameters::Purpose,
    session::{Shared, frame},
    setup::{Setup, UNCHANGED, only},
    source::Prepare,
};

/// The sending half of a message connection over QUIC.
///
/// # Examples
///
/// ```no_run
/// use net_core::Sender;
/// use net_quic::{QuicSender, QuicSession};
///
/// # async fn example(mut tx: QuicSender) -> net_core::Result<()> {
/// tx.send("hello").await?;
/// println!("{:?}", QuicSession::of(&tx).stats().round_trip);
/// # Ok(())
/// # }
/// ```
pub type QuicSender<F = LengthPrefix> = FrameSender<SendStream, F>;
/// The receiving half of a message connection over QUIC.
///
/// # Examples
///
/// ```no_run
/// use net_core::Receiver;
/// use net_quic::QuicReceiver;
///
/// # async fn example(mut rx: QuicReceiver) -> net_core::Result<()> {
/// while let Some(message) = rx.recv().await? {
///     println!("{} bytes", message.len());
/// }
/// # Ok(())
/// # }
/// ```
pub type QuicReceiver<F = LengthPrefix> = FrameReceiver<RecvStream, F>;

/// Carries messages over QUIC (RFC 9000), at addresses such as `quic://host:port`: each connection is one, and its messages
/// are the frames of its first bidirectional stream.
///
/// Everything else that QUIC has stands on the [sessions](QuicSession) that [`open`](Self::open) and
/// [`listen_sessions`](Self::listen_sessions) give.
///
/// QUIC is always encrypted: a client needs [`ClientTls`], a server [`ServerTls`]; of both, what allows TLS 1.3. They may be
/// reloaded while they are in use. [`Info::details`](net_core::Info::details) of a connection is a
/// [`TlsInfo`](net_core::tls::TlsInfo), with the identity of a client that showed a certificate.
///
/// Clients of one value, and of its clones, share one socket for each family of addresses.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use net_core::{Transport, tls::{ClientTls, Pem, ServerTls}};
/// use net_quic::Quic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let server = ServerTls::builder().certificate(Pem::file("server.pem"), Pem::file("server.key")).build()?;
/// let listener = Quic::default().with_server_tls(server).listen(&"quic://:4433".parse()?).await?;
///
/// let client = ClientTls::builder().ca(Pem::file("ca.pem")).build()?;
/// let quic = Quic::default().with_client_tls(client);
/// let mut connection = quic.connect(&"quic://localhost:4433".parse()?).await?;
/// connection.send("hello").await?;
/// // Before the runtime ends the server must have it: what waits travels while it runs.
/// connection.close(Duration::from_secs(5)).await?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Quic<F = LengthPrefix> {
    setup: Setup,
    framing: F,
}

impl Quic {
    /// Creates a transport whose messages have a length of 4 bytes in front, big-endian.
    pub fn new(config: QuicConfig) -> Self {
        Self::with_framing(config, LengthPrefix::default())
    }
}

impl Default for Quic {
    fn default() -> Self {
        Self::new(QuicConfig::default())
    }
}

impl<F: Framing> Quic<F> {
    /// Creates a transport whose messages are marked by `framing`.
    pub fn with_framing(config: QuicConfig, framing: F) -> Self {
        Self { setup: Setup::new(config), framing }
    }

    /// Connects with these settings; the host of an address is the name that is sent and verified.
    #[must_use]
    pub fn with_client_tls(self, tls: ClientTls) -> Self {
        Self { setup: self.setup.with_client_tls(tls), ..self }
    }

    /// Listens with these settings. Handshakes run beside accepting, and have a deadline.
    #[must_use]
    pub fn with_server_tls(self, tls: ServerTls) -> Self {
        Self { setup: self.setup.with_server_tls(tls), ..self }
    }

    /// Returns the settings.
    pub fn config(&self) -> &QuicConfig {
        self.setup.config()
    }

    /// Opens a session with the server at `to`.
    ///
    /// # Errors
    ///
    /// Why there is no connection, with the [`Attempts`](net_core::Attempts) as its source where it is the network's fault;
    /// [`ErrorKind::Untrusted`](net_core::ErrorKind::Untrusted) where the server's certificate is refused,
    /// [`ErrorKind::Rejected`](net_core::ErrorKind::Rejected) where the server refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons every attempt.
    pub async fn open(&self, to: &Address) -> Result<QuicSession<F>> {
        let session = self.setup.connector().connect(to, Purpose::Streams, false).await?;
        Ok(self.session(session))
    }

    /// Opens a session with the server at `to` whose handshake may still run: what is sent until it is over travels in the
    /// first flight (0-RTT), where there is a ticket of an earlier session and the configuration allows
    /// [`early_data`](QuicConfig::early_data).
    ///
    /// Where there is a ticket, the first address of `to` alone is tried.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); where the handshake still runs, [`established`](EarlySession::established) tells how it ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons every attempt.
    pub async fn connect_early(&self, to: &Address) -> Result<EarlySession<F>> {
        let early = self.config().early_data;
        let session = self.setup.connector().connect(to, Purpose::Streams, early).await?;
        Ok(EarlySession::new(self.session(session)))
    }

    /// Accepts sessions at `at`.
    ///
    /// A listener of this process that has just gone keeps its port for as long as its last connections do, which end some
    /// 80 ms after they were closed (RFC 9000 §10.2). That is waited for, [`close_timeout`](QuicConfig::close_timeout) at the most,
    /// so that a server that was stopped can be started again at once.
    ///
    /// # Errors
    ///
    /// Why nothing can be listened at, with the [`Attempts`](net_core::Attempts) as its source.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn listen_sessions(&self, at: &Address) -> Result<QuicSessions<F>> {
        only(self.sessions(at, 1, Purpose::Streams).await?, at)
    }

    /// Accepts sessions at `at` with `n` sockets that share one port, one for each runtime of a server; with one where
    /// clients may [migrate](QuicConfig::migration), which excludes it.
    ///
    /// # Errors
    ///
    /// As [`listen_sessions`](Self::listen_sessions).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn listen_sessions_many(&self, at: &Address, n: usize) -> Result<Vec<QuicSessions<F>>> {
        self.sessions(at, n, Purpose::Streams).await
    }

    /// Accepts sessions whose streams are for `purpose`.
    pub(crate) async fn sessions(
        &self,
        at: &Address,
        n: usize,
        purpose: Purpose,
    ) -> Result<Vec<QuicSessions<F>>> {
        let acceptors = self.setup.listen(at, n, purpose, UNCHANGED).await?;
        let max_buffered = self.config().max_buffered;
        let sessions = |acceptor| QuicSessions::new(acceptor, self.framing.clone(), max_buffered);
        Ok(acceptors.into_iter().map(sessions).collect())
    }

    /// Sends from other addresses from now on: moves the sockets of this value's clients in this runtime, and every session
    /// on them, where its server goes on with them ([`migration`](QuicConfig::migration)).
    ///
    /// # Errors
    ///
    /// Why there can be no other socket; those that were not moved stay as they are. [`ErrorKind::Unsupported`] outside a
    /// runtime of tokio, and [`ErrorKind::AddressInUse`] where [`bind`](QuicConfig::bind) names a port.
    pub fn rebind(&self) -> Result<()> {
        self.setup.connector().rebind()
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
        self.setup.connector().wait_idle().await;
    }

    fn session(&self, shared: Shared) -> QuicSession<F> {
        QuicSession::new(Arc::new(shared), self.framing.clone(), self.config().max_buffered)
    }
}

/// Takes the stream that the client of a message connection opens.
async fn take_stream(shared: Shared) -> Result<Messages> {
    let (tx, rx) = shared
        .connection()
        .accept_bi()
        .await
        .map_err(|error| of_connection(error, "accept").at(&shared.info().remote))?;
    let info = shared.info().clone();
    let shared = Arc::new(shared);
    Ok((SendStream::new(tx, shared.clone(), None), RecvStream::new(rx, shared, None), info))
}

impl<F: Framing> Transport for Quic<F> {
    type Sender = QuicSender<F>;
    type Receiver = QuicReceiver<F>;
    type Listener = QuicListener<F>;

    fn guarantees(&self) -> Guarantees {
        Guarantees {
            preserves_messages: self.framing.preserves_messages(),
            ..Guarantees::stream(self.framing.max_message_len())
        }
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Self::Sender, Self::Receiver>> {
        let began = Instant::now();
        let shared = self.setup.connector().connect(to, Purpose::Messages, false).await?;
        let shared = Arc::new(shared.that_ends_with_its_stream());
        let left = self.config().connect_timeout.saturating_sub(began.elapsed());
        // A server may grant no stream, now or ever.
        let opened = timeout(left, shared.connection().open_bi()).await;
        let opened = opened.map_err(|_| {
            Error::new(ErrorKind::TimedOut, "connect").at(to).because("the server lets no stream in")
        })?;
        let (tx, rx) = opened.map_err(|error| of_connection(error, "connect").at(to))?;
        let mut tx = SendStream::new(tx, shared.clone(), None);
        // A server that speaks first needs the stream before anything was sent on it.
        tx.announce();
        let info = shared.info().clone();
        Ok(frame(tx, RecvStream::new(rx, shared, None), info, &self.framing, self.config().max_buffered))
    }

    async fn listen(&self, at: &Address) -> Result<Self::Listener> {
        only(self.listen_many(at, 1).await?, at)
    }

    /// Gives one listener where clients may [migrate](QuicConfig::migration), which excludes sharing a port.
    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<Self::Listener>> {
        let prepare: Prepare<Messages> = |shared| Box::pin(take_stream(shared));
        let acceptors = self.setup.listen(at, n, Purpose::Messages, prepare).await?;
        let max_buffered = self.config().max_buffered;
        let listener = |acceptor| QuicListener::new(acceptor, self.framing.clone(), max_buffered);
        Ok(acceptors.into_iter().map(listener).collect())
    }
}

impl<F> fmt::Debug for Quic<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quic").field("config", self.setup.config()).finish_non_exhaustive()
    }
}
