//! Our two sides of a connection, each judged by a suite that plays the other.

use std::{
    env::consts::EXE_SUFFIX,
    io::BufRead as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;

use super::{
    running::{Judge, Running},
    suite::{Installed, Suite},
};
use crate::{run, test::MEMBERS};

/// All cases take about ten minutes of one core; a run that takes forty hangs.
const BOUND: Duration = Duration::from_mins(40);
/// How long a suite may take until it listens.
const START: Duration = Duration::from_mins(1);
/// Longer than every message of the suite.
const MAX_MESSAGE_LEN: &str = "64MiB";

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Side {
    /// `net echo server`
    Server,
    /// The example `autobahn_client`
    Client,
}

impl Side {
    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// Builds the program that is judged, and gives its path.
    ///
    /// # Errors
    /// When it cannot be built.
    pub(super) fn build(self) -> Result<PathBuf> {
        match self {
            Self::Server => {
                run::run(&mut run::cargo(["build", "--release", "-p", "net-cli"]))?;
                run::release_binary("net")
            }
            Self::Client => {
                // As the tests build it: with checks for overflow, and nothing is compiled for it alone.
                let example = ["--all-features", "--example", "autobahn_client"];
                run::run(run::cargo(["build"]).args(MEMBERS).args(example))?;
                let examples = run::target_directory()?.join("debug").join("examples");
                Ok(examples.join(format!("autobahn_client{EXE_SUFFIX}")))
            }
        }
    }

    /// Has the suite judge `program` by `cases`, and returns how many of them it has announced, where it does.
    ///
    /// # Errors
    /// When something cannot be started, ends too early or too late, or does not succeed.
    pub(super) fn judge(
        self,
        program: &Path,
        suite: &Installed,
        place: &Path,
        cases: &[String],
    ) -> Result<Option<usize>> {
        match self {
            Self::Server => judge_server(program, suite, place, cases),
            Self::Client => judge_client(program, suite, place, cases),
        }
    }
}

fn judge_server(program: &Path, suite: &Installed, place: &Path, cases: &[String]) -> Result<Option<usize>> {
    let end = Instant::now() + BOUND;
    let mut command = Command::new(program);
    command.args(["echo", "server", "ws://127.0.0.1:0", "--max-message-len", MAX_MESSAGE_LEN, "--quiet"]);
    let mut server = Running::start(command.stdout(Stdio::piped()))?;
    let mut line = String::new();
    server.output()?.read_line(&mut line)?;
    let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.with_context(|| format!("the server's first line is {line:?}"))?;
    let mut command = suite.against_server(place, port, cases)?;
    let mut judge = Judge::start(&mut command, Side::Server.name(), &place.join("log"))?;
    let status = judge.wait(end)?;
    server.check()?;
    let announced = judge.end()?;
    // The quick runner fails with its cases, of which its report tells.
    ensure!(status.success() || suite.suite == Suite::Kosoku, "the suite failed ({status})");
    Ok(announced)
}

fn judge_client(program: &Path, suite: &Installed, place: &Path, cases: &[String]) -> Result<Option<usize>> {
    let end = Instant::now() + BOUND;
    // One that is free: it is given back for the suite to take.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut command = suite.against_client(place, port, cases)?;
    let mut judge = Judge::start(&mut command, Side::Client.name(), &place.join("log"))?;
    await_listener(port, &mut judge.process)?;
    let mut command = Command::new(program);
    command.arg(format!("ws://127.0.0.1:{port}")).arg("net").stdout(Stdio::null());
    let status = Running::start(&mut command)?.wait(end)?;
    ensure!(status.success(), "the client failed ({status})");
    if suite.suite == Suite::Kosoku {
        // It writes its report when the client has asked for it, and ends; the other one has written it by then, and stays.
        judge.wait(end)?;
    }
    judge.end()
}

/// Waits until somebody listens at `port`, which `suite` is to do.
fn await_listener(port: u16, suite: &mut Running) -> Result<()> {
    let end = Instant::now() + START;
    // A socket may be given the very port that it connects to, and then reaches itself where nobody listens.
    let reaches_another = |stream: TcpStream| matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(peer)) if own != peer);
    while !TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(reaches_another) {
        suite.check()?;
        if Instant::now() >= end {
            bail!("the suite did not listen within {START:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
