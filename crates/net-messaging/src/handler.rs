//! What a server or a client does with messages.

use std::{error::Error as StdError, fmt, future::Future, sync::Arc};

use net_core::{Message, MessageRef};

use crate::{CloseReason, Session};

/// An error of a handler: any error at all.
///
/// A request whose handler fails is answered by an error message. Where the error is an
/// [`ErrorReply`](net_core::ErrorReply), that is what the peer receives; of any other error it learns only that the
/// handler failed.
pub type HandlerError = Box<dyn StdError + Send + Sync>;

/// What a handler gives: a reply, or none.
pub type HandlerResult<T = Option<Message>> = Result<T, HandlerError>;

/// What a server or a client does with messages.
///
/// The messages of one session are handled one after another unless its `max_concurrent` says otherwise. Every
/// operation of a session is allowed inside every handler. A handler's future is dropped when its connection breaks
/// or is disconnected; at a clean end of input it completes. A handler that panics ends its session and no other.
///
/// # Examples
///
/// ```
/// use net_core::Message;
/// use net_messaging::{Handler, HandlerResult, Session};
///
/// #[derive(Debug)]
/// struct Echo;
///
/// impl Handler for Echo {
///     async fn message(&self, _: &Session, message: Message) -> HandlerResult {
///         Ok(Some(message.into_reply()))
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Whether [`answer`](Self::answer) is asked before [`message`](Self::message); not unless set.
    const ANSWERS: bool = false;

    /// Handles a request or a notification, and returns what is sent back.
    ///
    /// The reply goes out behind everything that was sent to the session before. What a handler returns for a
    /// notification is sent too.
    fn message(&self, session: &Session, message: Message) -> impl Future<Output = HandlerResult> + Send;

    /// Answers a short message at once, from its bytes where they lie, where [`ANSWERS`](Self::ANSWERS) is set.
    ///
    /// An echo, a counter, a look-up in memory need neither own a message nor wait: what is answered here costs no
    /// reference count and no future, which is a third of a message of 64 bytes. It must not block. What it leaves,
    /// [`message`](Self::message) handles, which must be able to handle every message: only those of up to 4 KiB are
    /// shown here, of those only what is at hand whole while nothing else of the session is under way, and none where
    /// messages are handled concurrently or under a rate limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use net_core::{Message, MessageRef};
    /// use net_messaging::{Answer, Handler, HandlerResult, Session};
    ///
    /// #[derive(Debug)]
    /// struct Clock;
    ///
    /// impl Handler for Clock {
    ///     const ANSWERS: bool = true;
    ///
    ///     fn answer<'a>(&'a self, _: &Session, message: MessageRef<'a>) -> Answer<'a> {
    ///         match message.payload() {
    ///             b"ping" => Answer::Reply(b"pong"),
    ///             _ => Answer::Leave,
    ///         }
    ///     }
    ///
    ///     async fn message(&self, _: &Session, message: Message) -> HandlerResult {
    ///         Ok(Some(message.reply(if message.payload() == "ping" { "pong" } else { "what?" })))
    ///     }
    /// }
    /// ```
    fn answer<'a>(&'a self, session: &Session, message: MessageRef<'a>) -> Answer<'a> {
        let _ = (session, message);
        Answer::Leave
    }

    /// Is told of a new session, before any message of it. An error refuses the session.
    fn connected(&self, session: &Session) -> impl Future<Output = HandlerResult<()>> + Send {
        let _ = session;
        async { Ok(()) }
    }

    /// Is told of the end of a session, after its last message; not of one that a server cuts.
    fn disconnected(&self, session: &Session, reason: &CloseReason) -> impl Future<Output = ()> + Send {
        let _ = (session, reason);
        async {}
    }
}

/// What [`Handler::answer`] makes of a message.
///
/// # Examples
///
/// ```
/// use net_core::{Message, MessageRef, memory::Memory};
/// use net_messaging::{Answer, Client, Handler, HandlerResult, Server, Session};
///
/// #[derive(Debug)]
/// struct Echo;
///
/// impl Handler for Echo {
///     const ANSWERS: bool = true;
///
///     fn answer<'a>(&'a self, _: &Session, message: MessageRef<'a>) -> Answer<'a> {
///         Answer::Reply(message.payload())
///     }
///
///     async fn message(&self, _: &Session, message: Message) -> HandlerResult {
///         Ok(Some(message.into_reply())) // long ones come here
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// let server = Server::builder(memory.clone()).handler(Echo).listen("mem://answer").await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// assert_eq!(client.request("short").await?.payload(), "short");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It is handled, and this payload is sent back.
    Reply(&'a [u8]),
    /// It is handled, and nothing is sent back.
    Nothing,
    /// [`Handler::message`] is to handle it.
    Leave,
}

/// Handles nothing: a client that only asks.
impl Handler for () {
    async fn message(&self, _: &Session, _: Message) -> HandlerResult {
        Ok(None)
    }
}

impl<H: Handler> Handler for Arc<H> {
    const ANSWERS: bool = H::ANSWERS;

    fn answer<'a>(&'a self, session: &Session, message: MessageRef<'a>) -> Answer<'a> {
        (**self).answer(session, message)
    }

    fn message(&self, session: &Session, message: Message) -> impl Future<Output = HandlerResult> + Send {
        (**self).message(session, message)
    }

    fn connected(&self, session: &Session) -> impl Future<Output = HandlerResult<()>> + Send {
        (**self).connected(session)
    }

    fn disconnected(&self, session: &Session, reason: &CloseReason) -> impl Future<Output = ()> + Send {
        (**self).disconnected(session, reason)
    }
}

type OnConnected = Box<dyn Fn(&Session) -> HandlerResult<()> + Send + Sync>;
type OnDisconnected = Box<dyn Fn(&Session, &CloseReason) + Send + Sync>;

/// A [`Handler`] made of closures, as builders do.
///
/// # Examples
///
/// ```
/// use net_core::{Message, memory::Memory};
/// use net_messaging::{Callbacks, Client, HandlerResult, Server, Session};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let callbacks = Callbacks::new()
///     .on_connected(|session| {
///         session.set_attribute("welcome", true);
///         Ok(())
///     })
///     .on_message(|_: &Session, message: Message| async { HandlerResult::Ok(Some(message.into_reply())) });
/// # let memory = Memory::default();
/// let server = Server::builder(memory.clone()).handler(callbacks).listen("mem://callbacks").await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// assert_eq!(client.request("hello").await?.payload(), "hello");
/// assert_eq!(server.sessions()[0].attribute::<bool>("welcome")?.as_deref(), Some(&true));
/// # Ok(())
/// # }
/// ```
pub struct Callbacks<F = ()> {
    message: F,
    connected: Option<OnConnected>,
    disconnected: Option<OnDisconnected>,
}

impl Callbacks {
    /// Creates a handler without closures, which handles nothing.
    pub fn new() -> Self {
        Self { message: (), connected: None, disconnected: None }
    }
}

impl Default for Callbacks {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> Callbacks<F> {
    /// Sets what is done with messages.
    ///
    /// The closure borrows the session; where its future needs it, it takes a clone, which is cheap.
    pub fn on_message<G>(self, on_message: G) -> Callbacks<G> {
        Callbacks { message: on_message, connected: self.connected, disconnected: self.disconnected }
    }

    /// Sets what is done with a new session; an error refuses it.
    #[must_use]
    pub fn on_connected(mut self, f: impl Fn(&Session) -> HandlerResult<()> + Send + Sync + 'static) -> Self {
        self.connected = Some(Box::new(f));
        self
    }

    /// Sets what is done at the end of a session.
    #[must_use]
    pub fn on_disconnected(mut self, f: impl Fn(&Session, &CloseReason) + Send + Sync + 'static) -> Self {
        self.disconnected = Some(Box::new(f));
        self
    }

    fn call_connected(&self, session: &Session) -> HandlerResult<()> {
        self.connected.as_ref().map_or(Ok(()), |f| f(session))
    }

    fn call_disconnected(&self, session: &Session, reason: &CloseReason) {
        if let Some(f) = &self.disconnected {
            f(session, reason);
        }
    }
}

impl Handler for Callbacks<()> {
    async fn message(&self, _: &Session, _: Message) -> HandlerResult {
        Ok(None)
    }

    async fn connected(&self, session: &Session) -> HandlerResult<()> {
        self.call_connected(session)
    }

    async fn disconnected(&self, session: &Session, reason: &CloseReason) {
        self.call_disconnected(session, reason);
    }
}

/// A closure that handles messages; implemented for all that return a future of what a handler gives.
///
/// # Examples
///
/// ```
/// use net_core::{Message, memory::Memory};
/// use net_messaging::{Callbacks, Client, HandlerResult, OnMessage, Server, Session};
///
/// async fn serve(memory: &Memory, on_message: impl OnMessage) -> net_core::Result<Server> {
///     let handler = Callbacks::new().on_message(on_message);
///     Server::builder(memory.clone()).handler(handler).listen("mem://on-message").await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// let greet = |_: &Session, message: Message| async move { HandlerResult::Ok(Some(message.reply("welcome"))) };
/// let server = serve(&memory, greet).await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// assert_eq!(client.request("hello").await?.payload(), "welcome");
/// # Ok(())
/// # }
/// ```
pub trait OnMessage: Send + Sync + 'static {
    /// Handles one message.
    fn call(&self, session: &Session, message: Message) -> impl Future<Output = HandlerResult> + Send;
}

impl<F, Fut, R> OnMessage for F
where
    F: Fn(&Session, Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult<R>> + Send,
    R: Into<Option<Message>>,
{
    fn call(&self, session: &Session, message: Message) -> impl Future<Output = HandlerResult> + Send {
        let future = self(session, message);
        async move { future.await.map(Into::into) }
    }
}

impl<F: OnMessage> Handler for Callbacks<F> {
    fn message(&self, session: &Session, message: Message) -> impl Future<Output = HandlerResult> + Send {
        self.message.call(session, message)
    }

    async fn connected(&self, session: &Session) -> HandlerResult<()> {
        self.call_connected(session)
    }

    async fn disconnected(&self, session: &Session, reason: &CloseReason) {
        self.call_disconnected(session, reason);
    }
}

impl<F> fmt::Debug for Callbacks<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callbacks")
    }
}
