//! `bench quic`: its flags, and how its report is printed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{list, progress_bar, unknown};
use crate::machine::{self, Machine};
use crate::quic::cases::{BASELINE, CASES, Case, Effort, SERVERS, Server};
use crate::quic::report::Report;
use crate::quic::suite::{self, Place};

/// How `bench quic` is run.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct QuicOptions {
    /// Bind servers and load to one core, where CPU repeats within a few per cent.
    #[arg(long)]
    pin: bool,
    /// Times that every server meets every load [default: 5, with --quick 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Measured window of each load, as in `3s` [default: 3s, with --quick 300ms].
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Keep all servers up in a round and give each so many turns of `--duration`, in random order, with 100 ms of load before
    /// each. Idle connections and transfers over a path that loses have none.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    turns: u32,
    /// One short round, enough to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Servers by name, separated by commas; quinn always runs, since ratios need it.
    #[arg(long, value_delimiter = ',', value_name = "SERVER")]
    only: Vec<String>,
    /// Loads by name or the beginning of one, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "LOAD")]
    loads: Vec<String>,
    /// Print the report as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Directory of the report; `bench` in cargo's target directory unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the names of servers and loads and stop.
    #[arg(long)]
    list: bool,
}

/// Runs the suite. The exit status is 0 when every sample was taken; a target that is missed is told.
pub(super) fn run(options: &QuicOptions) -> io::Result<ExitCode> {
    if options.list {
        return list(
            &mut io::stdout().lock(),
            SERVERS.iter().map(|server| (server.id, server.title)),
            CASES.iter().map(|case| (case.id, case.title)),
        );
    }
    let servers = choose(&options.only)?;
    let cases = select(&options.loads)?;
    let executable = std::env::current_exe()?;
    let siblings = executable.parent().unwrap_or_else(|| Path::new("."));
    let directory =
        options.out.clone().unwrap_or_else(|| siblings.parent().unwrap_or(siblings).join("bench"));
    let scratch = directory.join("scratch");
    std::fs::create_dir_all(&scratch)?;
    machine::raise_descriptor_limit()?;
    let pinned_to = options.pin.then(|| machine::pin(None)).transpose()?;
    let base = if options.quick { Effort::QUICK } else { Effort::FULL };
    let effort = Effort {
        rounds: options.rounds.unwrap_or(base.rounds),
        turns: options.turns,
        duration: options.duration.unwrap_or(base.duration),
        warm_up: if options.turns > 1 { Effort::QUICK.warm_up } else { base.warm_up },
        ..base
    };
    let place = Place { siblings, scratch: &scratch };
    let mut report = Report { machine: Machine::this(), pinned_to, samples: Vec::new() };
    let bar = progress_bar(cases.len() as u64);
    for case in &cases {
        bar.set_message(case.id);
        report.samples.extend(suite::run(case, &servers, &effort, &place)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let paths = report.write(&directory)?;
    let mut out = io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", report.markdown())?;
        for path in paths {
            writeln!(out, "wrote {}", path.display())?;
        }
    }
    Ok(if report.failures().next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn choose(names: &[String]) -> io::Result<Vec<Server>> {
    if let Some(name) = names.iter().find(|name| !SERVERS.iter().any(|server| server.id == name.as_str())) {
        return Err(unknown("server", name));
    }
    let wanted = |id: &str| names.is_empty() || id == BASELINE || names.iter().any(|name| name == id);
    Ok(SERVERS.into_iter().filter(|server| wanted(server.id)).collect())
}

fn select(names: &[String]) -> io::Result<Vec<Case>> {
    if let Some(name) = names.iter().find(|name| !CASES.iter().any(|case| case.id.starts_with(name.as_str())))
    {
        return Err(unknown("load", name));
    }
    let wanted = |id: &str| names.is_empty() || names.iter().any(|name| id.starts_with(name.as_str()));
    Ok(CASES.into_iter().filter(|case| wanted(case.id)).collect())
}
