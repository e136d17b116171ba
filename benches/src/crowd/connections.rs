//! One crowd after another: opened, held, told something all at once, ended; and what each cost the servers.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::child::{Child, now};
use super::hold::{Heard, Opened};
use super::memory::InMemory;
use super::serve::{Served, Spread};
use crate::certificates::Certificates;
use crate::machine;
use crate::measure::{Watch, Window};
use crate::outcome::Latency;
use crate::process::{Invocation, ServerProcess};

/// Sessions that one process holds at most: the system spreads them by a hash, so not quite evenly, and a process may
/// have 20 000 descriptors.
const PER_PROCESS: usize = 17_000;
/// Sessions of each load process that end in an orderly way; the others are reset, so that few ports wait.
const GENTLY: usize = 1_000;
/// Opening so many sessions one after another may take this long.
const OPEN_BOUND: Duration = Duration::from_mins(3);
const BOUND: Duration = Duration::from_secs(90);

/// What serves a crowd.
#[derive(Debug, Clone)]
pub enum Servers {
    /// The engine, in as many processes as the sessions need, or as are asked for.
    Engine {
        /// Processes, unless the sessions decide.
        processes: Option<usize>,
    },
    /// A peer in one process, which only echoes.
    Peer(Invocation),
}

/// A crowd to be measured.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// Its name in the table.
    pub title: String,
    /// What serves it.
    pub servers: Servers,
    /// Sessions.
    pub sessions: usize,
}

/// How a crowd is measured.
#[derive(Debug, Clone)]
pub struct Method {
    /// How long the sessions are held and left alone.
    pub hold: Duration,
    /// Broadcasts, one after another.
    pub broadcasts: usize,
    /// The binary `crowd`.
    pub program: PathBuf,
    /// Directory for logs.
    pub scratch: PathBuf,
    /// What servers show that speak TLS; without it they speak none.
    pub certificates: Option<Certificates>,
}

/// What a crowd cost its servers; figures of several processes are sums.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measured {
    /// Its name in the table.
    pub title: String,
    /// Whether it was served by our engine.
    pub ours: bool,
    /// Whether it was served over TLS.
    pub secure: bool,
    /// Sessions that were open at once.
    pub sessions: usize,
    /// Server processes; 0 where server and peers share one.
    pub processes: usize,
    /// The most sessions that one of them had.
    pub most_sessions: usize,
    /// Microseconds to connect, one session after another.
    pub connect: Latency,
    /// Microseconds to connect and have the answer to a first message.
    pub ready: Latency,
    /// Microseconds from the client's end to the server's.
    pub disconnect: Latency,
    /// Proportional set size before the first session, in KiB.
    pub before_kib: u64,
    /// The same with all of them.
    pub held_kib: u64,
    /// Resident set size with all of them.
    pub rss_kib: u64,
    /// What the kernel's memory grew by meanwhile, both ends of each connection and whatever else happened.
    pub kernel_kib: u64,
    /// Seconds in which nothing but heartbeats happened.
    pub hold_s: f64,
    /// The servers' share of a core meanwhile.
    pub cpu_share: f64,
    /// Heartbeats that the load processes heard meanwhile.
    pub heartbeats: u64,
    /// The broadcasts.
    pub broadcasts: Vec<Broadcast>,
    /// Cores that other processes used while the sessions were held; those of the load are among them.
    pub others: f64,
}

/// A message to all sessions.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Broadcast {
    /// Milliseconds from the command until the last session had it.
    pub ms: f64,
    /// Milliseconds of CPU that the servers used meanwhile.
    pub cpu_ms: f64,
    /// Sessions that accepted it.
    pub accepted: usize,
    /// Sessions that have heard it.
    pub heard: u64,
    /// Whether each session has heard it exactly once.
    pub exact: bool,
}

impl Measured {
    /// KiB of process memory for each session.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "KiB of a few processes stay far below 2^52")]
    pub fn kib_per_session(&self) -> f64 {
        self.held_kib.saturating_sub(self.before_kib) as f64 / self.sessions.max(1) as f64
    }

    /// The slowest broadcast, in milliseconds.
    #[must_use]
    pub fn slowest_broadcast_ms(&self) -> Option<f64> {
        self.broadcasts.iter().map(|broadcast| broadcast.ms).reduce(f64::max)
    }
}

/// The servers of one crowd.
enum Fleet {
    Engine(Vec<Child>),
    Peer(ServerProcess),
}

impl Fleet {
    fn start(servers: &Servers, sessions: usize, method: &Method) -> io::Result<(Self, SocketAddr)> {
        match servers {
            Servers::Peer(invocation) => {
                let process = ServerProcess::start(invocation, &method.scratch.join("peer.log"))?;
                let address = process.address();
                Ok((Self::Peer(process), address))
            }
            Servers::Engine { processes } => {
                let count = processes.unwrap_or_else(|| sessions.div_ceil(PER_PROCESS)).max(1);
                let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let mut children = Vec::new();
                for _ in 0..count {
                    // The first one chooses the port, the others join it.
                    let mut args = vec!["serve".to_owned(), format!("--at={address}")];
                    if let Some(Certificates { cert, key, .. }) = &method.certificates {
                        args.push(format!("--cert={}", cert.display()));
                        args.push(format!("--key={}", key.display()));
                    }
                    let mut child = Child::start(&method.program, &args)?;
                    address = child.answer(BOUND)?;
                    children.push(child);
                }
                Ok((Self::Engine(children), address))
            }
        }
    }

    fn watches(&self) -> Vec<Watch> {
        match self {
            Self::Engine(children) => children.iter().map(|child| Watch::new(child.pid())).collect(),
            Self::Peer(process) => vec![Watch::new(process.pid())],
        }
    }

    fn served(&mut self) -> io::Result<Vec<Served>> {
        match self {
            Self::Engine(children) => children.iter_mut().map(|child| child.ask("count", BOUND)).collect(),
            Self::Peer(_) => Ok(Vec::new()),
        }
    }

    /// Proportional and resident set size of all processes, in KiB.
    fn memory(&self) -> io::Result<(u64, u64)> {
        let mut sums = (0, 0);
        for watch in self.watches() {
            let memory = watch.memory()?;
            sums = (sums.0 + memory.pss_kib, sums.1 + memory.rss_kib);
        }
        Ok(sums)
    }

    fn cpu_ns(&self) -> io::Result<u64> {
        self.watches().iter().map(Watch::cpu_ns).sum()
    }
}

/// Measures one crowd, telling `progress` what it does.
///
/// # Errors
/// When a process fails or a session is lost.
pub fn measure(crowd: &Crowd, method: &Method, progress: impl Fn(&str)) -> io::Result<Measured> {
    let ours = matches!(crowd.servers, Servers::Engine { .. });
    progress("starting");
    let (mut fleet, address) = Fleet::start(&crowd.servers, crowd.sessions, method)?;
    let mut load = start_load(crowd, method, address, ours)?;
    // What a process sets up at its first session is no cost of each; so many reach every process.
    let first = load.first_mut().ok_or_else(|| io::Error::other("no load"))?;
    let _: u64 = first.ask(&format!("warm {}", 16 * fleet.watches().len()), BOUND)?;
    let kernel = machine::kernel_memory_kib();
    let (before_kib, _) = fleet.memory()?;
    let mut opened = Opened::default();
    for (number, child) in load.iter_mut().enumerate() {
        progress(&format!("opening, load process {}", number + 1));
        let part: Opened = child.ask("open", OPEN_BOUND)?;
        opened.connect.extend(part.connect);
        opened.ready.extend(part.ready);
    }
    let mut measured = Measured {
        title: crowd.title.clone(),
        ours,
        secure: method.certificates.is_some(),
        sessions: opened.connect.len(),
        processes: fleet.watches().len(),
        before_kib,
        connect: latency(&opened.connect)?,
        ready: latency(&opened.ready)?,
        ..Measured::default()
    };
    if ours {
        let served = fleet.served()?;
        let sessions: usize = served.iter().map(|served| served.sessions).sum();
        if sessions != crowd.sessions {
            return Err(io::Error::other(format!(
                "the servers have {sessions} sessions of {}",
                crowd.sessions
            )));
        }
        measured.most_sessions = served.iter().map(|served| served.sessions).max().unwrap_or(0);
    }
    progress("holding");
    hold(&fleet, &mut load, method, &mut measured)?;
    (measured.held_kib, measured.rss_kib) = fleet.memory()?;
    measured.kernel_kib = machine::kernel_memory_kib().saturating_sub(kernel);
    if let Fleet::Engine(servers) = &mut fleet {
        for round in 0..method.broadcasts {
            progress(&format!("broadcast {}", round + 1));
            measured.broadcasts.push(broadcast(servers, &mut load)?);
        }
    }
    progress("closing");
    let gently = GENTLY / load.len().max(1);
    let mut ends = Vec::new();
    for child in &mut load {
        ends.extend(child.ask::<Vec<u64>>(&format!("close {gently}"), BOUND)?);
    }
    measured.disconnect = latency(&ends)?;
    if ours {
        all_gone(&mut fleet)?;
    }
    Ok(measured)
}

/// Measures a crowd over the memory transport, in one process.
///
/// # Errors
/// When the process fails.
pub fn measure_memory(sessions: usize, method: &Method, progress: impl Fn(&str)) -> io::Result<Measured> {
    progress("in memory");
    let hold = format!("--hold={}ms", method.hold.as_millis());
    let args = ["memory".to_owned(), format!("--sessions={sessions}"), hold];
    let mut child = Child::start(&method.program, &args)?;
    let found: InMemory = child.answer(OPEN_BOUND + method.hold)?;
    let broadcast = Broadcast {
        ms: found.broadcast_s * 1_000.0,
        accepted: found.sessions,
        heard: found.reached as u64,
        exact: found.reached == sessions,
        ..Broadcast::default()
    };
    Ok(Measured {
        title: format!("net in memory, peers included, {sessions}"),
        ours: true,
        sessions: found.sessions,
        before_kib: found.before_kib,
        held_kib: found.held_kib,
        rss_kib: found.held_kib,
        hold_s: method.hold.as_secs_f64(),
        cpu_share: found.cpu_share,
        broadcasts: vec![broadcast],
        ..Measured::default()
    })
}

fn start_load(crowd: &Crowd, method: &Method, to: SocketAddr, ours: bool) -> io::Result<Vec<Child>> {
    let processes = crowd.sessions.div_ceil(PER_PROCESS).max(1);
    (0..processes)
        .map(|number| {
            let share = crowd.sessions / processes + usize::from(number < crowd.sessions % processes);
            // 127.0.1.1, 127.0.2.1 and so on; each has room for the addresses behind it.
            let from = Ipv4Addr::new(127, 0, u8::try_from(number + 1).map_err(io::Error::other)?, 1);
            let mut args = vec![
                "hold".to_owned(),
                format!("--to={to}"),
                format!("--from={from}"),
                format!("--sessions={share}"),
            ];
            args.extend((!ours).then(|| "--raw".to_owned()));
            args.extend(method.certificates.iter().map(|files| format!("--ca={}", files.ca.display())));
            Child::start(&method.program, &args)
        })
        .collect()
}

/// Leaves the sessions alone for a while.
fn hold(fleet: &Fleet, load: &mut [Child], method: &Method, measured: &mut Measured) -> io::Result<()> {
    for child in load.iter_mut() {
        let _: u64 = child.ask("forget", BOUND)?;
    }
    let (window, cpu) = (Window::begin(None)?, fleet.cpu_ns()?);
    thread::sleep(method.hold);
    let spent = Duration::from_nanos(fleet.cpu_ns()? - cpu);
    let window = window.end()?;
    measured.hold_s = window.seconds;
    measured.cpu_share = spent.as_secs_f64() / window.seconds;
    measured.others = (window.others - measured.cpu_share).max(0.0);
    for child in load {
        let heard: Heard = child.ask("heard", BOUND)?;
        measured.heartbeats += heard.heartbeats;
        if heard.ended > 0 {
            return Err(io::Error::other(format!("{} sessions ended while they were held", heard.ended)));
        }
    }
    Ok(())
}

fn broadcast(servers: &mut [Child], load: &mut [Child]) -> io::Result<Broadcast> {
    for child in load.iter_mut() {
        let _: u64 = child.ask("forget", BOUND)?;
    }
    let served: Vec<Served> =
        servers.iter_mut().map(|child| child.ask("count", BOUND)).collect::<io::Result<_>>()?;
    let sessions: u64 = served.iter().map(|served| served.sessions as u64).sum();
    let watches: Vec<_> = servers.iter().map(|child| Watch::new(child.pid())).collect();
    let cpu = || watches.iter().map(Watch::cpu_ns).sum::<io::Result<u64>>();
    let (before, began) = (cpu()?, now());
    for child in servers.iter_mut() {
        child.tell("broadcast 64")?;
    }
    let mut done = Broadcast::default();
    for child in servers {
        let spread: Spread = child.answer(BOUND)?;
        done.accepted += spread.accepted;
    }
    let mut last = began;
    let waited = Instant::now();
    loop {
        let mut heard = 0;
        for child in load.iter_mut() {
            let part: Heard = child.ask("heard", BOUND)?;
            heard += part.notifications;
            last = last.max(part.last_ns);
        }
        if heard >= sessions {
            break;
        }
        if waited.elapsed() > BOUND {
            return Err(io::Error::other(format!("{heard} of {sessions} sessions heard a broadcast")));
        }
        thread::sleep(Duration::from_millis(10));
    }
    done.cpu_ms = Duration::from_nanos(cpu()? - before).as_secs_f64() * 1_000.0;
    done.ms = Duration::from_nanos(last - began).as_secs_f64() * 1_000.0;
    // Whatever came twice would come now.
    thread::sleep(Duration::from_millis(200));
    done.exact = true;
    for child in load {
        let part: Heard = child.ask("heard", BOUND)?;
        done.heard += part.notifications;
        done.exact &= (part.least, part.most) == (1, 1);
    }
    done.exact &= done.heard == sessions && done.accepted as u64 == sessions;
    Ok(done)
}

/// Waits until the servers have no session left.
fn all_gone(fleet: &mut Fleet) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let left: usize = fleet.served()?.iter().map(|served| served.sessions + served.connections).sum();
        if left == 0 {
            return Ok(());
        }
        if began.elapsed() > BOUND {
            return Err(io::Error::other(format!("{left} sessions and connections are left behind")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn latency(nanos: &[u64]) -> io::Result<Latency> {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
    for &nanos in nanos {
        histogram.saturating_record(nanos);
    }
    Ok(Latency::from(&histogram))
}

/// Finds the binary `crowd` beside this program.
///
/// # Errors
/// When it is not built.
pub fn program(siblings: &Path) -> io::Result<PathBuf> {
    let path = siblings.join("crowd");
    if fs::exists(&path)? {
        return Ok(path);
    }
    let what = "not built: cargo build --release -p net-benches --bin crowd";
    Err(io::Error::new(io::ErrorKind::NotFound, what))
}
