//! One run of `bench quic`: every server meets every load in every round, round by round side by side.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::cases::{Case, Effort, Server};
use super::report::Sample;
use crate::outcome::Outcome;
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
    let sample = |round| {
        move |(server, outcome): (&Server, io::Result<Outcome>)| Sample {
            server: server.id,
            case: case.id,
            round,
            failure: outcome.as_ref().err().map(ToString::to_string),
            outcome: outcome.ok(),
        }
    };
    let mut samples = Vec::new();
    for round in 0..effort.rounds {
        let run = Run { case, effort, round, place, load: &load };
        if effort.turns > 1 && case.has_turns() {
            samples.extend(servers.iter().zip(run.in_turns(servers)).map(sample(round)));
        } else {
            let first = usize::try_from(round).unwrap_or(0) % servers.len().max(1);
            let order = servers.iter().cycle().skip(first).take(servers.len());
            samples.extend(order.map(|server| (server, run.alone(server))).map(sample(round)));
        }
    }
    Ok(samples)
}

/// One load in one round.
struct Run<'a> {
    case: &'a Case,
    effort: &'a Effort,
    round: u32,
    place: &'a Place<'a>,
    load: &'a Path,
}

impl Run<'_> {
    /// Has one server meet the load while no other one is there.
    fn alone(&self, server: &Server) -> io::Result<Outcome> {
        self.put_on(server, &self.start(server)?)
    }

    /// Starts all servers and has them meet the load in turns, each time in another order: what slows the machine for longer than
    /// a turn slows all of them.
    fn in_turns(&self, servers: &[Server]) -> Vec<io::Result<Outcome>> {
        let mut playing: Vec<_> = servers.iter().map(|server| (server, self.start(server))).collect();
        let mut found = vec![Vec::new(); servers.len()];
        let mut order: Vec<_> = (0..servers.len()).collect();
        for _ in 0..self.effort.turns {
            fastrand::shuffle(&mut order);
            for &index in &order {
                if let (Some((server, player)), Some(found)) = (playing.get_mut(index), found.get_mut(index))
                    && let Ok(process) = player
                {
                    match self.put_on(server, process) {
                        Ok(outcome) => found.push(outcome),
                        Err(error) => *player = Err(error),
                    }
                }
            }
        }
        let of_turns =
            |((_, player), turns): ((_, io::Result<_>), Vec<_>)| player.map(|_| Outcome::of_turns(&turns));
        playing.into_iter().zip(found).map(of_turns).collect()
    }

    fn start(&self, server: &Server) -> io::Result<ServerProcess> {
        let program = self.place.siblings.join(server.program);
        if !program.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not built", server.program)));
        }
        let log = self.place.scratch.join(format!("quic-{}.log", server.id));
        ServerProcess::start(&Invocation { program, args: server.args() }, &log)
    }

    fn put_on(&self, server: &Server, process: &ServerProcess) -> io::Result<Outcome> {
        let mut args = self.case.args(server, self.effort, self.round);
        args.push(OsString::from(format!("--to={}", process.address())));
        args.push(OsString::from(format!("--watch={}", process.pid())));
        let bound = Duration::from_mins(1) + self.effort.duration + self.effort.warm_up;
        let outcome = run_load(&Invocation { program: self.load.to_owned(), args }, bound)?;
        match outcome.first_error {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(outcome),
        }
    }
}
