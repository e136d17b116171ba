//! What a server says, and the forms in which it is told where to listen.

use std::process::Command;

mod rig;

use rig::{Server, built, net};

#[test]
fn the_first_line_names_the_port_that_the_system_chose() {
    let server = Server::tcp("");
    assert_ne!(server.socket().port(), 0);
    // It accepts by then.
    drop(server.connect());
}

#[test]
fn s10_the_tutorials_form() {
    let mut command = Command::new(built());
    let mut server = Server::of(command.args(["echo", "server", "0.0.0.0", "0"]));
    let port = server.socket().port().to_string();
    server.process.told("bound tcp://0.0.0.0:");
    let ended = net(["echo", "client", "127.0.0.1", &port, "hello world"]).expect(0);
    assert_eq!(ended.stdout, ["hello world"]);
    let ended = ended.tells("connected to tcp://127.0.0.1:").tells("sent 11 bytes");
    let _ = ended.tells("echoed 11 bytes").tells("both sides finished");
    server.process.told("accepted tcp://127.0.0.1:");
    server.process.told("echoed 1 message, 11 bytes; the peer finished");
}

#[test]
fn ipv6_in_both_forms() {
    let server = Server::start(built(), "tcp://[::1]:0", "");
    let port = server.url.rsplit(':').next().expect("a port");
    net(["echo", "client", "::1", port, "hello"]).expect(0);
    net(["echo", "client", &server.url, "hello"]).expect(0);
}

#[cfg(unix)]
#[test]
fn a_unix_domain_socket_is_an_equal_transport() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("echo.sock");
    let at = format!("unix://{}", path.display());
    let mut server = Server::start(built(), &at, "--unix-mode 600 --format message --io-threads 2");
    assert_eq!(server.url, at);
    server.process.told("1 I/O thread by");
    assert_eq!(path.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
    let ended = net(["echo", "client", &at, "hello", "--format", "message"]).expect(0);
    assert_eq!(ended.stdout, ["hello"]);
    server.terminate();
    server.process.ended().expect(0);
    assert!(!path.exists(), "the socket goes with its server");
}

#[test]
fn quiet_says_where_it_listens_and_nothing_else() {
    let server = Server::tcp("--quiet");
    net(["echo", "client", &server.url, "hello"]).expect(0);
    server.terminate();
    let ended = server.process.ended().expect(0);
    assert!(ended.stdout.is_empty() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn verbose_tells_of_every_message() {
    let mut server = Server::tcp("--verbose");
    net(["echo", "client", &server.url, "hello"]).expect(0);
    let line = server.process.told("echoed 5 bytes");
    assert!(line.starts_with("tcp://127.0.0.1:"), "{line}");
}

#[test]
fn events_are_json_on_request() {
    let mut server = Server::tcp("--json");
    net(["echo", "client", &server.url, "hello"]).expect(0);
    let closed = server.process.told("\"closed\"");
    server.terminate();
    let ended = server.process.ended().expect(0);
    let events: Vec<serde_json::Value> =
        ended.stderr.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().expect("a name")).collect();
    assert_eq!(names, ["bound", "accepted", "closed", "draining", "drained"]);
    let closed: serde_json::Value = serde_json::from_str(&closed).expect("is JSON");
    assert_eq!(
        (&closed["messages"], &closed["bytes"], &closed["clean"]),
        (&1.into(), &5.into(), &true.into())
    );
}

#[test]
fn a_limit_is_told_with_the_flag_that_raises_it() {
    let mut server = Server::tcp("--max-connections 1");
    let _held = server.connect();
    server.process.told("accepted");
    let refused = net(["echo", "client", &server.url, "hello"]);
    assert_ne!(refused.status, Some(0), "{refused:?}");
    server.process.told("raise --max-connections");
}

#[test]
fn a_broken_protocol_is_told_with_its_reason() {
    let mut server = Server::tcp("--format message");
    let refused = net(["echo", "client", &server.url, "not a message"]).expect(3);
    let _ = refused.tells("--format");
    server.process.told("no kind of message");
}

#[test]
fn a_reused_port_is_shared_between_processes() {
    let first = Server::tcp("--reuse-port");
    let second = Server::start(built(), &first.url, "--reuse-port");
    assert_eq!(first.url, second.url);
}

#[cfg(target_os = "linux")]
#[test]
fn m16_it_tells_how_many_threads_wait_by_what() {
    let mut server = Server::tcp("--io-threads 2");
    server.process.told("2 I/O threads by epoll");
    // What it tells is what the system sees.
    let process = std::path::PathBuf::from(format!("/proc/{}", server.process.pid()));
    let entries = |name: &str| {
        let entries = std::fs::read_dir(process.join(name)).expect("it runs");
        entries.map(|entry| entry.expect("it runs").path()).collect::<Vec<_>>()
    };
    let waiting = || {
        let tasks = entries("task").into_iter();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.join("comm")).ok());
        names.filter(|name| name.starts_with("net-io-")).count()
    };
    // A thread takes its name when it first runs.
    let began = std::time::Instant::now();
    while waiting() < 2 && began.elapsed() < rig::PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(waiting(), 2);
    let files = entries("fd").into_iter().filter_map(|file| std::fs::read_link(file).ok());
    assert!(files.filter(|file| file.to_string_lossy().contains("[eventpoll]")).count() >= 2);
}
