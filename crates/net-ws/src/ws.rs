//! Messages over WebSocket.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use net_core::{Address, Connection, Error, ErrorKind, Guarantees, Result, Scheme, Transport};
use net_tcp::stream::{Binder, Connector, Resolve, StreamSource};
use tokio::time::timeout;

use crate::{
    Extension, OriginPolicy, Proxy, Upgrade, WsConfig, WsListener, WsReceiver, WsSender,
    handshake::{
        client::{Asks, Said, ask},
        redirect::redirected,
        server::Answers,
    },
};

/// Carries messages over WebSocket, at addresses such as `ws://host:port/path`; with the feature `tls` and settings for it,
/// over TLS at `wss://host:port/path`.
///
/// A message is a binary message unless [`WsConfig::send_as`] says otherwise; received are both kinds. Text, fragments, pings
/// and close codes are methods of [`WsSender`] and [`WsReceiver`]; what the handshake told is [`WsInfo`](crate::WsInfo).
///
/// A listener serves every path, and lets pages of its own host alone connect.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_ws::Ws;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let ws = Ws::default();
/// let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// let to = listener.local().clone();
/// let (near, far) = tokio::join!(ws.connect(&to), listener.accept());
/// let (mut near, mut far) = (near?, far?);
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ws {
    config: Arc<WsConfig>,
    connector: Connector,
    answers: Arc<Answers>,
    asks: Asks,
    proxy: Option<Proxy>,
    binder: Binder,
}

impl Default for Ws {
    fn default() -> Self {
        Self::new(WsConfig::default())
    }
}

impl Ws {
    /// Creates a transport with these settings.
    pub fn new(config: WsConfig) -> Self {
        Self {
            config: Arc::new(config),
            connector: Connector::new(config.tcp),
            answers: Arc::default(),
            asks: Asks::default(),
            proxy: None,
            binder: Binder::new(config.tcp),
        }
    }

    /// Resolves names by `resolver` instead of the system's.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.connector = self.connector.with_resolver(resolver);
        self
    }

    /// Connects with TLS at addresses such as `wss://host`; the host is the name that is sent and verified.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_client_tls(mut self, tls: net_core::tls::ClientTls) -> Self {
        self.connector = self.connector.with_client_tls(tls);
        self
    }

    /// Listens with TLS at addresses such as `wss://:8443`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_server_tls(mut self, tls: net_core::tls::ServerTls) -> Self {
        self.binder = self.binder.with_server_tls(tls);
        self
    }

    /// Sets the sub-protocols: a client asks for them in this order, a server takes the first of a client's that is among
    /// them, and none where there is none, at which clients that have asked fail with
    /// [`ErrorKind::Protocol`], as browsers do.
    ///
    /// A client asks every server for them to which it is redirected: where one of them holds a secret, as a token does, leave
    /// [`max_redirects`](WsConfig::max_redirects) at 0.
    #[must_use]
    pub fn with_protocols(mut self, protocols: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let protocols: Vec<Box<str>> = protocols.into_iter().map(Into::into).collect();
        Arc::make_mut(&mut self.answers).protocols.clone_from(&protocols);
        self.asks.protocols = protocols;
        self
    }

    /// Adds an extension of the application's own: a client offers it, a server accepts it or not.
    #[must_use]
    pub fn with_extension(mut self, extension: Extension) -> Self {
        Arc::make_mut(&mut self.answers).extensions.push(extension.clone());
        self.asks.extensions.push(extension);
        self
    }

    /// Sets which pages may connect. Default: those of the host that they connect to.
    #[must_use]
    pub fn with_origins(mut self, origins: OriginPolicy) -> Self {
        Arc::make_mut(&mut self.answers).origins = origins;
        self
    }

    /// Adds a header to a client's requests, such as `Authorization`, `Cookie` or `Origin`; one of the same name is replaced.
    /// Those that make the handshake stay as they are.
    ///
    /// Where a redirect leads to another scheme, host or port, `Authorization`, `Cookie`, `Proxy-Authorization`, `Host` and all that
    /// are marked by [`HeaderValue::set_sensitive`] are not sent there, nor anywhere after it.
    #[must_use]
    pub fn with_request_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.asks.headers.insert(name, value);
        self
    }

    /// Adds a header to a server's responses, beside others of the same name. Those that make the handshake stay as they are.
    #[must_use]
    pub fn with_response_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        Arc::make_mut(&mut self.answers).headers.append(name, value);
        self
    }

    /// Has a server look at requests that are handshakes of an origin that may connect: `check` gives headers for the
    /// response, as [`with_response_header`](Self::with_response_header) does, or the status that refuses it.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode};
    /// use net_ws::Ws;
    ///
    /// let ws = Ws::default().with_request_check(|request| match request.uri().path() {
    ///     "/feed" => Ok(HeaderMap::new()),
    ///     _ => Err(StatusCode::NOT_FOUND),
    /// });
    /// # let _ = ws;
    /// ```
    #[must_use]
    pub fn with_request_check(
        mut self,
        check: impl Fn(&Request<()>) -> Result<HeaderMap, StatusCode> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.answers).check = Some(Arc::new(check));
        self
    }

    /// Connects by way of `proxy`.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Returns the settings.
    pub fn config(&self) -> &WsConfig {
        &self.config
    }

    /// Looks at a request that an HTTP server has parsed, as a listener does.
    ///
    /// Of HTTP/2 and HTTP/3 it takes the extended `CONNECT` (RFC 8441, RFC 9220) and answers 200: the server has announced
    /// `SETTINGS_ENABLE_CONNECT_PROTOCOL`, and has looked whether `:protocol` is `websocket`, for which a [`Request`] has no place;
    /// [`Upgrade::into_connection`] is given the stream, whose `abort` resets it with `CANCEL`.
    ///
    /// # Errors
    ///
    /// The response that refuses it; 500 where the settings are invalid, which [`WsConfig::check`] tells before.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{Request, StatusCode};
    /// use net_ws::Ws;
    ///
    /// let request = Request::get("/feed")
    ///     .header("host", "example.org")
    ///     .header("connection", "upgrade")
    ///     .header("upgrade", "websocket")
    ///     .header("sec-websocket-version", "13")
    ///     .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    ///     .body(())
    ///     .expect("a request");
    /// let upgrade = Ws::default().upgrade(&request).expect("a handshake");
    /// assert_eq!(upgrade.response().status(), StatusCode::SWITCHING_PROTOCOLS);
    /// assert_eq!(upgrade.response().headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    /// // Once the response is sent: upgrade.into_connection(…)
    /// ```
    pub fn upgrade<B>(&self, request: &Request<B>) -> Result<Upgrade, Response<()>> {
        let mut bare = Request::new(());
        *bare.method_mut() = request.method().clone();
        *bare.uri_mut() = request.uri().clone();
        *bare.version_mut() = request.version();
        *bare.headers_mut() = request.headers().clone();
        self.answers.accept(&self.config, bare, false)
    }

    async fn try_connect(&self, to: &Address, asks: &Asks, follows: bool) -> Result<Said> {
        let stream = match &self.proxy {
            Some(proxy) => proxy.connect(&self.connector, to, &self.config).await?,
            None => self.connector.connect(to).await?,
        };
        ask(stream, to, &self.config, asks, follows).await
    }

    fn check_listen(&self, at: &Address) -> Result<()> {
        check_scheme(at, "listen")?;
        self.check_config("listen")
    }

    fn check_config(&self, operation: &'static str) -> Result<()> {
        self.config.check().map_err(|fault| Error::new(ErrorKind::InvalidConfig, operation).because(fault))
    }

    fn listener(&self, source: StreamSource) -> WsListener {
        WsListener::new(source, self.config.clone(), self.answers.clone())
    }
}

impl Transport for Ws {
    type Sender = WsSender;
    type Receiver = WsReceiver;
    type Listener = WsListener;

    fn guarantees(&self) -> Guarantees {
        // Who has sent a Close frame discards what comes behind the peer's.
        Guarantees { half_close: false, ..Guarantees::stream(self.config.max_message_len) }
    }

    async fn connect(&self, to: &Address) -> Result<Connection<WsSender, WsReceiver>> {
        check_scheme(to, "connect")?;
        self.check_config("connect")?;
        let mut to = to.clone();
        let mut asks = Cow::Borrowed(&self.asks);
        let mut left = self.config.max_redirects;
        let connecting = async {
            loop {
                let location = match self.try_connect(&to, &asks, left > 0).await? {
                    Said::Connected(connection) => return Ok(connection),
                    Said::Redirected(location) => location,
                };
                left -= 1;
                let next = redirected(&to, &location)?;
                if !is_same_server(&to, &next) {
                    asks.to_mut().forget_secrets();
                }
                to = next;
            }
        };
        let limit = self.config.tcp.connect_timeout.saturating_add(self.config.handshake_timeout);
        // Boxed, so that whoever connects stays small.
        timeout(limit, Box::pin(connecting)).await.unwrap_or_else(|_| {
            let silent = "the server did not finish the WebSocket handshake in time";
            Err(Error::new(ErrorKind::TimedOut, "connect").because(silent))
        })
    }

    async fn listen(&self, at: &Address) -> Result<WsListener> {
        self.check_listen(at)?;
        Ok(self.listener(self.binder.bind(at).await?))
    }

    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<WsListener>> {
        self.check_listen(at)?;
        let sources = self.binder.bind_many(at, n).await?;
        Ok(sources.into_iter().map(|source| self.listener(source)).collect())
    }
}

fn check_scheme(address: &Address, operation: &'static str) -> Result<()> {
    match address.scheme() {
        Scheme::Ws | Scheme::Wss => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidAddress, operation).at(address)),
    }
}

/// Tells whether both addresses are of one server: who may see what was meant for the one may see what was meant for the other.
fn is_same_server(one: &Address, other: &Address) -> bool {
    let server = |of: &Address| (of.scheme().is_over_tls(), of.host().clone(), of.port());
    server(one) == server(other)
}
