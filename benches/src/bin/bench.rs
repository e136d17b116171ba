//! The orchestrator: starts servers, drives them in turn with the same load, reports.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use net_benches::cli::{self, Options};

fn main() -> io::Result<ExitCode> {
    cli::run(&Options::parse())
}
