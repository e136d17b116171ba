//! Message connections on every bidirectional stream of every session.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{Stream, stream::FuturesUnordered};
use net_core::{
    Address, Admission, Connection, Error, ErrorKind, Guarantees, Listener, Result, Transport,
    frame::{Framing, LengthPrefix},
};

use crate::{Quic, QuicReceiver, QuicSender, QuicSession, QuicSessions};

/// Carries messages over QUIC as [`Quic`] does, but its listener gives a connection for every bidirectional stream that a
/// client opens, however many there are in one session.
///
/// Clients of [`Quic`] are served by it as by a listener of [`Quic`]; so are those that open a stream for each request.
///
/// # Examples
///
/// ```no_run
/// use net_core::{Listener, Transport};
/// use net_quic::{Quic, QuicStreams};
///
/// # async fn example(quic: Quic) -> net_core::Result<()> {
/// let mut listener = QuicStreams::new(quic).listen(&"quic://:4433".parse()?).await?;
/// let first = listener.accept().await?;
/// let second = listener.accept().await?; // of the same session, perhaps
/// # drop((first, second));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct QuicStreams<F = LengthPrefix>(Quic<F>);

impl<F: Framing> QuicStreams<F> {
    /// Listens, and connects, as `quic` is set up to.
    pub fn new(quic: Quic<F>) -> Self {
        Self(quic)
    }
}

impl<F: Framing> Transport for QuicStreams<F> {
    type Sender = QuicSender<F>;
    type Receiver = QuicReceiver<F>;
    type Listener = StreamListener<F>;

    fn guarantees(&self) -> Guarantees {
        self.0.guarantees()
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Self::Sender, Self::Receiver>> {
        self.0.connect(to).await
    }

    async fn listen(&self, at: &Address) -> Result<Self::Listener> {
        Ok(self.0.listen_sessions(at).await?.into_streams())
    }

    /// Gives one listener where clients may [migrate](crate::QuicConfig::migration), which excludes sharing a port.
    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<Self::Listener>> {
        let listeners = self.0.listen_sessions_many(at, n).await?;
        Ok(listeners.into_iter().map(QuicSessions::into_streams).collect())
    }
}

/// Accepts message connections, one for every bidirectional stream of every session.
///
/// Sessions are held to the limits of its admission as connections are, and each stream as well.
///
/// # Examples
///
/// ```no_run
/// use net_core::Listener;
/// use net_quic::{QuicSessions, StreamListener};
///
/// # async fn example(sessions: QuicSessions) -> net_core::Result<()> {
/// let mut listener: StreamListener = sessions.into_streams();
/// let mut far = listener.accept().await?;
/// if let Some(request) = far.recv().await? {
///     far.send(request).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct StreamListener<F = LengthPrefix> {
    sessions: QuicSessions<F>,
    /// The next stream of each session.
    next: FuturesUnordered<Next<F>>,
    admission: Option<Arc<Admission>>,
    closed: bool,
}

type Next<F> = Pin<Box<dyn Future<Output = Option<(QuicSession<F>, Accepted)>> + Send>>;
type Accepted = (quinn::SendStream, quinn::RecvStream);

/// Waits for the next stream of a session; `None` where there is none any more.
async fn next<F: Framing>(session: QuicSession<F>) -> Option<(QuicSession<F>, Accepted)> {
    let accepted = session.shared().connection().accept_bi().await.ok()?;
    Some((session, accepted))
}

impl<F: Framing> StreamListener<F> {
    pub(crate) fn new(sessions: QuicSessions<F>) -> Self {
        Self { sessions, next: FuturesUnordered::new(), admission: None, closed: false }
    }

    /// Takes every session that has come. `Ready`: none comes any more.
    fn poll_sessions(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Ok(mut session) = ready!(self.sessions.poll_accept(cx)) {
            if let Some(admission) = &self.admission {
                session.set_admission(admission.clone());
            }
            self.next.push(Box::pin(next(session)));
        }
        Poll::Ready(())
    }
}

impl<F: Framing> Listener for StreamListener<F> {
    type Sender = QuicSender<F>;
    type Receiver = QuicReceiver<F>;

    fn local(&self) -> &Address {
        self.sessions.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<Self::Sender, Self::Receiver>>> {
        loop {
            let all_came = self.poll_sessions(cx).is_ready();
            match Pin::new(&mut self.next).poll_next(cx) {
                Poll::Ready(Some(Some((session, (tx, rx))))) => {
                    let admitted = session.admit(tx, rx);
                    self.next.push(Box::pin(next(session)));
                    if let Some(connection) = admitted {
                        return Poll::Ready(Ok(connection));
                    }
                }
                // A session has ended.
                Poll::Ready(Some(None)) => {}
                // Streams that are yet to come are nobody's.
                Poll::Ready(None) | Poll::Pending if all_came && self.closed => {
                    self.next.clear();
                    return Poll::Ready(Err(Error::new(ErrorKind::Closed, "accept").at(self.local())));
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.sessions.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.sessions.set_admission(admission.clone());
        self.admission = Some(admission);
    }
}

impl<F> fmt::Debug for StreamListener<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamListener").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}
