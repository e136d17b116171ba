//! One server process of several on one port: the engine as it is, with heartbeats, limits and time-outs on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use net_core::tls::{Pem, ServerTls};
use net_core::{Address, Message, MessageKind, Scheme};
use net_messaging::{Server, ServerConfig};
use net_tcp::{Tcp, TcpConfig};
use serde::{Deserialize, Serialize};

use super::child::{answer, commands, number};

/// Connections that one process admits, below the descriptors that it may have.
const MOST: usize = 19_900;

/// What a server process tells of itself.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Served {
    /// Sessions that are open.
    pub sessions: usize,
    /// Connections that hold a permit.
    pub connections: usize,
    /// Messages that the open sessions have received, heartbeats included.
    pub received: u64,
    /// Messages that the open sessions have sent, heartbeats included.
    pub sent: u64,
    /// Descriptors that are open.
    pub descriptors: usize,
}

/// Sessions that a broadcast of one process reached, and did not.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Accepted for so many sessions.
    pub accepted: usize,
    /// Dropped or refused for so many.
    pub lost: usize,
}

/// What a server process is asked to do.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// The address; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    at: SocketAddr,
    /// The certificate of a server that speaks TLS (PEM).
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
}

impl Serve {
    /// The address and the transport. A secure one differs in this and in [`hold`](super::hold) alone.
    fn transport(&self) -> io::Result<(Address, Tcp)> {
        let tcp = Tcp::new(TcpConfig { reuse_port: true, backlog: 4_096, ..TcpConfig::default() });
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok((Address::from_socket(Scheme::Tcp, self.at), tcp));
        };
        let tls = ServerTls::builder().certificate(Pem::file(cert), Pem::file(key)).build();
        let tcp = tcp.with_server_tls(tls.map_err(io::Error::other)?);
        Ok((Address::from_socket(Scheme::Tcps, self.at), tcp))
    }
}

/// Serves until the standard input ends.
///
/// # Errors
/// When it cannot listen.
pub fn run(serve: &Serve) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(obey(serve))
}

async fn obey(serve: &Serve) -> io::Result<()> {
    let (at, transport) = serve.transport()?;
    let mut config = ServerConfig::default();
    config.limits.max_connections = MOST;
    let server = Server::builder(transport)
        .config(config)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen(at)
        .await
        .map_err(io::Error::other)?;
    answer(server.local().socket().ok_or_else(|| io::Error::other("no address")))?;
    let mut commands = commands();
    while let Some(command) = commands.recv().await {
        match command.first().map(String::as_str) {
            Some("broadcast") => answer(number(&command, 1).map(|len| broadcast(&server, len)))?,
            _ => answer(Ok(served(&server)))?,
        }
    }
    Ok(())
}

fn broadcast(server: &Server, len: usize) -> Spread {
    let report = server.broadcast(Message::new(MessageKind::Notification, 0, vec![0x5a; len]));
    Spread { accepted: report.sent + report.queued, lost: report.dropped + report.full }
}

fn served(server: &Server) -> Served {
    let mut served = Served {
        sessions: server.len(),
        connections: server.connections(),
        descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        ..Served::default()
    };
    for session in server.sessions() {
        let stats = session.stats();
        served.received += stats.received_messages;
        served.sent += stats.sent_messages;
    }
    served
}
