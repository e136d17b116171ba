//! What another process has cost so far: CPU time and memory, read from `/proc`.

use std::fs;
use std::io;

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
                // The thread ended between listing and reading.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
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

/// The value of a line `Name:   123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
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
