//! What crowds and soaks found: a table, floors met or missed, JSON and a plot.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::connections::Measured;
use super::plot;
use super::soak::{MOST_PER_CONNECTION, Soaked};
use crate::machine::Machine;
use crate::report::align;

/// A bound on a figure, and whether it was kept.
#[derive(Debug, Clone, Serialize)]
pub struct Floor {
    /// What is bounded, and by which row of the specification.
    pub what: String,
    /// The bound.
    pub bound: f64,
    /// What was measured.
    pub measured: f64,
    /// Its unit.
    pub unit: &'static str,
    /// Whether it was kept.
    pub met: bool,
}

impl Floor {
    fn most(what: impl Into<String>, bound: f64, measured: f64, unit: &'static str) -> Self {
        Self { what: what.into(), bound, measured, unit, met: measured <= bound }
    }
}

/// The report of `bench connections`.
#[derive(Debug, Serialize)]
pub struct Crowds {
    /// Where it was measured.
    pub machine: Machine,
    /// What its files are called.
    pub name: &'static str,
    /// The crowds.
    pub crowds: Vec<Measured>,
    /// The floors.
    pub floors: Vec<Floor>,
}

impl Crowds {
    /// Draws up the report.
    #[must_use]
    pub fn new(machine: Machine, crowds: Vec<Measured>) -> Self {
        let floors = crowds.iter().filter(|crowd| crowd.ours).flat_map(floors).collect();
        let secure = crowds.iter().any(|crowd| crowd.secure);
        let name = if secure { "connections-tls" } else { "connections" };
        Self { machine, name, crowds, floors }
    }

    /// The report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Machine { cpu, cores, kernel } = &self.machine;
        let crowds: Vec<_> = self.crowds.iter().collect();
        let mut text = format!(
            "# bench {}\n\n{cores} cores of {cpu}, {kernel}. Memory is PSS, the sum over the server's processes; \
             times are µs, one session after another.\n\n{}",
            self.name.replace('-', " --"),
            table(&crowds)
        );
        text.push_str("\n## Floors\n\n");
        text.push_str(&floors_table(&self.floors));
        text
    }

    /// Writes `connections.md`, `.json` and `.svg` into `directory`, or over TLS `connections-tls` and so on.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<[PathBuf; 3]> {
        let paths = ["md", "json", "svg"].map(|ending| directory.join(format!("{}.{ending}", self.name)));
        let [text, json, drawing] = &paths;
        fs::write(text, self.markdown())?;
        fs::write(json, serde_json::to_vec_pretty(self)?)?;
        fs::write(drawing, plot::crowds(self).map_err(io::Error::other)?)?;
        Ok(paths)
    }
}

/// What `spec.md` P3 and P4 and the goal for idle memory ask of a crowd of this size. P3 and the goal are for plain TCP.
#[expect(clippy::cast_precision_loss, reason = "KiB of a few processes stay far below 2^52")]
fn floors(crowd: &Measured) -> Vec<Floor> {
    let mut floors = Vec::new();
    let title = &crowd.title;
    let mut most = |what: &str, bound, measured, unit| {
        floors.push(Floor::most(format!("{title}: {what}"), bound, measured, unit));
    };
    let mb = crowd.held_kib as f64 * 1024.0 / 1e6;
    if crowd.processes > 0 {
        if crowd.sessions == 1_000 && !crowd.secure {
            most("P3 connect, p50", 1_000.0, crowd.connect.p50, "µs");
            most("P3 disconnect, p50", 500.0, crowd.disconnect.p50, "µs");
        }
        let bounds = match crowd.sessions {
            1_000 => Some((50.0, 5.0)),
            10_000 => Some((200.0, 15.0)),
            100_000 => Some((1_500.0, 40.0)),
            _ => None,
        };
        if let Some((memory, cpu)) = bounds {
            most("P4 memory", memory, mb, "MB");
            most("P4 CPU with heartbeats", cpu, crowd.cpu_share * 100.0, "%");
        }
        if crowd.sessions >= 10_000 && !crowd.secure {
            most("goal, memory a session", 2.0, crowd.kib_per_session(), "KiB");
        }
        if crowd.sessions == 100_000 && !crowd.secure {
            most("goal, memory", 250.0, mb, "MB");
        }
    }
    let missed = crowd.broadcasts.iter().filter(|broadcast| !broadcast.exact).count();
    most("broadcasts that did not reach each session once", 0.0, missed as f64, "");
    floors
}

fn table(crowds: &[&Measured]) -> String {
    const HEAD: [&str; 12] = [
        "server, sessions",
        "processes",
        "connect p50",
        "p99",
        "first answer p50",
        "p99",
        "disconnect p50",
        "p99",
        "memory MiB",
        "KiB a session",
        "CPU idle %",
        "broadcast ms (CPU)",
    ];
    let mut cells = vec![HEAD.map(str::to_owned).to_vec()];
    for crowd in crowds {
        let socket = crowd.processes > 0;
        let time = |us: f64| if socket { format!("{us:.0}") } else { String::new() };
        let broadcasts: Vec<_> = crowd
            .broadcasts
            .iter()
            .map(|one| {
                format!("{:.0} ({:.0}){}", one.ms, one.cpu_ms, if one.exact { "" } else { " NOT EXACT" })
            })
            .collect();
        cells.push(vec![
            crowd.title.clone(),
            if socket { crowd.processes.to_string() } else { "1, with its peers".to_owned() },
            time(crowd.connect.p50),
            time(crowd.connect.p99),
            time(crowd.ready.p50),
            time(crowd.ready.p99),
            time(crowd.disconnect.p50),
            time(crowd.disconnect.p99),
            format!("{:.1}", mib(crowd.held_kib)),
            format!("{:.2}", crowd.kib_per_session()),
            if crowd.ours { format!("{:.2}", crowd.cpu_share * 100.0) } else { String::new() },
            broadcasts.join(", "),
        ]);
    }
    let mut text = align(&cells);
    for crowd in crowds.iter().filter(|crowd| crowd.processes > 0) {
        let Measured { title, most_sessions, heartbeats, hold_s, others, .. } = crowd;
        let kernel = mib(crowd.kernel_kib);
        let ours = if crowd.ours {
            format!(
                "at most {most_sessions} sessions in a process; {heartbeats} heartbeats heard in {hold_s:.0} s; "
            )
        } else {
            String::new()
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n- {title}: {ours}kernel memory grew by {kernel:.1} MiB for both ends; other processes, the load among \
             them, used {others:.2} cores."
        );
    }
    text.push('\n');
    text
}

/// The floors as a table.
#[must_use]
pub fn floors_table(floors: &[Floor]) -> String {
    let mut cells = vec![["floor", "at most", "measured", ""].map(str::to_owned).to_vec()];
    cells.extend(floors.iter().map(|floor| {
        vec![
            floor.what.clone(),
            format!("{} {}", floor.bound, floor.unit),
            format!("{:.2} {}", floor.measured, floor.unit),
            if floor.met { "met" } else { "MISSED" }.to_owned(),
        ]
    }));
    align(&cells)
}

/// A soak as Markdown.
#[must_use]
pub fn soak(soaked: &Soaked, machine: &Machine) -> String {
    let (first, last) = (soaked.samples.first(), soaked.samples.last());
    let kib = |sample: Option<&(f64, f64)>| sample.map_or(0.0, |sample| sample.1);
    let slope = soaked.slope.map_or_else(
        || "too few samples".to_owned(),
        |found| {
            format!(
                "{:.3} ± {:.3} bytes a connection (at most {MOST_PER_CONNECTION})",
                found.slope, found.error
            )
        },
    );
    format!(
        "# bench soak\n\n{} cores of {}, {}\n\n{} connections in {:.1} s, {:.1} s of CPU in the server\n\
         memory {:.0} KiB after the first sample, {:.0} KiB at the end\nslope after warm-up: {slope}\n\
         descriptors {} before, {} after; {} sessions left\n{}\n",
        machine.cores,
        machine.cpu,
        machine.kernel,
        soaked.connections,
        soaked.seconds,
        soaked.cpu_s,
        kib(first),
        kib(last),
        soaked.descriptors.0,
        soaked.descriptors.1,
        soaked.left,
        if soaked.is_flat() { "flat: met" } else { "flat: MISSED" },
    )
}

#[expect(clippy::cast_precision_loss, reason = "KiB of a few processes stay far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::connections::Broadcast;

    fn crowd(sessions: usize, held_kib: u64) -> Measured {
        Measured {
            title: format!("net, {sessions}"),
            ours: true,
            sessions,
            processes: 1,
            held_kib,
            broadcasts: vec![Broadcast { exact: true, ..Broadcast::default() }],
            ..Measured::default()
        }
    }

    #[test]
    fn p4_floors_follow_the_number_of_sessions() {
        let report = Crowds::new(Machine::this(), vec![crowd(1_000, 60_000), crowd(100_000, 240_000)]);
        let missed: Vec<_> =
            report.floors.iter().filter(|floor| !floor.met).map(|floor| &*floor.what).collect();
        assert_eq!(missed, ["net, 1000: P4 memory", "net, 100000: goal, memory a session"]);
    }

    #[test]
    fn a_broadcast_that_missed_one_session_is_a_missed_floor() {
        let mut lossy = crowd(20, 10);
        lossy.broadcasts[0].exact = false;
        assert!(Crowds::new(Machine::this(), vec![lossy]).floors.iter().any(|floor| !floor.met));
    }

    #[test]
    fn all_three_files_are_written() {
        let directory = std::env::temp_dir().join(format!("net-benches-crowds-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let report = Crowds::new(Machine::this(), vec![crowd(1_000, 30_000)]);
        let paths = report.write(&directory).unwrap();
        assert!(fs::read_to_string(&paths[0]).unwrap().contains("P4 memory"));
        assert!(fs::read_to_string(&paths[2]).unwrap().contains("<svg"));
        fs::remove_dir_all(directory).unwrap();
    }
}
