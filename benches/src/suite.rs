//! One run of a suite: every server meets every load in every round, round by round side by side.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::measure::{Beside, Watch, Window};
use crate::outcome::Outcome;
use crate::plan::{Case, Effort};
use crate::process::{Invocation, LoadProcess, ServerProcess, run_load};
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
            if self.effort.turns > 1 && case.has_turns() {
                samples.extend(self.in_turns(case, &servers, &load, round, &mut progress)?);
                continue;
            }
            let first = usize::try_from(round).unwrap_or(0) % servers.len().max(1);
            for (server, invocation) in servers.iter().cycle().skip(first).take(servers.len()) {
                progress(server, round);
                let result = self.quiet_sample(case, server, invocation, &load);
                samples.push(Sample::new(server, case, round, result));
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
            await_quiet(give_up)?;
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
        let process = self.start(case, server, invocation)?;
        run_load(&self.loading(case, server, &process, load), case.bound(&self.effort))
    }

    fn start(&self, case: &Case, server: &Server, invocation: &Invocation) -> io::Result<ServerProcess> {
        let log = self.workshop.scratch.join(format!("{}.log", server.id));
        let mut invocation = invocation.clone();
        invocation.args.extend(server.args_for(case.kind).iter().map(OsString::from));
        ServerProcess::start(&invocation, &log)
    }

    fn loading(
        &self,
        case: &Case,
        server: &Server,
        process: &ServerProcess,
        load: &std::path::Path,
    ) -> Invocation {
        let mut args = case.args(&self.effort);
        args.push(OsString::from(format!("--to={}", process.address())));
        args.push(OsString::from(format!("--watch={}", process.pid())));
        args.push(OsString::from(format!("--format={}", server.format.name())));
        if let Some(certificates) = &self.workshop.certificates {
            args.extend([OsString::from("--ca"), certificates.ca.clone().into()]);
        }
        Invocation { program: load.to_owned(), args }
    }

    /// Takes the samples of one round in turns, once more where the machine was not quiet and patience lasts.
    fn in_turns(
        &self,
        case: &Case,
        servers: &[&(Server, Invocation)],
        load: &std::path::Path,
        round: u32,
        progress: &mut impl FnMut(&Server, u32),
    ) -> io::Result<Vec<Sample>> {
        for (server, _) in servers {
            progress(server, round);
        }
        let give_up = Instant::now() + self.effort.patience;
        loop {
            await_quiet(give_up)?;
            let (results, others) = self.turns(case, servers, load)?;
            if others > QUIET && Instant::now() < give_up {
                continue;
            }
            let sample = |((server, _), result): (&&(Server, Invocation), io::Result<Outcome>)| {
                Sample::new(server, case, round, result.map(|outcome| Outcome { others, ..outcome }))
            };
            return Ok(servers.iter().zip(results).map(sample).collect());
        }
    }

    /// Starts all servers and a load for each, and has them take turns, each time in another order: what slows the machine for
    /// longer than a turn slows all of them. Returns what each server did, and how many cores others used meanwhile.
    fn turns(
        &self,
        case: &Case,
        servers: &[&(Server, Invocation)],
        load: &std::path::Path,
    ) -> io::Result<(Vec<io::Result<Outcome>>, f64)> {
        let begin = |(server, invocation): &&(Server, Invocation)| {
            let process = self.start(case, server, invocation)?;
            let mut loading = self.loading(case, server, &process, load);
            loading.args.push(OsString::from("--turns"));
            let log = self.workshop.scratch.join(format!("{}-load.log", server.id));
            Ok::<_, io::Error>((process, LoadProcess::start(&loading, &log)?))
        };
        let mut playing: Vec<_> = servers.iter().map(begin).collect();
        let mut found = vec![Vec::new(); servers.len()];
        let pids = playing.iter().flatten().flat_map(|(server, load)| [server.pid(), load.pid()]);
        let beside = Beside::begin(pids.map(Watch::new).collect())?;
        let mut order: Vec<_> = (0..servers.len()).collect();
        for _ in 0..self.effort.turns {
            fastrand::shuffle(&mut order);
            for &index in &order {
                let (Some(player), Some(found)) = (playing.get_mut(index), found.get_mut(index)) else {
                    continue;
                };
                let Ok((_, load)) = player else { continue };
                match load.turn(case.bound(&self.effort)) {
                    Ok(Outcome { first_error: Some(error), .. }) => *player = Err(io::Error::other(error)),
                    Ok(outcome) => found.push(outcome),
                    Err(error) => *player = Err(error),
                }
            }
        }
        // Where one has failed its processes are gone, and what others used cannot be told from it; its sample says so.
        let others = if playing.iter().all(Result::is_ok) { beside.end()? } else { 0.0 };
        let results =
            playing.into_iter().zip(found).map(|(player, turns)| player.map(|_| Outcome::of_turns(&turns)));
        Ok((results.collect(), others))
    }
}

impl Sample {
    fn new(server: &Server, case: &Case, round: u32, result: io::Result<Outcome>) -> Self {
        let (outcome, failure) = match result {
            Ok(Outcome { first_error: Some(error), .. }) => (None, Some(error)),
            Ok(outcome) => (Some(outcome), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { server: server.id, case: case.id.clone(), round, outcome, failure }
    }
}

/// Waits until nothing else uses the machine, or until `give_up`.
fn await_quiet(give_up: Instant) -> io::Result<()> {
    while Instant::now() < give_up {
        let glance = Window::begin(None)?;
        thread::sleep(GLANCE);
        if glance.end()?.others <= QUIET {
            break;
        }
    }
    Ok(())
}
