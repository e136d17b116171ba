//! Connections that come and go by the million, and whether the server's memory grows with them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::child::Child;
use super::serve::Served;
use super::slope::{Slope, slope};
use crate::measure::Watch;

/// Load processes.
const LANES: u8 = 2;
/// The share of the connections after which the server counts as warm.
const WARM_UP: f64 = 0.2;
/// Memory may grow by so many bytes for each connection: a leak of the smallest allocation is sixteen times as much.
pub const MOST_PER_CONNECTION: f64 = 1.0;
const BOUND: Duration = Duration::from_secs(90);

/// A soak to be run.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// Connections in all.
    pub connections: u64,
    /// The time after which it ends, however many there were.
    pub bound: Duration,
    /// Samples of the server's memory.
    pub samples: u64,
}

/// What a soak found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Soaked {
    /// Connections that came and went.
    pub connections: u64,
    /// Seconds that they took.
    pub seconds: f64,
    /// Seconds of CPU that the server used.
    pub cpu_s: f64,
    /// Connections so far, and KiB of proportional set size then, with no session open.
    pub samples: Vec<(f64, f64)>,
    /// Bytes for each connection, after the warm-up.
    pub slope: Option<Slope>,
    /// The server's descriptors before the first connection and after the last.
    pub descriptors: (usize, usize),
    /// Sessions and connections that are left in the end.
    pub left: usize,
}

impl Soaked {
    /// Tells whether memory and descriptors stayed flat.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        let flat = self.slope.is_some_and(|found| found.slope <= MOST_PER_CONNECTION);
        flat && self.left == 0 && self.descriptors.0 == self.descriptors.1
    }
}

/// Runs a soak, telling `progress` how many connections there were.
///
/// # Errors
/// When a process fails, or a connection is not answered.
#[expect(clippy::cast_precision_loss, reason = "connections and KiB stay far below 2^52")]
pub fn run(soak: &Soak, program: &Path, progress: impl Fn(u64)) -> io::Result<Soaked> {
    let mut server = Child::start(program, &["serve".to_owned()])?;
    let to: SocketAddr = server.answer(BOUND)?;
    let mut lanes = (1..=LANES)
        .map(|lane| {
            let from = Ipv4Addr::new(127, 0, lane, 1);
            Child::start(program, &["churn".to_owned(), format!("--to={to}"), format!("--from={from}")])
        })
        .collect::<io::Result<Vec<_>>>()?;
    let watch = Watch::new(server.pid());
    let (before, cpu, began) = (quiet(&mut server)?, watch.cpu_ns()?, Instant::now());
    let part = (soak.connections / soak.samples.max(1) / u64::from(LANES)).max(1);
    let mut soaked = Soaked { descriptors: (before.descriptors, 0), ..Soaked::default() };
    while soaked.connections < soak.connections && began.elapsed() < soak.bound {
        for lane in &mut lanes {
            lane.tell(&format!("go {part}"))?;
        }
        for lane in &mut lanes {
            soaked.connections += lane.answer::<u64>(BOUND)?;
        }
        quiet(&mut server)?;
        soaked.samples.push((soaked.connections as f64, watch.memory()?.pss_kib as f64));
        progress(soaked.connections);
    }
    soaked.seconds = began.elapsed().as_secs_f64();
    soaked.cpu_s = Duration::from_nanos(watch.cpu_ns()? - cpu).as_secs_f64();
    let after = quiet(&mut server)?;
    soaked.descriptors.1 = after.descriptors;
    soaked.left = after.sessions + after.connections;
    let warm = soaked.connections as f64 * WARM_UP;
    let warm: Vec<_> = soaked.samples.iter().copied().filter(|sample| sample.0 > warm).collect();
    let bytes: Vec<_> = warm.into_iter().map(|(connections, kib)| (connections, kib * 1024.0)).collect();
    soaked.slope = slope(&bytes);
    Ok(soaked)
}

/// Waits until the server has no session, so that what it holds then belongs to none.
fn quiet(server: &mut Child) -> io::Result<Served> {
    let began = Instant::now();
    loop {
        let served: Served = server.ask("count", BOUND)?;
        if served.sessions + served.connections == 0 || began.elapsed() > BOUND {
            return Ok(served);
        }
        thread::sleep(Duration::from_millis(2));
    }
}
