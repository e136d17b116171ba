//! The runtime of tokio, in which QUIC has its tasks and timers.

use std::{
    future::Future,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use net_core::{DatagramSocket, Error, ErrorKind, Result, Room};
use quinn::{
    AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller,
    udp::{RecvMeta, Transmit, UdpSocketState},
};
use tokio::runtime::Handle;

/// How many errors of the system are skipped before others have their turn.
const MAX_SKIPPED: usize = 64;

/// Returns the runtime that this runs in.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`], met during `operation`, outside of one.
pub(crate) fn runtime(operation: &'static str) -> Result<Handle> {
    Handle::try_current().map_err(|error| Error::new(ErrorKind::Unsupported, operation).because(error))
}

/// Tokio, with sockets that make fewer system calls than quinn's: room is watched for only while there is none, and a call that
/// left room for more tells that nothing more is there.
#[derive(Debug)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        quinn::TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        quinn::TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Arc::new(Socket { io: DatagramSocket::new(socket)?, state, is_full: AtomicBool::new(false) }))
    }

    fn now(&self) -> Instant {
        quinn::TokioRuntime.now()
    }
}

#[derive(Debug)]
struct Socket {
    io: DatagramSocket,
    state: UdpSocketState,
    /// Whether the last attempt to send found no room.
    is_full: AtomicBool,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Waiting { socket: self, room: Room::default() })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.io.get_ref().into(), transmit);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.is_full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..MAX_SKIPPED {
            ready!(self.io.poll_readable(cx))?;
            let mut received = None;
            // What others report of datagrams that were sent is no end of the socket.
            let _ = self.io.try_receive(|| {
                let count = self.state.recv(self.io.get_ref().into(), buffers, meta)?;
                received = Some(count);
                if count < buffers.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if let Some(count) = received {
                return Poll::Ready(Ok(count));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// A connection that waits for room.
#[derive(Debug)]
struct Waiting {
    socket: Arc<Socket>,
    room: Room,
}

impl UdpPoller for Waiting {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // It is asked before each attempt, and most need not wait.
        if !this.socket.is_full.load(Ordering::Relaxed) {
            this.room = Room::default();
            return Poll::Ready(Ok(()));
        }
        ready!(this.room.poll(cx, &this.socket.io))?;
        this.socket.is_full.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
