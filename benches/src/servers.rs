//! The servers that are compared, and how each of their executables comes to be.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::load::Format;
use crate::process::Invocation;

/// The source of the Boost.Asio peer, so that the orchestrator needs no path into the source tree.
const ASIO_SOURCE: &str = include_str!("../peers/peer_asio.cpp");

/// One server to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Name on the command line and in JSON.
    pub id: &'static str,
    /// Name in tables.
    pub title: &'static str,
    /// What its frames hold.
    pub format: Format,
    program: Program,
    args: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Program {
    /// A binary of this package.
    Own(&'static str),
    /// The command `net` of this workspace.
    Net,
    /// Compiled by the orchestrator.
    Asio,
}

const fn peer(
    id: &'static str,
    title: &'static str,
    program: &'static str,
    args: &'static [&'static str],
) -> Server {
    Server { id, title, format: Format::Raw, program: Program::Own(program), args }
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
    Server { id, title, format, program: Program::Net, args }
}

const PLAIN: &str = "tcp://127.0.0.1:0";
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
    Server { id: "asio", title: "Boost.Asio", format: Format::Raw, program: Program::Asio, args: &[] },
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

/// Over UDP: ours, then the loops that users would write instead.
pub const UDP: [Server; 5] = [
    Server { id: "net", title: "net", format: Format::Raw, program: Program::Net, args: &NET_UDP },
    peer("net-socket", "net, its socket alone", "udp_socket", &[]),
    peer("batched", "recvmmsg and sendmmsg loop", "peer_udp_batched", &[]),
    peer("std", "std loop", "peer_udp_std", &[]),
    peer("tokio", "tokio loop", "peer_udp_tokio", &[]),
];

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
            Program::Asio => self.asio()?,
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

    /// Builds the Boost.Asio peer unless it is there from the same source.
    fn asio(&self) -> Result<PathBuf, String> {
        let source = self.scratch.join("peer_asio.cpp");
        let program = self.scratch.join("peer_asio");
        if program.is_file() && fs::read_to_string(&source).is_ok_and(|text| text == ASIO_SOURCE) {
            return Ok(program);
        }
        if !Path::new("/usr/include/boost/asio.hpp").is_file() {
            return Err("not installed: apt-get install libboost-dev".to_owned());
        }
        let failed = |error: io::Error| format!("not built: {error}");
        // An old program beside the new source would pass for its build.
        let _ = fs::remove_file(&program);
        fs::write(&source, ASIO_SOURCE).map_err(failed)?;
        let output = Command::new("g++")
            .args(["-std=c++17", "-O2", "-pthread", "-o"])
            .args([&program, &source])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("not installed: apt-get install g++ ({error})"))?;
        if output.status.success() {
            Ok(program)
        } else {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!("not built: {}", text.lines().next().unwrap_or("g++ failed")))
        }
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
        for server in TCP.iter().chain(&TLS).filter(|server| server.id != "asio") {
            let reason = workshop.invocation(server).unwrap_err();
            assert!(reason.contains("cargo build --release"), "{}: {reason}", server.id);
        }
    }
}
