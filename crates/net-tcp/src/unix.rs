//! Messages over Unix-domain sockets.

use std::time::Duration;

use net_core::{
    Address, Connection, Guarantees, Result, Transport,
    frame::{Framing, LengthPrefix},
    framed::{FrameReceiver, FrameSender},
};

use crate::{
    FrameListener,
    listener::{frame, guarantees},
    stream::{self, ReadHalf, WriteHalf},
};

/// The sending half of a Unix-domain connection.
pub type UnixSender<F = LengthPrefix> = FrameSender<WriteHalf, F>;
/// The receiving half of a Unix-domain connection.
pub type UnixReceiver<F = LengthPrefix> = FrameReceiver<ReadHalf, F>;
/// Accepts Unix-domain connections.
pub type UnixListener<F = LengthPrefix> = FrameListener<F>;

/// How Unix-domain connections are made and accepted.
///
/// # Examples
///
/// ```
/// use net_tcp::UnixConfig;
///
/// let config = UnixConfig { mode: Some(0o600), ..UnixConfig::default() };
/// assert_eq!(config.backlog, 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct UnixConfig {
    /// The permissions of the socket's file, such as `0o600`; who may write to it may connect. They hold before the
    /// first connection is possible. Default: what the process's mask leaves.
    pub mode: Option<u32>,
    /// How many connections wait in the system's queue to be accepted. Default: 1024.
    pub backlog: u32,
    /// How long connecting may take: a server whose queue is full makes clients wait. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub connect_timeout: Duration,
    /// The kernel's send buffer, in bytes (`SO_SNDBUF`). Default: the system's.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub send_buffer_len: Option<usize>,
    /// Bytes that a sender gathers before a message waits; one message always fits. Default: 256 KiB.
    pub max_buffered: usize,
}

impl Default for UnixConfig {
    fn default() -> Self {
        Self {
            mode: None,
            backlog: 1024,
            connect_timeout: Duration::from_secs(10),
            send_buffer_len: None,
            max_buffered: 256 * 1024,
        }
    }
}

/// Carries messages over Unix-domain sockets, at addresses such as `unix:///run/app.sock`.
///
/// A socket's file that a dead server left behind is replaced; one behind which somebody answers is in use. The file
/// is removed when the listener is dropped or closed.
///
/// # Examples
///
/// ```
/// use net_core::{Address, Listener, Scheme, Transport};
/// use net_tcp::Unix;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("echo.sock");
/// let at = Address::from_path(Scheme::Unix, path.to_str().ok_or("not Unicode")?);
/// let unix = Unix::default();
/// let mut listener = unix.listen(&at).await?;
/// let mut near = unix.connect(&at).await?;
/// let mut far = listener.accept().await?;
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Unix<F = LengthPrefix> {
    config: UnixConfig,
    framing: F,
}

impl Unix {
    /// Creates a transport whose messages have a length of 4 bytes in front, big-endian.
    pub fn new(config: UnixConfig) -> Self {
        Self::with_framing(config, LengthPrefix::default())
    }
}

impl Default for Unix {
    fn default() -> Self {
        Self::new(UnixConfig::default())
    }
}

impl<F: Framing> Unix<F> {
    /// Creates a transport whose messages are marked by `framing`.
    pub fn with_framing(config: UnixConfig, framing: F) -> Self {
        Self { config, framing }
    }

    /// Returns the settings.
    pub fn config(&self) -> &UnixConfig {
        &self.config
    }
}

impl<F: Framing> Transport for Unix<F> {
    type Sender = UnixSender<F>;
    type Receiver = UnixReceiver<F>;
    type Listener = UnixListener<F>;

    fn guarantees(&self) -> Guarantees {
        // Such a socket knows no reset.
        Guarantees { signals_abort: false, ..guarantees(&self.framing) }
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Self::Sender, Self::Receiver>> {
        let stream = stream::connect_unix(to, &self.config).await?;
        Ok(frame(stream, &self.framing, self.config.max_buffered))
    }

    async fn listen(&self, at: &Address) -> Result<Self::Listener> {
        let listener = stream::listen_unix(at, &self.config)?;
        Ok(FrameListener::new(listener, self.framing.clone(), self.config.max_buffered))
    }
}
