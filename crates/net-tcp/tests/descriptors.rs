//! Descriptors and memory: what happens when they are short, and that none of them leaks.
//!
//! The tests measure their process or change its limits, so they run one at a time.
#![cfg(target_os = "linux")]

mod rig;

use std::{
    fs::{self, File},
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use net_core::{Admission, Limits, Listener, Transport};
use net_tcp::{Tcp, TcpConfig};
use rig::{Seen, echo, loopback, round_trip, socket, soon, watched};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Mutex,
};

/// Held by each test: under `cargo test` they share one process.
static ALONE: Mutex<()> = Mutex::const_new(());

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("the process's descriptors").count()
}

/// Returns the memory that this process holds, in KiB.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the process's state");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Allows as many descriptors as the system lets this process have.
fn allow_all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("the limit is raised");
}

#[tokio::test]
async fn measured_a1_a_shortage_of_descriptors_is_survived() {
    let _alone = ALONE.lock().await;
    let (mut listener, to) = loopback().await;
    let (admission, mut told) = watched(&Limits::default());
    listener.set_admission(admission);
    let server = echo(listener);
    let tcp = Tcp::default();
    let mut first = tcp.connect(&to).await.expect("connecting");
    round_trip(&mut first, "before").await;

    // Sockets that connect later need no descriptor then.
    let prepared: Vec<_> = (0..8).map(|_| TcpSocket::new_v4().expect("a socket")).collect();
    let before = getrlimit(Resource::Nofile);
    let lowered = Rlimit { current: Some(open_descriptors() as u64 + 8), ..before };
    setrlimit(Resource::Nofile, lowered).expect("the limit is lowered");
    let mut ballast = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        ballast.push(file);
    }

    let error = tcp.connect(&to).await.expect_err("no descriptor is left");
    assert_eq!(error.kind(), net_core::ErrorKind::LimitReached);

    let mut refused = Vec::new();
    for socket_without_cost in prepared {
        let stream = socket_without_cost.connect(socket(&to)).await.expect("the system connects");
        refused.push(stream);
    }
    // Accepting fails, and is tried again after pauses: it neither ends nor spins.
    for _ in 0..3 {
        let mut seen = soon("a failure to accept", told.recv()).await;
        // The one at the head of the queue is let go each time, and that is told too.
        while matches!(seen, Some(Seen::Rejected(_))) {
            seen = soon("a failure to accept", told.recv()).await;
        }
        assert_eq!(seen, Some(Seen::AcceptFailed(Some(24))));
        round_trip(&mut first, "those who are in are served").await;
    }
    // Who waits is refused rather than left waiting.
    let mut end = [0];
    let _ = soon("the refusal", refused[0].read(&mut end)).await;

    drop(ballast);
    setrlimit(Resource::Nofile, before).expect("the limit is restored");
    let mut next = soon("accepting resumes", tcp.connect(&to)).await.expect("connecting");
    round_trip(&mut next, "after").await;
    round_trip(&mut first, "and still").await;
    server.abort();
}

#[tokio::test]
async fn measured_a39_a_connect_that_is_dropped_leaves_no_descriptor() {
    let _alone = ALONE.lock().await;
    let (_listener, to) = loopback().await;
    let tcp = Tcp::default();
    let mut idle = Context::from_waker(Waker::noop());
    let before = open_descriptors();
    for _ in 0..100 {
        drop(tcp.connect(&to));
        let mut connecting = Box::pin(tcp.connect(&to));
        let _ = connecting.as_mut().poll(&mut idle);
        drop(connecting);
    }
    assert_eq!(open_descriptors(), before);
    assert!(pin!(tcp.connect(&to)).await.is_ok());
}

#[tokio::test]
async fn measured_a10_an_announced_length_takes_no_memory() {
    const PEERS: usize = 400;
    let _alone = ALONE.lock().await;
    allow_all_descriptors();
    let (mut listener, to) = loopback().await;
    let mut held = Vec::new();
    let mut before = 0;
    for index in 0..PEERS {
        let mut peer = TcpStream::connect(socket(&to)).await.expect("connecting");
        let mut far = listener.accept().await.expect("a connection");
        // A mebibyte is announced, eight bytes of it come.
        peer.write_all(b"\0\x10\0\0some of it").await.expect("written");
        let waiting = tokio::spawn(async move { far.recv().await });
        // The next connection is made when this one has read what there is.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        held.push((peer, waiting));
        if index == 20 {
            before = resident_kib();
        }
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for {PEERS} peers that announced as many MiB");
    for (peer, waiting) in held {
        drop(peer);
        let end = soon("the end", waiting).await.expect("no panic");
        assert_eq!(end.expect_err("cut").kind(), net_core::ErrorKind::UnexpectedEnd);
    }
}

#[tokio::test]
async fn measured_d4_memory_and_descriptors_stay_flat_over_many_connections() {
    const CONNECTIONS: usize = 100_000;
    let _alone = ALONE.lock().await;
    let (mut listener, to) = loopback().await;
    let admission = Arc::new(Admission::default());
    listener.set_admission(admission.clone());
    let server = echo(listener);
    let port = to.port().expect("a port");
    let (mut memory, mut descriptors) = (0, 0);
    for index in 0..CONNECTIONS {
        // Addresses of their own, so that no pair of ports is used twice.
        let from = format!("127.0.1.{}:0", index / 1000).parse().expect("an address");
        let tcp = Tcp::new(TcpConfig { bind: Some(from), ..TcpConfig::default() });
        let mut near = tcp.connect(&rig::at(&format!("tcp://127.0.0.1:{port}"))).await.expect("connecting");
        round_trip(&mut near, "hello").await;
        if index % 2 == 0 {
            near.close(std::time::Duration::from_secs(1)).await.expect("a clean end");
        }
        if index == CONNECTIONS / 10 {
            (memory, descriptors) = (resident_kib(), open_descriptors());
        }
    }
    // The last ones are gone when the server has seen their end.
    soon("the last connection's end", async {
        while admission.active() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let grown = resident_kib().saturating_sub(memory);
    assert!(grown < 4 * 1024, "{grown} KiB more after {CONNECTIONS} connections");
    assert!(open_descriptors() <= descriptors + 4);
    server.abort();
}

#[tokio::test]
async fn measured_d4_thousands_of_clients_live_in_one_process() {
    const CLIENTS: usize = 2000;
    let _alone = ALONE.lock().await;
    allow_all_descriptors();
    let room = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    // Two sockets a client; a machine that allows fewer is asked for fewer.
    let clients = room.map_or(CLIENTS, |room| CLIENTS.min(room.saturating_sub(100) / 2));
    let (listener, to) = loopback().await;
    let server = echo(listener);
    let tcp = Tcp::default();
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(tcp.connect(&to).await.expect("connecting"));
    }
    for near in &mut connected {
        round_trip(near, "every one of them is served").await;
    }
    server.abort();
}
