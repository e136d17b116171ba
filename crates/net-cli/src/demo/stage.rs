//! A server on a free address, and what a client needs to reach it.

use net_core::{Address, BoxTransport, Scheme, Transport as _, frame::AnyFraming, memory::Memory};
use net_messaging::{Server, ServerConfig, SessionConfig};
#[cfg(unix)]
use tempfile::TempDir;

use crate::{
    failure::Failure,
    log::Log,
    options::WireFormat,
    serve::{self, Echo, Listen},
    transport::{self, Sockets, With as _},
};

/// A transport that this command speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Memory,
    #[cfg(unix)]
    Unix,
    Tcp,
}

impl Transport {
    /// Each of them, the quickest first.
    pub(crate) const ALL: &[Self] = &[
        Self::Memory,
        #[cfg(unix)]
        Self::Unix,
        Self::Tcp,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            #[cfg(unix)]
            Self::Unix => "unix",
            Self::Tcp => "tcp",
        }
    }
}

/// A server on a free address, and what a client needs to reach it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) transport: Transport,
    pub(crate) format: WireFormat,
    pub(crate) server: Server,
    /// The memory that is shared with the server, where that is the transport.
    memory: Memory,
    /// Where the socket is, until the stage is dropped.
    #[cfg(unix)]
    _directory: Option<TempDir>,
}

impl Stage {
    /// Starts a server that serves on a thread of its own.
    pub(crate) async fn start(transport: Transport, format: WireFormat) -> Result<Self, Failure> {
        let session = SessionConfig { format: format.into(), ..SessionConfig::default() };
        let config = ServerConfig { session, io_threads: Some(1), ..ServerConfig::default() };
        let echo = Echo { log: Log::silent(), verbose: false };
        let memory = Memory::default();
        #[cfg(unix)]
        let mut directory = None;
        let (framing, sockets) = (AnyFraming::default(), Sockets::default());
        let server = match transport {
            Transport::Memory => {
                let address = Address::from_name(Scheme::Mem, "demo");
                Listen { address, config, echo }.with(memory.clone()).await.map_err(Failure::start)?
            }
            #[cfg(unix)]
            Transport::Unix => {
                let at = directory.insert(tempfile::tempdir().map_err(Failure::runtime)?);
                let path = at.path().join("demo.sock");
                let path =
                    path.to_str().ok_or_else(|| Failure::usage("the temporary directory is no text"))?;
                let address = Address::from_path(Scheme::Unix, path);
                serve::listen(address, framing, &sockets, config, echo).await?
            }
            Transport::Tcp => {
                let address = "tcp://127.0.0.1:0".parse().map_err(Failure::start)?;
                serve::listen(address, framing, &sockets, config, echo).await?
            }
        };
        Ok(Self {
            transport,
            format,
            server,
            memory,
            #[cfg(unix)]
            _directory: directory,
        })
    }

    /// The client's side.
    pub(crate) fn client(&self) -> Result<BoxTransport, Failure> {
        match self.transport {
            Transport::Memory => Ok(self.memory.clone().boxed()),
            _ => transport::boxed(self.server.local(), AnyFraming::default(), &Sockets::default()),
        }
    }
}
