//! The machine that is measured on: what it is, and which of its resources a run takes.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// What figures of two runs must share to be compared as they stand.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Kernel and its release.
    pub kernel: String,
}

impl Machine {
    /// Describes this machine.
    #[must_use]
    pub fn this() -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu_info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned());
        let name = rustix::system::uname();
        let kernel = format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy());
        Self { cpu, cores: std::thread::available_parallelism().map_or(1, Into::into), kernel }
    }
}

/// Binds this thread, and so every process that it starts from now on, to one core; returns which.
///
/// # Errors
/// When this process may not use `core`.
pub fn pin(core: Option<usize>) -> io::Result<usize> {
    let allowed = sched_getaffinity(None)?;
    // The last one: the first often serves the interrupts.
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu));
    let core = core.or(last).ok_or_else(|| io::Error::other("this process may use no core"))?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one)?;
    Ok(core)
}

/// Memory of the kernel's objects and of its socket buffers, in KiB; 0 where it is not told.
///
/// It is the whole machine's, so differences of it hold what everything else did, too.
#[must_use]
pub fn kernel_memory_kib() -> u64 {
    let number = |text: &str| text.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let slab = memory.lines().find_map(|line| number(line.strip_prefix("Slab:")?)).unwrap_or(0);
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = sockets
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| number(line.split_once(" mem ")?.1))
        .unwrap_or(0);
    slab + pages * rustix::param::page_size() as u64 / 1024
}

/// Raises the soft limit of open descriptors to the hard one, for this process and those it starts.
///
/// # Errors
/// As the system call gives them.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
