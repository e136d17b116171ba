//! One run of a suite: every server meets every load in every round, round by round side by side.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::measure::Window;
use crate::outcome::Outcome;
use crate::plan::{Case, Effort};
use crate::process::{Invocation, ServerProcess, run_load};
use crate::servers::{Server, Workshop};

/// Cores' worth of other work up to which the machine counts as quiet.
pub const QUIET: f64 = 0.15;

/// How long one look at the machine takes; its clock ticks every 10 ms.
const GLANCE: Duration = Duration::from_millis(200);

/// A suite: its servers, its loads, and how much of each.
#[derive(Debug)]
pub struct Suite {
    /// The servers that can be started.
    pub servers: Vec<(Server, Invocation)>,
    /// The loads.
    pub cases: Vec<Case>,
    /// How long and how often.
    pub effort: Effort,
    /// Where the executables are.
    pub workshop: Workshop,
}

/// What one server did under one load in one round.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The server's name.
    pub server: &'static str,
    /// The load's name.
    pub case: String,
    /// Counted from 0.
    pub round: u32,
    /// What was measured, unless it failed.
    pub outcome: Option<Outcome>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Suite {
    /// Number of samples of a whole run.
    #[must_use]
    pub fn samples(&self) -> u64 {
        let each = self.cases.iter().map(|case| self.fit(case).count() as u64);
        each.sum::<u64>() * u64::from(self.effort.rounds)
    }

    /// The servers that a load can be put on.
    fn fit(&self, case: &Case) -> impl Iterator<Item = &(Server, Invocation)> {
        let kind = case.kind;
        self.servers.iter().filter(move |(server, _)| server.refuses(kind).is_none())
    }

    /// Runs all rounds of one load, telling `progress` before each sample.
    ///
    /// Rounds are interleaved: each server meets the load once before any meets it again, so that a busy minute of
    /// the machine touches all of them; who begins changes with the round. Every sample has a fresh server process.
    ///
    /// # Errors
    /// When no sample can be taken at all. A server that fails is a failed sample.
    pub fn run(&self, case: &Case, mut progress: impl FnMut(&Server, u32)) -> io::Result<Vec<Sample>> {
        let load = self.workshop.load()?;
        fs::create_dir_all(&self.workshop.scratch)?;
        let servers: Vec<_> = self.fit(case).collect();
        let mut samples = Vec::new();
        for round in 0..self.effort.rounds {
            let first = usize::try_from(round).unwrap_or(0) % servers.len().max(1);
            for (server, invocation) in servers.iter().cycle().skip(first).take(servers.len()) {
                progress(server, round);
                let result = self.quiet_sample(case, server, invocation, &load);
                let (outcome, failure) = match result {
                    Ok(Outcome { first_error: Some(error), .. }) => (None, Some(error)),
                    Ok(outcome) => (Some(outcome), None),
                    Err(error) => (None, Some(error.to_string())),
                };
                samples.push(Sample { server: server.id, case: case.id.clone(), round, outcome, failure });
            }
        }
        Ok(samples)
    }

    /// Takes a sample while nothing else uses the machine, as far as patience goes.
    fn quiet_sample(
        &self,
        case: &Case,
        server: &Server,
        invocation: &Invocation,
        load: &std::path::Path,
    ) -> io::Result<Outcome> {
        let give_up = Instant::now() + self.effort.patience;
        loop {
            while Instant::now() < give_up {
                let glance = Window::begin(None)?;
                thread::sleep(GLANCE);
                if glance.end()?.others <= QUIET {
                    break;
                }
            }
            let outcome = self.sample(case, server, invocation, load)?;
            if outcome.others <= QUIET || Instant::now() >= give_up {
                return Ok(outcome);
            }
        }
    }

    fn sample(
        &self,
        case: &Case,
        server: &Server,
        invocation: &Invocation,
        load: &std::path::Path,
    ) -> io::Result<Outcome> {
        let log = self.workshop.scratch.join(format!("{}.log", server.id));
        let mut invocation = invocation.clone();
        invocation.args.extend(server.args_for(case.kind).iter().map(OsString::from));
        let process = ServerProcess::start(&invocation, &log)?;
        let mut args = case.args(&self.effort);
        args.push(OsString::from(format!("--to={}", process.address())));
        args.push(OsString::from(format!("--watch={}", process.pid())));
        args.push(OsString::from(format!("--format={}", server.format.name())));
        if let Some(certificates) = &self.workshop.certificates {
            args.extend([OsString::from("--ca"), certificates.ca.clone().into()]);
        }
        run_load(&Invocation { program: load.to_owned(), args }, case.bound(&self.effort))
    }
}
