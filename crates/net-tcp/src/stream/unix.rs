//! Byte streams over Unix-domain sockets: connecting, listening, and the file that names the socket.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use net_core::{Address, Error, ErrorKind, Info, Result, Scheme};
use socket2::{Domain, SockAddr, SockRef, Type};
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};

use super::{accept::StreamListener, bytes::ByteStream, half::Socket, source::StreamSource};
use crate::UnixConfig;

/// The first pause of a client that finds the server's queue full; each later one is twice as long.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Connects to a Unix-domain socket.
///
/// # Errors
///
/// [`ErrorKind::Refused`] where nobody listens, [`ErrorKind::TimedOut`] where the server's queue stayed full.
///
/// # Cancel safety
///
/// Dropping the future abandons the attempt.
pub async fn connect_unix(to: &Address, config: &UnixConfig) -> Result<ByteStream> {
    let path = path(to, "connect")?;
    let failed = |error| Error::from_io(error, "connect").at(to);
    let connecting = async {
        let mut pause = MIN_PAUSE;
        loop {
            match UnixStream::connect(path).await {
                // The queue is full, and nothing tells when it no longer is.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
                connected => return connected,
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    };
    let stream = timeout(config.connect_timeout, connecting)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(failed)?;
    if let Some(len) = config.send_buffer_len {
        SockRef::from(&stream).set_send_buffer_size(len).map_err(failed)?;
    }
    let info = Info::new(Address::from_path(Scheme::Unix, ""), to.clone());
    Ok(ByteStream::new(Socket::Unix(stream), info, None))
}

/// Listens at a Unix-domain socket.
///
/// # Errors
///
/// [`ErrorKind::AddressInUse`] where somebody answers at the path, or the file there is no socket.
pub fn listen_unix(at: &Address, config: &UnixConfig) -> Result<StreamListener> {
    Ok(StreamListener::new(bind_unix(at, config)?))
}

/// Listens as [`listen_unix`] does, for a protocol with a handshake of its own.
///
/// # Errors
///
/// As [`listen_unix`].
pub fn bind_unix(at: &Address, config: &UnixConfig) -> Result<StreamSource> {
    let path = path(at, "listen")?;
    let (listener, file) = open(path, config).map_err(|error| Error::from_io(error, "listen").at(at))?;
    Ok(StreamSource::unix(listener, file, at.clone(), config.send_buffer_len))
}

fn path<'a>(address: &'a Address, operation: &'static str) -> Result<&'a Path> {
    match address.scheme() {
        Scheme::Unix => Ok(Path::new(address.path())),
        _ => Err(Error::new(ErrorKind::InvalidAddress, operation).at(address)),
    }
}

fn open(path: &Path, config: &UnixConfig) -> io::Result<(UnixListener, SocketFile)> {
    let name = SockAddr::unix(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.bind(&name) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_stale(path, &name)? {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&name)?;
    }
    let file = SocketFile::new(path)?;
    if let Some(mode) = config.mode {
        // Nobody can connect before `listen`: nobody gets in by what the mask would have left.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
    Ok((socket.into(), file))
}

/// Tells whether the file at `path` is a socket that nobody serves any more.
fn is_stale(path: &Path, name: &SockAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full queue must not make us wait: who has one is alive.
    probe.set_nonblocking(true)?;
    Ok(probe.connect(name).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// The file that names a listening socket; removed when dropped, unless another one has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}
