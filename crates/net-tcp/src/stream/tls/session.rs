//! A TLS session on its socket.

use std::{
    cell::RefCell,
    fmt,
    io::{self, BufRead, IoSlice, Read, Write},
    net::Shutdown,
    task::{Context, Poll, ready},
    time::Duration,
};

use net_core::tls::rustls;
use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
};

use crate::stream::send::{Follows, Writable, poll_send};

/// The longest record: 16 KiB of content, its head and what encryption adds (RFC 5246 §6.2.3).
const MAX_RECORD: usize = 16 * 1024 + 2048 + 5;
/// What a record adds to its content in TLS 1.3: head, kind and tag (RFC 8446 §5.2).
const RECORD_OVERHEAD: usize = 5 + 1 + 16;
/// The longest content of a record (RFC 8446 §5.1).
const MAX_CONTENT: usize = 16 * 1024;
/// What the session reads at once from what it is offered.
const SMALL_READ: usize = 4096;
/// How much is encrypted ahead of the socket: whole records.
const MAX_AHEAD: usize = 64 * 1024;
/// What is so little that it leaves with what is before it, instead of as a record and a write of its own: a frame of 64 KiB is
/// a little longer than that.
const SMALL_TAIL: usize = 1024;
/// What one call reads at the most.
const SCRATCH_LEN: usize = 4 * MAX_RECORD;
/// How much is read off a socket that is closed.
const MAX_DRAINED: usize = 1024 * 1024;

thread_local! {
    /// Where what is encrypted is read to: a session holds none of it but the beginning of a record.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_LEN].into());
}

/// A TLS session. Its socket is given to each call, so that the socket can be known without the session.
pub(super) struct Session {
    tls: rustls::Connection,
    /// What was read and not decrypted, for want of room: the reader's buffer was small.
    ahead: Vec<u8>,
    peer_ended: bool,
    /// More was read at once than the session's own buffer holds when it is small.
    grown: bool,
    /// What the handshake left for the peer that it does not wait for: a server's tickets (RFC 8446 §4.6.1). They leave with
    /// what is written first, in one call and one segment, or before the session first waits for input.
    deferred: Deferred,
    end: End,
    /// About how much is encrypted and not written: rustls tells only whether anything is.
    unsent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deferred {
    Nothing,
    /// It is there, and was not waited for.
    Held,
    /// Who reads found nothing, and is asked to look once more: it may hold an answer that it writes before it waits.
    Waited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// The peer is being told that nothing more comes.
    Ending,
    Ended,
    /// Cut by this side, or broken by the peer.
    Broken,
}

impl Session {
    pub(super) fn new(tls: rustls::Connection) -> Self {
        Self {
            tls,
            ahead: Vec::new(),
            peer_ended: false,
            grown: false,
            deferred: Deferred::Nothing,
            end: End::Open,
            unsent: 0,
        }
    }

    pub(super) fn connection(&self) -> &rustls::Connection {
        &self.tls
    }

    pub(super) fn poll_handshake(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut nowhere = ReadBuf::new(&mut []);
        loop {
            if self.deferred == Deferred::Nothing {
                ready!(self.poll_flush(socket, cx))?;
            }
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let len = ready!(self.poll_more(socket, cx, &mut nowhere))?;
            // An end behind the last message of the handshake is for who reads.
            if len == 0 || (self.peer_ended && self.tls.is_handshaking()) {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    pub(super) fn poll_read(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        loop {
            let ended = self.take(buf)?;
            if ended || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if !self.ahead.is_empty() {
                let ahead = std::mem::take(&mut self.ahead);
                let taken = self.decrypt(socket, &ahead, buf)?;
                self.keep(&ahead, taken);
            } else if ready!(self.poll_more(socket, cx, buf))? == 0 {
                // The session learns of it; whether the peer was allowed to end here, it tells.
                self.tls.read_tls(&mut io::empty())?;
            }
        }
    }

    /// Reads once, and decrypts. Gives what `read` gave: 0 is the end of the socket's input.
    fn poll_more(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            // Room for what the reader asks for as it is on the wire, and for a whole record at least.
            let wanted = buf.remaining() + buf.remaining() / 64;
            let len = wanted.clamp(MAX_RECORD, SCRATCH_LEN).min(scratch.len());
            let room = scratch.get_mut(..len).unwrap_or_default();
            let Poll::Ready(received) = poll_recv(cx, socket, room) else {
                self.wait(socket, cx);
                self.settle();
                return Poll::Pending;
            };
            let len = received?;
            let input = room.get(..len).unwrap_or_default();
            let taken = self.decrypt(socket, input, buf)?;
            self.keep(input, taken);
            Poll::Ready(Ok(input.len()))
        })
    }

    /// Makes the session's buffer small before sleeping: a read does, even one that brings nothing.
    fn settle(&mut self) {
        if std::mem::take(&mut self.grown) {
            let _ = self.tls.read_tls(&mut Nothing);
        }
    }

    /// Decrypts `input` into `buf` until that is full, and gives how much of `input` was used.
    fn decrypt(&mut self, socket: &TcpStream, input: &[u8], buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut rest = input;
        self.grown |= input.len() > SMALL_READ;
        while !rest.is_empty() {
            // The session reads 4 KiB at a time, whatever it is offered.
            if self.tls.read_tls(&mut rest)? == 0 {
                // What follows the peer's end is of no meaning (RFC 8446 §6.1).
                return Ok(input.len());
            }
            let shook = self.tls.is_handshaking();
            let state = self.tls.process_new_packets().map_err(|error| self.fail(socket, error))?;
            self.peer_ended = state.peer_has_closed();
            if shook && self.has_heard_all() {
                self.deferred = Deferred::Held;
            }
            let deferred = self.deferred != Deferred::Nothing;
            // A request to renegotiate is refused by an alert, which nobody else would send.
            if state.tls_bytes_to_write() > 0 && !self.tls.is_handshaking() && !deferred {
                self.try_flush(socket);
            }
            if state.plaintext_bytes_to_read() > 0 {
                self.take(buf)?;
                if buf.remaining() == 0 {
                    break;
                }
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Tells whether the handshake is over for the peer, too, whatever is still to be written: of TLS 1.3 the client says
    /// the last word.
    fn has_heard_all(&self) -> bool {
        matches!(self.tls, rustls::Connection::Server(_))
            && !self.tls.is_handshaking()
            && self.tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
    }

    /// Lets what the handshake left go before the session waits for input: who reads is woken once, and what it has not taken
    /// along by then leaves by itself.
    fn wait(&mut self, socket: &TcpStream, cx: &Context<'_>) {
        match self.deferred {
            Deferred::Nothing => {}
            Deferred::Held => {
                self.deferred = Deferred::Waited;
                cx.waker().wake_by_ref();
            }
            Deferred::Waited => self.flush_deferred(socket),
        }
    }

    /// Writes what the handshake left, where there is room; what finds none goes before what is written next.
    pub(super) fn flush_deferred(&mut self, socket: &TcpStream) {
        if self.deferred != Deferred::Nothing {
            self.deferred = Deferred::Nothing;
            self.try_flush(socket);
        }
    }

    /// Keeps what of `input` was not taken.
    fn keep(&mut self, input: &[u8], taken: usize) {
        if let Some(rest) = input.get(taken..)
            && !rest.is_empty()
        {
            self.ahead.extend_from_slice(rest);
        }
    }

    /// Copies what is decrypted. `true`: the peer has ended, and all was taken.
    fn take(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        while buf.remaining() > 0 {
            let mut reader = self.tls.reader();
            let chunk = match reader.fill_buf() {
                Ok([]) => return Ok(true),
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let len = chunk.len().min(buf.remaining());
            buf.put_slice(chunk.get(..len).unwrap_or_default());
            reader.consume(len);
        }
        Ok(false)
    }

    /// Tells the peer why, where there is room, and makes the error.
    #[cold]
    fn fail(&mut self, socket: &TcpStream, error: rustls::Error) -> io::Error {
        self.try_flush(socket);
        self.end = End::Broken;
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    pub(super) fn poll_write(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.end != End::Open {
            return Poll::Ready(Err(self.refusal()));
        }
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let limit = if len <= MAX_AHEAD + SMALL_TAIL { MAX_AHEAD + SMALL_TAIL } else { MAX_AHEAD };
        self.tls.set_buffer_limit(Some(limit));
        loop {
            // Pieces become one record together.
            let taken = self.tls.writer().write_vectored(slices)?;
            let encrypted = taken + taken.div_ceil(MAX_CONTENT) * RECORD_OVERHEAD;
            self.unsent = self.unsent.saturating_add(u32::try_from(encrypted).unwrap_or(u32::MAX));
            return match self.poll_flush(socket, cx)? {
                Poll::Pending if taken == 0 => Poll::Pending,
                Poll::Ready(()) if taken == 0 => continue,
                _ => Poll::Ready(Ok(taken)),
            };
        }
    }

    fn refusal(&self) -> io::Error {
        match self.end {
            End::Broken => io::ErrorKind::ConnectionAborted.into(),
            _ => io::ErrorKind::BrokenPipe.into(),
        }
    }

    /// Tells what follows what is written now: `close_notify` leaves with the end of the stream.
    fn follows(&self) -> Follows {
        if self.end == End::Ending { Follows::End } else { Follows::Anything }
    }

    /// Writes all that is encrypted.
    pub(super) fn poll_flush(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deferred = Deferred::Nothing;
        let follows = self.follows();
        while self.tls.wants_write() {
            let mut sent = Sent { to: |slices: &[IoSlice<'_>]| poll_send(cx, socket, slices, follows) };
            match self.tls.write_tls(&mut sent) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.wrote(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is encrypted as far as there is room, without waiting. `true`: all of it.
    fn try_flush(&mut self, socket: &TcpStream) -> bool {
        let follows = self.follows();
        while self.tls.wants_write() {
            let send = |slices: &[IoSlice<'_>]| {
                let mut written = 0;
                let sent = socket.attempt(|| {
                    written = socket.send(slices, follows)?;
                    Ok(())
                });
                Poll::Ready(sent.map(|()| written))
            };
            match self.tls.write_tls(&mut Sent { to: send }) {
                Ok(written) if written > 0 => self.wrote(written),
                _ => return false,
            }
        }
        true
    }

    /// Notes that so much was written.
    #[inline]
    fn wrote(&mut self, written: usize) {
        let left = self.unsent.saturating_sub(u32::try_from(written).unwrap_or(u32::MAX));
        self.unsent = if self.tls.wants_write() { left } else { 0 };
    }

    /// Returns about how many bytes are encrypted and not written.
    #[inline]
    pub(super) fn unsent(&self) -> u32 {
        self.unsent
    }

    pub(super) fn poll_shutdown(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.end {
            End::Ended => return Poll::Ready(Ok(())),
            End::Broken => return Poll::Ready(Err(self.refusal())),
            End::Open => self.begin_end(),
            End::Ending => {}
        }
        ready!(self.poll_flush(socket, cx))?;
        self.end = End::Ended;
        Poll::Ready(SockRef::from(socket).shutdown(Shutdown::Write))
    }

    /// Ends the stream without waiting. `true`: the peer is told, or gone.
    pub(super) fn try_shutdown(&mut self, socket: &TcpStream) -> bool {
        if self.end == End::Open {
            self.begin_end();
        }
        if !self.try_flush(socket) {
            return false;
        }
        let _ = SockRef::from(socket).shutdown(Shutdown::Write);
        self.end = End::Ended;
        true
    }

    fn begin_end(&mut self) {
        self.tls.send_close_notify();
        self.end = End::Ending;
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.end, End::Ended | End::Broken)
    }

    pub(super) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    pub(super) fn shutdown(&mut self, socket: &TcpStream, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read && !self.has_ended() {
            self.try_shutdown(socket);
        }
        SockRef::from(socket).shutdown(how)
    }

    /// Cuts the connection: the peer gets a reset.
    pub(super) fn abort(&mut self, socket: &TcpStream) {
        // An error means that the connection is gone already.
        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        #[cfg(target_os = "linux")]
        let _ = rustix::net::connect_unspec(socket);
        self.end = End::Broken;
    }

    /// Ends the stream behind the alert of a handshake that failed: the peer reads that, and not that the connection was reset.
    #[cold]
    pub(super) fn end_failed(socket: &TcpStream) {
        // An error means that the connection is gone already.
        let _ = SockRef::from(socket).shutdown(Shutdown::Write);
        Self::discard(socket);
    }

    /// Reads and discards what has arrived, unless the peer has said that nothing more comes.
    pub(super) fn drain(&self, socket: &TcpStream) {
        if self.end != End::Broken && !self.peer_ended {
            Self::discard(socket);
        }
    }

    fn discard(socket: &TcpStream) {
        // A thread that ends may have no scratch any more.
        let _ = SCRATCH.try_with(|scratch| {
            let mut drained = 0;
            while drained < MAX_DRAINED {
                match socket.try_read(&mut scratch.borrow_mut()) {
                    Ok(len) if len > 0 => drained += len,
                    _ => return,
                }
            }
        });
    }
}

/// Reads once.
fn poll_recv(cx: &mut Context<'_>, socket: &TcpStream, room: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let mut len = 0;
        let result = socket.try_io(Interest::READABLE, || {
            len = (&*SockRef::from(socket)).read(room)?;
            // As in `poll_send`: room that is left shows that there is no more, and spares the call that would fail.
            if cfg!(unix) && len > 0 && len < room.len() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
            Err(_) if len == 0 => {}
            _ => return Poll::Ready(Ok(len)),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("end", &self.end).finish_non_exhaustive()
    }
}

/// Has nothing to read yet.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Writes for rustls; waiting is an error to it.
struct Sent<F> {
    to: F,
}

impl<F: FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>> Write for Sent<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self.to)(slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
