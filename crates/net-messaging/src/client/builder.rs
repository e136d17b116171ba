//! How a client is configured and connected.

use std::{sync::Arc, time::Duration};

use net_core::{Address, Contained, Credentials, Error, ErrorKind, Message, Observer, Result, Transport};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Client, ClientState, supervisor::Supervisor};
use crate::{
    CloseReason, Format, Handler, HandlerResult, Limits, Reconnect, Session, SessionConfig,
    auth::{Access, Source},
    handler::Callbacks,
    session::{Role, Settings},
};

/// Configures a client: what it does with messages of the server, whether it comes back, who watches it.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::Client;
///
/// let builder = Client::builder(Memory::default()).on_message(|_, message| async move {
///     println!("{message}");
///     Ok(None)
/// });
/// # let _ = builder;
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect`"]
pub struct ClientBuilder<T, H = Callbacks> {
    transport: T,
    handler: H,
    session: SessionConfig,
    limits: Limits,
    reconnect: Option<Reconnect>,
    request_timeout: Duration,
    observer: Option<Arc<dyn Observer>>,
    source: Option<Source>,
}

impl<T: Transport> ClientBuilder<T> {
    pub(super) fn new(transport: T) -> Self {
        Self {
            transport,
            handler: Callbacks::new(),
            session: SessionConfig::default(),
            limits: of_client(&Limits::default()),
            reconnect: None,
            request_timeout: Duration::from_secs(30),
            observer: None,
            source: None,
        }
    }
}

impl<T: Transport, H> ClientBuilder<T, H> {
    /// Sets how the session behaves.
    pub fn session(self, session: SessionConfig) -> Self {
        Self { session, ..self }
    }

    /// Sets limits and time-outs. Those of accepting, of the first message and of the lifetime are a server's: a
    /// server need not say anything first.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: of_client(&limits), ..self }
    }

    /// Makes the client connect again when its connection is lost. Unless set, it does not.
    pub fn reconnect(self, reconnect: Reconnect) -> Self {
        Self { reconnect: Some(reconnect), ..self }
    }

    /// Sets how long a request waits for its answer. Default: 30 s.
    pub fn request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }

    /// Makes the client show `credentials` on each connection, before anything else; so it does after each
    /// reconnection.
    ///
    /// A server that refuses them ends reconnecting: the client is [`Refused`](ClientState::Refused) then. It takes
    /// [`request_timeout`](Self::request_timeout) at the longest.
    pub fn authenticate(self, credentials: Credentials) -> Self {
        Self { source: Some(Source::fixed(credentials)), ..self }
    }

    /// Makes the client show what `fetch` returns on each connection, as [`authenticate`](Self::authenticate) does: for
    /// tokens that expire. Where it fails, the connection ends, and the client reconnects if it is to.
    ///
    /// While it is asked, heartbeats go on; a server takes some [messages](crate::AuthenticationConfig::max_messages) of
    /// any kind before the credentials, by default eight.
    ///
    /// # Examples
    ///
    /// ```
    /// use net_core::{Credentials, memory::Memory};
    /// use net_messaging::Client;
    ///
    /// async fn token() -> net_core::Result<String> {
    ///     Ok("fresh".into()) // from a file, or of a token service
    /// }
    /// let builder = Client::builder(Memory::default())
    ///     .authenticate_with(|| async { Ok(Credentials::new(token().await?)) });
    /// # let _ = builder;
    /// ```
    pub fn authenticate_with<F, Fut>(self, fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials>> + Send + 'static,
    {
        Self { source: Some(Source::new(fetch)), ..self }
    }

    /// Sets who watches: logs, metrics, tests.
    pub fn observer(self, observer: impl Observer) -> Self {
        Self { observer: Some(Arc::new(Contained::new(observer))), ..self }
    }

    /// Sets what is done with messages of the server.
    pub fn handler<G: Handler>(self, handler: G) -> ClientBuilder<T, G> {
        let Self { transport, session, limits, reconnect, request_timeout, observer, source, .. } = self;
        ClientBuilder { transport, handler, session, limits, reconnect, request_timeout, observer, source }
    }
}

/// Leaves out what only a server limits.
fn of_client(limits: &Limits) -> Limits {
    Limits { first_message_timeout: None, lifetime: None, ..*limits }
}

impl<T: Transport, F> ClientBuilder<T, Callbacks<F>> {
    /// Sets what is done with messages of the server: a closure that returns a future of a reply or of none.
    pub fn on_message<G, Fut, R>(self, on_message: G) -> ClientBuilder<T, Callbacks<G>>
    where
        G: Fn(&Session, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult<R>> + Send,
        R: Into<Option<Message>>,
    {
        let Self { transport, handler, session, limits, reconnect, request_timeout, observer, source } = self;
        let handler = handler.on_message(on_message);
        ClientBuilder { transport, handler, session, limits, reconnect, request_timeout, observer, source }
    }

    /// Sets what is done with each new connection; an error ends it.
    pub fn on_connected(mut self, f: impl Fn(&Session) -> HandlerResult<()> + Send + Sync + 'static) -> Self {
        self.handler = self.handler.on_connected(f);
        self
    }

    /// Sets what is done at the end of each connection.
    pub fn on_disconnected(mut self, f: impl Fn(&Session, &CloseReason) + Send + Sync + 'static) -> Self {
        self.handler = self.handler.on_disconnected(f);
        self
    }
}

impl<T: Transport, H: Handler> ClientBuilder<T, H> {
    /// Connects to `address`: returns when connected, or with the reason why not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`] and [`ErrorKind::InvalidConfig`]; why there is no connection. The first attempt
    /// is the only one, whether the client reconnects or not, and a connection that breaks before the server has answered
    /// the credentials is such an attempt. [`ErrorKind::Unauthenticated`] where the server refuses the credentials; one that
    /// cannot decide now is asked again if the client is to reconnect.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the attempt.
    pub async fn connect<A>(self, address: A) -> Result<Client>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let invalid =
            |what: &'static str| Error::new(ErrorKind::InvalidConfig, "connect").at(&address).because(what);
        self.session.check(&self.limits).map_err(invalid)?;
        if self.source.is_some() && self.session.format == Format::Raw {
            return Err(invalid("the raw format cannot carry credentials"));
        }
        let connection = self.transport.connect(&address).await?;
        let (request_timeout, comes_back) = (self.request_timeout, self.reconnect.is_some());
        let server = Arc::new(address);
        let (state, watched) = watch::channel(ClientState::Connecting { attempt: 0 });
        let (commands, received) = mpsc::channel(8);
        let (first, mut in_vain) = oneshot::channel();
        let max_message_len = self.transport.guarantees().max_message_len;
        let access =
            Access { source: self.source.map(|source| source.within(request_timeout)), ..Access::default() };
        let settings =
            Settings::new(self.session, &self.limits, self.observer, max_message_len, Role::Client)
                .with_access(access);
        let supervisor = Supervisor {
            transport: self.transport,
            server: server.clone(),
            handler: Arc::new(self.handler),
            settings: Arc::new(settings),
            reconnect: self.reconnect,
            state,
            commands: received,
            disconnecting: Vec::new(),
            first: Some(first),
        };
        tokio::spawn(supervisor.run(connection));
        let client = Client { server, state: watched, commands, request_timeout, comes_back };
        // The handler may refuse the connection, or the server; and it may break before the server has decided.
        match client.connected().await {
            Ok(_) => Ok(client),
            Err(error) => Err(match in_vain.try_recv() {
                Ok(CloseReason::Failed(why)) => {
                    Error::new(why.kind(), "connect").at(&client.server).because(why)
                }
                Ok(reason) => error.because(reason.to_string()),
                Err(_) => error,
            }),
        }
    }
}
