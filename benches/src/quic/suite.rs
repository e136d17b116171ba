//! One run of `bench quic`: every server meets every load in every round, round by round side by side.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::cases::{Case, Effort, Server};
use super::report::Sample;
use crate::process::{Invocation, ServerProcess, run_load};

/// What a run needs of the place where it runs.
#[derive(Debug)]
pub struct Place<'a> {
    /// Where the executables are.
    pub siblings: &'a Path,
    /// Where logs go.
    pub scratch: &'a Path,
}

/// Runs all rounds of one load.
///
/// # Errors
/// When the load is not built. A server that fails is a failed sample.
pub fn run(case: &Case, servers: &[Server], effort: &Effort, place: &Place<'_>) -> io::Result<Vec<Sample>> {
    let load = place.siblings.join("load_quic");
    if !load.is_file() {
        let what = "the load is not built: cargo build --release -p net-benches --bins";
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let mut samples = Vec::new();
    for round in 0..effort.rounds {
        let first = usize::try_from(round).unwrap_or(0) % servers.len().max(1);
        for server in servers.iter().cycle().skip(first).take(servers.len()) {
            let outcome = sample(case, server, effort, round, place, &load);
            let outcome = outcome.and_then(|outcome| match outcome.first_error.clone() {
                Some(error) => Err(io::Error::other(error)),
                None => Ok(outcome),
            });
            samples.push(Sample {
                server: server.id,
                case: case.id,
                round,
                failure: outcome.as_ref().err().map(ToString::to_string),
                outcome: outcome.ok(),
            });
        }
    }
    Ok(samples)
}

fn sample(
    case: &Case,
    server: &Server,
    effort: &Effort,
    round: u32,
    place: &Place<'_>,
    load: &Path,
) -> io::Result<crate::outcome::Outcome> {
    let program = place.siblings.join(server.program);
    if !program.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not built", server.program)));
    }
    let log = place.scratch.join(format!("quic-{}.log", server.id));
    let process = ServerProcess::start(&Invocation { program, args: server.args() }, &log)?;
    let mut args = case.args(server, effort, round);
    args.push(OsString::from(format!("--to={}", process.address())));
    args.push(OsString::from(format!("--watch={}", process.pid())));
    let bound = Duration::from_mins(1) + effort.duration + effort.warm_up;
    run_load(&Invocation { program: load.to_owned(), args }, bound)
}
