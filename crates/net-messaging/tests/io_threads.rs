//! Servers on runtimes of their own.
//!
//! The tests look for the threads of their process, so they run one at a time.
#![cfg(target_os = "linux")]

#[path = "engine/rig.rs"]
mod rig;

use std::{collections::HashSet, thread, time::Duration};

use net_core::{Observer, memory::Memory};
use net_messaging::{Client, Limits, Server, ServerConfig};
use net_tcp::Tcp;
use tokio::sync::{Mutex, mpsc};

use rig::{secs, soon};

/// Held by each test: under `cargo test` they share one process.
static ALONE: Mutex<()> = Mutex::const_new(());

fn threads(n: usize) -> ServerConfig {
    ServerConfig { io_threads: Some(n), ..ServerConfig::default() }
}

/// Returns the names of this process's threads that serve.
fn serving() -> Vec<String> {
    named("net-io-")
}

/// Returns the names of this process's threads that begin so.
fn named(beginning: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end while its name is read.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks
        .filter_map(name)
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with(beginning))
        .collect()
}

/// Waits until so many threads serve, and one looks at their deadlines where there are any: each gives itself its name.
async fn until(count: usize) {
    soon("the threads", async {
        while serving().len() != count || named("net-sweep").len() != count.min(1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// An echo server that tells on which thread each message was handled.
async fn echo<T: net_core::Transport>(
    transport: T,
    at: &str,
    n: usize,
) -> (Server, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let server = Server::builder(transport)
        .config(threads(n))
        .on_message(move |_, message| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            tell.send(name).expect("is heard");
            async { Ok(message.into_reply()) }
        })
        .listen(at)
        .await;
    (server.expect("listens"), told)
}

#[tokio::test]
async fn two_io_threads_serve_one_tcp_port_and_end_with_a_drain() {
    let _alone = ALONE.lock().await;
    let (server, mut told) = echo(Tcp::default(), "tcp://127.0.0.1:0", 2).await;
    until(2).await;
    // The kernel deals connections out by a hash of their ports: in so many, both threads have some.
    let mut clients = Vec::new();
    let mut names = HashSet::new();
    while names.len() < 2 {
        assert!(clients.len() < 200, "one thread serves all: {names:?}");
        let client = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
        assert_eq!(client.request("hello").await.expect("answers").payload(), "hello");
        names.insert(told.recv().await.expect("is told"));
        clients.push(client);
    }
    assert_eq!(names, HashSet::from(["net-io-0".to_owned(), "net-io-1".to_owned()]));
    // All sessions are one set, and sessions of one thread are reached from any other.
    assert_eq!(server.len(), clients.len());
    assert_eq!(server.broadcast("to all").sent, clients.len());
    let draining = tokio::spawn({
        let server = server.clone();
        async move { server.drain(secs(0)..=secs(10)).await }
    });
    let report = soon("the drain", draining).await.expect("runs");
    assert_eq!((report.active, report.cut), (clients.len(), 0));
    until(0).await;
}

#[tokio::test]
async fn a_transport_with_one_listener_is_served_by_one_io_thread() {
    let _alone = ALONE.lock().await;
    let memory = Memory::default();
    let (server, mut told) = echo(memory.clone(), "mem://server", 4).await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    assert_eq!(client.request("hello").await.expect("answers").payload(), "hello");
    assert_eq!(told.recv().await.as_deref(), Some("net-io-0"));
    assert_eq!(serving(), ["net-io-0"]);
    // The last handle that is dropped ends the thread, with a client still there.
    drop(server);
    until(0).await;
    soon("the end", async {
        while client.is_connected() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn zero_io_threads_are_one_for_each_core() {
    let _alone = ALONE.lock().await;
    let (server, _told) = echo(Tcp::default(), "tcp://127.0.0.1:0", 0).await;
    until(thread::available_parallelism().map_or(1, usize::from)).await;
    server.stop().await;
    until(0).await;
}

#[tokio::test]
async fn a30_a_handler_that_blocks_one_io_thread_keeps_no_deadline_of_another_from_being_looked_at() {
    #[derive(Debug)]
    struct Blocked(mpsc::UnboundedSender<Duration>);
    impl Observer for Blocked {
        fn runtime_blocked(&self, late: Duration) {
            let _ = self.0.send(late);
        }
    }
    let _alone = ALONE.lock().await;
    let (tell_blocked, mut blocked) = mpsc::unbounded_channel();
    let (tell_thread, mut told) = mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let limits = Limits { idle_timeout: Some(secs(3)), ..Limits::default() };
    let server = Server::builder(Tcp::default())
        .config(ServerConfig { limits, ..threads(2) })
        .observer(Blocked(tell_blocked))
        .on_message(move |_, message| {
            tell_thread.send(thread::current().name().map(str::to_owned)).expect("is heard");
            if message.payload() == "block" {
                // What is wrong: it blocks the thread that other sessions need.
                released.lock().expect("one at a time").recv_timeout(secs(20)).expect("is released");
            }
            async { Ok(message.into_reply()) }
        })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    // Two clients whom different threads serve.
    let blocker = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
    blocker.request("where").await.expect("answers");
    let first = told.recv().await.expect("is told");
    let other = loop {
        let other = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
        other.request("where").await.expect("answers");
        if told.recv().await.expect("is told") != first {
            break other;
        }
    };
    blocker.send_wait("block").await.expect("is sent");
    assert_eq!(told.recv().await.expect("is told"), first);
    // From here on it is idle; its thread is free, the other one is not.
    other.request("where").await.expect("answers");
    let ended = other.session().expect("is connected");
    soon("the idle session's end", ended.closed()).await;
    release.send(()).expect("is waited for");
    let late = soon("the observer", blocked.recv()).await.expect("is told");
    assert!(late > Duration::from_millis(100), "{late:?}");
}

#[tokio::test]
async fn deadlines_are_kept_on_every_io_thread() {
    let _alone = ALONE.lock().await;
    let limits = Limits { idle_timeout: Some(Duration::from_millis(200)), ..Limits::default() };
    let server = Server::builder(Tcp::default())
        .config(ServerConfig { limits, ..threads(2) })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let mut ends = Vec::new();
    for _ in 0..20 {
        let client = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
        ends.push(tokio::spawn(async move {
            client.session().expect("is connected").closed().await;
        }));
    }
    for end in ends {
        soon("the idle time-out", end).await.expect("runs");
    }
    drop(server);
    until(0).await;
}

#[tokio::test]
async fn a_handler_that_blocks_its_io_thread_does_not_block_a_drain() {
    let _alone = ALONE.lock().await;
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::builder(Tcp::default())
        .config(threads(1))
        .on_message(move |_, _| {
            tell.send(()).expect("is heard");
            // What is wrong: it blocks its runtime.
            let _ = wait.lock().expect("not poisoned").recv();
            async { Ok(None) }
        })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let client = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
    client.send_wait("block").await.expect("sends");
    soon("the handler", told.recv()).await;
    let report = soon("the drain", server.drain(Duration::ZERO..=Duration::from_millis(300))).await;
    assert_eq!(report.cut, 1);
    release.send(()).expect("it waits");
    until(0).await;
}
