//! Signals: the first one drains, the second one cuts, and a killed server can be started again at once.
#![cfg(unix)]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use net_messaging::{Client, Reconnect};
use net_tcp::Tcp;
use rustix::process::Signal;
use socket2::SockRef;

mod rig;

use rig::{PATIENCE, Process, Server, built, frame, net, read_frame};

/// Sends one frame and waits until it is back: the connection is accepted and served.
fn served(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(&frame(b"hello")).expect("takes it");
    assert_eq!(read_frame(&mut stream).as_deref(), Some(&b"hello"[..]));
    stream
}

#[test]
fn a36_a_signal_ends_an_idle_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::tcp("");
        server.process.signal(signal);
        server.process.ended().expect(0).tells("drained 0 sessions, none cut");
    }
}

#[test]
fn a36_an_idle_connection_is_ended_cleanly() {
    let server = Server::tcp("--drain-min 0s");
    let mut stream = served(&server);
    server.terminate();
    assert_eq!(read_frame(&mut stream), None, "a clean end");
    drop(stream);
    server.process.ended().expect(0).tells("drained 1 session, none cut");
}

#[test]
fn a36_a_draining_server_serves_whom_it_has_and_nobody_else() {
    let mut server = Server::tcp("--drain-min 1m --drain-max 1m");
    let mut stream = served(&server);
    server.terminate();
    server.process.told("draining 1 session");
    stream.write_all(&frame(b"still here?")).expect("takes it");
    assert_eq!(read_frame(&mut stream).as_deref(), Some(&b"still here?"[..]));
    stream.shutdown(Shutdown::Write).expect("is open");
    assert_eq!(read_frame(&mut stream), None);
    let url = server.url.clone();
    server.process.ended().expect(0).tells("drained 1 session, none cut");
    net(["echo", "client", &url, "hello"]).expect(1);
}

#[test]
fn a36_a_running_stream_ends_between_messages_and_none_is_lost() {
    let server = Server::tcp("--drain-min 100ms --drain-max 20s");
    let mut stream = served(&server);
    let ended = Arc::new(AtomicBool::new(false));
    let (mut to, seen) = (stream.try_clone().expect("is a socket"), ended.clone());
    let writer = thread::spawn(move || {
        for number in 0_u64.. {
            // Once it has seen the end, this side ends too, as a well-behaved client does.
            if seen.load(Ordering::Relaxed) || to.write_all(&frame(&number.to_be_bytes())).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut expected = 0_u64;
    // Reading fails the test where the stream is reset or ends inside a frame.
    while let Some(answer) = read_frame(&mut stream) {
        assert_eq!(answer, expected.to_be_bytes());
        expected += 1;
        if expected == 10_000 {
            server.terminate();
        }
    }
    ended.store(true, Ordering::Relaxed);
    writer.join().expect("writes");
    assert!(expected >= 10_000, "{expected}");
    server.process.ended().expect(0).tells("none cut");
}

#[test]
fn a36_half_a_message_is_not_answered() {
    let server = Server::tcp("--drain-min 0s --drain-max 5s");
    let mut stream = served(&server);
    stream.write_all(&frame(&[7; 1000])[..500]).expect("takes it");
    server.terminate();
    let mut rest = Vec::new();
    // A clean end or an abort, but no answer.
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(rest, []);
    drop(stream);
    server.process.ended().expect(0);
}

#[test]
fn a36_a_peer_that_does_not_read_is_cut_at_the_deadline() {
    // A peer that has all it asked for is not waited for so long as to be cut.
    let buffers = "--send-buffer 16KiB --recv-buffer 16KiB";
    let server = Server::tcp(&format!("--drain-min 0s --drain-max 300ms --close-timeout 10ms {buffers}"));
    let mut stream = served(&server);
    SockRef::from(&stream).set_recv_buffer_size(4 * 1024).expect("is a socket");
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("is a socket");
    // More than both directions have room for: the server reads no more, as it cannot be rid of its answers.
    let stuck = stream.write_all(&frame(&[7; 1000]).repeat(32_000)).expect_err("the server reads no more");
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
    server.terminate();
    server.process.ended().expect(0).tells("drained 1 session, 1 of them cut");
}

#[test]
fn a36_a_second_signal_cuts() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut server = Server::tcp("--drain-min 1h --drain-max 1h");
        let mut stream = served(&server);
        server.process.signal(signal);
        server.process.told("draining 1 session");
        server.process.signal(signal);
        let _ = stream.read_to_end(&mut Vec::new());
        server.process.ended().expect(status).tells("1 of them cut");
    }
}

#[test]
fn a36_a_killed_server_starts_again_at_the_same_address() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = format!("unix://{}", directory.path().join("echo.sock").display());
    for at in ["tcp://127.0.0.1:0", &socket] {
        let first = Server::start(built(), at, "");
        let url = first.url.clone();
        // On TCP this connection is in the way of the next server: it is half dead when that starts.
        net(["echo", "client", &url, "before"]).expect(0);
        let held = url.starts_with("tcp").then(|| served(&first));
        first.process.signal(Signal::KILL);
        assert_eq!(first.process.ended().status, None);
        let second = Server::start(built(), &url, "");
        assert_eq!(second.url, url);
        net(["echo", "client", &url, "after"]).expect(0);
        drop(held);
    }
}

#[test]
fn a36_who_has_only_connected_is_ended_cleanly() {
    let server = Server::tcp("--drain-min 0s --drain-max 10s");
    // Some may still be in the system's queue when the signal comes.
    let streams: Vec<_> = (0..20).map(|_| server.connect()).collect();
    server.terminate();
    for mut stream in streams {
        assert_eq!(read_frame(&mut stream), None, "a clean end");
    }
    server.process.ended().expect(0).tells("none cut");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Connects a client that comes back soon, and asks it one thing.
async fn client(url: &str) -> Client {
    let reconnect = Reconnect {
        interval: Duration::from_millis(5),
        min_interval: Duration::from_millis(1),
        max_interval: Duration::from_millis(50),
        ..Reconnect::default()
    };
    let builder = Client::builder(Tcp::default()).reconnect(reconnect);
    let client = builder.connect(url).await.expect("connects");
    assert_eq!(client.request("hello").await.expect("answers").payload(), "hello");
    client
}

#[test]
fn a36_clients_are_sent_away_and_their_requests_answered() {
    runtime().block_on(async {
        let first = Server::tcp("--format message --drain-min 20s --drain-max 20s");
        let url = first.url.clone();
        let clients = [client(&url).await, client(&url).await, client(&url).await];
        let asking = clients.map(|client| {
            tokio::spawn(async move {
                for number in 0..2_000_u32 {
                    let answer = client.request(number.to_be_bytes().to_vec()).await;
                    let answer = answer.unwrap_or_else(|error| panic!("{number}: {}", error.report()));
                    assert_eq!(answer.payload()[..], number.to_be_bytes());
                }
            })
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        first.terminate();
        // They leave at once, long before the 20 s are over, and wait for the next server.
        let ended = tokio::task::spawn_blocking(move || first.process.ended()).await.expect("ends");
        ended.expect(0).tells("drained 3 sessions, none cut");
        let _second = Server::start(built(), &url, "--format message");
        for task in asking {
            task.await.expect("every request is answered");
        }
    });
}

#[test]
fn a36_clients_of_a_killed_server_come_back_and_lose_nothing_acknowledged() {
    runtime().block_on(async {
        let first = Server::tcp("--format message");
        let url = first.url.clone();
        let client = client(&url).await;
        let mut server = Some(first);
        let (mut acknowledged, mut failed) = (Vec::new(), 0);
        for number in 0..2_000_u32 {
            if number == 1_000 {
                server.take().expect("runs").process.signal(Signal::KILL);
                server = Some(Server::start(built(), &url, "--format message"));
            }
            match client.request(number.to_be_bytes().to_vec()).await {
                Ok(answer) => {
                    assert_eq!(answer.payload()[..], number.to_be_bytes(), "the answer to another one");
                    acknowledged.push(number);
                }
                // What was on its way may be lost; it is told, and never silently.
                Err(error) => {
                    assert_eq!(error.kind(), net_core::ErrorKind::Closed, "{}", error.report());
                    failed += 1;
                }
            }
        }
        assert_eq!(acknowledged.len() + failed, 2_000);
        assert!(failed <= 2, "{failed} were under way");
        assert_eq!(acknowledged.last(), Some(&1_999));
    });
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("there is room");
    let entries = || std::fs::read_dir(&temporary).expect("is there").count();
    let demo = Process::start(Command::new(built()).arg("demo").env("TMPDIR", temporary.path()));
    // The socket of the second transport is what it puts on disk.
    let deadline = Instant::now() + PATIENCE;
    while entries() == 0 {
        assert!(Instant::now() < deadline, "no socket appeared");
        thread::yield_now();
    }
    demo.signal(Signal::INT);
    demo.ended().expect(130);
    assert_eq!(entries(), 0);
}
