//! A process of `bench connections` and `bench soak`: a part of the server, or a part of the load.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use net_benches::crowd::{child, churn, hold, memory, serve};
use net_benches::{machine, peer};

#[derive(Debug, Parser)]
#[command(after_help = "Started by `bench`; commands come in as lines, answers go out as lines of JSON.")]
struct Options {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Serve at an address that other processes share.
    Serve(serve::Serve),
    /// Open sessions and hold them.
    Hold(hold::Hold),
    /// Connect and go, over and over.
    Churn(churn::Churn),
    /// Hold sessions over the memory transport, client and server in one process.
    Memory {
        /// Sessions.
        #[arg(long)]
        sessions: usize,
        /// How long they are held.
        #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
        hold: Duration,
    },
}

fn main() -> io::Result<ExitCode> {
    run(Options::parse()).map(|()| ExitCode::SUCCESS).or_else(|error| {
        writeln!(io::stderr(), "{error}")?;
        Ok(ExitCode::FAILURE)
    })
}

fn run(options: Options) -> io::Result<()> {
    peer::leave_with_parent()?;
    machine::raise_descriptor_limit()?;
    match options.part {
        Part::Serve(serve) => serve::run(&serve),
        Part::Hold(hold) => hold::run(hold),
        Part::Churn(churn) => churn::run(churn),
        Part::Memory { sessions, hold } => child::answer(memory::run(sessions, hold)),
    }
}
