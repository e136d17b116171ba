//! The orchestrator: starts servers, drives them in turn with the same load, reports.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use net_benches::cli::{self, Options};

fn main() -> io::Result<ExitCode> {
    cli::run(&Options::parse()).or_else(|error| {
        writeln!(io::stderr(), "bench: {error}")?;
        Ok(ExitCode::from(2))
    })
}
