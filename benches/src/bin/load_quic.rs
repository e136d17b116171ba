//! The load of `bench quic` as a process of its own; prints what it found as one line of JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use net_benches::quic::load::{self, Load};
use net_benches::quic::settings::Failure;

/// Loads a server that sends back what comes on bidirectional streams.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    load: Load,
}

fn main() -> io::Result<ExitCode> {
    run(&Options::parse()).map(|()| ExitCode::SUCCESS).or_else(|error| {
        writeln!(io::stderr(), "{error}")?;
        Ok(ExitCode::FAILURE)
    })
}

fn run(options: &Options) -> Result<(), Failure> {
    let outcome = load::run(&options.load)?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &outcome)?;
    writeln!(out)?;
    Ok(())
}
