//! An example as a process: built beside the tests, ended with them, and never waited for without an end.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};

/// How long an example may take to say or do something; a wait this long is a failure.
const PATIENCE: Duration = Duration::from_secs(40);

/// An example that runs; it ends with the test.
pub(crate) struct Example {
    name: String,
    process: Child,
    lines: Receiver<String>,
}

impl Example {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(path(name)).args(arguments), name)
    }

    /// Starts it under another program, such as strace.
    pub(crate) fn start_under(command: &[&str], name: &str, arguments: &[&str]) -> Self {
        let (program, flags) = command.split_first().expect("a program");
        let found = Command::new(program).arg("--version").output().is_ok();
        assert!(found, "{program} is missing: apt-get install {program} (cargo xtask test does it)");
        Self::spawn(Command::new(program).args(flags).arg(path(name)).args(arguments), name)
    }

    fn spawn(command: &mut Command, name: &str) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let lines = lines_of(process.stdout.take().expect("it is piped"));
        Self { name: name.to_owned(), process, lines }
    }

    /// Returns the next line that it prints; `None` at the end.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(timeout) => panic!("{} hangs: {timeout}", self.name),
        }
    }

    /// Returns the address that its next line tells, as `listening tcp://ADDRESS`.
    pub(crate) fn address(&self) -> String {
        let line = self.line().expect("it listens");
        line.strip_prefix("listening ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        signal(self.process.id(), Signal::INT).expect("it runs");
    }

    /// Asks it to end, as process managers do.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        signal(self.process.id(), Signal::TERM).expect("it runs");
    }

    /// Interrupts what the program runs under which it was started.
    #[cfg(target_os = "linux")]
    pub(crate) fn interrupt_child(&self) {
        signal(self.child().expect("it has one child"), Signal::INT).expect("it runs");
    }

    /// Returns what the program runs under which it was started.
    #[cfg(target_os = "linux")]
    fn child(&self) -> Option<u32> {
        let pid = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.trim().parse().ok()
    }

    /// Returns the rest of what it prints, once it has ended well.
    pub(crate) fn rest(mut self) -> String {
        let mut output = String::new();
        while let Some(line) = self.line() {
            output.push_str(&line);
            output.push('\n');
        }
        // Its output is closed, so it has ended, but for its last instructions.
        let status = self.process.wait().expect("it has ended");
        let mut errors = String::new();
        let stderr = self.process.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut errors).expect("it writes text");
        assert!(status.success(), "{}: {status}\n{output}\n{errors}", self.name);
        output
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // strace that is killed sets free what it runs.
        #[cfg(target_os = "linux")]
        if let Some(child) = self.child() {
            let _ = signal(child, Signal::KILL);
        }
        // It has ended already where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(unix)]
fn signal(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process has a number"), signal)
}

/// Runs an example to its end, which must be a success, and returns what it printed.
pub(crate) fn run(name: &str) -> String {
    Example::start(name, &[]).rest()
}

fn path(name: &str) -> PathBuf {
    let tests = env::current_exe().expect("this program has a path");
    let target = tests.ancestors().nth(2).expect("it is in target/PROFILE/deps");
    let path = target.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built; `cargo test -p net-examples` builds it", path.display());
    path
}

fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
