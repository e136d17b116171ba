//! What the load generator speaks on a connection: bare TCP, or TLS by rustls, and over either of them WebSocket.
//!
//! It is the same foreign client for every server.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use super::{Common, Format, exchange, websocket};
use crate::certificates::NAME;

/// The longest that one step of a blocking connection may take.
const STEP: Duration = Duration::from_secs(5);

/// Bytes of one read: a loopback receive buffer holds more, but the more that is read the more of the cache that
/// the server shares is lost.
const READ_BUFFER: usize = 128 * 1024;

/// Bytes of one read of what is encrypted: with a record of which a part was there before, what they decrypt to is at most
/// [`READ_BUFFER`].
const CIPHER_BUFFER: usize = 96 * 1024;

/// Where the connections of a load lead.
pub(super) struct Target {
    to: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    resumes: bool,
    websocket: bool,
    compresses: bool,
}

impl Target {
    /// What `common` says; over TLS, `resumes` tells whether sessions are resumed.
    pub(super) fn new(common: &Common, resumes: bool) -> io::Result<Self> {
        let tls = common.ca.as_deref().map(|ca| settings(ca, resumes, common.any_suite)).transpose()?;
        let websocket = common.format == Format::Ws;
        Ok(Self { to: common.to, tls, resumes, websocket, compresses: false })
    }

    /// The same, over WebSocket on which compression is agreed.
    pub(super) fn with_compression(self) -> Self {
        Self { websocket: true, compresses: true, ..self }
    }

    /// A connection without delay, every step of which is bounded in time; the handshakes of TLS and WebSocket are over.
    pub(super) fn connect(&self) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&self.to, STEP)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STEP))?;
        stream.set_write_timeout(Some(STEP))?;
        let mut wire = Wire { stream, tls: None, websocket: self.websocket };
        if let Some(config) = &self.tls {
            let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
            let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
            wire.tls = Some(Box::new(tls));
            wire.handshake()?;
        }
        if self.websocket {
            websocket::upgrade(&mut wire, &self.to.to_string(), self.compresses)?;
        }
        Ok(wire)
    }

    /// Refuses a handshake that was full where it should have resumed a session, or the other way about.
    pub(super) fn check(&self, wire: &Wire) -> io::Result<()> {
        let resumed = wire.tls.as_ref().and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed);
        if resumed == self.resumes {
            return Ok(());
        }
        let (was, asked) = if resumed { ("resumed", "full") } else { ("full", "resumed") };
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("a handshake was {was} instead of {asked}")))
    }
}

/// TLS by aws-lc-rs, trusting `ca` alone. Unless `any_suite`, one suite is offered, so that every server does the same
/// cryptography: left to choose, some take AES-128-GCM and others AES-256-GCM.
fn settings(ca: &Path, resumes: bool, any_suite: bool) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(ca).map_err(io::Error::other)?;
    roots.add(authority).map_err(io::Error::other)?;
    let mut provider = aws_lc_rs::default_provider();
    if !any_suite {
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = if resumes { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    websocket: bool,
}

/// What connections read into, one after another.
pub(super) struct Buffers {
    cipher: Vec<u8>,
    plain: Vec<u8>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { cipher: vec![0; CIPHER_BUFFER], plain: vec![0; READ_BUFFER] }
    }
}

impl Wire {
    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn handshake(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.websocket {
            // The server ends the connection, once it has answered.
            return self.write_all(&websocket::GOODBYE);
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush()?;
        self.stream.shutdown(Shutdown::Write)
    }

    /// Waits for the server's end.
    ///
    /// # Errors
    /// `InvalidData` when anything comes before it that does not belong to it.
    pub(super) fn expect_end(&mut self) -> io::Result<()> {
        let mut last = Vec::new();
        self.take(16).read_to_end(&mut last)?;
        if last.is_empty() || (self.websocket && websocket::is_goodbye(&last)) {
            return Ok(());
        }
        Err(exchange::wrong("more came back than was sent"))
    }

    /// Writes without waiting as much as there is room for; how much of `slices` it took.
    pub(super) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return match rustix::io::writev(&self.stream, slices) {
                Err(Errno::AGAIN | Errno::INTR) => Ok(0),
                written => Ok(written?),
            };
        };
        let taken = tls.writer().write_vectored(slices)?;
        self.try_flush()?;
        Ok(taken)
    }

    /// Writes without waiting what is encrypted; whether that was all.
    pub(super) fn try_flush(&mut self) -> io::Result<bool> {
        match self.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            flushed => flushed.map(|()| true),
        }
    }

    /// Reads once, without waiting; nothing where there is nothing yet.
    ///
    /// # Errors
    /// `UnexpectedEof` when the server closed.
    pub(super) fn try_read<'a>(&mut self, buffers: &'a mut Buffers) -> io::Result<&'a [u8]> {
        let Buffers { cipher, plain } = buffers;
        let room = if self.tls.is_some() { &mut *cipher } else { &mut *plain };
        let count = match rustix::io::read(&self.stream, &mut **room) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed")),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(&[]),
            Err(error) => return Err(error.into()),
        };
        let Some(tls) = &mut self.tls else { return Ok(plain.get(..count).unwrap_or_default()) };
        let mut input = cipher.get(..count).unwrap_or_default();
        let mut filled = 0;
        while !input.is_empty() {
            tls.read_tls(&mut input)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let read = tls.reader().read(plain.get_mut(filled..).unwrap_or_default())?;
                if read == 0 {
                    return Err(io::Error::other("more was decrypted than was read"));
                }
                filled += read;
                left -= read;
            }
        }
        Ok(plain.get(..filled).unwrap_or_default())
    }
}

/// Blocking, as long as the socket is.
impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(buffer),
            None => self.stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).write(bytes),
            None => self.stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.stream)?;
            }
        }
        Ok(())
    }
}
