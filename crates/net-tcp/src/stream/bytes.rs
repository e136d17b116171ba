//! A connected byte stream.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use net_core::{Info, Permit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::half::{ReadHalf, Socket, WriteHalf, reunite, split};

/// A connected byte stream over TCP or a Unix-domain socket.
///
/// # Examples
///
/// ```
/// use net_tcp::{TcpConfig, stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let config = TcpConfig::default();
/// let listener = stream::listen(&"tcp://127.0.0.1:0".parse()?, &config).await?;
/// let stream = stream::connect(listener.local(), &config).await?;
/// assert_eq!(&stream.info().remote, listener.local());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ByteStream {
    // The reading half goes first, so that the end that the writing half sends is the socket's last word.
    read: ReadHalf,
    write: WriteHalf,
    info: Info,
}

impl ByteStream {
    pub(crate) fn new(socket: Socket, info: Info, permit: Option<Permit>) -> Self {
        let (read, write) = split(socket, permit);
        Self { read, write, info }
    }

    /// Returns what is known of the connection.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Cuts the stream, as [`WriteHalf::abort`] does.
    pub fn abort(mut self) {
        self.write.abort();
    }

    /// Returns the socket below and what is known of it, where it is TCP without TLS.
    pub(super) fn into_tcp(self) -> Option<(TcpStream, Info)> {
        Some((reunite(self.read, self.write)?, self.info))
    }

    /// Cuts it into its halves.
    pub fn into_split(self) -> (ReadHalf, WriteHalf, Info) {
        (self.read, self.write, self.info)
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}
