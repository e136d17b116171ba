//! What accepts QUIC connections: as messages, or as sessions with all that QUIC has.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use net_core::{
    Acceptor, Address, Admission, Connection, Incoming, IncomingConnection, Info, Listener, Result,
    frame::{Framing, LengthPrefix},
};

use crate::{
    QuicReceiver, QuicSender, QuicSession, RecvStream, SendStream, StreamListener,
    runtime::runtime,
    session::{Shared, frame},
    source::Source,
};

/// A session whose stream of messages is there.
pub(crate) type Messages = (SendStream, RecvStream, Info);

/// Accepts message connections over QUIC, each on the first stream of a connection.
///
/// A connection is given when its client has opened the stream, which this crate's does at once; until then it counts as a
/// handshake, and has its deadline. Accepting outside a runtime of tokio is
/// [`ErrorKind::Unsupported`](net_core::ErrorKind::Unsupported).
///
/// # Examples
///
/// ```no_run
/// use net_core::{Listener, Transport};
/// use net_quic::Quic;
///
/// # async fn example(quic: Quic) -> net_core::Result<()> {
/// let mut listener = quic.listen(&"quic://:4433".parse()?).await?;
/// let mut far = listener.accept().await?;
/// while let Some(message) = far.recv().await? {
///     far.send(message).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct QuicListener<F = LengthPrefix> {
    acceptor: Acceptor<Source<Messages>>,
    framing: F,
    max_buffered: usize,
}

impl<F> QuicListener<F> {
    pub(crate) fn new(acceptor: Acceptor<Source<Messages>>, framing: F, max_buffered: usize) -> Self {
        Self { acceptor, framing, max_buffered }
    }
}

impl<F: Framing> Listener for QuicListener<F> {
    type Sender = QuicSender<F>;
    type Receiver = QuicReceiver<F>;

    fn local(&self) -> &Address {
        self.acceptor.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<Self::Sender, Self::Receiver>>> {
        runtime("accept")?;
        self.acceptor
            .poll_accept(cx)
            .map_ok(|(tx, rx, info)| frame(tx, rx, info, &self.framing, self.max_buffered))
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingConnection<Self::Sender, Self::Receiver>>> {
        runtime("accept")?;
        self.acceptor.poll_incoming(cx).map_ok(|incoming| {
            let (framing, max_buffered) = (self.framing.clone(), self.max_buffered);
            incoming.map(move |(tx, rx, info)| frame(tx, rx, info, &framing, max_buffered))
        })
    }

    fn close(&mut self) {
        self.acceptor.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.acceptor.set_admission(admission);
    }
}

/// Accepts sessions.
///
/// Where [`early_data`](crate::QuicConfig::early_data) is on, the session of a client that resumes with it is given while its
/// handshake runs. Until that is over it counts as a handshake for [`retry_threshold`](crate::QuicConfig::retry_threshold), and
/// it is closed at the deadline of handshakes, [`handshake_timeout`](net_core::Limits::handshake_timeout); that it failed is told
/// by [`established`](QuicSession::established), and no longer to the observer. All others are given when their handshake is
/// over.
///
/// # Examples
///
/// ```no_run
/// # async fn example(quic: net_quic::Quic) -> net_core::Result<()> {
/// let mut sessions = quic.listen_sessions(&"quic://:4433".parse()?).await?;
/// while let Ok(incoming) = sessions.incoming().await {
///     tokio::spawn(async move {
///         let session = incoming.run(|session| session).await?;
///         let ended = session.serve_bi(async |mut tx, mut rx| {
///             match rx.read_to_end(64 * 1024).await {
///                 Ok(request) => drop(tx.write_all(&request).await), // and the answer ends
///                 Err(_) => tx.reset(7),                              // what the two have agreed on
///             }
///         });
///         Some(ended.await)
///     });
/// }
/// # Ok(())
/// # }
/// ```
pub struct QuicSessions<F = LengthPrefix> {
    acceptor: Acceptor<Source<Shared>>,
    framing: F,
    max_buffered: usize,
}

impl<F: Framing> QuicSessions<F> {
    pub(crate) fn new(acceptor: Acceptor<Source<Shared>>, framing: F, max_buffered: usize) -> Self {
        Self { acceptor, framing, max_buffered }
    }

    /// Gives a message connection for every bidirectional stream of every session, instead of the sessions; each when the
    /// handshake of its session is over, so that none of them is early.
    pub fn into_streams(self) -> StreamListener<F> {
        StreamListener::new(self)
    }

    /// Returns the address it listens at, with the port that the system chose.
    pub fn local(&self) -> &Address {
        self.acceptor.local()
    }

    /// Polls for the next session.
    ///
    /// # Errors
    ///
    /// It accepts no more; [`ErrorKind::Unsupported`](net_core::ErrorKind::Unsupported) outside a runtime of tokio.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<QuicSession<F>>> {
        runtime("accept")?;
        self.acceptor
            .poll_accept(cx)
            .map_ok(|shared| QuicSession::new(Arc::new(shared), self.framing.clone(), self.max_buffered))
    }

    /// Waits for the next session.
    ///
    /// # Errors
    ///
    /// It accepts no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no session is lost.
    pub async fn accept(&mut self) -> Result<QuicSession<F>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next client, whose handshake is yet to run.
    ///
    /// # Errors
    ///
    /// As [`poll_accept`](Self::poll_accept).
    pub fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<QuicSession<F>>>> {
        runtime("accept")?;
        let (framing, max_buffered) = (self.framing.clone(), self.max_buffered);
        let session = move |shared| QuicSession::new(Arc::new(shared), framing, max_buffered);
        self.acceptor.poll_incoming(cx).map_ok(|incoming| incoming.map(session))
    }

    /// Waits for the next client, for a task to [run](Incoming::run) its handshake and then to serve it: the first request is
    /// answered sooner than where a task of its own runs the handshake and hands the session over, as for
    /// [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// It accepts no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no client is lost.
    pub async fn incoming(&mut self) -> Result<Incoming<QuicSession<F>>> {
        poll_fn(|cx| self.poll_incoming(cx)).await
    }

    /// Stops listening; sessions whose handshakes run are still given by [`accept`](Self::accept).
    pub fn close(&mut self) {
        self.acceptor.close();
    }

    /// Puts it under the limits of `admission`, which several listeners may share.
    pub fn set_admission(&mut self, admission: Arc<Admission>) {
        self.acceptor.set_admission(admission);
    }
}

impl<F> fmt::Debug for QuicListener<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicListener").field("acceptor", &self.acceptor).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for QuicSessions<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSessions").field("acceptor", &self.acceptor).finish_non_exhaustive()
    }
}
