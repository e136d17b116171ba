//! The servers that are compared, and how each of their executables comes to be.

mod compiled;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::certificates::Certificates;
use crate::load::Format;
use crate::plan::Kind;
use crate::process::Invocation;

/// One server to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Name on the command line and in JSON.
    pub id: &'static str,
    /// Name in tables.
    pub title: &'static str,
    /// What its frames hold.
    pub format: Format,
    /// What it is told so that it compresses messages; nothing where it cannot.
    compression: Option<&'static [&'static str]>,
    program: Program,
    args: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Program {
    /// A binary of this package.
    Own(&'static str),
    /// The command `net` of this workspace.
    Net,
    /// Compiled by the orchestrator: Boost.Asio, and uWebSockets.
    Asio,
    Uws,
}

/// A server of raw frames.
const fn server(
    id: &'static str,
    title: &'static str,
    program: Program,
    args: &'static [&'static str],
) -> Server {
    Server { id, title, format: Format::Raw, compression: None, program, args }
}

const fn peer(
    id: &'static str,
    title: &'static str,
    program: &'static str,
    args: &'static [&'static str],
) -> Server {
    server(id, title, Program::Own(program), args)
}

/// Arguments of our server: all limits on as they stand, but for the number of connections, which is by default just what
/// the idle load opens; no line for each connection, as no peer writes one; one thread, as every peer has.
const fn net(at: &'static str, format: &'static str) -> [&'static str; 8] {
    ["echo", "server", at, "--format", format, "--quiet", "--io-threads=1", "--max-connections=20000"]
}

const fn ours(
    id: &'static str,
    title: &'static str,
    format: Format,
    args: &'static [&'static str],
) -> Server {
    Server { format, ..server(id, title, Program::Net, args) }
}

const PLAIN: &str = "tcp://127.0.0.1:0";
const WEBSOCKET: &str = "ws://127.0.0.1:0";
const SECURE: &str = "tcps://127.0.0.1:0";

/// The same for datagrams, which need no framing.
const NET_UDP: [&str; 6] =
    ["echo", "server", "udp://127.0.0.1:0", "--quiet", "--io-threads=1", "--max-connections=20000"];

/// Our server first, then the peers from the barest to the richest.
pub const TCP: [Server; 9] = [
    ours("net", "net", Format::Raw, &net(PLAIN, "raw")),
    ours("net-message", "net, message format", Format::Message, &net(PLAIN, "message")),
    peer("epoll", "bare epoll loop", "peer_epoll", &[]),
    peer("tokio", "hand-rolled tokio", "peer_tokio", &[]),
    server("asio", "Boost.Asio", Program::Asio, &[]),
    peer("framed-batch", "tokio Framed, batched flush", "peer_framed", &["--batch"]),
    peer("ntex", "ntex 3.12 framed", "peer_ntex", &[]),
    peer("message-io", "message-io", "peer_message_io", &[]),
    peer("framed", "tokio Framed, send each", "peer_framed", &[]),
];

/// The same over TLS: what users would write over tokio-rustls, and the loop that parses nothing.
pub const TLS: [Server; 5] = [
    ours("net", "net", Format::Raw, &net(SECURE, "raw")),
    ours("net-message", "net, message format", Format::Message, &net(SECURE, "message")),
    peer("tokio", "hand-rolled tokio-rustls", "peer_tokio_tls", &[]),
    peer("framed-batch", "Framed over tokio-rustls, batched flush", "peer_framed_tls", &["--batch"]),
    peer("framed", "Framed over tokio-rustls, send each", "peer_framed_tls", &[]),
];

/// The same server over WebSocket.
const fn websocket(server: Server) -> Server {
    Server { format: Format::Ws, ..server }
}

/// Over WebSocket: ours, the fastest that there is, then the libraries for tokio.
pub const WS: [Server; 6] = [
    // It takes the offer of compression unless it is told otherwise.
    Server { compression: Some(&[]), ..ours("net", "net", Format::Ws, &net(WEBSOCKET, "raw")) },
    Server {
        compression: Some(&["--compress"]),
        ..websocket(server("uws", "uWebSockets", Program::Uws, &[]))
    },
    websocket(peer("tungstenite-batch", "tungstenite, batched flush", "peer_tungstenite", &["--batch"])),
    websocket(peer("fastwebsockets", "fastwebsockets", "peer_fastwebsockets", &[])),
    websocket(peer("tokio-websockets", "tokio-websockets", "peer_tokio_websockets", &[])),
    websocket(peer("tungstenite", "tungstenite, send each", "peer_tungstenite", &[])),
];

/// Over UDP: ours, then the loops that users would write instead.
pub const UDP: [Server; 8] = [
    server("net", "net", Program::Net, &NET_UDP),
    peer("net-socket", "net, its socket alone", "udp_socket", &[]),
    peer("batched", "recvmmsg and sendmmsg loop", "peer_udp_batched", &[]),
    peer("quinn-udp", "quinn-udp loop, GSO and GRO", "peer_udp_quinn", &[]),
    peer("std", "std loop", "peer_udp_std", &[]),
    peer("tokio", "tokio loop", "peer_udp_tokio", &[]),
    peer("tokio-sessions", "tokio, a task for each peer", "peer_udp_sessions", &[]),
    peer("epoll", "epoll loop, the least that waits", "peer_udp_epoll", &[]),
];

impl Server {
    /// Why it cannot be under a load, if it cannot.
    #[must_use]
    pub const fn refuses(&self, kind: Kind) -> Option<&'static str> {
        match (kind, self.compression) {
            (Kind::Compressed { .. }, None) => Some("has no permessage-deflate"),
            _ => None,
        }
    }

    /// What it is told besides, so that a load can be put on it.
    pub(crate) const fn args_for(&self, kind: Kind) -> &'static [&'static str] {
        match (kind, self.compression) {
            (Kind::Compressed { .. }, Some(args)) => args,
            _ => &[],
        }
    }
}

/// Where executables are, and where those that are built here go.
#[derive(Debug)]
pub struct Workshop {
    /// The directory of the orchestrator's own executable, where its siblings are.
    pub siblings: PathBuf,
    /// The command `net`, where it is not a sibling.
    pub net: Option<PathBuf>,
    /// A directory for what is built here and for logs.
    pub scratch: PathBuf,
    /// What servers that speak TLS show; without it they speak none.
    pub certificates: Option<Certificates>,
}

impl Workshop {
    /// How to start `server`, or in words why it cannot be.
    ///
    /// # Errors
    /// The words that go into its row.
    pub fn invocation(&self, server: &Server) -> Result<Invocation, String> {
        let program = match server.program {
            Program::Own(name) => self
                .sibling(name)
                .ok_or_else(|| format!("not built: cargo build --release -p net-bench-peers --bin {name}"))?,
            Program::Net => match &self.net {
                Some(path) if path.is_file() => path.clone(),
                Some(path) => return Err(format!("not there: {}", path.display())),
                None => self.sibling("net").ok_or("not built: cargo build --release -p net-cli")?,
            },
            Program::Asio => compiled::asio(&self.scratch)?,
            Program::Uws => compiled::uws(&self.scratch)?,
        };
        let mut args: Vec<_> = server.args.iter().map(OsString::from).collect();
        if let Some(Certificates { cert, key, .. }) = &self.certificates {
            args.extend([OsString::from("--cert"), cert.into(), OsString::from("--key"), key.into()]);
        }
        Ok(Invocation { program, args })
    }

    /// The load generator.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn load(&self) -> io::Result<PathBuf> {
        self.sibling("load").ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "the load generator is not built: cargo build --release -p net-benches --bins",
            )
        })
    }

    fn sibling(&self, name: &str) -> Option<PathBuf> {
        Some(self.siblings.join(name)).filter(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_says_how_to_build_it() {
        let nowhere = PathBuf::from("/nonexistent");
        let workshop =
            Workshop { siblings: nowhere.clone(), net: None, scratch: nowhere, certificates: None };
        let compiled = |server: &&Server| matches!(server.program, Program::Asio | Program::Uws);
        for server in TCP.iter().chain(&TLS).chain(&WS).filter(|server| !compiled(server)) {
            let reason = workshop.invocation(server).unwrap_err();
            assert!(reason.contains("cargo build --release"), "{}: {reason}", server.id);
        }
    }

    #[test]
    fn only_what_compresses_meets_the_compressed_load() {
        let kind = Kind::Compressed { payload: 1_024, connections: 1, in_flight: 1 };
        let able: Vec<_> = WS.iter().filter(|server| server.refuses(kind).is_none()).collect();
        assert_eq!(able.iter().map(|server| server.id).collect::<Vec<_>>(), ["net", "uws"]);
        assert_eq!(able.iter().map(|server| server.args_for(kind).len()).collect::<Vec<_>>(), [0, 1]);
        assert!(WS.iter().all(|server| server.refuses(Kind::Churn).is_none()));
        assert!(WS.iter().all(|server| server.args_for(Kind::Churn).is_empty()));
    }
}
