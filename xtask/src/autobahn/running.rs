//! Processes that end with their owner, and tell how far they are.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::report;
use crate::run;

/// A process that ends with this.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    shown: String,
}

impl Running {
    /// Shows and starts `command`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let shown = run::announce(command);
        let child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start `{shown}`"))?;
        Ok(Self { child, shown })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended at `end`.
    pub(super) fn wait(&mut self, end: Instant) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("`{}` did not end in time", self.shown);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails where it has ended.
    ///
    /// # Errors
    /// That it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("`{}` has ended ({status})", self.shown),
            None => Ok(()),
        }
    }

    /// Returns what it prints.
    ///
    /// # Errors
    /// When its output was not piped, or was taken already.
    pub(super) fn output(&mut self) -> Result<BufReader<ChildStdout>> {
        self.child.stdout.take().map(BufReader::new).context("a process without output")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A suite that runs: what it prints goes to a file, and each group of cases that it begins is told.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) process: Running,
    announced: Arc<OnceLock<usize>>,
    listening: JoinHandle<()>,
}

impl Judge {
    /// Starts `command`, which judges `side`, its output to `log`.
    ///
    /// # Errors
    /// When the file cannot be made, or the command not be started.
    pub(super) fn start(command: &mut Command, side: &'static str, log: &Path) -> Result<Self> {
        let mut log = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdout(Stdio::piped()).stderr(log.try_clone()?);
        let mut process = Running::start(command)?;
        let output = process.output()?;
        let announced = Arc::new(OnceLock::new());
        let tell = announced.clone();
        let listening = thread::spawn(move || {
            let (start, mut last) = (Instant::now(), None);
            for line in output.lines().map_while(Result::ok) {
                // A log that cannot be written is no reason not to judge.
                let _ = writeln!(log, "{line}");
                if let Some(cases) = cases_announced(&line) {
                    let _ = tell.set(cases);
                }
                if let Some(group) = group_begun(&line).filter(|group| last.replace(*group) != Some(*group)) {
                    let seconds = start.elapsed().as_secs_f64();
                    eprintln!("{side}: {seconds:>5.1} s  {group:>2} {}", report::group_name(group));
                }
            }
        });
        Ok(Self { process, announced, listening })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended at `end`, or has nothing to do: then it would never end.
    pub(super) fn wait(&mut self, end: Instant) -> Result<ExitStatus> {
        loop {
            if let Ok(status) = self.process.wait(end.min(Instant::now() + POLL)) {
                return Ok(status);
            }
            ensure!(self.announced.get() != Some(&0), "there is no such case");
            if Instant::now() >= end {
                return self.process.wait(end);
            }
        }
    }

    /// Ends it, and returns how many cases it has said that there are, where it says so.
    ///
    /// # Errors
    /// When what it printed could not be read.
    pub(super) fn end(self) -> Result<Option<usize>> {
        drop(self.process);
        ensure!(self.listening.join().is_ok(), "the thread that reads what the suite prints panicked");
        Ok(self.announced.get().copied())
    }
}

/// How often it is looked at whether a suite has anything to do.
const POLL: Duration = Duration::from_secs(1);

/// The group of the case that begins, by what `wstest` prints.
fn group_begun(line: &str) -> Option<u32> {
    line.strip_prefix("Running test case ID ")?.split('.').next()?.parse().ok()
}

/// How many cases there are, by what `wstest` prints.
fn cases_announced(line: &str) -> Option<usize> {
    line.strip_prefix("Ok, will run ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_suite_prints_tells_how_far_it_is() {
        let line = "Running test case ID 12.1.3 for agent net from peer tcp4:127.0.0.1:9001";
        assert_eq!(group_begun(line), Some(12));
        assert_eq!(group_begun("Running test case ID None for agent net"), None);
        assert_eq!(cases_announced("Ok, will run 517 test cases against 1 servers"), Some(517));
        assert_eq!(cases_announced(line), None);
    }

    #[test]
    fn a_process_ends_with_its_owner_and_is_not_waited_for_without_an_end() {
        let mut running = Running::start(Command::new("sleep").arg("600")).unwrap();
        running.check().unwrap();
        let error = running.wait(Instant::now()).unwrap_err();
        assert_eq!(error.to_string(), "`sleep 600` did not end in time");
        drop(running);
        let mut ended = Running::start(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        let status = ended.wait(Instant::now() + Duration::from_mins(1)).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(ended.check().unwrap_err().to_string().contains("has ended"));
    }
}
