//! Vectored writes that neither raise a signal nor ask a full socket twice.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{io::Interest, net::TcpStream};

/// What follows a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Whatever there is later: it leaves at once.
    Anything,
    /// The end of the stream, at once: both leave together, in one segment, where the system can do that.
    End,
}

/// A socket that tells when it can be written.
pub(super) trait Writable {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Runs `write` if the socket is thought to be writable; that is over when it says `WouldBlock`.
    fn attempt(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()>;

    /// Writes without waiting.
    fn send(&self, slices: &[IoSlice<'_>], follows: Follows) -> io::Result<usize>;
}

/// Writes what of `slices` the socket takes now.
#[inline]
pub(super) fn poll_send<S: Writable>(
    cx: &mut Context<'_>,
    socket: &S,
    slices: &[IoSlice<'_>],
    follows: Follows,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_ready(cx))?;
        let mut written = 0;
        let result = socket.attempt(|| {
            written = socket.send(slices, follows)?;
            // With edges (epoll, kqueue), a part of the whole shows that the buffer is full: saying so here, where
            // the runtime knows what it told us, spares the call that would only fail.
            if cfg!(unix) && written > 0 && written < slices.iter().map(|slice| slice.len()).sum() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
            Err(_) if written == 0 => {}
            _ => return Poll::Ready(Ok(written)),
        }
    }
}

/// Both kinds of sockets have these methods, and no trait of tokio's has them.
macro_rules! writable {
    ($socket:ty) => {
        impl Writable for $socket {
            #[inline]
            fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_ready(cx)
            }

            #[inline]
            fn attempt(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
                self.try_io(Interest::WRITABLE, write)
            }

            #[inline]
            fn send(&self, slices: &[IoSlice<'_>], follows: Follows) -> io::Result<usize> {
                send(self, slices, follows)
            }
        }
    };
}

writable!(TcpStream);
#[cfg(unix)]
writable!(UnixStream);

/// Writes to a socket; a closed one is an error, where `writev` would raise `SIGPIPE`.
#[cfg(unix)]
#[inline]
fn send(socket: &impl std::os::fd::AsFd, slices: &[IoSlice<'_>], follows: Follows) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

    // Elsewhere the standard library has set the same as an option of the socket.
    #[cfg(not(target_vendor = "apple"))]
    let flags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    let flags = SendFlags::empty();
    #[cfg(target_os = "linux")]
    let flags = if follows == Follows::End { flags | SendFlags::MORE } else { flags };
    #[cfg(not(target_os = "linux"))]
    let _ = follows;
    if let [slice] = slices {
        // The kernel has no vector to look at.
        return Ok(send(socket, slice, flags)?);
    }
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

#[cfg(not(unix))]
fn send(socket: &TcpStream, slices: &[IoSlice<'_>], _: Follows) -> io::Result<usize> {
    socket2::SockRef::from(socket).send_vectored(slices)
}
