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
pub(crate) enum Bench {
    /// Serve what `net bench client` loads: an echo server, the same as `net echo server`
    Server(Box<Serve>),
    Client(Box<client::Client>),
}

impl Bench {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        match self {
            Self::Server(serve) => serve.run(output.json).await,
            Self::Client(client) => client.run(output).await,
        }
    }
}
