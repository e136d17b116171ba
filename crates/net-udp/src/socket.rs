//! A UDP socket: datagrams to and from anyone, or one peer.

#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use net_core::{Address, Error, ErrorKind, Result, Scheme};
use quinn_udp::UdpSocketState;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::{runtime::Handle, task::yield_now};

use crate::{TrafficClass, UdpConfig, UdpStats, stats::Counters, transmit::is_reported};

mod attempts;
mod batches;

mod multicast;
mod options;
mod singles;
#[cfg(target_os = "linux")]
mod source;
mod tries;
#[cfg_attr(not(unix), path = "socket/watched_by_tokio.rs")]
mod watched;

pub(crate) use attempts::Unsent;
pub use batches::{Datagram, RecvBatch, SendBatch};
pub(crate) use watched::Room;
use watched::Watched;

/// How many errors that others reported are skipped before a call gives other tasks their turn.
pub(crate) const MAX_SKIPPED: usize = 64;

/// A UDP socket: datagrams to and from anyone, or one peer.
///
/// All operations take `&self`: any number of tasks may send and receive, and each that waits is woken. What others report
/// of datagrams sent earlier (ICMP) is counted in [`stats`](Self::stats) and ends no operation. It must be made within a
/// runtime.
///
/// # Examples
///
/// ```
/// use net_udp::UdpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let any = "127.0.0.1:0".parse().expect("an address");
/// let (near, far) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
/// near.send_to(b"hello", far.local()).await?;
/// let mut buffer = [0; 1_500];
/// let (len, peer) = far.recv_from(&mut buffer).await?;
/// assert_eq!((&buffer[..len], peer), (&b"hello"[..], near.local()));
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    io: Watched,
    state: UdpSocketState,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    /// Whose datagrams alone are received, as the system names it: of the peer that this was connected to.
    heard: Option<SocketAddr>,
    dscp: AtomicU8,
    /// Whether the kernel cuts runs of datagrams apart.
    segments: AtomicBool,
    /// Whether the kernel joins what one peer sent.
    joins: AtomicBool,
    counters: Arc<Counters>,
}

/// What is told of a datagram that was received.
///
/// # Examples
///
/// ```
/// use net_udp::UdpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let any = "127.0.0.1:0".parse().expect("an address");
/// let (near, far) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
/// near.send_to(b"hello", far.local()).await?;
/// let mut buffer = [0; 1500];
/// let meta = far.recv_meta(&mut buffer).await?;
/// assert_eq!((&buffer[..meta.len], meta.peer), (&b"hello"[..], near.local()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// How many bytes of the buffer it fills.
    pub len: usize,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address of this machine, or the group, that it was sent to; where the system tells it.
    pub local: Option<IpAddr>,
    /// Its traffic class; elsewhere than on Linux its code point is always 0.
    pub class: TrafficClass,
}

impl UdpSocket {
    /// Makes a socket at `at`; port 0 lets the system choose one. At the IPv6 wildcard address it serves IPv4, too.
    ///
    /// # Errors
    ///
    /// The address is in use, not one of this machine, or not permitted; there is no runtime.
    pub fn bind(at: SocketAddr) -> Result<Self> {
        Self::bind_with(at, &UdpConfig::default())
    }

    /// Makes a socket at `at`, with what `config` says of sockets.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); [`ErrorKind::InvalidConfig`] for a setting that means nothing.
    pub fn bind_with(at: SocketAddr, config: &UdpConfig) -> Result<Self> {
        config.check("bind")?;
        let made = open(config, at, config.reuse_port).and_then(|socket| Self::adopt(socket.into(), config));
        made.map_err(|error| Error::from_io(error, "bind").at(&address(at)))
    }

    /// Takes over a socket that was made elsewhere: by whoever may bind to its address, or with options that are not
    /// offered here.
    ///
    /// Its address, peer, groups, buffers and code point stay what they are. Of a datagram of which others have the system tell
    /// more than there is room for, [`Meta`] tells no more than length and peer; those of such a socket are not to be
    /// [joined](Self::set_joins). Datagrams may travel in fragments, and are joined where they were already; no call blocks any
    /// more, by whichever handle.
    ///
    /// # Errors
    ///
    /// It is none of IPv4 or IPv6; what else the system reports; there is no runtime.
    pub fn from_std(socket: std::net::UdpSocket) -> Result<Self> {
        let adopted = socket.set_nonblocking(true).and_then(|()| {
            let peer = socket.peer_addr().ok();
            let mut socket = Self::adopt(socket, &UdpConfig::default())?;
            socket.dscp = socket.read_dscp()?.into();
            socket.joins = socket.read_joins().into();
            Ok(Self { peer, ..socket })
        });
        adopted.map_err(|error| Error::from_io(error, "take over a socket"))
    }

    /// Makes `to` the only peer: others' datagrams are not received any more, not even those that wait already.
    ///
    /// Nothing is sent, and nobody needs to be there.
    ///
    /// # Errors
    ///
    /// No route leads to `to`.
    pub fn connect(self, to: SocketAddr) -> Result<Self> {
        self.route(to).map_err(|error| Error::from_io(error, "connect").at(&address(to)))
    }

    pub(crate) fn route(mut self, to: SocketAddr) -> io::Result<Self> {
        SockRef::from(self.io()).connect(&SockAddr::from(to))?;
        self.local = self.io().local_addr()?;
        self.peer = Some(to);
        // Not always `to`: whoever connects to no address in particular has reached this machine.
        self.heard = Some(self.io().peer_addr()?);
        Ok(self)
    }

    /// Tells whether `peer` is nobody whose datagrams are received: the system keeps what others sent before the socket was
    /// connected.
    fn is_other(&self, peer: SocketAddr) -> bool {
        self.heard.is_some_and(|heard| {
            heard.port() != peer.port() || heard.ip().to_canonical() != peer.ip().to_canonical()
        })
    }

    /// Makes a bound socket, which is to be one of sessions, known to the runtime.
    pub(crate) fn register(socket: Socket, config: &UdpConfig) -> io::Result<Self> {
        let socket = std::net::UdpSocket::from(socket);
        // It has the kernel join datagrams, as sessions do.
        let state = UdpSocketState::new((&socket).into())?;
        Self::known(socket, state, config)
    }

    /// Makes a bound socket for direct use known to the runtime.
    fn adopt(socket: std::net::UdpSocket, config: &UdpConfig) -> io::Result<Self> {
        let state = options::state_of(&socket)?;
        Self::known(socket, state, config)
    }

    fn known(socket: std::net::UdpSocket, state: UdpSocketState, config: &UdpConfig) -> io::Result<Self> {
        // Without a runtime tokio would panic.
        Handle::try_current().map_err(io::Error::other)?;
        let local = socket.local_addr()?;
        let io = Watched::new(socket)?;
        let segments = AtomicBool::new(state.max_gso_segments() > 1);
        let socket = Self {
            io,
            state,
            segments,
            local,
            peer: None,
            heard: None,
            dscp: AtomicU8::new(0),
            joins: AtomicBool::new(false),
            counters: Arc::default(),
        };
        // What quinn-udp has switched on is for QUIC, which finds the length of datagrams that needs no fragments.
        socket.fragment(!config.dont_fragment)?;
        socket.classify(config.dscp)?;
        Ok(socket)
    }

    /// Returns the address of this socket, with the port that the system chose.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Returns the peer, where the socket is connected.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns what it has carried so far.
    pub fn stats(&self) -> UdpStats {
        self.counters.read()
    }

    /// Sends `payload` as one datagram to `to`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MessageTooLong`] where neither the protocol nor, without fragments, the path carries it;
    /// [`ErrorKind::PermissionDenied`] for a broadcast that was not
    /// [permitted](Self::set_broadcast); what else the system reports. The socket is good for further datagrams.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the datagram was sent whole or not at all.
    pub async fn send_to(&self, payload: &[u8], to: SocketAddr) -> Result<()> {
        self.send_one(payload, Some(to)).await
    }

    /// Sends `payload` as one datagram to the peer of a [connected](Self::connect) socket.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the datagram was sent whole or not at all.
    pub async fn send(&self, payload: &[u8]) -> Result<()> {
        self.send_one(payload, None).await
    }

    async fn send_one(&self, payload: &[u8], to: Option<SocketAddr>) -> Result<()> {
        let sent = self.io.send(|| self.send_now(payload, to)).await;
        sent.map_err(|error| send_error(error, to.or(self.peer)))
    }

    /// Sends one datagram, where the system has room.
    fn send_now(&self, payload: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        let socket = SockRef::from(self.io());
        let sent = || match to {
            Some(to) => socket.send_to(payload, &SockAddr::from(to)),
            None => socket.send(payload),
        };
        // An error that was reported of an earlier datagram has taken the place of sending this one.
        let len = sent().or_else(|error| {
            if !is_reported(&error) {
                return Err(error);
            }
            self.counters.icmp_errors.add(1);
            sent()
        })?;
        self.count_sent(1, len);
        Ok(())
    }

    /// Receives one datagram into `buffer`; returns its length and who sent it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MessageTooLong`] where it is longer than `buffer`: it is gone, and the socket is good for others. That is
    /// so on Linux; elsewhere it is gone with what the system makes of it, another error or none.
    /// [`ErrorKind::InvalidConfig`] where [datagrams are joined](Self::set_joins).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no datagram is lost.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        let meta = self.recv_meta(buffer).await?;
        Ok((meta.len, meta.peer))
    }

    /// Receives one datagram into `buffer`; returns its length.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no datagram is lost.
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.recv_meta(buffer).await?.len)
    }

    /// Receives one datagram into `buffer`, with all that is told of it.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no datagram is lost.
    pub async fn recv_meta(&self, buffer: &mut [u8]) -> Result<Meta> {
        self.is_single()?;
        let mut skipped = 0;
        loop {
            let received = self.io.receive(|| self.receive_single(buffer)).await;
            if let Some(told) = self.judge(received, buffer.len()) {
                return told;
            }
            skipped += 1;
            if skipped % MAX_SKIPPED == 0 {
                yield_now().await;
            }
        }
    }

    pub(crate) fn io(&self) -> &std::net::UdpSocket {
        self.io.get_ref()
    }

    pub(crate) fn state(&self) -> &UdpSocketState {
        &self.state
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Counts into `counters`, which others read, too.
    pub(crate) fn with_counters(mut self, counters: Arc<Counters>) -> Self {
        self.counters = counters;
        self
    }

    pub(crate) fn count_sent(&self, count: usize, len: usize) {
        self.counters.sent.add(count as u64);
        self.counters.sent_bytes.add(len as u64);
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn dscp(&self) -> u8 {
        self.dscp.load(Ordering::Relaxed)
    }

    /// Tells whether the kernel cuts runs of datagrams apart.
    ///
    /// quinn-udp takes any error for a sign that it does not, even that of a source or of one path.
    pub(crate) fn segments(&self) -> bool {
        self.segments.load(Ordering::Relaxed)
    }

    pub(crate) fn stop_segmenting(&self) {
        self.segments.store(false, Ordering::Relaxed);
    }

    fn joins(&self) -> bool {
        self.joins.load(Ordering::Relaxed)
    }
}

#[cfg(unix)]
impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io().as_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Makes a socket that has the address `at`, and is known to no runtime yet.
pub(crate) fn open(config: &UdpConfig, at: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() && at.ip().is_unspecified() {
        socket.set_only_v6(config.only_v6)?;
    }
    if config.reuse_address {
        socket.set_reuse_address(true)?;
    }
    #[cfg(not(unix))]
    let _ = reuse_port;
    #[cfg(unix)]
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if let Some(len) = config.send_buffer_len {
        socket.set_send_buffer_size(len)?;
    }
    if let Some(len) = config.recv_buffer_len {
        socket.set_recv_buffer_size(len)?;
    }
    socket.bind(&at.into())?;
    Ok(socket)
}

pub(crate) fn address(socket: SocketAddr) -> Address {
    Address::from_socket(Scheme::Udp, socket)
}

/// Says why a datagram to `to` was not sent.
pub(crate) fn send_error(error: io::Error, to: Option<SocketAddr>) -> Error {
    let told = if is_too_long(&error) {
        Error::new(ErrorKind::MessageTooLong, "send").because(error)
    } else {
        Error::from_io(error, "send")
    };
    match to {
        Some(to) => told.at(&address(to)),
        None => told,
    }
}

/// Tells whether the system refused a datagram for its length: `EMSGSIZE`, which has no kind of its own.
pub(crate) fn is_too_long(error: &io::Error) -> bool {
    let code = match () {
        () if cfg!(target_os = "linux") => 90,
        () if cfg!(windows) => 10_040,
        () => 40,
    };
    error.raw_os_error() == Some(code)
}
