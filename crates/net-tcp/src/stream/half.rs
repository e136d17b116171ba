//! The two halves of a byte stream, which share its socket.

#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::{
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use net_core::Permit;
use socket2::SockRef;
#[cfg(unix)]
use tokio::net::{UnixStream, unix};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, tcp},
};

use super::{
    send::{Follows, Writable, poll_send},
    tls::{TlsRead, TlsSocket, TlsWrite},
};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "without the feature, there is none"))]
    Tls(Arc<TlsSocket>),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The reading half of a byte stream.
///
/// Dropping it leaves the writing half as it is; the socket is closed when both are gone.
///
/// # Examples
///
/// ```
/// use net_tcp::{TcpConfig, stream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = TcpConfig::default();
/// # let mut listener = stream::listen(&"tcp://127.0.0.1:0".parse()?, &config).await?;
/// # let near = stream::connect(listener.local(), &config).await?;
/// # let mut far = listener.accept().await?;
/// let (mut read, _write, _) = near.into_split();
/// far.write_all(b"hello").await?;
/// drop(far); // it ends
/// let mut text = String::new();
/// read.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadHalf {
    io: Reading,
    /// The place of the connection among those that a server admits; free when both halves are gone.
    _permit: Option<Arc<Permit>>,
}

#[derive(Debug)]
pub(super) enum Reading {
    Tcp(tcp::OwnedReadHalf),
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "without the feature, there is none"))]
    Tls(TlsRead),
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
}

/// The writing half of a byte stream.
///
/// Dropping it ends the stream: the peer reads all that was written, and then the end. [`abort`](Self::abort) cuts
/// it instead. Over TLS the end is a `close_notify` before that of TCP, and what was not flushed makes a drop an abort.
///
/// # Examples
///
/// ```
/// use net_tcp::{TcpConfig, stream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = TcpConfig::default();
/// # let mut listener = stream::listen(&"tcp://127.0.0.1:0".parse()?, &config).await?;
/// # let near = stream::connect(listener.local(), &config).await?;
/// # let mut far = listener.accept().await?;
/// let (mut read, mut write, _) = near.into_split();
/// write.write_all(b"any news?").await?;
/// drop(write); // ends this direction
/// let mut question = String::new();
/// far.read_to_string(&mut question).await?;
/// far.write_all(b"none").await?;
/// let mut answer = [0; 4];
/// read.read_exact(&mut answer).await?;
/// assert_eq!((question.as_str(), &answer), ("any news?", b"none"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WriteHalf {
    io: Writing,
    _permit: Option<Arc<Permit>>,
}

#[derive(Debug)]
pub(super) enum Writing {
    Tcp(tcp::OwnedWriteHalf),
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "without the feature, there is none"))]
    Tls(TlsWrite),
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
    Aborted,
}

/// Cuts a socket into halves, of which each keeps `permit`.
pub(super) fn split(socket: Socket, permit: Option<Permit>) -> (ReadHalf, WriteHalf) {
    let (reading, writing) = match socket {
        Socket::Tcp(stream) => {
            let (read, write) = stream.into_split();
            (Reading::Tcp(read), Writing::Tcp(write))
        }
        Socket::Tls(socket) => socket.split(),
        #[cfg(unix)]
        Socket::Unix(stream) => {
            let (read, write) = stream.into_split();
            (Reading::Unix(read), Writing::Unix(write))
        }
    };
    let permit = permit.map(Arc::new);
    (ReadHalf { io: reading, _permit: permit.clone() }, WriteHalf { io: writing, _permit: permit })
}

/// Joins the halves of one TCP stream; `None` where they are of anything else.
pub(super) fn reunite(read: ReadHalf, write: WriteHalf) -> Option<TcpStream> {
    match (read.io, write.io) {
        (Reading::Tcp(read), Writing::Tcp(write)) => read.reunite(write).ok(),
        _ => None,
    }
}

impl ReadHalf {
    /// Shuts the read side, the write side or both, without waiting.
    ///
    /// Shutting the read side ends this half: it reads what has arrived, then the end. The peer is not told.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.io {
            Reading::Tcp(half) => SockRef::from(half.as_ref()).shutdown(how),
            Reading::Tls(half) => half.shutdown(how),
            #[cfg(unix)]
            Reading::Unix(half) => SockRef::from(half.as_ref()).shutdown(how),
        }
    }
}

impl WriteHalf {
    /// Cuts the stream: the peer of a TCP connection gets a reset, now, even while the reading half lives, and never
    /// a clean end. What was written and has not arrived is lost.
    ///
    /// Unix-domain sockets know no reset: there the peer reads what was written, and then the end. A message sender that
    /// is dropped with something unflushed leaves the stream inside a frame there, where there is room for a part of it.
    pub fn abort(&mut self) {
        match std::mem::replace(&mut self.io, Writing::Aborted) {
            Writing::Tcp(half) => {
                // Where the system cannot reset at once, it does when the reading half is dropped too. An error means
                // that the connection is gone already.
                let _ = SockRef::from(half.as_ref()).set_linger(Some(Duration::ZERO));
                #[cfg(target_os = "linux")]
                let _ = rustix::net::connect_unspec(half.as_ref());
                // Not a drop: that would send a clean end.
                half.forget();
            }
            Writing::Tls(mut half) => half.abort(),
            #[cfg(unix)]
            Writing::Unix(half) => drop(half),
            Writing::Aborted => {}
        }
    }

    /// Returns how many bytes were written and are not with the kernel: over TLS what is encrypted and found no room, to within
    /// a few bytes a record; otherwise none.
    pub fn unsent_len(&self) -> usize {
        match &self.io {
            Writing::Tls(half) => half.unsent_len(),
            _ => 0,
        }
    }

    /// Aborts where `unsent` is what would have been written next; it ends with a frame.
    ///
    /// Where there is no reset, all but its last byte is written as far as there is room: the peer then sees that the
    /// stream ends inside a frame.
    #[cfg_attr(not(unix), allow(unused_variables, reason = "every stream has a reset there"))]
    pub(crate) fn cut(&mut self, unsent: &[IoSlice<'_>]) {
        #[cfg(unix)]
        if let Writing::Unix(half) = &self.io {
            let all: usize = unsent.iter().map(|slice| slice.len()).sum();
            let mut room = all.saturating_sub(1);
            let part = unsent.iter().map(|slice| {
                let taken = slice.get(..room.min(slice.len())).unwrap_or_default();
                room -= taken.len();
                IoSlice::new(taken)
            });
            // A peer that is gone needs no sign.
            let _ = half.as_ref().send(&part.collect::<Vec<_>>(), Follows::Anything);
        }
        self.abort();
    }
}

/// The socket, for options that have no field in the configuration.
#[cfg(unix)]
impl AsFd for ReadHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.io {
            Reading::Tcp(half) => half.as_ref().as_fd(),
            Reading::Tls(half) => half.socket().as_fd(),
            Reading::Unix(half) => half.as_ref().as_fd(),
        }
    }
}

impl AsyncRead for ReadHalf {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Reading::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            Reading::Tls(half) => half.poll_read(cx, buf),
            #[cfg(unix)]
            Reading::Unix(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Writing::Tcp(half) => Pin::new(half).poll_write(cx, buf),
            Writing::Tls(half) => half.poll_write(cx, &[IoSlice::new(buf)]),
            #[cfg(unix)]
            Writing::Unix(half) => poll_send(cx, half.as_ref(), &[IoSlice::new(buf)], Follows::Anything),
            Writing::Aborted => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Writing::Tcp(half) => poll_send(cx, half.as_ref(), slices, Follows::Anything),
            Writing::Tls(half) => half.poll_write(cx, slices),
            #[cfg(unix)]
            Writing::Unix(half) => poll_send(cx, half.as_ref(), slices, Follows::Anything),
            Writing::Aborted => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Writes what is encrypted and found no room. Without TLS, what is written is with the kernel already.
    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Writing::Tls(half) => half.poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Writing::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            Writing::Tls(half) => half.poll_shutdown(cx),
            #[cfg(unix)]
            Writing::Unix(half) => Pin::new(half).poll_shutdown(cx),
            Writing::Aborted => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}
