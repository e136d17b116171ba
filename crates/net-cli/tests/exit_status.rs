//! The exit status says what failed, and standard error says why and what to do.

#[cfg(target_os = "linux")]
use std::process::{Command, Stdio};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener},
};

mod rig;

use rig::{Server, frame, net, nobody, peer, read_frame};

#[test]
fn s10_usage_is_1() {
    for arguments in [
        &["echo"][..],
        &["echo", "server"],
        &["echo", "client", "tcp://127.0.0.1:1"],
        &["echo", "server", "127.0.0.1", "0", "--no-such-flag"],
        &["echo", "server", "127.0.0.1", "0", "--framing", "fixed"],
        &["echo", "server", "127.0.0.1", "0", "--max-message-len", "64 apples"],
        &["echo", "server", "127.0.0.1", "0", "--drain-min", "9s", "--drain-max", "1s"],
        &["echo", "server", "127.0.0.1", "0", "--handshake-timeout", "0s"],
        &["echo", "server", "127.0.0.1", "0", "--max-in-flight", "0"],
        &["echo", "server", "127.0.0.1", "0", "--outbox-overflow", "drop"],
        &["echo", "server", "127.0.0.1", "0", "--lifetime-grace", "1s"],
        &["echo", "server", "127.0.0.1"],
        &["echo", "server", "mem://here"],
        &["echo", "server", "quic://127.0.0.1:0"],
        &["echo", "server", "127.0.0.1", "0", "--format", "message", "--framing", "lines"],
        &["send", "127.0.0.1:1", "hello", "--request"],
        &["bench", "client", "127.0.0.1:1", "--rate", "0"],
        &["bench", "client", "127.0.0.1:1", "--rate", "1e-300"],
        &["bench", "client", "127.0.0.1:1", "--timeout", "500000000000years"],
        &["bench", "client", "127.0.0.1:1", "--connections", "18446744073709551615"],
        &["bench", "client", "127.0.0.1:1", "--framing", "fixed:8", "--payload", "9"],
    ] {
        let ended = net(arguments).expect(1);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn help_and_version_are_no_failure() {
    let help = net(["--help"]).expect(0).stdout.join("\n");
    assert!(help.contains("net echo client") && help.contains("Exit status"), "{help}");
    for scheme in ["tcp", "tcps", "udp", "quic", "ws", "wss", "unix"] {
        assert!(help.contains(&format!("{scheme}://")), "{scheme}: {help}");
    }
    assert!(!net(["--version"]).expect(0).stdout.is_empty());
    for command in [
        "echo",
        "echo server",
        "echo client",
        "send",
        "bench",
        "bench server",
        "bench client",
        "demo",
        "certs",
    ] {
        let help = net(command.split(' ').chain(["--help"])).expect(0).stdout.join("\n");
        let examples = help.split_once("Examples:").map_or("", |(_, examples)| examples);
        assert!(examples.contains(&format!("\n  net {command}")), "{command}: {help}");
    }
}

#[test]
fn each_limit_of_the_documentation_is_a_flag() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
    let limits = std::fs::read_to_string(path).expect(path);
    let names: Vec<_> =
        limits.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect();
    assert!(names.contains(&"max_connections"), "{names:?}");
    let help = net(["echo", "server", "--help"]).expect(0).stdout.join("\n");
    // It has no value beside those of its fields.
    for name in names.into_iter().filter(|name| *name != "outbox") {
        // Without these fields the two are off: the flag of the whole is theirs.
        let name = name.trim_end_matches(".bytes_per_second").trim_end_matches(".after");
        let flag = format!("--{} <", name.replace(['_', '.'], "-"));
        assert!(help.contains(&flag), "{flag} is missing: {help}");
    }
}

#[test]
fn s10_a_port_in_use_is_1_and_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let at = listener.local_addr().expect("is bound").to_string();
    net(["echo", "server", &at]).expect(1).tells(&format!("listen tcp://{at}: address in use")).tells("hint");
}

#[test]
fn s10_a_closed_port_is_1_and_names_every_address_that_failed() {
    let (at, _taken) = nobody();
    net(["echo", "client", &at, "hello"])
        .expect(1)
        .tells("connection refused")
        .tells(&at)
        .tells("nothing listens there");
    let port = at.rsplit(':').next().expect("a port");
    // Both families of the name are tried where it has both; the one that it has in any case is told.
    net(["echo", "client", "localhost", port, "hello"]).expect(1).tells("127.0.0.1");
    net(["send", &at, "hello"]).expect(1);
    net(["bench", "client", &at]).expect(1);
}

#[test]
fn s10_an_unknown_host_is_1() {
    net(["echo", "client", "no-such-host.invalid", "9000", "hello"])
        .expect(1)
        .tells("name not resolved")
        .tells("check the spelling");
}

#[test]
fn s10_an_address_of_another_machine_is_1() {
    // TEST-NET-1 of RFC 5737 is nobody's.
    net(["echo", "server", "192.0.2.1", "0"]).expect(1).tells("none of this machine's");
}

#[test]
fn s10_what_cannot_be_sent_is_2() {
    let server = Server::tcp("");
    net(["echo", "client", &server.url, "hello", "--max-message-len", "4"])
        .expect(2)
        .tells("message too long")
        .tells("--max-message-len");
    net(["echo", "client", &server.url, "hello", "--framing", "fixed:4"]).expect(2);
    net(["echo", "client", &server.url, "two\nlines", "--framing", "lines"]).expect(2);
    net(["send", &server.url, "hello", "--max-message-len", "4"]).expect(2);
}

#[test]
fn s10_an_end_before_the_answer_is_3() {
    let at = peer(|mut stream| {
        read_frame(&mut stream);
    });
    net(["echo", "client", &at, "hello"]).expect(3).tells("without an answer");
}

#[test]
fn s10_half_an_answer_is_3() {
    let at = peer(|mut stream| {
        read_frame(&mut stream);
        stream.write_all(&frame(b"hello")[..6]).expect("takes it");
    });
    net(["echo", "client", &at, "hello"]).expect(3).tells("end of stream inside a message");
}

#[test]
fn s10_a_changed_answer_is_3_and_does_not_steer_the_terminal() {
    let at = peer(|mut stream| {
        read_frame(&mut stream);
        stream.write_all(&frame(b"\x1b[31mhel")).expect("takes it");
    });
    net(["echo", "client", &at, "hello"]).expect(3).tells("came back changed").tells(r"\x1b[31mhel");
}

#[test]
fn s10_no_answer_in_time_is_3() {
    let at = peer(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    net(["echo", "client", &at, "hello", "--timeout", "50ms"]).expect(3).tells("no answer within 50ms");
}

#[test]
fn s10_a_server_that_does_not_finish_is_3() {
    let at = peer(|mut stream| {
        let text = read_frame(&mut stream).expect("a frame");
        stream.write_all(&frame(&text)).expect("takes it");
        // The client finishes; this side never does.
        assert_eq!(read_frame(&mut stream), None);
        let _ = stream.set_read_timeout(None);
        loop {
            std::thread::park();
        }
    });
    // Long enough for the answer, which has the same time.
    net(["echo", "client", &at, "hello", "--timeout", "1s"]).expect(3).tells("did not finish");
}

#[test]
fn s10_both_sides_end_with_a_half_close() {
    let (tell, told) = std::sync::mpsc::channel();
    let at = peer(move |mut stream| {
        let text = read_frame(&mut stream).expect("a frame");
        stream.write_all(&frame(&text)).expect("takes it");
        // The client's end arrives while this side has not ended.
        let _ = tell.send(read_frame(&mut stream).is_none());
        stream.shutdown(Shutdown::Write).expect("is open");
    });
    net(["echo", "client", &at, "hello"]).expect(0);
    assert!(told.recv_timeout(rig::PATIENCE).expect("is told"), "the client ended cleanly, and first");
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_1_and_one_that_nobody_reads_is_none() {
    let server = Server::tcp("");
    let echo = |stdout: Stdio| {
        let mut command = Command::new(rig::built());
        command.args(["echo", "client", &server.url, "hello"]).stdin(Stdio::null()).stdout(stdout);
        command.output().expect("it runs")
    };
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("every Linux has it");
    let ended = echo(full.into());
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("write to standard output"), "{ended:?}");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(echo(writer.into()).status.code(), Some(0));
}

#[test]
fn failures_are_json_on_request() {
    let (at, _taken) = nobody();
    let ended = net(["echo", "client", &at, "hello", "--json"]).expect(1);
    let failure: serde_json::Value = serde_json::from_str(&ended.stderr[0]).expect("is JSON");
    assert_eq!(failure["status"], 1);
    assert!(failure["error"].as_str().is_some_and(|error| error.contains("connection refused")), "{failure}");
    assert!(failure["hint"].is_string(), "{failure}");
}
