//! Runs every example as its users do, and looks at what it prints.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use net_core::{Listener, Transport};
use net_messaging::Client;
use net_tcp::Tcp;
use net_ws::{Ws, WsInfo, WsMessage};

mod example;

use example::{Example, run};

#[test]
fn quickstart() {
    assert_eq!(run("quickstart"), "Response 0 \"hello\"\n");
}

#[test]
fn chat() {
    let expected = "Bob hears Notification 0 \"Ann: good morning\"\n\
                    Cid hears Notification 0 \"Ann: good morning\"\n\
                    Ann hears Notification 0 \"Bob: good night\"\n\
                    Cid hears Notification 0 \"Bob: good night\"\n";
    assert_eq!(run("chat"), expected);
}

#[test]
fn push() {
    let expected = ["tick 1", "tick 2", "tick 3"].map(|tick| format!("Notification 0 \"{tick}\"\n"));
    assert_eq!(run("push"), expected.concat());
}

#[test]
fn ask_back() {
    let expected = "asked back: Request 0 \"who are you?\"\nResponse 0 \"good morning, Ann\"\n";
    assert_eq!(run("ask_back"), expected);
}

#[test]
fn u5_any_transport() {
    let output = run("any_transport");
    let mut schemes = vec!["mem", "tcp", "udp", "ws"];
    if cfg!(unix) {
        schemes.push("unix");
    }
    let expected: Vec<_> =
        schemes.into_iter().map(|scheme| format!("Response 0 \"hello over {scheme}\"\n")).collect();
    assert_eq!(output, expected.concat());
    let chosen = Example::start("any_transport", &["tcp://[::1]:0"]).rest();
    assert_eq!(chosen, "Response 0 \"hello over tcp\"\n");
}

#[test]
fn q1_quic_streams() {
    assert_eq!(run("quic_streams"), "hello, Ann\nhello, Bob\n");
}

#[test]
fn m4_reconnect() {
    let expected = "Response 0 \"before\"\n\
                    lost; it waits before it tries again\n\
                    what does not wait fails meanwhile\n\
                    Response 0 \"after\"\n";
    assert_eq!(run("reconnect"), expected);
}

#[test]
fn m15_pool() {
    let expected = "20 answers over 4 connections\n2 to one server, 2 to the other\n";
    assert_eq!(run("pool"), expected);
}

#[test]
fn m3_blocking_client() {
    assert_eq!(run("blocking_client"), "Response 0 \"hello\"\nResponse 1 \"quickly\"\n");
}

#[cfg(unix)]
#[test]
fn s4_lines_server() {
    let server = Example::start("lines_server", &[]);
    let address = server.address();
    let stream = TcpStream::connect(address.trim_start_matches("tcp://")).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket has time-outs");
    let mut answers = BufReader::new(&stream).lines().map_while(Result::ok);
    // A telnet ends lines by CRLF; the empty line has no answer.
    (&stream).write_all(b"echo hello there\r\n\r\nfly\nquit\n").expect("it reads");
    assert_eq!(answers.next().as_deref(), Some("hello there"));
    assert_eq!(answers.next().as_deref(), Some("commands: echo TEXT, age, quit"));
    assert_eq!(answers.next().as_deref(), Some("bye"));
    assert_eq!(answers.next(), None, "it hangs up");
    server.interrupt();
    assert_eq!(server.rest(), "");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a36_drain_finishes_what_runs_and_cuts_what_takes_too_long() {
    for signal in [Example::interrupt, Example::terminate] {
        let server = Example::start("drain", &[]);
        let address = server.address();
        let quick = Client::builder(Tcp::default()).connect(address.clone()).await.expect("it listens");
        let slow = Client::builder(Tcp::default()).connect(address.clone()).await.expect("it listens");
        let (finished, cut, ()) = tokio::join!(quick.request("500"), slow.request("60000"), async {
            let mut working = [server.line(), server.line()].map(Option::unwrap_or_default);
            working.sort();
            assert_eq!(
                working,
                ["working on Request 0 \"500\"", "working on Request 0 \"60000\""].map(str::to_owned)
            );
            signal(&server);
        });
        assert_eq!(finished.expect("it runs to its end").payload(), "done");
        assert!(cut.expect_err("it takes longer than the drain").is_closed());
        assert_eq!(server.rest(), "draining 2 sessions\n2 active, 1 cut\n");
        Client::builder(Tcp::default()).connect(address).await.expect_err("it is gone");
    }
}

/// Where the system spreads connections over the sockets that share a port.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn p4_processes_share_a_port() {
    let servers = Example::start("processes", &["127.0.0.1:0", "3"]);
    let address = servers.address();
    let mut clients = Vec::new();
    let mut answers = std::collections::BTreeMap::new();
    for _ in 0..90 {
        let client = Client::builder(Tcp::default()).connect(address.clone()).await.expect("they listen");
        let answer = client.request("who are you?").await.expect("one of them answers");
        *answers.entry(String::from_utf8_lossy(answer.payload()).into_owned()).or_insert(0) += 1;
        clients.push(client);
    }
    // That a fair choice leaves one of three out in 90 has a chance of 4 in 10^16.
    let workers: Vec<_> = answers.keys().map(String::as_str).collect();
    assert_eq!(workers, ["worker 1", "worker 2", "worker 3"], "{answers:?}");
    servers.interrupt();
    let report = servers.rest();
    let active: usize = report
        .lines()
        .map(|line| line.split_once(": ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok()))
        .map(|active| active.expect("each worker reports"))
        .sum();
    assert_eq!(active, 90, "{report}");
    assert!(report.lines().all(|line| line.ends_with(" active, 0 cut, exit status: 0")), "{report}");
}

#[test]
fn observer() {
    let expected = "accepted a connection over tcp\n\
                    opened a session\n\
                    closed it: cleanly\n\
                    1000 messages, 3000 bytes\n";
    assert_eq!(run("observer"), expected);
}

#[test]
fn fault_link() {
    let output = run("fault_link");
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[0].ends_with("requests were answered before the link was cut"), "{output}");
    assert_eq!(lines[2], "the same seed gives the same run");
}

#[test]
fn own_transport() {
    assert_eq!(run("own_transport"), "all laws hold\nResponse 0 \"hello\"\n");
}

#[test]
fn s12_tcp_stats() {
    let output = run("tcp_stats");
    if cfg!(target_os = "linux") {
        assert!(output.starts_with("round trip "), "{output}");
        assert_eq!(output.lines().count(), 6, "{output}");
    }
}

/// Asks as the suite does, in two cases.
#[tokio::test(flavor = "multi_thread")]
async fn autobahn_client() {
    let mut listener =
        Ws::default().listen(&"ws://127.0.0.1:0".parse().expect("an address")).await.expect("it listens");
    let example = Example::start("autobahn_client", &[&listener.local().to_string(), "mine"]);
    let asked = [
        (("/getCaseCount", None), Some(WsMessage::from("2"))),
        (("/runCase", Some("case=1&agent=mine")), Some(WsMessage::from("text"))),
        (("/runCase", Some("case=2&agent=mine")), Some(WsMessage::from(vec![0xFF]))),
        (("/updateReports", Some("agent=mine")), None),
    ];
    for (path, message) in asked {
        let mut connection = listener.accept().await.expect("it connects");
        let info = connection.info.details::<WsInfo>().expect("a handshake");
        assert_eq!((info.path(), info.query()), path);
        if let Some(message) = message {
            connection.tx.send_message(message.clone()).await.expect("sent");
            if path.0 == "/runCase" {
                assert_eq!(connection.rx.recv_message().await.expect("an answer"), Some(message));
            }
        }
        connection.close(Duration::from_secs(20)).await.expect("it closes");
    }
    assert_eq!(example.rest(), "2 cases\n");
}

/// A new example without a test would run nowhere.
#[test]
fn every_example_has_a_test() {
    let tests = [include_str!("run.rs"), include_str!("experiments.rs"), include_str!("echo_blocking.rs")];
    let manifest = include_str!("../Cargo.toml");
    let examples = manifest.split("[[example]]").skip(1);
    for example in examples {
        let name = example.split('"').nth(1).expect("its name comes first");
        let tested = tests
            .iter()
            .any(|test| test.contains(&format!("(\"{name}\"")) || test.contains(&format!("\"{name}{{}}\"")));
        assert!(tested, "no test runs {name}");
    }
}
