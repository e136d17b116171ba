//! Runs the example `echo_blocking` as its users do.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
};

/// The example, which is built beside the tests.
fn example() -> Command {
    let tests = env::current_exe().expect("this program has a path");
    let target = tests.ancestors().nth(2).expect("it is in target/PROFILE/deps");
    let path = target.join("examples").join(format!("echo_blocking{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built; `cargo test -p net-examples` builds it", path.display());
    Command::new(path)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut process =
            example().args(["server", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("piped")).read_line(&mut line).expect("its first line");
        let address = line.strip_prefix("listening ").expect("the address").trim_end().to_owned();
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn s10_without_arguments_it_shows_both_sides() {
    let output = text(&example().output().expect("it runs"));
    let lines: Vec<_> = output.lines().filter(|line| !line.contains("echoed")).collect();
    assert!(
        matches!(lines[..], [listening, "hello", "world"] if listening.starts_with("listening 127.0.0.1:"))
    );
}

#[test]
fn s10_a_client_gets_its_words_back_and_a_strangers_fault_is_its_own() {
    let server = Server::start();
    let mut stranger = TcpStream::connect(&server.address).expect("it listens");
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    // "GET " is a length far over the limit: the server ends this connection, whether by an end or by a reset.
    let answered = stranger.read(&mut [0; 100]).unwrap_or(0);
    assert_eq!(answered, 0);
    let client = example().args(["client", &server.address, "one", "two"]).output().expect("it runs");
    assert_eq!(text(&client), "one\ntwo\n");
}

#[test]
fn s10_usage_and_connect_errors_are_told() {
    let usage = example().arg("serve").output().expect("it runs");
    assert_eq!(usage.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&usage.stderr).starts_with("usage: "));
    // Port 0 is never listened at.
    let refused = example().args(["client", "127.0.0.1:0", "x"]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("connect: "));
}
