//! System calls of the server under load, counted by strace: none for each message, none for each byte.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Shutdown,
    path::Path,
    process::Command,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

mod rig;

use rig::{Server, framed, released, signal_to};

const MESSAGES: usize = 20_000;

/// A server under strace.
struct Traced {
    /// The server itself, which is to end before strace does.
    child: Tracee,
    /// strace, and where the server listens.
    server: Server,
    directory: tempfile::TempDir,
}

/// A process that strace runs. Where a test fails, strace is killed, which sets it free: it is killed by itself.
struct Tracee(Option<u32>);

impl Drop for Tracee {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        // It fails only where the process has ended already.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
}

impl Traced {
    fn start(flags: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(directory.path().join("calls")).arg(released());
        command.args(["echo", "server", "tcp://127.0.0.1:0", "--io-threads", "1", "--quiet"]);
        command.args(flags.split_whitespace());
        assert!(
            Command::new("strace").arg("--version").output().is_ok(),
            "strace is missing: apt-get install strace (cargo xtask test does it)"
        );
        let server = Server::of(&mut command);
        let strace = server.process.pid();
        let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children"));
        let pid = children.expect("strace runs").trim().parse().expect("strace has one child");
        Self { server, child: Tracee(Some(pid)), directory }
    }

    /// Ends the server, and returns how many system calls it has made in all, starting and ending included.
    fn calls(self) -> usize {
        let Self { server, mut child, directory } = self;
        signal_to(child.0.expect("it runs"), Signal::TERM);
        server.process.ended().expect(0);
        child.0 = None;
        total(&directory.path().join("calls"))
    }
}

/// The calls in the last line of strace's table: `100.00 seconds usecs/call calls [errors] total`.
fn total(path: &Path) -> usize {
    let table = std::fs::read_to_string(path).expect("strace writes its table");
    let line = table.lines().rfind(|line| line.ends_with("total")).unwrap_or_else(|| panic!("{table}"));
    let calls = line.split_whitespace().nth(3).and_then(|calls| calls.parse().ok());
    calls.unwrap_or_else(|| panic!("{table}"))
}

/// What starting, one connection and ending cost.
fn idle(flags: &str) -> usize {
    let traced = Traced::start(flags);
    drop(traced.server.connect());
    traced.calls()
}

#[test]
fn measured_no_system_call_for_each_message() {
    for format in ["raw", "message"] {
        let flags = format!("--format {format}");
        let idle = idle(&flags);
        let traced = Traced::start(&flags);
        framed(&traced.server, "burst", &["--count", &MESSAGES.to_string(), "--format", format]);
        let calls = traced.calls().saturating_sub(idle);
        assert!(calls < MESSAGES / 20, "{format}: {calls} calls for {MESSAGES} messages, beside {idle}");
    }
}

#[test]
fn measured_no_system_call_for_each_byte_of_a_line() {
    let idle = idle("--framing lines");
    let traced = Traced::start("--framing lines");
    let mut stream = traced.server.connect();
    let from = BufReader::new(stream.try_clone().expect("is a socket"));
    let line = "x".repeat(99);
    let lines = format!("{line}\n").repeat(MESSAGES);
    let writer = thread::spawn(move || {
        stream.write_all(lines.as_bytes()).expect("takes all");
        stream.shutdown(Shutdown::Write).expect("is open");
    });
    let answers =
        from.lines().map(|answer| answer.expect("no abort")).filter(|answer| *answer == line).count();
    assert_eq!(answers, MESSAGES);
    writer.join().expect("writes");
    let calls = traced.calls().saturating_sub(idle);
    // Two million bytes, so none for each line either.
    assert!(calls < MESSAGES / 20, "{calls} calls for {MESSAGES} lines, beside {idle}");
}
