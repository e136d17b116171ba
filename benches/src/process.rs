//! Processes that a run starts: each is bounded in time and ends with its handle.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::outcome::Outcome;

/// A server may take this long from its start to its first line.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A program and its arguments.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Invocation {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null());
        command
    }

    fn failed(&self, what: &str) -> io::Error {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        io::Error::other(format!("{name}: {what}"))
    }
}

/// A server under test; killed and waited for when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Ending,
    address: SocketAddr,
}

impl ServerProcess {
    /// Starts a server and waits until it says where it listens; its standard error goes to `log`.
    ///
    /// # Errors
    /// When it does not start, or its first line does not come in 10 s or is not `listening SCHEME://ADDRESS`.
    pub fn start(invocation: &Invocation, log: &Path) -> io::Result<Self> {
        let mut command = invocation.command();
        command.stdout(Stdio::piped()).stderr(File::create(log)?);
        let child =
            command.spawn().map_err(|error| invocation.failed(&format!("does not start: {error}")))?;
        // From here on an early return kills it.
        let mut server = Self { child: Ending(child), address: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let stdout = server.child.0.stdout.take().ok_or_else(|| invocation.failed("no standard output"))?;
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            let read = lines.read_line(&mut line).map(|_| line);
            // The receiver is gone when the time is up; the rest is read so that the server never blocks on it.
            let _ = tell.send(read);
            let _ = io::copy(&mut lines, &mut io::sink());
        });
        let line =
            told.recv_timeout(START_TIMEOUT).map_err(|_| invocation.failed("said nothing for 10 s"))??;
        server.address = line
            .trim()
            .strip_prefix("listening ")
            .and_then(|url| url.split_once("://")?.1.parse().ok())
            .ok_or_else(|| invocation.failed(&format!("first line is {line:?}; see {}", log.display())))?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }
}

/// A child that is killed and waited for when dropped.
#[derive(Debug)]
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A load generator that loads its server when it is asked to; killed and waited for when dropped.
#[derive(Debug)]
pub struct LoadProcess {
    child: Ending,
    asking: ChildStdin,
    told: mpsc::Receiver<String>,
    invocation: Invocation,
    log: PathBuf,
}

impl LoadProcess {
    /// Starts it; its standard error goes to `log`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(invocation: &Invocation, log: &Path) -> io::Result<Self> {
        let mut command = invocation.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let child =
            command.spawn().map_err(|error| invocation.failed(&format!("does not start: {error}")))?;
        // From here on an early return kills it.
        let mut child = Ending(child);
        let asking = child.0.stdin.take().ok_or_else(|| invocation.failed("no standard input"))?;
        let stdout = child.0.stdout.take().ok_or_else(|| invocation.failed("no standard output"))?;
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            // The receiver is gone when nobody asks any more; the sender is, when the process has ended.
            BufReader::new(stdout).lines().map_while(Result::ok).all(|line| tell.send(line).is_ok())
        });
        Ok(Self { child, asking, told, invocation: invocation.clone(), log: log.to_owned() })
    }

    /// Has it load its server once, for `bound` at most.
    ///
    /// # Errors
    /// When it has ended, is not done in `bound`, or tells what is no outcome.
    pub fn turn(&mut self, bound: Duration) -> io::Result<Outcome> {
        let failed = |what: &str| {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            self.invocation.failed(format!("{what}\n{said}").trim())
        };
        writeln!(self.asking).map_err(|error| failed(&format!("cannot be asked: {error}")))?;
        let line = self.told.recv_timeout(bound).map_err(|error| failed(&format!("no outcome: {error}")))?;
        serde_json::from_str(&line).map_err(|error| failed(&format!("unreadable outcome: {error}")))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }
}

/// Runs the load generator to its end, or kills it when `bound` is over.
///
/// # Errors
/// When it does not start, fails, or takes longer than `bound`.
pub fn run_load(invocation: &Invocation, bound: Duration) -> io::Result<Outcome> {
    let mut command = invocation.command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| invocation.failed(&format!("does not start: {error}")))?;
    let (tell, told) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::spawn(move || {
        let mut texts = (String::new(), String::new());
        // The outcome is one line, far below the pipe's buffer, so reading one after the other blocks nobody.
        let read = stdout
            .map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut texts.0))
            .and_then(|_| stderr.map_or(Ok(0), |mut stderr| stderr.read_to_string(&mut texts.1)))
            .map(|_| texts);
        let _ = tell.send(read);
    });
    let texts = told.recv_timeout(bound);
    if texts.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    let (stdout, stderr) = texts.map_err(|_| invocation.failed(&format!("not done in {bound:?}")))??;
    if !status.success() {
        return Err(invocation.failed(stderr.trim()));
    }
    serde_json::from_str(&stdout).map_err(|error| invocation.failed(&format!("unreadable outcome: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()] }
    }

    fn log() -> PathBuf {
        std::env::temp_dir().join(format!(
            "net-benches-{}-{:?}.log",
            std::process::id(),
            thread::current().id()
        ))
    }

    #[test]
    fn a_server_is_known_by_its_first_line_and_killed_with_its_handle() {
        let log = log();
        let server =
            ServerProcess::start(&shell("echo listening tcp://127.0.0.1:9; exec cat /dev/zero"), &log)
                .unwrap();
        assert_eq!(server.address(), "127.0.0.1:9".parse().unwrap());
        let directory = format!("/proc/{}", server.pid());
        assert!(Path::new(&directory).exists());
        drop(server);
        assert!(!Path::new(&directory).exists());
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn another_first_line_is_an_error_that_shows_it() {
        let log = log();
        let error = ServerProcess::start(&shell("echo hello"), &log).unwrap_err();
        assert!(error.to_string().contains("hello"), "{error}");
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_load_that_fails_tells_why() {
        let error = run_load(&shell("echo no route >&2; exit 3"), Duration::from_mins(1)).unwrap_err();
        assert!(error.to_string().contains("no route"), "{error}");
    }

    #[test]
    fn a_load_takes_a_turn_when_it_is_asked_to() {
        let log = log();
        let outcome = serde_json::to_string(&Outcome { messages: 7, ..Outcome::default() }).unwrap();
        let script = format!("read one && echo '{outcome}'; read two && echo enough >&2");
        let mut load = LoadProcess::start(&shell(&script), &log).unwrap();
        assert_eq!(load.turn(Duration::from_mins(1)).unwrap().messages, 7);
        let error = load.turn(Duration::from_mins(1)).unwrap_err();
        assert!(error.to_string().contains("no outcome"), "{error}");
        assert!(load.turn(Duration::from_mins(1)).is_err(), "it has ended");
        drop(load);
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_load_that_hangs_is_ended() {
        let error = run_load(&shell("exec sleep 600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("not done"), "{error}");
    }
}
