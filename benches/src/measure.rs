//! What another process costs: CPU time and memory, read from `/proc`, and what else the machine did meanwhile.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use crate::outcome::Memory;

/// A process whose cost is read.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    pid: u32,
}

impl Watch {
    /// Watches the process `pid`, which must be alive whenever it is asked about.
    #[must_use]
    pub const fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// CPU time so far, user and system, summed over all threads, in nanoseconds.
    ///
    /// From `schedstat`, since the ticks of `stat` (10 ms) are too coarse. What a thread that has ended had used is
    /// not in the sum: none of the servers ends threads while it is measured.
    ///
    /// # Errors
    /// As reading `/proc` gives them; `InvalidData` when the kernel keeps no such statistics.
    pub fn cpu_ns(&self) -> io::Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let text = match fs::read_to_string(task?.path().join("schedstat")) {
                Ok(text) => text,
                // The thread ended between listing and reading, or between opening and reading.
                Err(error) if error.kind() == io::ErrorKind::NotFound || is_gone(&error) => continue,
                Err(error) => return Err(error),
            };
            let on_cpu: Option<u64> = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
            sum += on_cpu.ok_or_else(|| missing("schedstat"))?;
        }
        Ok(sum)
    }

    /// Memory now, and its peak.
    ///
    /// # Errors
    /// As reading `/proc` gives them; `InvalidData` when a field is missing.
    pub fn memory(&self) -> io::Result<Memory> {
        // `smaps_rollup` walks the page tables; the counter in `status` lags behind by up to 64 pages a core.
        let now = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(Memory {
            rss_kib: kib(&now, "Rss:").ok_or_else(|| missing("Rss"))?,
            pss_kib: kib(&now, "Pss:").ok_or_else(|| missing("Pss"))?,
            peak_kib: kib(&status, "VmHWM:").ok_or_else(|| missing("VmHWM"))?,
        })
    }
}

/// The stretch over which a server and the generator are measured, and how much else ran meanwhile.
#[derive(Debug)]
pub struct Window {
    server: Option<(Watch, u64)>,
    own: u64,
    machine: u64,
    began: Instant,
}

/// What a window found.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Length in seconds.
    pub seconds: f64,
    /// CPU time of the server in nanoseconds.
    pub server_cpu_ns: Option<u64>,
    /// Cores' worth of CPU that other processes used; one that shares a core or its cache spoils the figures.
    pub others: f64,
}

impl Window {
    /// Begins now, for this process and `server`.
    ///
    /// # Errors
    /// As reading `/proc` gives them.
    pub fn begin(server: Option<Watch>) -> io::Result<Self> {
        let machine = machine_cpu_ns()?;
        let own = Watch::new(std::process::id()).cpu_ns()?;
        let server = server.map(|watch| Ok::<_, io::Error>((watch, watch.cpu_ns()?))).transpose()?;
        Ok(Self { server, own, machine, began: Instant::now() })
    }

    /// Ends now.
    ///
    /// # Errors
    /// As reading `/proc` gives them.
    pub fn end(self) -> io::Result<Measured> {
        let seconds = self.began.elapsed().as_secs_f64();
        let server =
            self.server.map(|(watch, before)| Ok::<_, io::Error>((watch.cpu_ns()?, before))).transpose()?;
        let server = server.map(|(now, before)| now.checked_sub(before).ok_or_else(ended)).transpose()?;
        // Less by what threads of this process used that have ended since.
        let own = Watch::new(std::process::id()).cpu_ns()?.saturating_sub(self.own);
        let all = machine_cpu_ns()?.saturating_sub(self.machine);
        let others = others(all, own + server.unwrap_or(0), seconds);
        Ok(Measured { seconds, server_cpu_ns: server, others })
    }
}

/// What the machine does beside several processes over a stretch, cut into turns that are too short for its clock.
#[derive(Debug)]
pub struct Beside {
    watches: Vec<Watch>,
    window: Window,
    used: u64,
}

impl Beside {
    /// Begins now, for this process and those of `watches`, which must live until the end.
    ///
    /// # Errors
    /// As reading `/proc` gives them.
    pub fn begin(watches: Vec<Watch>) -> io::Result<Self> {
        let used = cpu_ns(&watches)?;
        Ok(Self { watches, window: Window::begin(None)?, used })
    }

    /// Returns the cores' worth of CPU that others have used.
    ///
    /// # Errors
    /// As reading `/proc` gives them.
    pub fn end(self) -> io::Result<f64> {
        let Measured { seconds, others, .. } = self.window.end()?;
        let used = cpu_ns(&self.watches)?.saturating_sub(self.used);
        Ok((others - Duration::from_nanos(used).as_secs_f64() / seconds.max(f64::MIN_POSITIVE)).max(0.0))
    }
}

/// Whether what `/proc` was asked about has ended meanwhile.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// CPU time of several processes, in nanoseconds.
fn cpu_ns(watches: &[Watch]) -> io::Result<u64> {
    watches.iter().map(Watch::cpu_ns).sum()
}

/// Cores' worth of CPU that was used by others, of `all` that was used and what was `ours`, both in nanoseconds.
///
/// The machine's clock ticks more coarsely than ours, so a stretch without others may read as less than none.
fn others(all: u64, ours: u64, seconds: f64) -> f64 {
    Duration::from_nanos(all.saturating_sub(ours)).as_secs_f64() / seconds.max(f64::MIN_POSITIVE)
}

/// CPU time that all cores together have been busy, from `/proc/stat`, to the tick of 10 ms a core.
fn machine_cpu_ns() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().ok_or_else(|| missing("stat"))?;
    // user nice system idle iowait irq softirq steal; the guests' time that follows is in user's already.
    let ticks = line.split_ascii_whitespace().skip(1).take(8).enumerate();
    let busy: u64 = ticks
        .filter(|(field, _)| *field != 3 && *field != 4)
        .filter_map(|(_, word)| word.parse::<u64>().ok())
        .sum();
    Ok(busy * 1_000_000_000 / rustix::param::clock_ticks_per_second())
}

/// The value of a line `Name:   123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a thread of the server ended while it was measured")
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this kernel does not tell {what} of a process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cpu_time_grows_with_work() {
        let watch = Watch::new(std::process::id());
        let before = watch.cpu_ns().unwrap();
        let mut sum = 0_u64;
        while watch.cpu_ns().unwrap() == before {
            for i in 0..100_000_u64 {
                sum = std::hint::black_box(sum.wrapping_add(i));
            }
        }
        assert!(watch.cpu_ns().unwrap() > before);
    }

    #[test]
    fn others_are_the_rest_of_what_the_machine_did() {
        let second = 1_000_000_000;
        let is = |found: f64, expected: f64| (found - expected).abs() < f64::EPSILON;
        assert!(is(others(3 * second, second, 2.0), 1.0));
        assert!(is(others(second, second + 10_000_000, 1.0), 0.0), "the clocks differ by a tick");
        assert!(is(others(0, 0, 0.0), 0.0), "no time has passed");
    }

    #[test]
    fn a_window_is_as_long_as_it_was_open() {
        let window = Window::begin(Some(Watch::new(std::process::id()))).unwrap();
        let before = window.began;
        let measured = window.end().unwrap();
        assert!(measured.seconds <= before.elapsed().as_secs_f64());
        assert!(measured.server_cpu_ns.is_some() && measured.others >= 0.0);
    }

    #[test]
    fn what_is_watched_counts_among_no_others() {
        let mut busy = std::process::Command::new("/bin/sh")
            .args(["-c", "ulimit -t 20; while :; do :; done"])
            .spawn()
            .unwrap();
        let watch = Watch::new(busy.id());
        let window = Window::begin(None).unwrap();
        let beside = Beside::begin(vec![watch]).unwrap();
        let start = watch.cpu_ns().unwrap();
        while watch.cpu_ns().unwrap() - start < 100_000_000 {
            std::hint::spin_loop();
        }
        let beside = beside.end().unwrap();
        let all = window.end().unwrap().others;
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(beside <= all, "{beside} beside it, {all} with it");
    }

    #[test]
    fn own_memory_is_read() {
        let memory = Watch::new(std::process::id()).memory().unwrap();
        assert!(memory.rss_kib > 0 && memory.pss_kib > 0 && memory.peak_kib > 0, "{memory:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Beyond the largest process id that Linux gives.
        assert!(Watch::new(u32::MAX).cpu_ns().is_err());
    }
}
