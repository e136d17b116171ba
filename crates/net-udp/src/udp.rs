//! Messages as UDP datagrams.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use net_core::{Address, Connection, Error, ErrorKind, Guarantees, Info, Result, Scheme, Transport};

use crate::{
    UdpConfig, UdpListener, UdpReceiver, UdpSender, UdpSocket,
    ending::Ending,
    resolve,
    socket::{address, open},
};

/// Whether the system spreads peers over the sockets that share an address.
const BALANCES: bool = cfg!(target_os = "linux");

/// Carries messages as UDP datagrams, at addresses such as `udp://host:port`: each message is one datagram, without a
/// frame of any kind.
///
/// A datagram may be lost, come twice or out of order, and nobody learns that a peer has left. Connecting sends nothing:
/// the first message begins a session at the listener, and only what comes back shows that somebody is there. What
/// others report (ICMP) is counted and ends nothing. To a peer that has not proved its address a listener sends no more
/// than came from it: see [`UdpPeer`](crate::UdpPeer).
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

    fn dial(&self, to: SocketAddr) -> Result<UdpSocket> {
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind_with(self.config.bind.unwrap_or(any), &self.config)?.connect(to)?;
        socket.join(true).map_err(|error| Error::from_io(error, "connect").at(&address(to)))?;
        Ok(socket)
    }

    fn bind(&self, at: &Address, reuse_port: bool, addresses: &[SocketAddr]) -> Result<UdpListener> {
        let mut last = Error::new(ErrorKind::Unresolved, "listen").at(at);
        for address in addresses {
            let bound = open(&self.config, *address, reuse_port)
                .and_then(|socket| UdpListener::new(socket, self.config));
            match bound {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Error::from_io(error, "listen").at(at),
            }
        }
        Err(last)
    }
}

impl Transport for Udp {
    type Sender = UdpSender;
    type Receiver = UdpReceiver;
    type Listener = UdpListener;

    fn guarantees(&self) -> Guarantees {
        Guarantees {
            reliable: false,
            ordered: false,
            // Nobody is told of an end, so nobody answers it: there is nothing to wait for behind one.
            half_close: false,
            signals_end: false,
            signals_abort: false,
            preserves_messages: true,
            may_duplicate: true,
            max_message_len: self.config.max_message_len(),
        }
    }

    async fn connect(&self, to: &Address) -> Result<Connection<UdpSender, UdpReceiver>> {
        check_scheme(to, "connect")?;
        let mut last = Error::new(ErrorKind::Unresolved, "connect").at(to);
        for peer in resolve::connectable(to, self.config.connect_timeout).await? {
            match self.dial(peer) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    let info = Info::new(address(socket.local()), address(peer));
                    let info = info.with_details(socket.clone());
                    let ending: Arc<Ending> = Arc::default();
                    let tx = UdpSender::of_socket(socket.clone(), &self.config, ending.clone());
                    return Ok(Connection::new(
                        tx,
                        UdpReceiver::of_socket(socket, &self.config, ending),
                        info,
                    ));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn listen(&self, at: &Address) -> Result<UdpListener> {
        check_scheme(at, "listen")?;
        let addresses = resolve::bindable(at, self.config.connect_timeout).await?;
        self.bind(at, self.config.reuse_port, &addresses)
    }

    async fn listen_many(&self, at: &Address, n: usize) -> Result<Vec<UdpListener>> {
        if n <= 1 || !BALANCES {
            return Ok(vec![self.listen(at).await?]);
        }
        check_scheme(at, "listen")?;
        let mut addresses = resolve::bindable(at, self.config.connect_timeout).await?;
        if !self.config.reuse_port && at.port() != Some(0) {
            // A socket that would share the port starts beside a foreign one without an error. This one does not.
            let free = |address: &SocketAddr| open(&self.config, *address, false).map(|_| *address);
            let found = addresses.iter().map(free).collect::<Vec<io::Result<_>>>();
            let mut failed = None;
            addresses =
                found.into_iter().filter_map(|one| one.map_err(|error| failed = Some(error)).ok()).collect();
            if let (true, Some(error)) = (addresses.is_empty(), failed) {
                return Err(Error::from_io(error, "listen").at(at));
            }
        }
        let mut listeners = Vec::with_capacity(n);
        for _ in 0..n {
            let listener = self.bind(at, true, &addresses)?;
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
