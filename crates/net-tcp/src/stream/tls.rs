//! TLS on a TCP connection: settings, handshakes, and the two halves, which share one session.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::Shutdown,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use net_core::{
    Address, Error, ErrorKind, Handshake, Info, Permit, Result,
    tls::{ClientTls, ServerTls, handshake_error, rustls},
};
use tokio::{io::ReadBuf, net::TcpStream, runtime::Handle, time::timeout};

use super::{
    bytes::ByteStream,
    half::{Reading, Socket, Writing},
};
use session::Session;

mod session;

/// How long a session that was dropped may take to tell its peer of the end, where the socket is full.
const LINGER: Duration = Duration::from_secs(1);

/// The settings of clients, where there are some.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientSettings(Option<ClientTls>);

/// The settings of servers, where there are some.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSettings(Option<ServerTls>);

impl ClientSettings {
    pub(crate) fn new(tls: ClientTls) -> Self {
        Self(Some(tls))
    }

    /// Refuses an address that needs settings where there are none.
    pub(crate) fn check(&self, to: &Address) -> Result<()> {
        self.0.as_ref().map(drop).ok_or_else(|| unset(to, "connect", "client"))
    }

    /// Makes a secure stream of one that is connected to the server at `to`.
    pub(super) async fn secure(&self, stream: TcpStream, info: Info, to: &Address) -> Result<ByteStream> {
        let Some(tls) = &self.0 else { return Err(unset(to, "connect", "client")) };
        let connection = tls.connection(to)?;
        let socket = handshake(stream, connection.into(), "connect").await.map_err(|error| error.at(to))?;
        let info = match socket.lock().connection() {
            rustls::Connection::Client(connection) => info.with_details(tls.established(connection)),
            rustls::Connection::Server(_) => info,
        };
        Ok(ByteStream::new(Socket::Tls(socket), info, None))
    }
}

impl ServerSettings {
    pub(crate) fn new(tls: ServerTls) -> Self {
        Self(Some(tls))
    }

    /// Refuses an address that needs settings where there are none.
    pub(crate) fn check(&self, at: &Address) -> Result<()> {
        self.0.as_ref().map(drop).ok_or_else(|| unset(at, "listen", "server"))
    }

    /// Makes a secure stream of one that was accepted.
    pub(super) fn secure(&self, stream: TcpStream, info: Info, permit: Permit) -> Handshake<ByteStream> {
        let Some(tls) = self.0.clone() else {
            return Handshake::Done(Err(unset(&info.local, "accept", "server")));
        };
        // The session is made once this runs: a handshake over a limit, which never does, costs nothing.
        Handshake::Running(Box::pin(async move {
            let socket = handshake(stream, tls.connection()?.into(), "accept").await;
            let socket = socket.map_err(|error| error.at(&info.remote))?;
            let info = match socket.lock().connection() {
                rustls::Connection::Server(connection) => info.with_details(tls.established(connection)),
                rustls::Connection::Client(_) => info,
            };
            Ok(ByteStream::new(Socket::Tls(socket), info, Some(permit)))
        }))
    }
}

fn unset(address: &Address, operation: &'static str, side: &str) -> Error {
    let scheme = address.scheme();
    Error::new(ErrorKind::Unsupported, operation)
        .at(address)
        .because(format!("{scheme}:// needs TLS settings: set them by with_{side}_tls"))
}

/// Makes the session where the halves will share it: it is over a kilobyte long, and is moved no more.
///
/// It is no `async fn`: that would keep the connection twice.
fn handshake(
    socket: TcpStream,
    connection: rustls::Connection,
    operation: &'static str,
) -> impl Future<Output = Result<Arc<TlsSocket>>> {
    let shared = Arc::new(TlsSocket { socket, session: Mutex::new(Session::new(connection)) });
    async move {
        match poll_fn(|cx| shared.lock().poll_handshake(&shared.socket, cx)).await {
            Ok(()) => Ok(shared),
            Err(error) => {
                Session::end_failed(&shared.socket);
                Err(match error.downcast::<rustls::Error>() {
                    Ok(error) => handshake_error(error, operation),
                    Err(error) => Error::from_io(error, operation),
                })
            }
        }
    }
}

/// A connected socket and its session: what the two halves share.
///
/// The halves are polled by one task nearly always, so that the lock is free.
#[derive(Debug)]
pub(crate) struct TlsSocket {
    socket: TcpStream,
    session: Mutex<Session>,
}

impl TlsSocket {
    pub(super) fn split(self: Arc<Self>) -> (Reading, Writing) {
        (Reading::Tls(TlsRead(self.clone())), Writing::Tls(TlsWrite { shared: self, unsent: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading half: waits for the socket to be readable, and never to be writable.
///
/// What reading gives cause to write, alerts alone, is written where there is room; an answer to a key update goes
/// before whatever is written next (RFC 8446 §4.6.3). So each half waits for an event that is its own, and neither
/// takes the other one's waker away.
#[derive(Debug)]
pub(super) struct TlsRead(Arc<TlsSocket>);

/// The writing half.
#[derive(Debug)]
pub(super) struct TlsWrite {
    shared: Arc<TlsSocket>,
    /// What was encrypted and found no room, as of the last write; here, so that it can be known without the lock.
    unsent: u32,
}

impl TlsRead {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(&self.0.socket, cx, buf)
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.lock().shutdown(&self.0.socket, how)
    }

    #[cfg_attr(not(unix), allow(dead_code, reason = "descriptors are Unix'"))]
    pub(super) fn socket(&self) -> &TcpStream {
        &self.0.socket
    }
}

impl Drop for TlsRead {
    fn drop(&mut self) {
        drain_where_last(&self.0);
    }
}

impl TlsWrite {
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with_session(|session, socket| session.poll_write(socket, cx, slices))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_session(|session, socket| session.poll_flush(socket, cx))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_session(|session, socket| session.poll_shutdown(socket, cx))
    }

    #[inline]
    fn with_session<T>(&mut self, write: impl FnOnce(&mut Session, &TcpStream) -> T) -> T {
        let mut session = self.shared.lock();
        let written = write(&mut session, &self.shared.socket);
        self.unsent = session.unsent();
        written
    }

    pub(super) fn unsent_len(&self) -> usize {
        self.unsent as usize
    }

    pub(super) fn abort(&mut self) {
        self.shared.lock().abort(&self.shared.socket);
    }

    /// Ends the stream without waiting: what was written and is not with the kernel makes it an abort; otherwise the
    /// peer is told of the end. `false`: there is no room to tell it.
    fn end(&self) -> bool {
        let mut session = self.shared.lock();
        if session.has_ended() {
            return true;
        }
        session.flush_deferred(&self.shared.socket);
        if session.wants_write() {
            session.abort(&self.shared.socket);
            return true;
        }
        session.try_shutdown(&self.shared.socket)
    }
}

impl Drop for TlsWrite {
    fn drop(&mut self) {
        if !self.end()
            && let Ok(runtime) = Handle::try_current()
        {
            let shared = self.shared.clone();
            runtime.spawn(async move {
                // Who does not take even this is cut.
                let _ = timeout(LINGER, poll_fn(|cx| shared.lock().poll_shutdown(&shared.socket, cx))).await;
                drain_where_last(&shared);
            });
        }
        drain_where_last(&self.shared);
    }
}

/// Takes what has arrived off a socket that is about to be closed.
///
/// Closing one with unread input resets the connection, and what the peer has yet to read of ours would be lost. A
/// server sends tickets, which a client that reads nothing leaves there.
fn drain_where_last(shared: &Arc<TlsSocket>) {
    if Arc::strong_count(shared) == 1 {
        shared.lock().drain(&shared.socket);
    }
}
