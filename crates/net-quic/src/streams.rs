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

use self::patience::Patience;
use crate::{
    Quic, QuicReceiver, QuicSender, QuicSession, QuicSessions, parameters::Purpose, runtime::runtime,
    setup::only,
};

mod patience;

/// Carries messages over QUIC as [`Quic`] does, but its listener gives a connection for every bidirectional stream that a
/// client opens, however many there are in one session.
///
/// Clients of [`Quic`] are served by it as by a listener of [`Quic`]; so are those that open a stream for each request. Streams
/// of one direction are not let in, and no early data is taken, whatever
/// [`max_uni_streams`](crate::QuicConfig::max_uni_streams) and [`early_data`](crate::QuicConfig::early_data) say.
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
        only(self.listen_many(at, 1).await?, at)
    }

    /// Gives one listener where clients may [migrate](crate::QuicConfig::migration), which excludes sharing a port.
    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<Self::Listener>> {
        let listeners = self.0.sessions(at, n, Purpose::MessageStreams).await?;
        Ok(listeners.into_iter().map(QuicSessions::into_streams).collect())
    }
}

/// Accepts message connections, one for every bidirectional stream of every session.
///
/// Sessions are held to the limits of its admission as connections are, and each stream as well. A session whose client opens no
/// stream for [`first_message_timeout`](net_core::Limits::first_message_timeout), or that has had none open for
/// [`idle_timeout`](net_core::Limits::idle_timeout) or a quarter more, is closed; one is open for as long as the program holds a
/// part of its connection. Streams that clients open
/// when it gives none any more, or is dropped, are refused with [`REFUSED`](crate::REFUSED); those that were given go on.
/// Accepting outside a runtime of tokio is [`ErrorKind::Unsupported`].
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
pub struct StreamListener<F: Framing = LengthPrefix> {
    sessions: QuicSessions<F>,
    /// The next stream of each session.
    next: FuturesUnordered<Next<F>>,
    admission: Option<Arc<Admission>>,
    closed: bool,
}

/// The next message connection of a session, and the session; `None` where there is none any more.
struct Next<F> {
    /// Gone with what it gives.
    session: Option<QuicSession<F>>,
    /// Waits for a handshake that still runs: what comes before its end may be a repetition, and the client is not known.
    established: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
    /// Where the session may not be without a stream for ever.
    patience: Option<Patience>,
}

impl<F: Framing> Next<F> {
    fn new(session: QuicSession<F>, patience: Option<Patience>) -> Self {
        let waits = session.is_handshaking();
        let shared = session.shared().clone();
        let established = waits.then(|| Box::pin(async move { shared.established().await.map(drop) }) as _);
        Self { session: Some(session), established, patience }
    }
}

impl<F: Framing> Future for Next<F> {
    /// The connection, and what waits for the next one.
    type Output = Option<(Self, Connection<QuicSender<F>, QuicReceiver<F>>)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(established) = &mut self.established {
            let outcome = ready!(established.as_mut().poll(cx));
            self.established = None;
            if outcome.is_err() {
                return Poll::Ready(None);
            }
        }
        let Self { session: Some(session), patience, .. } = &mut *self else { return Poll::Ready(None) };
        let Poll::Ready(accepted) = session.poll_accept(cx) else {
            let Some(patience) = patience else { return Poll::Pending };
            // The session is closed with its last handle, which this is.
            return patience.poll_over(cx, session.shared()).map(|()| None);
        };
        let patience = patience.take().and_then(Patience::after_stream);
        let after = Self { session: self.session.take(), established: None, patience };
        Poll::Ready(accepted.ok().map(|connection| (after, connection)))
    }
}

impl<F: Framing> StreamListener<F> {
    pub(crate) fn new(sessions: QuicSessions<F>) -> Self {
        Self { sessions, next: FuturesUnordered::new(), admission: None, closed: false }
    }

    /// Has the sessions refuse the streams that are yet to come, which are nobody's.
    fn refuse_streams(&mut self) {
        for session in self.next.iter_mut().filter_map(|next| next.session.as_ref()) {
            session.shared().refuse_streams();
        }
        self.next.clear();
    }

    /// Takes every session that has come. `Ready`: none comes any more.
    fn poll_sessions(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Ok(mut session) = ready!(self.sessions.poll_accept(cx)) {
            if let Some(admission) = &self.admission {
                session.set_admission(admission.clone());
            }
            let patience = self.admission.as_ref().and_then(Patience::new);
            self.next.push(Next::new(session, patience));
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
        runtime("accept")?;
        loop {
            let all_came = self.poll_sessions(cx).is_ready();
            match Pin::new(&mut self.next).poll_next(cx) {
                Poll::Ready(Some(Some((next, connection)))) => {
                    self.next.push(next);
                    return Poll::Ready(Ok(connection));
                }
                // A session has ended.
                Poll::Ready(Some(None)) => {}
                Poll::Ready(None) | Poll::Pending if all_came && self.closed => {
                    self.refuse_streams();
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

impl<F: Framing> Drop for StreamListener<F> {
    fn drop(&mut self) {
        self.refuse_streams();
    }
}

impl<F: Framing> fmt::Debug for StreamListener<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamListener").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}
