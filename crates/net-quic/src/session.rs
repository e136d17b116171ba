//! A session: one QUIC connection with its streams, datagrams, paths and figures.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use net_core::{
    Address, Admission, Connection, Error, ErrorKind, Info, Listener, Result, Scheme,
    frame::{Framing, LengthPrefix},
    framed::{FrameReceiver, FrameSender},
};
use quinn::VarInt;
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    EarlyData, PathWatch, QuicReceiver, QuicSender, QuicStats, RecvStream, SendStream, error::of_connection,
    stream::bounded,
};
pub(crate) use addresses::local_of;
pub(crate) use closing::Closing;
pub(crate) use early::{Early, is_rejected};
pub(crate) use shared::{Client, Shared, info};

mod addresses;
mod closing;
mod early;
mod kept;
mod serving;
mod shared;

/// What a stream is refused with where the limits of a server let no more in, or it takes no more.
pub const REFUSED: u32 = 2;

/// A session: one QUIC connection with its streams, datagrams, paths and figures. Clones are handles of the same one; as a
/// listener, a clone has the limits that the original had, and is closed if that was.
///
/// Each side opens streams as it likes, within what the other allows. Its peer's bidirectional streams come in as
/// [`accept_bi`](Self::accept_bi) gives them, or framed: a session is a [`Listener`] of message connections, one a stream.
///
/// The connection is closed, with code 0, when the last handle, stream and half of it is dropped and what was written has
/// been acknowledged, and datagrams have left, [`close_timeout`](crate::QuicConfig::close_timeout) at the longest, and while
/// the runtime runs in which it was made; [`finish_and_wait`](Self::finish_and_wait) waits for that, [`close`](Self::close)
/// does not.
///
/// # Examples
///
/// ```no_run
/// # async fn example(quic: net_quic::Quic) -> net_core::Result<()> {
/// let session = quic.open(&"quic://example.org:4433".parse()?).await?;
/// let (mut tx, mut rx) = session.open_bi().await?;
/// tx.write_all(b"hello").await?;
/// tx.end();
/// assert_eq!(rx.read_to_end(1024).await?, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct QuicSession<F = LengthPrefix> {
    shared: Arc<Shared>,
    framing: F,
    max_buffered: usize,
    /// Waits for the next stream of the peer; nothing unless it is polled.
    accepting: Option<Accepting>,
    admission: Option<Arc<Admission>>,
    /// No new streams of the peer are taken.
    closed: bool,
}

type Accepting =
    ReusableBoxFuture<'static, Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>>;

impl<F> QuicSession<F> {
    pub(crate) fn new(shared: Arc<Shared>, framing: F, max_buffered: usize) -> Self {
        Self { shared, framing, max_buffered, accepting: None, admission: None, closed: false }
    }

    /// Opens a stream in both directions, waiting until the peer allows one more.
    ///
    /// The peer learns of it by what is written to it.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is opened.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream)> {
        self.pair(self.shared.connection().open_bi().await, "open a stream")
    }

    /// Opens a stream in both directions that may be early.
    pub(crate) async fn open_early(&self) -> Result<(SendStream, RecvStream)> {
        self.pair(self.shared.open_early().await, "open a stream")
    }

    /// Opens a stream in this direction, waiting until the peer allows one more.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is opened.
    pub async fn open_uni(&self) -> Result<SendStream> {
        match self.shared.connection().open_uni().await {
            Ok(stream) => Ok(SendStream::new(stream, self.shared.clone(), None)),
            Err(error) => Err(self.error(error, "open a stream")),
        }
    }

    /// Waits for the peer to open a stream in both directions.
    ///
    /// # Errors
    ///
    /// Why the connection is gone; what the peer opened before is given first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is lost.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream)> {
        self.pair(self.shared.connection().accept_bi().await, "accept a stream")
    }

    /// Waits for the peer to open a stream in its direction.
    ///
    /// # Errors
    ///
    /// Why the connection is gone; what the peer opened before is given first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is lost.
    pub async fn accept_uni(&self) -> Result<RecvStream> {
        match self.shared.connection().accept_uni().await {
            Ok(stream) => Ok(RecvStream::new(stream, self.shared.clone(), None)),
            Err(error) => Err(self.error(error, "accept a stream")),
        }
    }

    /// Sends a datagram, without waiting: `false` where there is no room for it, and it is dropped and counted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MessageTooLong`] where it is longer than the [current maximum](Self::max_datagram_len),
    /// [`ErrorKind::Unsupported`] where one of the sides takes none, or why the connection is gone.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<bool> {
        self.shared.send_datagram(datagram)
    }

    /// Sends a datagram, waiting until there is room for it.
    ///
    /// # Errors
    ///
    /// As [`send_datagram`](Self::send_datagram).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it was sent or not.
    pub async fn send_datagram_wait(&self, datagram: Bytes) -> Result<()> {
        self.shared.send_datagram_wait(datagram).await
    }

    /// Waits for a datagram of the peer.
    ///
    /// # Errors
    ///
    /// Why the connection is gone; what arrived before is given first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no datagram is lost.
    pub async fn recv_datagram(&self) -> Result<Bytes> {
        self.shared.recv_datagram().await
    }

    /// Returns the length of the longest datagram that the path and the peer take now, in bytes; `None` where one of the
    /// sides takes none.
    ///
    /// It is 1150 at least where the peer's limit is not below, and grows as the path becomes known.
    pub fn max_datagram_len(&self) -> Option<usize> {
        self.shared.connection().max_datagram_size()
    }

    /// Returns what is known of the connection: its number, its addresses as it began, and
    /// [`TlsInfo`](net_core::tls::TlsInfo) as its [details](Info::details).
    pub fn info(&self) -> &Info {
        self.shared.info()
    }

    /// Returns the addresses that the connection has now.
    pub fn path(&self) -> Path {
        self.shared.path()
    }

    /// Watches the addresses of the connection, without keeping it open.
    pub fn watch_path(&self) -> PathWatch {
        PathWatch::new(&self.shared)
    }

    /// Returns what happened on the connection so far.
    pub fn stats(&self) -> QuicStats {
        self.shared.stats()
    }

    /// Tells whether the handshake is still running: what is received then is early data, which may be a repetition.
    pub fn is_handshaking(&self) -> bool {
        self.shared.is_handshaking()
    }

    /// Waits until the handshake is over: the peer is who it says, and what it sent early was no repetition.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn established(&self) -> Result<()> {
        self.shared.established().await.map(drop)
    }

    /// Waits until the handshake is over, and tells what became of early data.
    pub(crate) async fn early_data(&self) -> Result<EarlyData> {
        Ok(match self.shared.established().await? {
            Some(true) => EarlyData::Accepted,
            Some(false) => EarlyData::Rejected,
            None => EarlyData::None,
        })
    }

    /// Waits until the connection has ended, and returns why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> Error {
        self.error(self.shared.connection().closed().await, "receive")
    }

    /// Closes the connection at once with a `code` and a `reason`; what is on its way may be lost. A code of 2^62 or more is
    /// sent as 2^62 − 1 (RFC 9000 §16).
    ///
    /// Where it has ended already, why it did stays as it is.
    pub fn close(&self, code: u64, reason: &str) {
        self.shared.close(bounded(code), reason.as_bytes());
    }

    /// Closes the connection, with code 0, once the peer has acknowledged all that was sent: every stream is waited for to
    /// be ended, finished or dropped, and then to have arrived; every datagram, to have left.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] where that takes longer than `timeout`; the connection stays open then. Else why it was
    /// gone before; that it was closed, with code 0 or by this side, is no error where nothing was lost.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it may be called again.
    pub async fn finish_and_wait(&self, timeout: Duration) -> Result<()> {
        let finished = tokio::time::timeout(timeout, self.shared.settle()).await;
        match finished {
            Ok(outcome) => outcome?,
            Err(_) => {
                return Err(Error::new(ErrorKind::TimedOut, "close").at(&self.info().remote));
            }
        }
        self.shared.close(VarInt::from_u32(0), b"");
        self.shared.close_is_sent().await;
        Ok(())
    }

    /// Sends from another address from now on: moves the socket of this client's session, and with it all sessions of the
    /// same [`Quic`](crate::Quic) that share it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] on a server's session, and why there can be no other socket.
    pub fn rebind(&self) -> Result<()> {
        self.shared.rebind()
    }

    /// Fills `output` with bytes that both sides have, and nobody else (RFC 5705, RFC 8446 §7.5).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] where `output` is longer than can be derived.
    pub fn export_keying_material(&self, output: &mut [u8], label: &[u8], context: &[u8]) -> Result<()> {
        let exported = self.shared.connection().export_keying_material(output, label, context);
        exported.map_err(|_| Error::new(ErrorKind::InvalidConfig, "export keying material"))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn pair(
        &self,
        streams: Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>,
        operation: &'static str,
    ) -> Result<(SendStream, RecvStream)> {
        match streams {
            Ok((tx, rx)) => {
                let rx = RecvStream::new(rx, self.shared.clone(), None);
                let tx = SendStream::new(tx, self.shared.clone(), None);
                Ok((tx.with_early(rx.may_be_rejected()), rx))
            }
            Err(error) => Err(self.error(error, operation)),
        }
    }

    fn error(&self, error: quinn::ConnectionError, operation: &'static str) -> Error {
        of_connection(error, operation).at(&self.info().remote)
    }
}

impl<F: Framing> QuicSession<F> {
    /// Returns the session of a message connection, for what the messages do not need; streams of messages have the same
    /// framing.
    pub fn of(sender: &QuicSender<F>) -> Self {
        Self::new(sender.get_ref().shared().clone(), sender.framing().clone(), sender.max_buffered())
    }

    /// Opens a message connection on a stream of its own.
    ///
    /// # Errors
    ///
    /// As [`open_bi`](Self::open_bi).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is opened.
    pub async fn open_messages(&self) -> Result<Connection<QuicSender<F>, QuicReceiver<F>>> {
        let (mut tx, rx) = self.open_bi().await?;
        tx.announce();
        Ok(self.framed(tx, rx))
    }

    fn framed(&self, tx: SendStream, rx: RecvStream) -> Connection<QuicSender<F>, QuicReceiver<F>> {
        let info = self.shared.info_of_stream();
        frame(tx, rx, info, &self.framing, self.max_buffered)
    }

    /// Lets a stream in, or refuses it.
    fn admit(
        &self,
        tx: quinn::SendStream,
        rx: quinn::RecvStream,
    ) -> Option<Connection<QuicSender<F>, QuicReceiver<F>>> {
        let permit = match self.admission.as_ref().map(|admission| admission.admit(self.info().remote.ip())) {
            Some(Ok(permit)) => Some(Arc::new(permit)),
            Some(Err(limit)) => {
                if let Some(observer) = self.admission.as_ref().and_then(|admission| admission.observer()) {
                    observer.rejected(&self.info().remote, limit);
                }
                let (mut tx, mut rx) = (tx, rx);
                // Gone already is as good.
                let _ = (tx.reset(REFUSED.into()), rx.stop(REFUSED.into()));
                return None;
            }
            None => None,
        };
        let tx = SendStream::new(tx, self.shared.clone(), permit.clone());
        Some(self.framed(tx, RecvStream::new(rx, self.shared.clone(), permit)))
    }
}

async fn next_stream(
    connection: quinn::Connection,
) -> Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError> {
    connection.accept_bi().await
}

/// Makes a message connection of a stream.
pub(crate) fn frame<F: Framing>(
    tx: SendStream,
    rx: RecvStream,
    info: Info,
    framing: &F,
    max_buffered: usize,
) -> Connection<QuicSender<F>, QuicReceiver<F>> {
    let tx =
        FrameSender::new(tx, framing.clone()).with_max_buffered(max_buffered).with_abort(SendStream::abort);
    Connection::new(tx, FrameReceiver::new(rx, framing.clone()), info)
}

/// Message connections, one for each bidirectional stream that the peer opens.
///
/// Once it is closed and [`ErrorKind::Closed`] was given, streams that the peer opens are refused with [`REFUSED`].
impl<F: Framing> Listener for QuicSession<F> {
    type Sender = QuicSender<F>;
    type Receiver = QuicReceiver<F>;

    fn local(&self) -> &Address {
        &self.info().local
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<Self::Sender, Self::Receiver>>> {
        loop {
            let connection = self.shared.connection();
            let accepting =
                self.accepting.get_or_insert_with(|| ReusableBoxFuture::new(next_stream(connection.clone())));
            let accepted = match accepting.poll(cx) {
                Poll::Pending if self.closed => {
                    self.shared.refuse_streams();
                    return Poll::Ready(Err(Error::new(ErrorKind::Closed, "accept").at(&self.info().local)));
                }
                polled => ready!(polled),
            };
            accepting.set(next_stream(connection.clone()));
            match accepted {
                Ok((tx, rx)) => {
                    if let Some(connection) = self.admit(tx, rx) {
                        return Poll::Ready(Ok(connection));
                    }
                }
                Err(error) => {
                    // However the connection ended, no stream follows: that is what a closed listener says.
                    let error = Error::new(ErrorKind::Closed, "accept").at(&self.info().local).because(error);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.shared.connection().set_max_concurrent_bi_streams(VarInt::from_u32(0));
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.admission = Some(admission);
    }
}

/// The addresses of a connection.
///
/// # Examples
///
/// ```no_run
/// # fn example(session: net_quic::QuicSession) {
/// let path = session.path();
/// println!("{} to {}", path.local, path.remote);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    /// The address of this side; of a client that did not bind to an address, the one that the system would choose now.
    pub local: SocketAddr,
    /// The address of the other side.
    pub remote: SocketAddr,
}

/// Returns `socket` as the address of a QUIC connection.
pub(crate) fn address(socket: SocketAddr) -> Address {
    Address::from_socket(Scheme::Quic, socket)
}

impl<F: Clone> Clone for QuicSession<F> {
    fn clone(&self) -> Self {
        Self {
            admission: self.admission.clone(),
            closed: self.closed,
            ..Self::new(self.shared.clone(), self.framing.clone(), self.max_buffered)
        }
    }
}

impl<F> fmt::Debug for QuicSession<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSession").field("info", self.info()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
