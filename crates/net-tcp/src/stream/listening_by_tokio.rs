//! Listening sockets where the system has no descriptors.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use super::half::Socket;

/// A listening socket that becomes known to the runtime in which it is polled first.
#[derive(Debug)]
pub(super) struct Listening<S>(State<S>);

#[derive(Debug)]
enum State<S> {
    NotYet(Option<S>),
    Now(TcpListener),
}

impl Listening<std::net::TcpListener> {
    pub(super) fn new(socket: std::net::TcpListener) -> Self {
        Self(State::NotYet(Some(socket)))
    }

    /// Polls for a connection and the address of its peer.
    pub(super) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        if let State::NotYet(socket) = &mut self.0 {
            // Gone only where an earlier attempt failed.
            let socket = socket.take().ok_or(io::ErrorKind::NotConnected)?;
            self.0 = State::Now(TcpListener::from_std(socket)?);
        }
        let State::Now(listener) = &self.0 else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let (stream, peer) = ready!(listener.poll_accept(cx))?;
        Poll::Ready(Ok((Socket::Tcp(stream), Some(peer))))
    }

    /// Takes a connection that waits as the socket is closed: the runtime knows what events have told, the system knows
    /// what waits.
    pub(super) fn accept_waiting(&self) -> Option<io::Result<(Socket, Option<SocketAddr>)>> {
        let listener = match &self.0 {
            State::NotYet(socket) => SockRef::from(socket.as_ref()?),
            State::Now(listener) => SockRef::from(listener),
        };
        let (socket, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => return Some(Err(error)),
        };
        let registered = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket.into()));
        Some(registered.map(|stream| (Socket::Tcp(stream), peer.as_socket())))
    }
}
