//! What several tests begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    future::{Future, pending, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use net_core::{
    Address, Connection, GoAway, Info, Limit, Listener, Message, MessageKind, Observer, Receiver, Sender,
    Transport,
    memory::{Memory, MemoryConfig, MemoryListener, MemoryReceiver, MemorySender},
};
use net_messaging::{
    Client, ClientBuilder, Handler, HandlerResult, Limits, Server, ServerBuilder, Session, SessionConfig,
};

/// Writes down the limits that an observer is told, by name.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    /// Returns what was told since this was asked last.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

impl Observer for Told {
    fn limited(&self, _: &Info, limit: Limit) {
        self.0.lock().expect("not poisoned").push(limit.to_string());
    }

    fn rejected(&self, _: &Address, limit: Limit) {
        self.0.lock().expect("not poisoned").push(format!("rejected {limit}"));
    }

    fn exhausted(&self, _: &Address, attempts: u32) {
        self.0.lock().expect("not poisoned").push(format!("exhausted after {attempts}"));
    }
}

/// Waits for `event`, 20 s at the longest.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(20), event).await;
    waited.unwrap_or_else(|_| panic!("waited for {what} in vain"))
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Lets every task run until none has anything to do: paused time goes on only then.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_micros(100)).await;
}

/// Lets the tasks that are ready run once. tokio's own `yield_now` waits until no task is, or for 61 of them.
pub(crate) async fn turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A transport in which a message waits as soon as another one is under way.
pub(crate) fn narrow() -> Memory {
    Memory::new(MemoryConfig { max_buffered: 1, ..MemoryConfig::default() })
}

/// How sessions behave and their limits, for both sides alike.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) session: SessionConfig,
    pub(crate) limits: Limits,
}

/// No deadline and no heartbeat but those that a test sets.
pub(crate) fn patient() -> Rules {
    Rules { session: quiet(), limits: unlimited() }
}

/// No heartbeat.
pub(crate) fn quiet() -> SessionConfig {
    SessionConfig { heartbeat: None, ..SessionConfig::default() }
}

/// No deadline.
pub(crate) fn unlimited() -> Limits {
    Limits {
        idle_timeout: None,
        first_message_timeout: None,
        message_timeout: None,
        min_data_rate: None,
        handler_timeout: None,
        stall_timeout: None,
        ..Limits::default()
    }
}

/// No deadline.
impl From<SessionConfig> for Rules {
    fn from(session: SessionConfig) -> Self {
        Self { session, limits: unlimited() }
    }
}

/// No heartbeat.
impl From<Limits> for Rules {
    fn from(limits: Limits) -> Self {
        Self { session: quiet(), limits }
    }
}

/// What is configured by [`Rules`].
pub(crate) trait Ruled {
    fn rules(self, rules: impl Into<Rules>) -> Self;
}

impl<T: Transport, H> Ruled for ServerBuilder<T, H> {
    fn rules(self, rules: impl Into<Rules>) -> Self {
        let Rules { session, limits } = rules.into();
        self.session(session).limits(limits)
    }
}

impl<T: Transport, H> Ruled for ClientBuilder<T, H> {
    fn rules(self, rules: impl Into<Rules>) -> Self {
        let Rules { session, limits } = rules.into();
        self.session(session).limits(limits)
    }
}

/// Starts a server in memory.
pub(crate) async fn listen<T: Transport, H: Handler>(builder: ServerBuilder<T, H>) -> Server {
    builder.listen("mem://server").await.expect("listens")
}

/// Returns a client without deadlines but those that `configure` sets, the peer at its other end, and where it comes
/// back to.
pub(crate) async fn pair<H: Handler>(
    memory: &Memory,
    configure: impl FnOnce(ClientBuilder<Memory>) -> ClientBuilder<Memory, H>,
) -> (Client, Peer, MemoryListener) {
    let mut listener = memory.listen(&"mem://server".parse().expect("an address")).await.expect("listens");
    let builder = configure(Client::builder(memory.clone()).rules(patient()));
    let (client, peer) = tokio::join!(builder.connect("mem://server"), Peer::accept(&mut listener));
    (client.expect("connects"), peer, listener)
}

/// Starts a server in memory that echoes.
pub(crate) async fn echo(memory: &Memory, rules: impl Into<Rules>) -> Server {
    let builder = Server::builder(memory.clone()).rules(rules);
    listen(builder.on_message(|_, message| async { Ok(message.into_reply()) })).await
}

/// Returns the only session, once it is there.
pub(crate) async fn only(server: &Server) -> Session {
    loop {
        let mut sessions = server.sessions();
        assert!(sessions.len() <= 1, "more than one session");
        if let Some(session) = sessions.pop().filter(Session::is_active) {
            return session;
        }
        tokio::task::yield_now().await;
    }
}

/// Counts up when it is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a handler does that never returns; counts in `dropped` when it is dropped.
pub(crate) fn for_ever(dropped: &Arc<AtomicUsize>) -> impl Future<Output = HandlerResult> + Send + use<> {
    let guard = Dropped(dropped.clone());
    async move {
        pending::<()>().await;
        drop(guard);
        Ok(None)
    }
}

/// A peer without an engine: it sends and receives what it is told to, and nothing else.
pub(crate) struct Peer<S = MemorySender, R = MemoryReceiver>(pub(crate) Connection<S, R>);

impl<S: Sender, R: Receiver> Peer<S, R> {
    pub(crate) async fn connect<T>(transport: &T, to: &Address) -> Self
    where
        T: Transport<Sender = S, Receiver = R>,
    {
        Self(transport.connect(to).await.expect("connects"))
    }

    pub(crate) async fn accept(listener: &mut impl Listener<Sender = S, Receiver = R>) -> Self {
        Self(soon("a connection", listener.accept()).await.expect("accepts"))
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.0.tx.send(message.encode()).await.expect("sends");
    }

    pub(crate) async fn request(&mut self, id: u64, payload: impl Into<bytes::Bytes>) {
        self.send(Message::new(MessageKind::Request, id, payload)).await;
    }

    pub(crate) async fn notify(&mut self, payload: impl Into<bytes::Bytes>) {
        self.send(Message::from(payload.into())).await;
    }

    /// Returns the next message.
    pub(crate) async fn recv(&mut self) -> Message {
        let frame = soon("a message", self.0.rx.recv()).await.expect("receives").expect("not the end");
        Message::decode(frame).expect("a message")
    }

    /// Returns what the other side says as it asks to leave.
    pub(crate) async fn sent_away(&mut self) -> GoAway {
        let message = self.recv().await;
        assert_eq!((message.kind(), message.id()), (MessageKind::GoAway, 0));
        GoAway::decode(message.payload()).expect("a notice")
    }

    /// Returns the payload of the next message, as text.
    pub(crate) async fn text(&mut self) -> String {
        text(&self.recv().await)
    }

    /// Returns a message that has arrived already.
    pub(crate) fn arrived(&mut self) -> Option<Message> {
        let frame = self.0.rx.recv().now_or_never()?.expect("receives").expect("not the end");
        Some(Message::decode(frame).expect("a message"))
    }

    /// Expects that the other side finishes without another message.
    pub(crate) async fn expect_end(&mut self) {
        let end = soon("the end", self.0.rx.recv()).await;
        assert!(matches!(end, Ok(None)), "{end:?}");
    }
}

/// Sends without waiting, and expects that it is accepted.
pub(crate) fn push(session: &Session, message: impl Into<Message>) {
    let delivery = session.send(message).expect("sends");
    assert!(delivery.is_accepted(), "{delivery:?}");
}

/// Feeds, and expects that it is accepted.
pub(crate) fn feed(session: &Session, message: impl Into<Message>) {
    let delivery = session.feed(message).expect("feeds");
    assert!(delivery.is_accepted(), "{delivery:?}");
}

/// Returns a payload as text.
pub(crate) fn text(message: &Message) -> String {
    String::from_utf8(message.payload().to_vec()).expect("text")
}

/// Returns a frame with a request in it, as it is on a byte stream.
pub(crate) fn frame(id: u64, payload: &[u8]) -> Vec<u8> {
    let body = Message::new(MessageKind::Request, id, payload.to_vec()).encode();
    let len = u32::try_from(body.len()).expect("short");
    [&len.to_be_bytes()[..], &body].concat()
}
