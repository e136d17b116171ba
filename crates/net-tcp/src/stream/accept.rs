//! Accepting byte streams.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

#[cfg(unix)]
use net_core::Scheme;
use net_core::{Accept, Acceptor, Address, Admission, Handshake, Info, Permit, Result};
use socket2::SockRef;
use tokio::net::TcpListener;

#[cfg(unix)]
use super::unix::SocketFile;
use super::{bytes::ByteStream, half::Socket};
use crate::TcpConfig;

/// Accepts byte streams over TCP or a Unix-domain socket, under limits.
///
/// # Examples
///
/// ```
/// use net_tcp::{TcpConfig, stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let config = TcpConfig::default();
/// let mut listener = stream::listen(&"http://127.0.0.1:0".parse()?, &config).await?;
/// let near = stream::connect(listener.local(), &config).await?;
/// let far = listener.accept().await?;
/// assert_eq!(near.info().local, far.info().remote);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamListener(Acceptor<Source>);

impl StreamListener {
    pub(super) fn new(source: Source, local: Address) -> Self {
        Self(Acceptor::new(source, local))
    }

    /// Returns the address it listens at, with the port that the system chose.
    pub fn local(&self) -> &Address {
        self.0.local()
    }

    /// Polls for the next stream; an error means that it accepts no more.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<ByteStream>> {
        self.0.poll_accept(cx)
    }

    /// Waits for the next stream.
    ///
    /// # Errors
    ///
    /// It accepts no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is lost.
    pub async fn accept(&mut self) -> Result<ByteStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Stops listening; what waits in the system's queue is still given by [`accept`](Self::accept).
    pub fn close(&mut self) {
        self.0.close();
    }

    /// Puts it under the limits of `admission`, which several listeners may share.
    pub fn set_admission(&mut self, admission: Arc<Admission>) {
        self.0.set_admission(admission);
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Source {
    Tcp {
        listener: TcpListener,
        local: Address,
        config: TcpConfig,
    },
    #[cfg(unix)]
    Unix {
        listener: tokio::net::UnixListener,
        local: Address,
        send_buffer_len: Option<usize>,
        _file: SocketFile,
    },
}

impl Accept for Source {
    /// The socket, and the address of this side.
    type Socket = (Socket, Address);
    type Output = ByteStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Address)>> {
        match self {
            Self::Tcp { listener, local, config } => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                // Linux copies the listener's options to what it accepts, which spares five calls a connection.
                if !cfg!(target_os = "linux") {
                    config.apply(&SockRef::from(&stream))?;
                }
                let scheme = local.scheme();
                let near = match local.ip() {
                    // Only the socket knows which of the machine's addresses the peer has chosen.
                    Some(ip) if ip.is_unspecified() => stream.local_addr().ok(),
                    _ => None,
                };
                let near = near.map_or_else(|| local.clone(), |near| Address::from_socket(scheme, near));
                Poll::Ready(Ok(((Socket::Tcp(stream), near), Address::from_socket(scheme, peer))))
            }
            #[cfg(unix)]
            Self::Unix { listener, local, send_buffer_len, .. } => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                if let Some(len) = send_buffer_len {
                    SockRef::from(&stream).set_send_buffer_size(*len)?;
                }
                let peer = Address::from_path(Scheme::Unix, "");
                Poll::Ready(Ok(((Socket::Unix(stream), local.clone()), peer)))
            }
        }
    }

    fn handshake(
        &self,
        (socket, local): Self::Socket,
        peer: Address,
        permit: Permit,
    ) -> Handshake<ByteStream> {
        // A TLS handshake becomes `Running` here.
        Handshake::Done(Ok(ByteStream::new(socket, Info::new(local, peer), Some(permit))))
    }
}
