//! A server on a free address, and what a client needs to reach it.

use net_core::{
    Address, BoxTransport, Scheme, Transport as _,
    frame::AnyFraming,
    memory::Memory,
    tls::{ClientTls, Pem, ServerTls},
};
use net_messaging::{Server, ServerConfig, SessionConfig};
#[cfg(unix)]
use tempfile::TempDir;

use crate::{
    certs::Certificates,
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
    Tls,
    Udp,
    Quic,
    Ws,
    Wss,
}

impl Transport {
    /// Each of them, the quickest first.
    pub(crate) const ALL: &[Self] = &[
        Self::Memory,
        #[cfg(unix)]
        Self::Unix,
        Self::Tcp,
        Self::Tls,
        Self::Udp,
        Self::Quic,
        Self::Ws,
        Self::Wss,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            #[cfg(unix)]
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::Tls => "tcps",
            Self::Udp => "udp",
            Self::Quic => "quic",
            Self::Ws => "ws",
            Self::Wss => "wss",
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
    /// What a client has to know of TLS, where the server speaks it.
    sockets: Sockets,
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
        let (framing, mut sockets) = (AnyFraming::default(), Sockets::default());
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
            transport => {
                if matches!(transport, Transport::Tls | Transport::Quic | Transport::Wss) {
                    secure(&mut sockets)?;
                }
                let address =
                    format!("{}://127.0.0.1:0", transport.name()).parse().map_err(Failure::start)?;
                serve::listen(address, framing, &sockets, config, echo).await?
            }
        };
        Ok(Self {
            transport,
            format,
            server,
            memory,
            sockets,
            #[cfg(unix)]
            _directory: directory,
        })
    }

    /// The client's side.
    pub(crate) fn client(&self) -> Result<BoxTransport, Failure> {
        match self.transport {
            Transport::Memory => Ok(self.memory.clone().boxed()),
            _ => transport::boxed(self.server.local(), AnyFraming::default(), &self.sockets),
        }
    }
}

/// Gives both sides certificates that are made for this run and kept nowhere.
fn secure(sockets: &mut Sockets) -> Result<(), Failure> {
    let certificates = Certificates::make(vec!["127.0.0.1".to_owned()], time::Duration::days(1));
    let Certificates { ca, server, .. } = certificates.map_err(Failure::usage)?;
    let settings =
        ServerTls::builder().certificate(Pem::bytes(server.certificate), Pem::bytes(server.key)).build();
    sockets.server_tls = Some(settings.map_err(Failure::start)?);
    sockets.client_tls = Some(ClientTls::builder().ca(Pem::bytes(ca)).build().map_err(Failure::start)?);
    Ok(())
}
