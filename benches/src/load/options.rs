//! What the load generator is asked to do, as arguments of the binary `load`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// One load.
#[derive(Debug, Clone, Subcommand)]
pub enum Load {
    /// Keeps a number of messages in flight on each connection and counts the answers.
    Echo {
        /// Where and what.
        #[command(flatten)]
        common: Common,
        /// How many at once.
        #[command(flatten)]
        shape: Shape,
        /// Length of the measured window.
        #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
        duration: Duration,
        /// Load before the window that is not measured.
        #[arg(long, default_value = "300ms", value_parser = humantime::parse_duration)]
        warm_up: Duration,
    },
    /// Keeps a number of JSON documents in flight on each connection of WebSocket, compressed.
    Compressed {
        /// Where and what; the format is `ws`, whatever is asked for.
        #[command(flatten)]
        common: Common,
        /// How many at once.
        #[command(flatten)]
        shape: Shape,
        /// Length of the measured window.
        #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
        duration: Duration,
        /// Load before the window that is not measured.
        #[arg(long, default_value = "300ms", value_parser = humantime::parse_duration)]
        warm_up: Duration,
    },
    /// Keeps a number of datagrams in flight on each socket and counts the answers.
    Datagrams {
        /// Where and what.
        #[command(flatten)]
        common: Common,
        /// How many at once.
        #[command(flatten)]
        shape: Shape,
        /// Length of the measured window.
        #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
        duration: Duration,
        /// Load before the window that is not measured.
        #[arg(long, default_value = "300ms", value_parser = humantime::parse_duration)]
        warm_up: Duration,
    },
    /// Connects, exchanges one message and closes, over and over.
    Churn {
        /// Where and what.
        #[command(flatten)]
        common: Common,
        /// Connections in all, after a tenth as many that are not measured.
        #[arg(long, default_value_t = 4_000)]
        count: u64,
        /// Resume a TLS session in each handshake; otherwise each is a full one.
        #[arg(long)]
        resume: bool,
    },
    /// Opens sessions, exchanges one message on each, and holds them while the server's memory is read.
    Idle {
        /// Where and what.
        #[command(flatten)]
        common: Common,
        /// Sessions to hold.
        #[arg(long, default_value_t = 1_000)]
        sessions: usize,
        /// How long to hold them before memory is read.
        #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
        hold: Duration,
    },
}

/// What every load needs to know.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Address of the server.
    #[arg(long)]
    pub to: SocketAddr,
    /// Payload of a message in bytes.
    #[arg(long, default_value_t = 64)]
    pub payload: usize,
    /// What a frame holds.
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    pub format: Format,
    /// Speak TLS, and trust the authority whose certificate is in this file (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Offer all cipher suites over TLS, so that each server takes the one it prefers; otherwise one is offered, so that all
    /// do the same cryptography.
    #[arg(long, requires = "ca")]
    pub any_suite: bool,
    /// Process id of the server, whose CPU time and memory are then part of the outcome.
    #[arg(long)]
    pub watch: Option<u32>,
}

/// How many messages are under way at any one time.
#[derive(Debug, Clone, Copy, Args)]
pub struct Shape {
    /// Connections.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Messages in flight on each of them.
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
}

/// What a message is on the wire: a frame of four bytes of length and what follows, or a frame of WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The payload; the answer is the same frame.
    Raw,
    /// kind (1 byte), id (8 bytes), payload; the answer to kind 0 has kind 1 and the same id.
    Message,
    /// The payload as a binary message of WebSocket; the answer is the same one, unmasked.
    Ws,
}

impl Format {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Message => "message",
            Self::Ws => "ws",
        }
    }
}
