//! The command line of `bench`: parses it, runs the suite, prints and writes the report.

mod crowd;
mod quic;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::certificates::Certificates;
use crate::comparison::{self, Comparison};
use crate::machine::{self, Machine};
use crate::plan::{self, Case, Effort};
use crate::report::Report;
use crate::servers::{Server, Workshop};
use crate::suite::Suite;

/// Measures this workspace's servers beside the peers that users would pick instead.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    #[command(subcommand)]
    suite: SuiteName,
}

#[derive(Debug, Subcommand)]
enum SuiteName {
    /// Echo over TCP: cost, rate, tails, churn and idle memory against seven peers.
    #[command(after_help = "\
Examples:
  bench tcp --pin                          cost: server CPU per message, everything on one core
  bench tcp                                rates and tails
  bench tcp --pin --patience 30s           the same on a machine that others use too
  bench tcp --pin --turns 300 --duration 8ms --loads 64B/1x1
                                           the same on a machine that drifts: servers take turns of 8 ms
  bench tcp --quick                        two minutes to see that everything works
  bench tcp --pin --only net,ntex --loads 64B,churn
  bench tcp --list                         names of servers and loads

Tables, JSON and a plot are written to target/bench/tcp-pinned.* or tcp-unpinned.*.
A pinned run tells cost, an unpinned one rates and tails; never compare the two.")]
    Tcp(RunOptions),
    /// Echo and handshakes over TLS: cost and rate of messages, bytes, full and resumed handshakes, beside tokio-rustls.
    #[command(after_help = "\
Examples:
  bench tls --pin                          cost: server CPU per message, byte and handshake, on one core
  bench tls                                rates and tails, megabytes a second
  bench tls --pin --loads handshake        handshakes alone, full and resumed
  bench tls --pin --loads 64KiB,64B/64x16 --rounds 5 --patience 30s
  bench tls --quick                        half a minute to see that everything works
  bench tls --list                         names of servers and loads

Every server has the same certificate (P-256), TLS 1.2 and 1.3 and aws-lc-rs, and gives the tickets that it gives by
default: ours one a handshake, rustls alone two. The load is rustls by itself, which agrees on TLS 1.3 with X25519MLKEM768. Handshakes are one at a time: read their cost pinned, and take the
rate for what one client at a time gets.
Tables, JSON and a plot are written to target/bench/tls-pinned.* or tls-unpinned.*.")]
    Tls(RunOptions),
    /// Echo over WebSocket: cost, rate, compressed messages and idle memory beside uWebSockets and the libraries for tokio.
    #[command(after_help = "\
Examples:
  bench ws --pin                           cost: server CPU per message, everything on one core
  bench ws                                 rates and tails
  bench ws --pin --loads 64B,idle --rounds 7 --duration 600ms
  bench ws --pin --only net,tungstenite-batch --loads 64B/64x16
  bench ws --quick                         half a minute to see that everything works
  bench ws --list                          names of servers and loads

uWebSockets comes as a library inside a package of Python's index, which is fetched the first time; it needs libuv and g++.
Tables, JSON and a plot are written to target/bench/ws-pinned.* or ws-unpinned.*.")]
    Ws(RunOptions),
    /// Echo over UDP: cost of a datagram against the loops that users would write.
    #[command(after_help = "\
Examples:
  bench udp --pin                          cost: server CPU per datagram, everything on one core
  bench udp --pin --quick                  half a minute to see that everything works
  bench udp --list                         names of servers and loads

Tables, JSON and a plot are written to target/bench/udp-pinned.* or udp-unpinned.*.")]
    Udp(RunOptions),
    /// Streams, bulk, handshakes and idle connections over QUIC: ours against bare quinn and s2n-quic.
    #[command(after_help = "\
Examples:
  bench quic --pin                         cost: server CPU and memory, everything on one core
  bench quic --quick                       half a minute to see that everything works
  bench quic --pin --turns 10 --duration 100ms --rounds 16
                                           the same on a machine that drifts: servers take turns
  bench quic --pin --loads streams --rounds 9
  bench quic --list                        names of servers and loads

Tables, JSON and a plot are written to target/bench/quic-pinned.* or quic-unpinned.*.")]
    Quic(quic::QuicOptions),
    /// Sessions by the thousand over several processes on one port: memory, connecting, broadcasts, heartbeats.
    #[command(after_help = "\
Examples:
  bench connections                        1 000, 10 000 and 100 000 sessions, two peers at 10 000, 100 000 in memory
  bench connections --count 1000           the same up to 1 000: half a minute
  bench connections --alone --hold 60s     100 000 sessions and nothing else, watched for a minute
  bench connections --count 20000 --processes 4 --alone
  bench connections --tls                  20 000 sessions over TLS, two peers over tokio-rustls at 10 000
  bench connections --tls --count 100000   the same with 100 000: two minutes of full handshakes

A process may have 20 000 descriptors here, so server and load are as many processes as the sessions need, the load at
addresses of its own on loopback. Needs about 9 KiB of kernel memory for each session; over TLS also some 12 KiB of process
memory at both ends together. Over TLS every handshake is a full one, so opening takes about a millisecond a session.
Tables, JSON and a plot are written to target/bench/connections.* or connections-tls.*.")]
    Connections(crowd::ConnectionsOptions),
    /// Connections that come and go by the million: does the server's memory grow with them?
    #[command(after_help = "\
Examples:
  bench soak                               1 000 000 connections, ten minutes at most
  bench soak --connections 50000           a first impression
  bench soak --bound 2m --json

Of ten connections one ends in an orderly way, one breaks inside a frame, one says nothing, seven are reset after an answer.
The exit status is 1 where memory or descriptors grow. Report, JSON and a plot are written to target/bench/soak.*.")]
    Soak(crowd::SoakOptions),
}

/// How a suite is run.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct RunOptions {
    /// Bind servers and load generator to one core, where CPU per message repeats within a few per cent.
    #[arg(long)]
    pin: bool,
    /// The core to pin to; the last allowed one unless given.
    #[arg(long, requires = "pin")]
    core: Option<usize>,
    /// Times that every server meets every load [default: 3, with --quick 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Measured window of each echo load, as in `2s` [default: 2s, with --quick 200ms].
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Keep all servers up in a round and give each so many turns of `--duration`, in random order; half as long again is
    /// not measured. Loads that connect over and over divide their connections among the turns, idle ones have none.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Let each sample wait, or be taken again, for up to this long until nothing else uses the machine, as in `30s`.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// One short round, enough to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Servers by name, separated by commas; what ratios are taken against always runs.
    #[arg(long, value_delimiter = ',', value_name = "PEER")]
    only: Vec<String>,
    /// Loads by name or the beginning of one, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "LOAD")]
    loads: Vec<String>,
    /// Print the report as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// The command `net`; the one beside this executable unless given.
    #[arg(long, value_name = "PATH")]
    net: Option<PathBuf>,
    /// Directory of the report; `bench` in cargo's target directory unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the names of servers and loads and stop.
    #[arg(long)]
    list: bool,
}

/// Runs what the command line asks for. The exit status is 0 when every sample was taken.
///
/// # Errors
/// When the suite cannot be set up or the report cannot be written; a server that fails is a row of the report.
pub fn run(options: &Options) -> io::Result<ExitCode> {
    match &options.suite {
        SuiteName::Tcp(run) => compare(&comparison::TCP, run),
        SuiteName::Tls(run) => compare(&comparison::TLS, run),
        SuiteName::Ws(run) => compare(&comparison::WS, run),
        SuiteName::Udp(run) => compare(&comparison::UDP, run),
        SuiteName::Quic(options) => quic::run(options),
        SuiteName::Connections(options) => crowd::connections(options),
        SuiteName::Soak(options) => crowd::soak(options),
    }
}

fn compare(comparison: &Comparison, options: &RunOptions) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if options.list {
        let cases = (comparison.cases)();
        return list(
            &mut out,
            comparison.servers.iter().map(|server| (server.id, server.title)),
            cases.iter().map(|case| (&*case.id, &*case.title)),
        );
    }
    let cases = plan::select((comparison.cases)(), &options.loads).map_err(|name| unknown("load", &name))?;
    if options.turns > 1 && !cases.iter().any(Case::has_turns) {
        let reason = "idle sessions have no turns";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let chosen = choose(comparison, &options.only)?;
    let executable = std::env::current_exe()?;
    let siblings = executable.parent().unwrap_or_else(|| Path::new(".")).to_owned();
    let directory =
        options.out.clone().unwrap_or_else(|| siblings.parent().unwrap_or(&siblings).join("bench"));
    let scratch = directory.join("scratch");
    std::fs::create_dir_all(&scratch)?;
    let certificates = comparison.secure.then(|| Certificates::make(&scratch)).transpose()?;
    let workshop = Workshop { siblings, net: options.net.clone(), scratch, certificates };
    let machine = Machine::this();
    machine::raise_descriptor_limit()?;
    let rows: Vec<_> = chosen.into_iter().map(|server| (server, workshop.invocation(&server))).collect();
    // After what is built here, which may use every core.
    let pinned = options.pin.then(|| machine::pin(options.core)).transpose()?;

    let effort = effort(options);
    let missing: Vec<_> = rows.iter().map(|(server, found)| (*server, found.clone().err())).collect();
    let servers = rows.into_iter().filter_map(|(server, found)| Some((server, found.ok()?))).collect();
    let suite = Suite { servers, cases, effort, workshop };
    let mut report = Report::new(comparison, pinned, machine, &effort);
    let bar = progress_bar(suite.samples());
    for case in &suite.cases {
        let samples = suite.run(case, |server, round| {
            bar.set_message(format!("{} round {} {}", case.id, round + 1, server.title));
            bar.inc(1);
        })?;
        let missing: Vec<_> = missing
            .iter()
            .map(|(server, why)| {
                (*server, why.clone().or_else(|| Some(server.refuses(case.kind)?.to_owned())))
            })
            .collect();
        report.add(case, &missing, samples);
        if !options.json {
            bar.suspend(|| writeln!(out, "{}", report.last_table()))?;
        }
    }
    bar.finish_and_clear();
    report.targets = (comparison.verdicts)(&report);
    let paths = report.write(&directory)?;
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        if !report.targets.is_empty() {
            writeln!(out, "## Targets\n\n{}", report.targets_table())?;
        }
        for path in paths {
            writeln!(out, "wrote {}", path.display())?;
        }
    }
    Ok(if report.failures().next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn effort(options: &RunOptions) -> Effort {
    let base = if options.quick { Effort::QUICK } else { Effort::FULL };
    let duration = options.duration.unwrap_or(base.duration);
    Effort {
        rounds: options.rounds.unwrap_or(base.rounds),
        duration,
        warm_up: if options.turns > 1 { duration / 2 } else { base.warm_up },
        patience: options.patience,
        turns: options.turns,
        churn: (base.churn / u64::from(options.turns)).max(1),
        ..base
    }
}

/// The servers to run, in the order of the catalogue.
fn choose(comparison: &Comparison, names: &[String]) -> io::Result<Vec<Server>> {
    let known = |name: &&String| comparison.servers.iter().any(|server| server.id == name.as_str());
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return Err(unknown("server", name));
    }
    let wanted =
        |id: &str| names.is_empty() || id == comparison.baseline || names.iter().any(|name| name == id);
    Ok(comparison.servers.iter().filter(|server| wanted(server.id)).copied().collect())
}

fn unknown(what: &str, name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("no {what} is called {name}; `--list` tells the names"),
    )
}

/// Prints what there is to choose from, each with its title.
fn list<'a>(
    out: &mut impl Write,
    servers: impl IntoIterator<Item = (&'a str, &'a str)>,
    cases: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> io::Result<ExitCode> {
    writeln!(out, "servers:")?;
    for (id, title) in servers {
        writeln!(out, "  {id:<14} {title}")?;
    }
    writeln!(out, "loads:")?;
    for (id, title) in cases {
        writeln!(out, "  {id:<14} {title}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar on standard error, which shows itself on a terminal only. It has no thread of its own: one that redraws would
/// run on the core that is measured.
fn progress_bar(samples: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left, {msg}");
    ProgressBar::new(samples).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    #[test]
    fn the_baseline_is_always_among_the_servers() {
        let ids = |names: &[&str]| -> Vec<_> {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            choose(&comparison::TCP, &names).unwrap().into_iter().map(|server| server.id).collect()
        };
        assert_eq!(ids(&["ntex"]), ["epoll", "ntex"]);
        assert_eq!(ids(&[]).len(), comparison::TCP.servers.len());
        assert!(choose(&comparison::TCP, &["nginx".to_owned()]).unwrap_err().to_string().contains("nginx"));
    }
}
