//! `net send`: texts, lines and files arrive as messages, in order, and nothing is lost at the end.

use std::{io::Write as _, process::Command, sync::mpsc};

mod rig;

use rig::{Process, Server, built, net, peer, read_frame, type_in};

/// Where one connection is taken, and what arrives on it.
fn sink() -> (String, mpsc::Receiver<Vec<u8>>) {
    let (tx, rx) = mpsc::channel();
    let at = peer(move |mut stream| {
        while let Some(message) = read_frame(&mut stream) {
            tx.send(message).expect("is read");
        }
    });
    (at, rx)
}

#[test]
fn texts_are_messages_as_often_as_they_are_wanted() {
    let (at, messages) = sink();
    net(["send", &at, "one", "two", "--count", "2"]).expect(0).tells("sent 4 messages, 12 bytes");
    assert_eq!(messages.iter().collect::<Vec<_>>(), [b"one", b"two", b"one", b"two"]);
}

#[test]
fn lines_are_sent_while_they_are_typed() {
    let (at, messages) = sink();
    let mut process = Process::start(Command::new(built()).args(["send", &at]));
    let mut stdin = process.stdin();
    for line in ["one\n", "\n", "two\r\n"] {
        stdin.write_all(line.as_bytes()).expect("reads");
        let message = messages.recv_timeout(rig::PATIENCE).expect("is sent before the next one is typed");
        assert_eq!(message, line.trim_end().as_bytes());
    }
    stdin.write_all(b"no end").expect("reads");
    drop(stdin);
    process.ended().expect(0);
    assert_eq!(messages.iter().collect::<Vec<_>>(), [b"no end"]);
}

#[test]
fn files_are_cut_into_lines_parts_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    std::fs::write(&path, b"first\nsecond\r\n\nlast").expect("writes");
    let path = path.to_str().expect("is text");
    for (cut, messages) in [
        ("lines", vec![&b"first"[..], b"second", b"", b"last"]),
        ("whole", vec![b"first\nsecond\r\n\nlast"]),
        ("8", vec![b"first\nse", b"cond\r\n\nl", b"ast"]),
    ] {
        let (at, received) = sink();
        net(["send", &at, "--file", path, "--cut", cut]).expect(0);
        assert_eq!(received.iter().collect::<Vec<_>>(), messages, "{cut}");
    }
}

#[test]
fn a_large_file_arrives_whole_though_the_server_is_slow_to_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let mut random = fastrand::Rng::with_seed(7);
    let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(20 << 20).collect();
    std::fs::write(&path, &content).expect("writes");
    let path = path.to_str().expect("is text");
    let (at, received) = sink();
    net(["send", &at, "--file", path, "--cut", "100KiB"]).expect(0);
    assert_eq!(received.iter().collect::<Vec<_>>().concat(), content);
    // An echo server sends all of it back, which is discarded.
    let server = Server::tcp("");
    net(["send", &server.url, "--file", path, "--cut", "100KiB"]).expect(0).tells("20971520 bytes");
}

#[test]
fn requests_are_answered_in_order() {
    let server = Server::tcp("--format message");
    let mut process =
        Process::start(Command::new(built()).args(["send", &server.url, "--format", "message", "--request"]));
    let lines: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    type_in(&mut process, &lines.join("\n"));
    assert_eq!(process.ended().expect(0).stdout, lines);
}

#[test]
fn results_are_json_on_request() {
    let server = Server::tcp("--format message");
    let ended = net(["send", &server.url, "hi", "--format", "message", "--request", "--json"]).expect(0);
    let lines: Vec<serde_json::Value> =
        ended.stdout.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines[0]["answer"], "hi");
    assert_eq!(
        (&lines[1]["messages"], &lines[1]["bytes"], &lines[1]["answers"]),
        (&1.into(), &2.into(), &1.into())
    );
}

#[test]
fn what_is_too_long_or_missing_is_told_by_name() {
    let (at, _messages) = sink();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    std::fs::write(&path, "short\nlonger than that\n").expect("writes");
    let path = path.to_str().expect("is text");
    let ended = net(["send", &at, "--file", path, "--max-message-len", "10"]).expect(2);
    let _ = ended.tells("line 2 of").tells("--max-message-len");
    net(["send", &at, "--file", "/no/such/file"]).expect(1).tells("open /no/such/file");
    net(["send", &at, "--count", "2"]).expect(1).tells("standard input");
}

#[test]
fn a_server_that_goes_away_is_2() {
    let at = peer(|mut stream| {
        read_frame(&mut stream);
        // Unread input makes this an abort.
    });
    let mut process = Process::start(Command::new(built()).args(["send", &at]));
    let mut stdin = process.stdin();
    // Until nobody reads any more: the command has failed by itself.
    while stdin.write_all(b"more and more\n").is_ok() {}
    process.ended().expect(2);
}
