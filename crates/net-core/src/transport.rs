//! What every way of carrying messages has in common, and the laws that each obeys.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};

use crate::{
    Address, Admission, Batch, BoxTransport, Connection, GoAwayReason, Guarantees, Incoming,
    IncomingConnection, Result, erased,
};

mod boxed;

/// A way to carry messages between two peers: TCP, UDP, WebSocket, QUIC, memory.
///
/// A transport is a value that is configured once and then connects and listens any number of times.
///
/// # Laws
///
/// Every transport obeys these as far as its [`Guarantees`] promise; `net_core::testing::laws` runs them.
///
/// 1. A message arrives whole or not at all; in order where `ordered`. An empty message is a message.
/// 2. `Pending` from [`Sender::poll_send`] leaves the message untouched and the waker registered, and has itself
///    driven the pending writes.
/// 3. While the peer does not read, at most the send buffer's bound is accepted; then `Pending`.
/// 4. After a flush, nothing accepted needs another call from us.
/// 5. After [`Sender::poll_finish`] the peer receives all, then `None`; our receiving goes on where `half_close`; a
///    later send is [`ErrorKind::Closed`](crate::ErrorKind::Closed).
/// 6. `None` and errors are final: later polls give `None` or an error again, and after an error never `None`. Not
///    final are [`ErrorKind::MessageTooLong`](crate::ErrorKind::MessageTooLong) and
///    [`ErrorKind::InvalidMessage`](crate::ErrorKind::InvalidMessage) from `poll_send`: message and connection are
///    intact.
/// 7. Dropping a sender while something accepted is not flushed is an abort, which the peer sees as an error where
///    `signals_abort`. Dropping after a flush is a plain close: what was flushed still arrives.
/// 8. Dropping the future of a verb loses no received message; a sent one was accepted whole or not at all.
/// 9. [`Listener::accept`] waits for no single peer's handshake and fails for no single peer's fault.
/// 10. Memory held for a peer is bounded by configuration and by what has arrived, never by a length that the peer
///     merely announced.
///
/// # Examples
///
/// What is written for any transport runs over each of them:
///
/// ```
/// use net_core::{Address, Listener, Result, Transport, memory::Memory};
///
/// async fn greet<T: Transport>(transport: &T, at: &Address) -> Result<()> {
///     let mut listener = transport.listen(at).await?;
///     let to = listener.local().clone();
///     let (near, far) = tokio::join!(transport.connect(&to), listener.accept());
///     let (mut near, mut far) = (near?, far?);
///     near.send("hello").await?;
///     assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// greet(&Memory::default(), &"mem://greet".parse()?).await?;
/// greet(&Memory::default().boxed(), &"mem://greet".parse()?).await?;
/// # Ok(())
/// # }
/// ```
pub trait Transport: Send + Sync + 'static {
    /// The sending half of its connections.
    type Sender: Sender;
    /// The receiving half of its connections.
    type Receiver: Receiver;
    /// What accepts its connections.
    type Listener: Listener<Sender = Self::Sender, Receiver = Self::Receiver>;

    /// Returns what this transport promises about messages.
    fn guarantees(&self) -> Guarantees;

    /// Opens a connection to `to`.
    ///
    /// # Errors
    ///
    /// Why there is no connection: refused, timed out, unresolved, unreachable.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the attempt.
    fn connect(
        &self,
        to: &Address,
    ) -> impl Future<Output = Result<Connection<Self::Sender, Self::Receiver>>> + Send;

    /// Starts to accept connections at `at`.
    ///
    /// # Errors
    ///
    /// The address cannot be listened at.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    fn listen(&self, at: &Address) -> impl Future<Output = Result<Self::Listener>> + Send;

    /// Starts up to `n` listeners that share `at`, one for each runtime of a server.
    ///
    /// Returns at least one; one is what a transport gives that cannot share an address.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    fn listen_many(
        &self,
        at: &Address,
        n: usize,
    ) -> impl Future<Output = Result<Vec<Self::Listener>>> + Send {
        let _ = n;
        async { Ok(vec![self.listen(at).await?]) }
    }

    /// Erases the type, to choose a transport at run time.
    fn boxed(self) -> BoxTransport
    where
        Self: Sized,
    {
        erased::transport(self)
    }
}

/// Accepts connections.
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, Listener, Transport, memory::Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let mut listener = memory.listen(&"mem://echo".parse()?).await?;
/// let near = memory.connect(listener.local()).await?;
/// listener.close();
/// let far = listener.accept().await?; // it waited already
/// let error = listener.accept().await.expect_err("nothing is left");
/// assert_eq!(error.kind(), ErrorKind::Closed);
/// # drop((near, far));
/// # Ok(())
/// # }
/// ```
pub trait Listener: Send + Unpin + 'static {
    /// The sending half of its connections.
    type Sender: Sender;
    /// The receiving half of its connections.
    type Receiver: Receiver;

    /// Returns the address it listens at, with the port the system chose.
    fn local(&self) -> &Address;

    /// Polls for the next connection.
    ///
    /// A peer's fault, a refused connection and a shortage of descriptors are told to the observer and survived; an
    /// error means that this listener accepts no more.
    fn poll_accept(&mut self, cx: &mut Context<'_>)
    -> Poll<Result<Connection<Self::Sender, Self::Receiver>>>;

    /// Polls for the next connection as [`poll_accept`](Self::poll_accept) does, with the handshake that may come first: a
    /// server runs it in the task that serves the connection after it.
    ///
    /// A listener without handshakes need not override this.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingConnection<Self::Sender, Self::Receiver>>> {
        self.poll_accept(cx).map_ok(Incoming::Ready)
    }

    /// Stops listening.
    ///
    /// Connections that wait in the system's queue and handshakes that run are still given by
    /// [`poll_accept`](Self::poll_accept); after the last of them, wherever it runs, it fails with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    fn close(&mut self);

    /// Puts this listener under the limits of `admission`, which several listeners may share.
    ///
    /// Until then it has limits of its own, the default ones. It is called before connections are asked for: handshakes that
    /// run by then are cut.
    fn set_admission(&mut self, admission: Arc<Admission>);

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// The listener accepts no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no connection is lost.
    fn accept(&mut self) -> impl Future<Output = Result<Connection<Self::Sender, Self::Receiver>>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_accept(cx))
    }
}

/// The sending half of a connection.
///
/// # Examples
///
/// ```
/// use net_core::{Receiver, Sender, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (mut near, mut far) = memory::pair();
/// near.tx.feed("one").await?; // accepted, perhaps not yet on its way
/// near.tx.send("two").await?; // accepted and flushed, and the one before with it
/// near.tx.finish().await?;
/// assert_eq!(far.rx.recv().await?.as_deref(), Some(&b"one"[..]));
/// assert_eq!(far.rx.recv().await?.as_deref(), Some(&b"two"[..]));
/// assert_eq!(far.rx.recv().await?, None);
/// # Ok(())
/// # }
/// ```
pub trait Sender: Send + Unpin + 'static {
    /// Offers one message.
    ///
    /// `Ready(Ok)`: accepted whole, and taken out of `message`. `Pending`: no room, `message` is untouched, the task
    /// is woken when there is.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>>;

    /// Hands every accepted message to the network.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Flushes, then tells the peer that no message follows.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Offers one message that consists of `head` and then `body`, as [`poll_send`](Self::poll_send) does.
    ///
    /// A transport that writes a byte stream sends both without joining them first; others join them here.
    fn poll_send_parts(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        let mut whole = BytesMut::with_capacity(head.len() + body.len());
        whole.extend_from_slice(head);
        whole.extend_from_slice(body);
        ready!(self.poll_send(cx, &mut whole.freeze()))?;
        *body = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Offers one message that consists of `head` and then a copy of `body`, as [`poll_send`](Self::poll_send) does.
    ///
    /// For a short body that is borrowed: a transport that gathers short messages in one buffer copies it there.
    fn poll_send_copy(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Poll<Result<()>> {
        self.poll_send_parts(cx, head, &mut Bytes::copy_from_slice(body))
    }

    /// Offers the messages of `batch` in order, taking out those that are accepted.
    ///
    /// `Pending`: those still in `batch` were not accepted. An error concerns the first one still in `batch`.
    fn poll_send_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<()>> {
        while let Some(message) = batch.front_mut() {
            ready!(self.poll_send(cx, message))?;
            batch.pop();
        }
        Poll::Ready(Ok(()))
    }

    /// Returns how many bytes are accepted and not yet with the network; 0 where that is not known.
    ///
    /// A server that finds it unchanged for too long has a peer that does not read.
    fn unsent_len(&self) -> usize {
        0
    }

    /// Returns how many bytes of memory are held for what is accepted and not yet with the network: at least what
    /// [`unsent_len`](Self::unsent_len) tells.
    ///
    /// A server counts it into its [memory budget](crate::Limits::memory_budget) while the peer does not read.
    fn held_len(&self) -> usize {
        self.unsent_len()
    }

    /// Notes why this side is about to finish, for transports that can tell the peer with their end.
    fn leave(&mut self, reason: GoAwayReason) {
        let _ = reason;
    }

    /// Gives the connection up: when this half is dropped next, the peer sees an error and no clean end, as far as the
    /// transport can tell them apart, even where all that was accepted is flushed.
    ///
    /// Whoever has messages left that found no room calls it before it drops them.
    fn abort(&mut self) {}

    /// Queues one message, waiting for room.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MessageTooLong`](crate::ErrorKind::MessageTooLong) and
    /// [`ErrorKind::InvalidMessage`](crate::ErrorKind::InvalidMessage) with the connection intact, or why the
    /// connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the message was accepted whole or not at all; which of the two, the caller does not learn.
    fn feed(&mut self, message: impl Into<Bytes>) -> impl Future<Output = Result<()>> + Send
    where
        Self: Sized,
    {
        let mut message = message.into();
        poll_fn(move |cx| self.poll_send(cx, &mut message))
    }

    /// Sends one message and flushes.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed).
    ///
    /// # Cancel safety
    ///
    /// As [`feed`](Self::feed).
    fn send(&mut self, message: impl Into<Bytes>) -> impl Future<Output = Result<()>> + Send
    where
        Self: Sized,
    {
        let mut message = Some(message.into());
        poll_fn(move |cx| {
            if let Some(offered) = &mut message {
                ready!(self.poll_send(cx, offered))?;
                message = None;
            }
            self.poll_flush(cx)
        })
    }

    /// Waits until every queued message is with the network.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was not written stays queued.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// Flushes and tells the peer that no message follows.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it may be called again.
    fn finish(&mut self) -> impl Future<Output = Result<()>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_finish(cx))
    }
}

/// The receiving half of a connection.
///
/// # Examples
///
/// ```
/// use net_core::{Receiver, Result, Sender, memory};
///
/// async fn total_len(rx: &mut impl Receiver) -> Result<usize> {
///     let mut total = 0;
///     while let Some(message) = rx.recv().await? {
///         total += message.len();
///     }
///     Ok(total)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let (mut near, mut far) = memory::pair();
/// near.tx.feed("one").await?;
/// near.tx.feed("three").await?;
/// near.tx.finish().await?;
/// assert_eq!(total_len(&mut far.rx).await?, 8);
/// # Ok(())
/// # }
/// ```
pub trait Receiver: Send + Unpin + 'static {
    /// Polls for the next message; `None` once the peer finished.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>>;

    /// Polls for all messages that are ready, as many as `batch` has room for and one at least, and appends them.
    ///
    /// `Ready(Ok(n))`: `n` were appended; 0 means that the peer finished. What goes wrong behind a message is told
    /// by the next call.
    fn poll_recv_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<usize>> {
        // One message a call needs no memory of what came behind it; transports that have more at hand override this.
        Poll::Ready(Ok(match ready!(self.poll_recv(cx))? {
            Some(message) => {
                batch.push(message);
                1
            }
            None => 0,
        }))
    }

    /// Shows the next message without taking it, where it has arrived whole and its bytes stand in one piece.
    ///
    /// `None` says nothing of what [`poll_recv`](Self::poll_recv) would give: it is to be asked then. What is shown is
    /// what it would give next.
    ///
    /// A message that is only looked at costs less than one that is owned: no reference to it is counted.
    fn peek(&mut self) -> Option<&[u8]> {
        None
    }

    /// Takes the message that [`peek`](Self::peek) showed last and drops it; nothing where it showed none.
    fn consume(&mut self) {}

    /// Tells whether something other than a message has come since this was asked last: a sign of life.
    fn heard(&mut self) -> bool {
        false
    }

    /// Polls for something that [`peek`](Self::peek) may show, where nothing has arrived that was not taken.
    ///
    /// `Ready(Ok(true))`: something has come, perhaps less than a message. `Pending`: nothing has, so that
    /// [`poll_recv`](Self::poll_recv) would wait, too; who polls is woken. `Ready(Ok(false))` says nothing: `poll_recv` is to be
    /// asked. An error is the end of receiving, which `poll_recv` then tells again.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        let _ = cx;
        Poll::Ready(Ok(false))
    }

    /// Returns how many bytes are held of a message that has not arrived whole.
    ///
    /// A server that finds it above zero for too long has a peer that stalls inside a message.
    fn incomplete_len(&self) -> usize {
        0
    }

    /// Returns how many bytes of memory are held for what has arrived and was not given: at least what
    /// [`incomplete_len`](Self::incomplete_len) tells, and the rest of the buffer in which that stands.
    ///
    /// A server counts it into its [memory budget](crate::Limits::memory_budget).
    fn held_len(&self) -> usize {
        self.incomplete_len()
    }

    /// Gives back memory that is held for nothing: called by one who turns to something else before all that is at
    /// hand was taken.
    ///
    /// A receiver that has returned `Pending` holds none.
    fn release(&mut self) {}

    /// Takes no message longer than `max` bytes from now on, and returns what the limit was before; `None` where the
    /// limit is the transport's alone and stays.
    ///
    /// A longer one is the end of receiving, with [`ErrorKind::MessageTooLong`](crate::ErrorKind::MessageTooLong), as
    /// soon as its length is known and before memory is taken for it. A server limits thereby what a peer may announce
    /// before it has shown who it is.
    fn limit_message_len(&mut self, max: usize) -> Option<usize> {
        let _ = max;
        None
    }

    /// Waits for the next message; `None` once the peer finished.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message that was not returned stays queued.
    fn recv(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_recv(cx))
    }
}
