//! Listening sockets, known to whichever runtime polls them first.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    task::{Context, Poll, ready},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::{TcpStream, UnixStream},
};

use super::half::Socket;

/// A listening socket that becomes known to the runtime in which it is polled first: the listeners of a server are made
/// by one runtime and each served by another, which must not wait for the first one's events.
#[derive(Debug)]
pub(super) struct Listening<S: AsRawFd>(State<S>);

#[derive(Debug)]
enum State<S: AsRawFd> {
    NotYet(Option<S>),
    Now(AsyncFd<S>),
}

/// A kind of listening socket.
pub(super) trait Listener: AsFd + AsRawFd {
    /// Makes what was accepted known to the runtime.
    fn register(accepted: OwnedFd) -> io::Result<Socket>;
}

impl Listener for std::net::TcpListener {
    #[inline]
    fn register(accepted: OwnedFd) -> io::Result<Socket> {
        TcpStream::from_std(accepted.into()).map(Socket::Tcp)
    }
}

impl Listener for std::os::unix::net::UnixListener {
    #[inline]
    fn register(accepted: OwnedFd) -> io::Result<Socket> {
        UnixStream::from_std(accepted.into()).map(Socket::Unix)
    }
}

impl<S: Listener> Listening<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(State::NotYet(Some(socket)))
    }

    /// Polls for a connection and the address of its peer, where that has one.
    #[inline]
    pub(super) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        let listener = self.registered()?;
        loop {
            let mut ready = ready!(listener.poll_read_ready(cx))?;
            let mut taken = None;
            let attempt = ready.try_io(|listener| {
                taken = Some(accept(listener.get_ref())?);
                // An `accept` that finds nobody has made a socket and a file by then: it costs seven times what asking does.
                if is_anybody_waiting(listener.get_ref()) {
                    Ok(())
                } else {
                    Err(io::ErrorKind::WouldBlock.into())
                }
            });
            match (taken, attempt) {
                (Some((socket, peer)), _) => {
                    return Poll::Ready(S::register(socket).map(|socket| (socket, peer)));
                }
                (None, Ok(attempt)) => attempt?,
                (None, Err(_would_block)) => {}
            }
        }
    }

    /// Takes a connection that waits as the socket is closed: the runtime knows what events have told, the system knows
    /// what waits.
    pub(super) fn accept_waiting(&self) -> Option<io::Result<(Socket, Option<SocketAddr>)>> {
        let listener = match &self.0 {
            State::NotYet(socket) => socket.as_ref()?,
            State::Now(listener) => listener.get_ref(),
        };
        match accept(listener) {
            Ok((socket, peer)) => Some(S::register(socket).map(|socket| (socket, peer))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }

    #[inline]
    fn registered(&mut self) -> io::Result<&AsyncFd<S>> {
        if let State::NotYet(socket) = &mut self.0 {
            // Gone only where an earlier attempt failed.
            let socket = socket.take().ok_or(io::ErrorKind::NotConnected)?;
            #[allow(
                deprecated,
                reason = "its replacement is unsafe for types that may change their descriptor; a listener of `std` cannot"
            )]
            let listener = AsyncFd::with_interest(socket, Interest::READABLE)?;
            self.0 = State::Now(listener);
        }
        match &self.0 {
            State::Now(listener) => Ok(listener),
            State::NotYet(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Takes a connection that waits, ready to be registered.
#[cfg(target_os = "linux")]
#[inline]
fn accept(listener: &impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    Ok((socket, peer.and_then(|peer| peer.try_into().ok())))
}

/// Takes a connection that waits, ready to be registered.
#[cfg(not(target_os = "linux"))]
fn accept(listener: &impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (socket, peer) = socket2::SockRef::from(listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), peer.as_socket()))
}

/// Tells whether a connection waits to be taken; what cannot be told is tried.
#[inline]
fn is_anybody_waiting(listener: &impl AsFd) -> bool {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&AT_ONCE)).map_or(true, |waiting| waiting > 0)
}
