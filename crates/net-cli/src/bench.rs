//! `net bench`: a server to be loaded, and a client that loads servers and measures them.

use std::process::ExitCode;

use clap::Subcommand;

use crate::{failure::Failure, output::Output, serve::Serve};

mod alarm;
mod answers;
mod client;
mod flight;
pub(crate) mod load;
mod pace;
mod payloads;
mod pump;
pub(crate) mod report;

/// What `net bench` does.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Bench {
    /// Serve what `net bench client` loads: an echo server, the same as `net echo server`
    #[command(after_help = SERVER_EXAMPLES)]
    Server(Box<Serve>),
    Client(Box<client::Client>),
}

const EXAMPLES: &str = "\
Examples:
  net bench server tcp://127.0.0.1:9000 --quiet
  net bench client tcp://127.0.0.1:9000 --connections 64 --in-flight 16
  net bench client tcp://127.0.0.1:9000 --rate 50000 --duration 30s --json";

const SERVER_EXAMPLES: &str = "\
Examples:
  net bench server tcp://127.0.0.1:9000 --quiet
  net bench server tcp://0.0.0.0:9000 --quiet --max-connections-per-prefix 10000
  net bench server udp://127.0.0.1:9000 --quiet --recv-buffer 16MiB
  net bench server unix:///run/app.sock --format message --io-threads 1";

impl Bench {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        match self {
            Self::Server(serve) => serve.run(output.json).await,
            Self::Client(client) => client.run(output).await,
        }
    }
}
