//! Accepts sessions: the first datagram of a peer begins one.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use net_core::{
    Accept, Acceptor, Address, Admission, Connection, Error, Handshake, Info, Listener, Permit, Result, ports,
};
use socket2::Socket;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    UdpConfig, UdpPeer, UdpReceiver, UdpSender, UdpSocket, UdpStats,
    demux::{Demux, Hub, Newcomer},
    session::Session,
    socket::address,
    stats::Counters,
};

/// Accepts sessions: the first datagram of a peer begins one, and is the first message of it.
///
/// One task takes the datagrams from the socket to the sessions, in the runtime in which the listener is first polled; its
/// timers are the kernel's (elsewhere than on Linux the runtime's, which must have them enabled). It goes on after the listener is
/// closed or dropped, until the last session has ended: so the address is free only then.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_udp::{Udp, UdpListener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let mut listener: UdpListener = Udp::default().listen(&"udp://127.0.0.1:0".parse()?).await?;
/// let mut near = Udp::default().connect(listener.local()).await?;
/// near.send("hello").await?;
/// let mut far = listener.accept().await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!((listener.stats().received, listener.stats().sessions), (1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpListener {
    acceptor: Acceptor<Source>,
    counters: Arc<Counters>,
    admission: Admitting,
    local: SocketAddr,
}

/// The limits of the server and its observer, once they are set.
type Admitting = Arc<OnceLock<Arc<Admission>>>;

impl UdpListener {
    pub(crate) fn new(socket: Socket, config: UdpConfig) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
        let counters: Arc<Counters> = Arc::default();
        let admission = Admitting::default();
        let source = Source {
            stage: Stage::Bound(socket),
            hub: Arc::new(Hub::new(config, counters.clone())),
            local,
            admission: admission.clone(),
            open: Arc::default(),
        };
        Ok(Self { acceptor: Acceptor::new(source, address(local)), counters, admission, local })
    }

    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.local
    }

    /// Returns what the socket has carried so far, and what was dropped and why.
    pub fn stats(&self) -> UdpStats {
        self.counters.read()
    }
}

impl Listener for UdpListener {
    type Sender = UdpSender;
    type Receiver = UdpReceiver;

    fn local(&self) -> &Address {
        self.acceptor.local()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection<UdpSender, UdpReceiver>>> {
        self.acceptor.poll_accept(cx)
    }

    fn close(&mut self) {
        self.acceptor.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        // Only the first one counts: limits are set once.
        let _ = self.admission.set(admission.clone());
        self.acceptor.set_admission(admission);
    }
}

/// Where new sessions come from.
#[derive(Debug)]
struct Source {
    stage: Stage,
    hub: Arc<Hub>,
    local: SocketAddr,
    admission: Admitting,
    /// Held by whoever has the socket, and let go after that.
    open: Arc<()>,
}

#[derive(Debug)]
enum Stage {
    /// Known to no runtime yet: the listeners of a server are made by one and each served by another.
    Bound(Socket),
    Served(mpsc::Receiver<Newcomer>),
}

impl Source {
    /// Begins to serve the socket in the current runtime.
    fn serve(&mut self) -> io::Result<&mut mpsc::Receiver<Newcomer>> {
        if let Stage::Bound(socket) = &self.stage {
            let sweep = Demux::ticks(&self.hub)?;
            // By another descriptor: what the system has no room for now, it may have later, and the socket is still there.
            let socket = UdpSocket::register(socket.try_clone()?, &self.hub.config)?;
            socket.serve_sessions()?;
            let (tx, rx) = mpsc::channel(self.hub.config.backlog.clamp(1, Semaphore::MAX_PERMITS));
            let socket = socket.with_counters(self.hub.counters.clone());
            let admission = self.admission.get_or_init(Arc::default).clone();
            let demux = Demux::new(socket, self.hub.clone(), tx, admission, sweep, self.open.clone());
            tokio::spawn(demux);
            self.stage = Stage::Served(rx);
        }
        match &mut self.stage {
            Stage::Served(newcomers) => Ok(newcomers),
            Stage::Bound(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Accept for Source {
    type Socket = Newcomer;
    type Output = Connection<UdpSender, UdpReceiver>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Newcomer, Address)>> {
        // The task ends first only with its runtime.
        let newcomer = ready!(self.serve()?.poll_recv(cx)).ok_or(io::ErrorKind::NotConnected)?;
        let peer = address(newcomer.line.key.peer);
        Poll::Ready(Ok((newcomer, peer)))
    }

    fn accept_waiting(&mut self) -> Option<io::Result<(Newcomer, Address)>> {
        let Stage::Served(newcomers) = &mut self.stage else { return None };
        let newcomer = newcomers.try_recv().ok()?;
        let peer = address(newcomer.line.key.peer);
        Some(Ok((newcomer, peer)))
    }

    fn take_permit(&self, newcomer: &Newcomer) -> Option<Permit> {
        newcomer.line.take_permit()
    }

    fn handshake(&self, newcomer: Newcomer, peer: Address, permit: Permit) -> Handshake<Self::Output> {
        if let Err(why) = newcomer.line.put_permit(permit) {
            // It has waited for so long that its place was given to another one.
            return Handshake::Done(Err(Error::new(why, "accept").at(&peer)));
        }
        let key = newcomer.line.key;
        let local = SocketAddr::new(key.local.unwrap_or_else(|| self.local.ip()), self.local.port());
        let standing = newcomer.line.standing.clone();
        let info = Info::new(address(local), peer).with_details(UdpPeer(standing));
        let observer = self.admission.get().and_then(|admission| admission.observer()).cloned();
        let session = Arc::new(Session::new(newcomer));
        let tx = UdpSender::of_session(session.clone(), observer.map(|observer| (observer, info.clone())));
        Handshake::Done(Ok(Connection::new(tx, UdpReceiver::of_session(session), info)))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let open = Arc::downgrade(&self.open);
        ports::leave(self.local.port(), move || open.strong_count() > 0);
        self.hub.close();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{net::Ipv4Addr, task::Waker};

    use socket2::{Domain, Type};

    use super::*;

    #[tokio::test]
    async fn a_socket_that_could_not_be_served_is_still_there() {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // The system refuses it what is asked of sockets of UDP.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let config = UdpConfig::default();
        let mut source = Source {
            stage: Stage::Bound(socket),
            hub: Arc::new(Hub::new(config, Arc::default())),
            local,
            admission: Admitting::default(),
            open: Arc::default(),
        };
        let cx = &mut Context::from_waker(Waker::noop());
        let mut refusal = || match source.poll_accept(cx) {
            Poll::Ready(Err(error)) => error.raw_os_error(),
            other => panic!("it cannot be served: {other:?}"),
        };
        let first = refusal();
        assert!(first.is_some(), "the system says why");
        assert_eq!(refusal(), first);
    }
}
