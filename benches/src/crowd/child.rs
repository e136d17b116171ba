//! A process of the binary `crowd`: commands go in as lines, answers come out as lines of JSON.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What a process answers to a command.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<T> {
    /// What was asked for.
    Done(T),
    /// Why it could not be done.
    Failed(String),
}

/// A process of the binary `crowd`; it ends with its handle.
#[derive(Debug)]
pub struct Child {
    process: Process,
    commands: ChildStdin,
    answers: Receiver<io::Result<String>>,
    name: String,
}

impl Child {
    /// Starts `program` with `args`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: &Path, args: &[String]) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(args.iter().map(OsString::from))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let name = args.first().cloned().unwrap_or_default();
        let (Some(commands), Some(out)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("a process without pipes"));
        };
        let (tell, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, commands, answers, name })
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives a command without waiting for its answer.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn tell(&mut self, command: &str) -> io::Result<()> {
        writeln!(self.commands, "{command}")?;
        self.commands.flush()
    }

    /// Waits for the answer to the oldest command that has none.
    ///
    /// # Errors
    /// When it does not come within `bound`, or says why there is none.
    pub fn answer<T: DeserializeOwned>(&mut self, bound: Duration) -> io::Result<T> {
        let failed = |what: String| io::Error::other(format!("{}: {what}", self.name));
        let line =
            self.answers.recv_timeout(bound).map_err(|_| failed(format!("no answer in {bound:?}")))??;
        match serde_json::from_str(&line).map_err(|error| failed(format!("{error}: {line:.80}")))? {
            Answer::Done(answer) => Ok(answer),
            Answer::Failed(reason) => Err(failed(reason)),
        }
    }

    /// Gives a command and waits for its answer.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn ask<T: DeserializeOwned>(&mut self, command: &str, bound: Duration) -> io::Result<T> {
        self.tell(command)?;
        self.answer(bound)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Within such a process: the commands, which end with the standard input.
pub fn commands() -> UnboundedReceiver<Vec<String>> {
    let (tell, commands) = unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if tell.send(line.split_whitespace().map(str::to_owned).collect()).is_err() {
                return;
            }
        }
    });
    commands
}

/// Within such a process: answers a command.
///
/// # Errors
/// When nobody listens any more.
pub fn answer<T: Serialize>(done: io::Result<T>) -> io::Result<()> {
    let answer = match done {
        Ok(done) => Answer::Done(done),
        Err(error) => Answer::Failed(error.to_string()),
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &answer)?;
    writeln!(out)?;
    out.flush()
}

/// The number that stands at `place` in a command.
///
/// # Errors
/// When there is none.
pub fn number<T: std::str::FromStr>(command: &[String], place: usize) -> io::Result<T> {
    let word = command.get(place).and_then(|word| word.parse().ok());
    word.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no number in {command:?}")))
}

/// Nanoseconds on a clock that all processes of a machine share.
#[must_use]
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
