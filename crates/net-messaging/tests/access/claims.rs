//! What these tests begin with: peers from chosen addresses, authenticators, and those who write down what they hear.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use net_core::{
    Address, Admission, ApiKey, Connection, Credentials, Error, ErrorReply, Guarantees, Info, Limit,
    Listener, Message, MessageKind, Observer, Result, Transport, memory::Memory,
};
use net_messaging::{Authenticator, CloseReason, Handler, HandlerResult, Identity, Refusal, Session};

use crate::rig::Peer;

/// A key that nothing but the wire may ever show.
pub(crate) const SECRET: &str = "s3cret-of-the-tests";

/// Lets in whoever knows the secret, by the name that it gives itself.
#[derive(Debug)]
pub(crate) struct OneKey;

impl Authenticator for OneKey {
    async fn authenticate(&self, _: &Session, credentials: Credentials) -> Result<Identity, Refusal> {
        if credentials.api_key().matches(&ApiKey::from(SECRET)) {
            Ok(Identity::new(credentials.get("user").unwrap_or("nobody")).with_role("reader"))
        } else {
            Err(Refusal::unauthenticated("unknown key"))
        }
    }
}

pub(crate) fn right(user: &str) -> Credentials {
    Credentials::new(SECRET).with_metadata("user", user)
}

pub(crate) fn wrong() -> Credentials {
    Credentials::new("guess")
}

/// The message in which credentials travel.
pub(crate) fn shown(id: u64, credentials: &Credentials) -> Message {
    Message::new(MessageKind::Authenticate, id, credentials.encode().expect("fits"))
}

/// Returns the reason of an error message.
pub(crate) fn reply(message: &Message) -> ErrorReply {
    assert_eq!(message.kind(), MessageKind::Error, "{message}");
    ErrorReply::decode(message.payload()).expect("is well-formed")
}

/// An echo that writes down all that its server or client hears of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub(crate) fn add(&self, line: String) {
        self.0.lock().expect("not poisoned").push(line);
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

fn name(session: &Session) -> String {
    session.identity().map_or_else(|| "?".to_owned(), |identity| identity.name().to_owned())
}

impl Handler for Heard {
    async fn connected(&self, session: &Session) -> HandlerResult<()> {
        self.add(format!("connected {}", name(session)));
        Ok(())
    }

    async fn message(&self, session: &Session, message: Message) -> HandlerResult {
        self.add(format!("message {} {}", name(session), message.payload().escape_ascii()));
        Ok(Some(message.into_reply()))
    }

    async fn disconnected(&self, session: &Session, reason: &CloseReason) {
        self.add(format!("disconnected {} {reason}", name(session)));
    }
}

/// Writes down what observers are told, with every `Debug` and `Display` there is.
impl Observer for Heard {
    fn opened(&self, info: &Info) {
        self.add(format!("opened {info:?}"));
    }

    fn refused(&self, _: &Info, limit: Limit, messages: u64) {
        self.add(format!("limited {limit} {messages}"));
    }

    fn authenticated(&self, _: &Info, name: &str) {
        self.add(format!("authenticated {name}"));
    }

    fn authentication_failed(&self, _: &Info, why: &ErrorReply) {
        self.add(format!("failed {why}"));
    }

    fn closed(&self, _: &Info, error: Option<&Error>) {
        self.add(format!("closed {:?}", error.map(Error::report)));
    }
}

/// Memory, where the one who connects has the address and the details that the test gives it.
#[derive(Clone)]
pub(crate) struct Claimed {
    memory: Memory,
    claim: Arc<dyn Fn(u32, Info) -> Info + Send + Sync>,
}

impl Claimed {
    /// `claim` is given the number of each connection that is accepted, from 0 on.
    pub(crate) fn new(claim: impl Fn(u32, Info) -> Info + Send + Sync + 'static) -> Self {
        Self { memory: Memory::default(), claim: Arc::new(claim) }
    }

    /// Each connection comes from the address `ip` tells for its number.
    pub(crate) fn from_ips(ip: impl Fn(u32) -> String + Send + Sync + 'static) -> Self {
        Self::new(move |number, mut info| {
            info.remote = format!("tcp://{}:1000", ip(number)).parse().expect("an address");
            info
        })
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claimed")
    }
}

impl Transport for Claimed {
    type Sender = <Memory as Transport>::Sender;
    type Receiver = <Memory as Transport>::Receiver;
    type Listener = ClaimedListener;

    fn guarantees(&self) -> Guarantees {
        self.memory.guarantees()
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Self::Sender, Self::Receiver>> {
        self.memory.connect(to).await
    }

    async fn listen(&self, at: &Address) -> Result<ClaimedListener> {
        let listener = self.memory.listen(at).await?;
        Ok(ClaimedListener { listener, claim: self.claim.clone(), accepted: AtomicU32::new(0) })
    }
}

pub(crate) struct ClaimedListener {
    listener: <Memory as Transport>::Listener,
    claim: Arc<dyn Fn(u32, Info) -> Info + Send + Sync>,
    accepted: AtomicU32,
}

impl Listener for ClaimedListener {
    type Sender = <Memory as Transport>::Sender;
    type Receiver = <Memory as Transport>::Receiver;

    fn local(&self) -> &Address {
        self.listener.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<Self::Sender, Self::Receiver>>> {
        self.listener.poll_accept(cx).map_ok(|connection| {
            let Connection { tx, rx, info, .. } = connection;
            let number = self.accepted.fetch_add(1, Ordering::Relaxed);
            Connection::new(tx, rx, (self.claim)(number, info))
        })
    }

    fn close(&mut self) {
        self.listener.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.listener.set_admission(admission);
    }
}

/// Shows credentials and returns the answer.
pub(crate) async fn attempt(peer: &mut Peer, id: u64, credentials: &Credentials) -> Message {
    peer.send(shown(id, credentials)).await;
    peer.recv().await
}
