//! Programs in Python that share no code with ours, on aioquic in an environment of its own.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use crate::rig::authority::{Authority, LOCAL};

/// An authority's files.
pub(crate) struct Files {
    directory: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().expect("a directory"),
            authority: Authority::new("interop"),
        };
        files.write("ca.pem", &files.authority.pem);
        for name in ["server", "client"] {
            let pair = files.authority.leaf(&LOCAL);
            files.write(&format!("{name}.pem"), &pair.chain);
            files.write(&format!("{name}.key"), &pair.key);
        }
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Returns a command that runs one of the programs; `cargo xtask test` makes its environment and names it.
pub(crate) fn python(script: &str) -> Command {
    let python = std::env::var_os("AIOQUIC_PYTHON").unwrap_or_else(|| {
        panic!("AIOQUIC_PYTHON names no Python with aioquic: run `cargo xtask test -- -p net-quic`, which makes one")
    });
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script));
    command
}

/// Runs a program to its end, on a thread of its own.
pub(crate) async fn run(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    });
    let output = crate::rig::within(std::time::Duration::from_mins(1), "the program's end", running).await;
    output.expect("no panic")
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program in conversation, killed when dropped.
pub(crate) struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Talk {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { child, input, output }
    }

    /// Returns the next line that is printed.
    pub(crate) async fn line(&mut self) -> String {
        let mut output = self.output.take().expect("one reads");
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let len = output.read_line(&mut line).expect("text");
            assert!(len > 0, "the program ended");
            (line.trim().to_owned(), output)
        });
        let read =
            crate::rig::within(std::time::Duration::from_mins(1), "a line of the program", reading).await;
        let (line, output) = read.expect("no panic");
        self.output = Some(output);
        line
    }

    /// Tells a program that waits for a line to go.
    pub(crate) fn go(&mut self) {
        let _ = self.input.take().map(|mut input| writeln!(input));
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
