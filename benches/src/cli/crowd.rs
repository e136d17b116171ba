//! `bench connections` and `bench soak`: their flags, and how their reports are printed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use super::progress_bar;
use crate::certificates::Certificates;
use crate::crowd::connections::{self, Crowd, Method, Servers};
use crate::crowd::report::{self, Crowds};
use crate::crowd::soak::{self, Soak};
use crate::crowd::{plot, report::Floor};
use crate::machine::{self, Machine};
use crate::servers::{self, Workshop};

/// Peers are measured at most at so many sessions: one process of them serves those.
const PEER_SESSIONS: usize = 10_000;
/// The sizes for which there are floors, below what is asked for.
const STEPS: [usize; 2] = [1_000, 10_000];

/// How many sessions are held, and for how long.
#[derive(Debug, Args)]
pub(super) struct ConnectionsOptions {
    /// Sessions of the largest crowd; 1 000 and 10 000 are measured on the way, for their floors [default: 100000, with
    /// --tls 20000].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=400_000))]
    count: Option<u32>,
    /// Speak TLS: each session begins with a full handshake, which is half a millisecond of CPU and more; nothing is resumed.
    #[arg(long)]
    tls: bool,
    /// Server processes; as many as the descriptors need, unless given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=200))]
    processes: Option<u16>,
    /// How long each crowd is held while nothing but heartbeats happens, as in `20s`.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    hold: Duration,
    /// Broadcasts to each crowd.
    #[arg(long, default_value_t = 3)]
    broadcasts: usize,
    /// The crowd of `--count` alone: no smaller ones, no peers, nothing in memory.
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    output: Output,
}

/// How many connections come and go.
#[derive(Debug, Args)]
pub(super) struct SoakOptions {
    /// Connections in all.
    #[arg(long, default_value_t = 1_000_000)]
    connections: u64,
    /// The time after which it ends, however many there were, as in `10m`.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    bound: Duration,
    /// Samples of the server's memory.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    samples: u64,
    #[command(flatten)]
    output: Output,
}

/// Where the report goes.
#[derive(Debug, Args)]
struct Output {
    /// Print the report as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Directory of the report; `bench` in cargo's target directory unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What a run needs before it begins.
struct Place {
    siblings: PathBuf,
    directory: PathBuf,
    program: PathBuf,
}

impl Output {
    fn prepare(&self) -> io::Result<Place> {
        let executable = std::env::current_exe()?;
        let siblings = executable.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        let directory =
            self.out.clone().unwrap_or_else(|| siblings.parent().unwrap_or(&siblings).join("bench"));
        std::fs::create_dir_all(directory.join("scratch"))?;
        machine::raise_descriptor_limit()?;
        let program = connections::program(&siblings)?;
        Ok(Place { siblings, directory, program })
    }
}

/// Measures crowds. A floor that is missed does not change the exit status; a session that is lost does.
pub(super) fn connections(options: &ConnectionsOptions) -> io::Result<ExitCode> {
    let Place { siblings, directory, program } = options.output.prepare()?;
    let scratch = directory.join("scratch");
    let certificates = options.tls.then(|| Certificates::make(&scratch)).transpose()?;
    let method = Method {
        hold: options.hold,
        broadcasts: options.broadcasts,
        program,
        scratch: scratch.clone(),
        certificates: certificates.clone(),
    };
    let workshop = Workshop { siblings, net: None, scratch, certificates };
    let count = options.count.unwrap_or(if options.tls { 20_000 } else { 100_000 });
    let count = usize::try_from(count).map_err(io::Error::other)?;
    let crowds = plan(options, count, &workshop)?;
    // There is no TLS in memory.
    let in_memory = !options.alone && !options.tls;
    let bar = progress_bar(crowds.len() as u64 + u64::from(in_memory));
    let mut measured = Vec::new();
    for crowd in &crowds {
        measured.push(connections::measure(crowd, &method, |doing| tell(&bar, &crowd.title, doing))?);
        bar.inc(1);
    }
    if in_memory {
        measured.push(connections::measure_memory(count, &method, |doing| tell(&bar, "net", doing))?);
    }
    bar.finish_and_clear();
    let crowds = Crowds::new(Machine::this(), measured);
    let paths = crowds.write(&directory)?;
    let mut out = io::stdout().lock();
    if options.output.json {
        serde_json::to_writer_pretty(&mut out, &crowds)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", crowds.markdown())?;
        let missed = crowds.floors.iter().filter(|floor: &&Floor| !floor.met).count();
        writeln!(out, "{} floors met, {missed} missed", crowds.floors.len() - missed)?;
        for path in paths {
            writeln!(out, "wrote {}", path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(options: &ConnectionsOptions, count: usize, workshop: &Workshop) -> io::Result<Vec<Crowd>> {
    let ours = |sessions: usize, processes: Option<u16>| Crowd {
        title: format!("net{}, {sessions}", if options.tls { " over TLS" } else { "" }),
        servers: Servers::Engine { processes: processes.map(usize::from) },
        sessions,
    };
    let mut crowds = Vec::new();
    if !options.alone {
        crowds.extend(STEPS.into_iter().filter(|step| *step < count).map(|step| ours(step, None)));
        let sessions = count.min(PEER_SESSIONS);
        let (servers, peers) = if options.tls {
            (&servers::TLS[..], ["tokio", "framed-batch"])
        } else {
            (&servers::TCP[..], ["epoll", "framed-batch"])
        };
        for server in servers.iter().filter(|server| peers.contains(&server.id)) {
            let invocation = workshop.invocation(server).map_err(io::Error::other)?;
            let title = format!("{}, {sessions}", server.title);
            crowds.push(Crowd { title, servers: Servers::Peer(invocation), sessions });
        }
    }
    crowds.push(ours(count, options.processes));
    Ok(crowds)
}

fn tell(bar: &ProgressBar, title: &str, doing: &str) {
    bar.set_message(format!("{title}: {doing}"));
    bar.tick();
}

/// Runs a soak. Memory that grows is a failure.
pub(super) fn soak(options: &SoakOptions) -> io::Result<ExitCode> {
    let Place { directory, program, .. } = options.output.prepare()?;
    let soak = Soak { connections: options.connections, bound: options.bound, samples: options.samples };
    let bar = progress_bar(options.connections);
    bar.set_message("connections");
    let soaked = soak::run(&soak, &program, |connections| bar.set_position(connections))?;
    bar.finish_and_clear();
    let text = report::soak(&soaked, &Machine::this());
    let path = |ending| directory.join(format!("soak.{ending}"));
    std::fs::write(path("md"), &text)?;
    std::fs::write(path("json"), serde_json::to_vec_pretty(&soaked)?)?;
    std::fs::write(path("svg"), plot::soak(&soaked).map_err(io::Error::other)?)?;
    let mut out = io::stdout().lock();
    if options.output.json {
        serde_json::to_writer_pretty(&mut out, &soaked)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{text}")?;
        for ending in ["md", "json", "svg"] {
            writeln!(out, "wrote {}", path(ending).display())?;
        }
    }
    Ok(if soaked.is_flat() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
