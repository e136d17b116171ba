//! Messages over TCP.

use std::sync::Arc;

use net_core::{
    Address, Connection, Error, ErrorKind, Guarantees, Result, Scheme, Transport,
    frame::{Framing, LengthPrefix},
    framed::{FrameReceiver, FrameSender},
};

use crate::{
    FrameListener, TcpConfig,
    listener::{frame, guarantees},
    stream::{
        Connector, ReadHalf, Resolve, ServerSettings, StreamListener, WriteHalf, bind_many_with, bind_with,
    },
};

/// The sending half of a TCP connection.
pub type TcpSender<F = LengthPrefix> = FrameSender<WriteHalf, F>;
/// The receiving half of a TCP connection.
pub type TcpReceiver<F = LengthPrefix> = FrameReceiver<ReadHalf, F>;
/// Accepts TCP connections.
pub type TcpListener<F = LengthPrefix> = FrameListener<F>;

/// Carries messages over TCP, at addresses such as `tcp://host:port`; with the feature `tls` and settings for it, over
/// TLS at `tcps://host:port`.
///
/// A client tries every address of a name, as RFC 8305 says; a listener at `tcp://:9000` or `tcp://[::]:9000`
/// serves IPv4 and IPv6. Clones share what they have learnt of names.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport, frame::Delimiter};
/// use net_tcp::{Tcp, TcpConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let lines = Tcp::with_framing(TcpConfig::default(), Delimiter::lines());
/// let mut listener = lines.listen(&"tcp://127.0.0.1:0".parse()?).await?;
/// let mut near = lines.connect(listener.local()).await?;
/// let mut far = listener.accept().await?;
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tcp<F = LengthPrefix> {
    connector: Connector,
    framing: F,
    tls: ServerSettings,
}

impl Tcp {
    /// Creates a transport whose messages have a length of 4 bytes in front, big-endian.
    pub fn new(config: TcpConfig) -> Self {
        Self::with_framing(config, LengthPrefix::default())
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self::new(TcpConfig::default())
    }
}

impl<F: Framing> Tcp<F> {
    /// Creates a transport whose messages are marked by `framing`.
    pub fn with_framing(config: TcpConfig, framing: F) -> Self {
        Self { connector: Connector::new(config), framing, tls: ServerSettings::default() }
    }

    /// Resolves names by `resolver` instead of the system's.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.connector = self.connector.with_resolver(resolver);
        self
    }

    /// Connects with TLS at addresses such as `tcps://host:port`; the host is the name that is sent and verified.
    ///
    /// [`Info::details`](net_core::Info::details) of a connection is a [`TlsInfo`](net_core::tls::TlsInfo) then.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_client_tls(mut self, tls: net_core::tls::ClientTls) -> Self {
        self.connector = self.connector.with_client_tls(tls);
        self
    }

    /// Listens with TLS at addresses such as `tcps://:9443`. Handshakes run beside accepting, and have a deadline.
    ///
    /// [`Info::details`](net_core::Info::details) of a connection is a [`TlsInfo`](net_core::tls::TlsInfo) then, with
    /// the identity of a client that showed a certificate.
    ///
    /// An idle connection holds about 7 KiB of memory on each side, of which 4 KiB are the read buffer of rustls, and no
    /// buffer of this crate.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_server_tls(mut self, tls: net_core::tls::ServerTls) -> Self {
        self.tls = ServerSettings::new(tls);
        self
    }

    /// Returns the settings.
    pub fn config(&self) -> &TcpConfig {
        self.connector.config()
    }
}

impl<F: Framing> Transport for Tcp<F> {
    type Sender = TcpSender<F>;
    type Receiver = TcpReceiver<F>;
    type Listener = TcpListener<F>;

    fn guarantees(&self) -> Guarantees {
        guarantees(&self.framing)
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Self::Sender, Self::Receiver>> {
        check_scheme(to, "connect")?;
        let stream = self.connector.connect(to).await?;
        Ok(frame(stream, &self.framing, self.config().max_buffered))
    }

    async fn listen(&self, at: &Address) -> Result<Self::Listener> {
        check_scheme(at, "listen")?;
        let listener = StreamListener::new(bind_with(at, self.config(), &self.tls).await?);
        Ok(FrameListener::new(listener, self.framing.clone(), self.config().max_buffered))
    }

    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<Self::Listener>> {
        check_scheme(at, "listen")?;
        let sources = bind_many_with(at, n, self.config(), &self.tls).await?;
        let framed = |source| {
            let listener = StreamListener::new(source);
            FrameListener::new(listener, self.framing.clone(), self.config().max_buffered)
        };
        Ok(sources.into_iter().map(framed).collect())
    }
}

fn check_scheme(address: &Address, operation: &'static str) -> Result<()> {
    match address.scheme() {
        // Whether there are settings for what is secure is seen below.
        Scheme::Tcp | Scheme::Tcps => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidAddress, operation).at(address)),
    }
}
