//! The command as a process: started, read line by line, and killed with its handle.
#![allow(dead_code, unreachable_pub, reason = "each test file includes it and uses a part of it")]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

/// Whatever is waited for comes within this time, or the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The command as it was built for this test.
pub fn built() -> PathBuf {
    env!("CARGO_BIN_EXE_net").into()
}

/// The command in release where the whole test run has built that; else as it was built for this test.
pub fn released() -> PathBuf {
    std::env::var_os("NET_BIN").map_or_else(built, PathBuf::from)
}

/// A process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// What was read while waiting for another line.
    seen: Vec<String>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` where a signal ended it.
    pub status: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

impl Ended {
    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// Fails the test unless standard error contains this.
    #[track_caller]
    pub fn tells(self, what: &str) -> Self {
        assert!(self.stderr.iter().any(|line| line.contains(what)), "{what:?} is missing: {self:#?}");
        self
    }
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Self { child, name, stdout, stderr, seen: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input; closed when what is returned is dropped.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("is taken once")
    }

    /// Waits for the next line of standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => {
                panic!("{}: no line: {error}; {:?}", self.name, self.stderr.try_iter().collect::<Vec<_>>())
            }
        }
    }

    /// Waits for a line of standard error that contains `what`.
    #[track_caller]
    pub fn told(&mut self, what: &str) -> String {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => {
                    self.seen.push(line.clone());
                    return line;
                }
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("{}: {what:?} is not told: {error}; {:#?}", self.name, self.seen),
            }
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        let stdout = rest(&self.stdout, deadline).unwrap_or_else(|| panic!("{} does not end", self.name));
        let more = rest(&self.stderr, deadline).unwrap_or_else(|| panic!("{} does not end", self.name));
        let mut stderr = std::mem::take(&mut self.seen);
        stderr.extend(more);
        // Both streams are closed: it has ended, or is about to.
        let status = self.child.wait().expect("is a child").code();
        Ended { status, stdout, stderr }
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_to(self.pid(), signal);
    }
}

#[cfg(unix)]
pub fn signal_to(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("is a process");
    rustix::process::kill_process(pid, signal).expect("runs");
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                break;
            }
        }
    });
    rx
}

/// Reads to the end; `None` where it does not come in time.
fn rest(from: &Receiver<String>, deadline: Instant) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        match from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => return Some(lines),
            Err(RecvTimeoutError::Timeout) => return None,
        }
    }
}

/// Runs the command to its end.
#[track_caller]
pub fn net<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    Process::start(Command::new(built()).args(arguments)).ended()
}

/// A server that has said where it listens.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    pub url: String,
}

impl Server {
    /// Starts `net echo server` at a free port of TCP.
    #[track_caller]
    pub fn tcp(flags: &str) -> Self {
        Self::start(built(), "tcp://127.0.0.1:0", flags)
    }

    #[track_caller]
    pub fn start(program: PathBuf, at: &str, flags: &str) -> Self {
        let mut command = Command::new(program);
        command.args(["echo", "server", at]).args(flags.split_whitespace());
        Self::of(&mut command)
    }

    /// Starts a command that says where it listens.
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        let mut process = Process::start(command);
        let line = process.line();
        let url = line.strip_prefix("listening ").unwrap_or_else(|| panic!("first line: {line}")).to_owned();
        Self { process, url }
    }

    /// `host:port`.
    pub fn host_and_port(&self) -> &str {
        self.url.strip_prefix("tcp://").expect("is TCP")
    }

    pub fn socket(&self) -> SocketAddr {
        self.host_and_port().parse().expect("an address")
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.socket()).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("is a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("is a socket");
        stream
    }

    #[cfg(unix)]
    pub fn terminate(&self) {
        self.process.signal(rustix::process::Signal::TERM);
    }
}

/// Runs the independent client, which must say `ok`, and returns its last line.
#[track_caller]
pub fn framed(server: &Server, action: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/framed.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(server.host_and_port()).arg(action).args(arguments);
    let mut process = Process::start(&mut command);
    drop(process.stdin());
    // Real files take a while; the test runner bounds that.
    let lines: Vec<_> = process.stdout.iter().collect();
    let line = lines.last().cloned().unwrap_or_default();
    assert!(line.starts_with(&format!("ok {action}")), "{lines:?}: {:?}", process.ended());
    line
}

/// A frame: a length of 4 bytes, big-endian, and the payload.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("fits").to_be_bytes();
    [&len, payload].concat()
}

/// Reads one frame; `None` at a clean end.
pub fn read_frame(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    match from.read(&mut len[..1]).expect("no abort") {
        0 => return None,
        _ => from.read_exact(&mut len[1..]).expect("a whole length"),
    }
    let mut payload = vec![0; u32::from_be_bytes(len) as usize];
    from.read_exact(&mut payload).expect("a whole frame");
    Some(payload)
}

/// Serves one connection by `serve` on a thread of its own, and returns where.
pub fn peer(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("tcp://{}", listener.local_addr().expect("is bound"));
    thread::spawn(move || serve(listener.accept().expect("accepts").0));
    url
}

/// An address where nobody listens, nor anybody else can for as long as the socket is kept.
pub fn nobody() -> (String, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("binds");
    let at = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("is bound");
    (format!("tcp://{at}"), socket)
}

/// Writes a line to a process and closes its standard input.
pub fn type_in(process: &mut Process, text: &str) {
    process.stdin().write_all(text.as_bytes()).expect("reads");
}
