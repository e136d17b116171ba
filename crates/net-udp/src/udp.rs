//! Messages as UDP datagrams.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use net_core::{
    Address, Attempts, Connection, Error, ErrorKind, Guarantees, Info, Result, Scheme, Transport, ports,
    resolve,
};
use socket2::Socket;

use crate::{
    UdpConfig, UdpListener, UdpReceiver, UdpSender, UdpSocket,
    ending::Ending,
    socket::{address, open},
};

/// How long the task of a listener that is gone may take to close its socket.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the system spreads peers over the sockets that share an address.
const BALANCES: bool = cfg!(target_os = "linux");

/// Carries messages as UDP datagrams, at addresses such as `udp://host:port`: each message is one datagram, without a
/// frame of any kind.
///
/// A datagram may be lost, come twice or out of order, and nobody learns that a peer has left. Connecting sends nothing:
/// the first message begins a session at the listener, and only what comes back shows that somebody is there. What
/// others report (ICMP) is counted and ends nothing. To a peer that has not proved its address a listener sends no more
/// than came from it: see [`UdpPeer`](crate::UdpPeer). [`Info::details`] of a client's connection is its
/// `Arc<`[`UdpSocket`]`>`, which counts what was sent and received.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_udp::Udp;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let udp = Udp::default();
/// let mut listener = udp.listen(&"udp://127.0.0.1:0".parse()?).await?;
/// let mut near = udp.connect(listener.local()).await?;
/// near.send("hello").await?;
/// let mut far = listener.accept().await?;
/// let message = far.recv().await?.unwrap_or_default();
/// far.send(message).await?;
/// assert_eq!(near.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Udp {
    config: UdpConfig,
}

impl Udp {
    /// Creates a transport.
    pub fn new(config: UdpConfig) -> Self {
        Self { config }
    }

    /// Returns the settings.
    pub fn config(&self) -> &UdpConfig {
        &self.config
    }

    fn dial(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = open(&self.config, self.config.bind.unwrap_or(any), self.config.reuse_port)?;
        let socket = UdpSocket::register(socket, &self.config)?.route(to)?;
        socket.serve_sessions()?;
        Ok(socket)
    }

    /// Listens at the first of `addresses` that is free.
    async fn bind(&self, at: &Address, reuse_port: bool, addresses: &[SocketAddr]) -> Result<UdpListener> {
        let bind = |address| async move {
            UdpListener::new(self.open_free(address, reuse_port).await?, self.config)
        };
        first_of(addresses, bind).await.map_err(|attempts| attempts.into_error("listen").at(at))
    }

    /// Opens a socket, once a listener that has just gone has closed its own there.
    async fn open_free(&self, address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
        let open = || open(&self.config, address, reuse_port);
        ports::outwait(address.port(), LEAVE_TIMEOUT, open).await
    }
}

/// Gives each address to `attempt` until one succeeds.
async fn first_of<T, F: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, Attempts> {
    let mut attempts = Attempts::default();
    for address in addresses {
        let place = attempts.begin(*address);
        match attempt(*address).await {
            Ok(success) => return Ok(success),
            Err(error) => attempts.fail(place, error),
        }
    }
    Err(attempts)
}

impl Transport for Udp {
    type Sender = UdpSender;
    type Receiver = UdpReceiver;
    type Listener = UdpListener;

    fn guarantees(&self) -> Guarantees {
        Guarantees::datagrams(self.config.max_message_len())
    }

    async fn connect(&self, to: &Address) -> Result<Connection<UdpSender, UdpReceiver>> {
        check_scheme(to, "connect")?;
        self.config.check("connect")?;
        if to.port().unwrap_or_default() == 0 {
            return Err(Error::new(ErrorKind::InvalidAddress, "connect").at(to).because("nobody has port 0"));
        }
        let addresses = resolve::connectable(to, self.config.connect_timeout).await?;
        let socket = first_of(&addresses, |peer| async move { self.dial(peer) }).await;
        let socket = Arc::new(socket.map_err(|attempts| attempts.into_error("connect").at(to))?);
        let remote = socket.peer().unwrap_or_else(|| socket.local());
        let info = Info::new(address(socket.local()), address(remote)).with_details(socket.clone());
        let ending: Arc<Ending> = Arc::default();
        let tx = UdpSender::of_socket(socket.clone(), &self.config, ending.clone());
        Ok(Connection::new(tx, UdpReceiver::of_socket(socket, &self.config, ending), info))
    }

    /// Begins to listen.
    ///
    /// A listener of this process that has just gone keeps its port for as long as its sessions do, and a moment longer. That is
    /// waited for, 1 s at the most; so a server can be started again at once.
    async fn listen(&self, at: &Address) -> Result<UdpListener> {
        check_scheme(at, "listen")?;
        self.config.check("listen")?;
        let addresses = resolve::bindable(at, self.config.connect_timeout).await?;
        self.bind(at, self.config.reuse_port, &addresses).await
    }

    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<UdpListener>> {
        if n <= 1 || !BALANCES {
            return Ok(vec![self.listen(at).await?]);
        }
        check_scheme(at, "listen")?;
        self.config.check("listen")?;
        let mut addresses = resolve::bindable(at, self.config.connect_timeout).await?;
        if !self.config.reuse_port && at.port() != Some(0) {
            // A socket that would share the port starts beside a foreign one without an error. This one does not.
            // The one it finds free is taken: another one of the name may be the foreign one's.
            let free = first_of(&addresses, |address| async move {
                self.open_free(address, false).await.map(|_| address)
            });
            addresses = vec![free.await.map_err(|attempts| attempts.into_error("listen").at(at))?];
        }
        let mut listeners = Vec::with_capacity(n);
        for _ in 0..n {
            let listener = self.bind(at, true, &addresses).await?;
            // The others join the first one, whatever name or port it was made from.
            addresses = vec![listener.socket_address()];
            listeners.push(listener);
        }
        Ok(listeners)
    }
}

fn check_scheme(address: &Address, operation: &'static str) -> Result<()> {
    match address.scheme() {
        Scheme::Udp => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidAddress, operation).at(address)),
    }
}
