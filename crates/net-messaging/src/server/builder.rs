//! How a server is configured and started.

use std::sync::Arc;

use net_core::{Address, Admission, Error, ErrorKind, Lifecycle, Listener, Observer, Result, Transport};
use tokio::sync::watch;

use super::{Server, Shared, StopOnDrop, access::access, serve};
use crate::{
    CloseReason, Handler, HandlerResult, Limits, ServerConfig, Session, SessionConfig, Sessions,
    auth::BoxAuthenticator,
    handler::Callbacks,
    session::{Role, Settings},
};

/// Configures a server: what it does with messages, its limits, who watches it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::memory::Memory;
/// use net_messaging::{Limits, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let server = Server::builder(Memory::default())
///     .limits(Limits { handler_timeout: Some(Duration::from_secs(5)), ..Limits::default() })
///     .on_connected(|session| {
///         println!("{} came", session.info().remote);
///         Ok(())
///     })
///     .on_message(|_, message| async move { Ok(message.into_reply()) })
///     .listen("mem://configured")
///     .await?;
/// # let _ = server;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `listen`"]
pub struct ServerBuilder<T, H = Callbacks> {
    transport: T,
    handler: H,
    pub(super) config: ServerConfig,
    observer: Option<Arc<dyn Observer>>,
    sessions: Sessions,
    pub(super) authenticator: Option<BoxAuthenticator>,
}

impl<T: Transport> ServerBuilder<T> {
    pub(super) fn new(transport: T) -> Self {
        Self {
            transport,
            handler: Callbacks::new(),
            config: ServerConfig::default(),
            observer: None,
            sessions: Sessions::default(),
            authenticator: None,
        }
    }
}

impl<T: Transport, H> ServerBuilder<T, H> {
    /// Sets all settings.
    pub fn config(self, config: ServerConfig) -> Self {
        Self { config, ..self }
    }

    /// Sets how each session behaves.
    pub fn session(mut self, session: SessionConfig) -> Self {
        self.config.session = session;
        self
    }

    /// Sets limits and time-outs.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Sets who watches: logs, metrics, tests.
    pub fn observer(self, observer: impl Observer) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// Sets the handler.
    pub fn handler<G: Handler>(self, handler: G) -> ServerBuilder<T, G> {
        let Self { transport, config, observer, sessions, authenticator, .. } = self;
        ServerBuilder { transport, handler, config, observer, sessions, authenticator }
    }

    /// Returns the sessions that the server will have, for a handler that sends to others than its own.
    pub fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }
}

impl<T: Transport, F> ServerBuilder<T, Callbacks<F>> {
    /// Sets what is done with messages: a closure that returns a future of a reply or of none.
    ///
    /// It borrows the session; where its future needs it, the closure takes a clone, which is cheap.
    pub fn on_message<G, Fut, R>(self, on_message: G) -> ServerBuilder<T, Callbacks<G>>
    where
        G: Fn(&Session, net_core::Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult<R>> + Send,
        R: Into<Option<net_core::Message>>,
    {
        let Self { transport, handler, config, observer, sessions, authenticator } = self;
        let handler = handler.on_message(on_message);
        ServerBuilder { transport, handler, config, observer, sessions, authenticator }
    }

    /// Sets what is done with a new session; an error refuses it.
    pub fn on_connected(mut self, f: impl Fn(&Session) -> HandlerResult<()> + Send + Sync + 'static) -> Self {
        self.handler = self.handler.on_connected(f);
        self
    }

    /// Sets what is done at the end of a session.
    pub fn on_disconnected(mut self, f: impl Fn(&Session, &CloseReason) + Send + Sync + 'static) -> Self {
        self.handler = self.handler.on_disconnected(f);
        self
    }
}

impl<T: Transport, H: Handler> ServerBuilder<T, H> {
    /// Starts to listen at `address`, and to serve.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`] and [`ErrorKind::InvalidConfig`]; why the address cannot be listened at.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn listen<A>(self, address: A) -> Result<Server>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let Self { transport, handler, config, observer, sessions, authenticator } = self;
        let invalid =
            |what: &'static str| Error::new(ErrorKind::InvalidConfig, "listen").at(&address).because(what);
        config.session.check(&config.limits).map_err(invalid)?;
        let access = access(authenticator, &config).map_err(invalid)?;
        let threads = config.io_threads.map(|threads| match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        });
        let mut listeners = match threads {
            Some(threads) => transport.listen_many(&address, threads).await?,
            None => vec![transport.listen(&address).await?],
        };
        let admission = Arc::new(Admission::new(config.limits, observer).with_sweep());
        for listener in &mut listeners {
            listener.set_admission(admission.clone());
        }
        let local = listeners.first().map_or_else(|| address.clone(), |listener| listener.local().clone());
        let life = Lifecycle::new();
        let (notice, noticed) = watch::channel(None);
        let max_message_len = transport.guarantees().max_message_len;
        // Its panics are contained.
        let observer = admission.observer().cloned();
        let settings = Settings::new(config.session, &config.limits, observer, max_message_len, Role::Server)
            .with_access(access);
        let serving = serve::Serving {
            sessions: sessions.clone(),
            admission: admission.clone(),
            settings: Arc::new(settings),
            handler: Arc::new(handler),
            life: life.clone(),
            notice: noticed,
        };
        let close_timeout = config.limits.close_timeout;
        let (served, _) = watch::channel(());
        let shared =
            Shared { local, sessions, admission, life, notice, served: served.clone(), close_timeout };
        let shared = Arc::new(shared);
        let server = Server { _stop: Arc::new(StopOnDrop(shared.clone())), shared };
        // An error drops the server, and with it stops the threads that serve already.
        serve::start(listeners, &serving, served, threads.is_some(), config.kernel_timer)
            .map_err(|error| Error::from_io(error, "start runtime").at(server.local()))?;
        Ok(server)
    }
}
