//! Where raw connections come from: listening sockets, known to whichever runtime polls them first.

use std::{
    io,
    task::{Context, Poll, ready},
};

use net_core::{Accept, Address, Handshake, Info, Permit, Scheme};
use socket2::SockRef;

#[cfg(unix)]
use super::unix::SocketFile;
use super::{ServerSettings, bytes::ByteStream, half::Socket, listening::Listening};
use crate::TcpConfig;

/// Where raw connections come from: what a protocol with a handshake of its own puts under its
/// [`Acceptor`](net_core::Acceptor), so that limits act before that handshake.
///
/// It belongs to the runtime in which it is first polled, whichever made it.
///
/// # Examples
///
/// ```
/// use std::{io, task::{Context, Poll}};
/// use net_core::{Accept, Acceptor, Address, Handshake, Permit};
/// use net_tcp::{TcpConfig, stream::{self, Accepted, ByteStream, StreamSource}};
/// use tokio::io::AsyncReadExt;
///
/// /// Accepts streams that begin with a byte of greeting.
/// struct Greeted(StreamSource);
///
/// impl Accept for Greeted {
///     type Socket = Accepted;
///     type Output = ByteStream;
///
///     fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, Address)>> {
///         self.0.poll_accept(cx)
///     }
///
///     fn accept_waiting(&mut self) -> Option<io::Result<(Accepted, Address)>> {
///         self.0.accept_waiting()
///     }
///
///     fn handshake(&self, socket: Accepted, peer: Address, permit: Permit) -> Handshake<ByteStream> {
///         let below = self.0.handshake(socket, peer, permit);
///         Handshake::Running(Box::pin(async move {
///             let mut stream = match below {
///                 Handshake::Done(stream) => stream?,
///                 Handshake::Running(stream) => stream.await?,
///             };
///             let greeting = stream.read_u8().await;
///             greeting.map_err(|error| net_core::Error::from_io(error, "handshake"))?;
///             Ok(stream)
///         }))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let source = stream::bind(&"tcp://127.0.0.1:0".parse()?, &TcpConfig::default()).await?;
/// let local = source.local().clone();
/// let acceptor = Acceptor::new(Greeted(source), local);
/// # let _ = acceptor;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamSource {
    kind: Kind,
    local: Address,
}

#[derive(Debug)]
enum Kind {
    Tcp {
        listener: Listening<std::net::TcpListener>,
        config: TcpConfig,
        tls: ServerSettings,
    },
    #[cfg(unix)]
    Unix {
        listener: Listening<std::os::unix::net::UnixListener>,
        send_buffer_len: Option<usize>,
        _file: SocketFile,
    },
}

/// A connection as the system gives it, before any handshake.
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, sync::Arc};
/// use net_core::{Accept, Admission, Handshake, Limits};
/// use net_tcp::{TcpConfig, stream::{self, Accepted}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = TcpConfig::default();
/// let admission = Arc::new(Admission::new(Limits::default(), None));
/// let mut source = stream::bind(&"tcp://127.0.0.1:0".parse()?, &config).await?;
/// let near = stream::connect(source.local(), &config).await?;
/// let (accepted, peer): (Accepted, _) = poll_fn(|cx| source.poll_accept(cx)).await?;
/// let permit = admission.admit(peer.ip()).expect("there is room");
/// let far = match source.handshake(accepted, peer, permit) {
///     Handshake::Done(stream) => stream?,
///     Handshake::Running(stream) => stream.await?, // TLS
/// };
/// assert_eq!(far.info().remote, near.info().local);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Accepted {
    socket: Socket,
    local: Address,
}

impl StreamSource {
    pub(super) fn tcp(
        listener: std::net::TcpListener,
        local: Address,
        config: TcpConfig,
        tls: ServerSettings,
    ) -> Self {
        Self { kind: Kind::Tcp { listener: Listening::new(listener), config, tls }, local }
    }

    #[cfg(unix)]
    pub(super) fn unix(
        listener: std::os::unix::net::UnixListener,
        file: SocketFile,
        local: Address,
        send_buffer_len: Option<usize>,
    ) -> Self {
        let listener = Listening::new(listener);
        Self { kind: Kind::Unix { listener, send_buffer_len, _file: file }, local }
    }

    /// Returns the address it listens at, with the port that the system chose.
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// Makes of a socket what is told of it.
    fn accepted(
        &self,
        socket: Socket,
        peer: Option<std::net::SocketAddr>,
    ) -> io::Result<(Accepted, Address)> {
        let scheme = self.local.scheme();
        let mut local = None;
        match (&self.kind, &socket) {
            (Kind::Tcp { config, .. }, Socket::Tcp(stream)) => {
                // Linux copies the listener's options to what it accepts, which spares five calls a connection.
                if !cfg!(target_os = "linux") {
                    config.apply(&SockRef::from(stream))?;
                }
                // Only the socket knows which of the machine's addresses the peer has chosen.
                if self.local.ip().is_none_or(|ip| ip.is_unspecified()) {
                    local = stream.local_addr().ok().map(|local| Address::from_socket(scheme, local));
                }
            }
            #[cfg(unix)]
            (Kind::Unix { send_buffer_len: Some(len), .. }, Socket::Unix(stream)) => {
                SockRef::from(stream).set_send_buffer_size(*len)?;
            }
            #[cfg(unix)]
            _ => {}
        }
        let local = local.unwrap_or_else(|| self.local.clone());
        let peer = peer
            .map_or_else(|| Address::from_path(Scheme::Unix, ""), |peer| Address::from_socket(scheme, peer));
        Ok((Accepted { socket, local }, peer))
    }
}

impl Accept for StreamSource {
    type Socket = Accepted;
    type Output = ByteStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, Address)>> {
        let (socket, peer) = ready!(match &mut self.kind {
            Kind::Tcp { listener, .. } => listener.poll_accept(cx),
            #[cfg(unix)]
            Kind::Unix { listener, .. } => listener.poll_accept(cx),
        })?;
        Poll::Ready(self.accepted(socket, peer))
    }

    fn accept_waiting(&mut self) -> Option<io::Result<(Accepted, Address)>> {
        let waiting = match &self.kind {
            Kind::Tcp { listener, .. } => listener.accept_waiting(),
            #[cfg(unix)]
            Kind::Unix { listener, .. } => listener.accept_waiting(),
        };
        Some(waiting?.and_then(|(socket, peer)| self.accepted(socket, peer)))
    }

    fn handshake(&self, accepted: Accepted, peer: Address, permit: Permit) -> Handshake<ByteStream> {
        let info = Info::new(accepted.local, peer);
        match (accepted.socket, &self.kind) {
            (Socket::Tcp(stream), Kind::Tcp { tls, .. }) if self.local.scheme().is_over_tls() => {
                tls.secure(stream, info, permit)
            }
            (socket, _) => Handshake::Done(Ok(ByteStream::new(socket, info, Some(permit)))),
        }
    }
}
