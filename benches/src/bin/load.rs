//! The load generator as a process of its own; prints what it found as a line of JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use net_benches::{load, machine};

/// Loads an echo server and verifies every byte that comes back.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  load echo --to 127.0.0.1:9000 --connections 64 --in-flight 16 --payload 1024 --duration 2s
  load echo --to 127.0.0.1:9000 --format message --watch $(pidof net)
  load churn --to 127.0.0.1:9000 --count 4000
  load idle --to 127.0.0.1:9000 --sessions 10000 --hold 1s
  yes | head -5 | load echo --to 127.0.0.1:9000 --duration 100ms --turns")]
struct Options {
    #[command(subcommand)]
    load: load::Load,
    /// Load the server once for each line of standard input, and leave it alone between them.
    #[arg(long, global = true)]
    turns: bool,
}

fn main() -> io::Result<ExitCode> {
    run(&Options::parse()).map(|()| ExitCode::SUCCESS).or_else(|error| {
        writeln!(io::stderr(), "{error}")?;
        Ok(ExitCode::FAILURE)
    })
}

fn run(options: &Options) -> io::Result<()> {
    machine::raise_descriptor_limit()?;
    let mut out = io::stdout().lock();
    let mut tell = |outcome| {
        serde_json::to_writer(&mut out, &outcome)?;
        writeln!(out)
    };
    if options.turns {
        return load::take_turns(&options.load, io::stdin().lock(), tell);
    }
    tell(load::run(&options.load)?)
}
