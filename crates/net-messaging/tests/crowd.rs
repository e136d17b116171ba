//! Thousands of connections over TCP in one process: what they cost, and that nothing is left of them.
//!
//! The tests measure their process, so they run one at a time.
#![cfg(target_os = "linux")]

#[path = "engine/rig.rs"]
mod rig;

use std::{fs, time::Duration};

use net_core::Address;
use net_messaging::{Client, CloseReason, Delivery, Limits, OutboxConfig, Overflow, Server, Session};
use net_tcp::{Tcp, TcpConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpSocket, net::TcpStream, time::Instant};

use rig::{Ruled, Rules, patient, secs, soon, unlimited};
use tokio::sync::Mutex;

/// Held by each test: under `cargo test` they share one process.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Lets this process have as many descriptors as the system allows, and expects `needed`.
fn descriptors(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("raises the limit");
    assert!(limit.maximum.is_none_or(|most| most >= needed), "needs {needed} descriptors: {limit:?}");
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Returns the resident memory of this process, in KiB.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).expect("a field").parse().expect("a number");
    pages * u64::try_from(rustix::param::page_size()).expect("small") / 1024
}

/// Returns the time that all threads of this process have run.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let ran = |task: std::io::Result<fs::DirEntry>| {
        let schedstat = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(ran).sum())
}

async fn echo(tcp: Tcp, rules: impl Into<Rules>) -> Server {
    Server::builder(tcp)
        .rules(rules)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens")
}

/// Connects so many clients at once, and asks each one thing.
async fn wave(to: &Address, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for part in (0..count).collect::<Vec<_>>().chunks(250) {
        let connecting: Vec<_> = part
            .iter()
            .map(|n| {
                let (to, n) = (to.clone(), *n);
                tokio::spawn(async move {
                    let client = Client::builder(Tcp::default()).connect(&to).await.expect("connects");
                    let answer = client.request(format!("{n}")).await.expect("answers");
                    assert_eq!(answer.payload(), &format!("{n}"));
                    client
                })
            })
            .collect();
        for connected in connecting {
            clients.push(soon("a client", connected).await.expect("runs"));
        }
    }
    clients
}

#[tokio::test]
async fn measured_d4_thousands_of_clients_in_one_process_leave_nothing_behind() {
    const CLIENTS: usize = 3_000;
    let _alone = ALONE.lock().await;
    descriptors(2 * CLIENTS as u64 + 100);
    let server = echo(Tcp::default(), Limits::default()).await;
    let before = open_descriptors();
    let mut memory = Vec::new();
    for _ in 0..6 {
        let clients = wave(server.local(), CLIENTS).await;
        assert_eq!((server.len(), server.connections()), (CLIENTS, CLIENTS));
        assert_eq!(server.broadcast("to all").sent, CLIENTS);
        assert!(clients.iter().all(Client::is_connected));
        drop(clients);
        soon("the end of all", async {
            while !server.is_empty() || server.connections() > 0 || open_descriptors() > before {
                tokio::task::yield_now().await;
            }
        })
        .await;
        memory.push(resident());
    }
    // The first waves warm the allocator; 9 KB for each closed connection would be 27 MB a wave.
    assert!(memory[5] < memory[2] + 6_000, "KiB after each wave: {memory:?}");
}

/// Connects a peer that never reads, with as small a window as the system gives.
async fn stalled(to: &Address) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("sets it");
    socket.connect(to.socket().expect("an IP address")).await.expect("connects")
}

async fn stalled_crowd(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        peers.push(stalled(server.local()).await);
    }
    soon("all sessions", async {
        while server.len() < count || !server.sessions().iter().all(Session::is_active) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    peers
}

#[tokio::test]
async fn measured_a9_a_thousand_stalled_readers_cost_neither_memory_nor_cpu() {
    const PEERS: usize = 1_000;
    let _alone = ALONE.lock().await;
    descriptors(2 * PEERS as u64 + 100);
    // They stay, however long they are stalled: what they cost is to be seen.
    let outbox = OutboxConfig { max_bytes: 32 * 1024, overflow: Overflow::Refuse, ..OutboxConfig::default() };
    let config =
        TcpConfig { send_buffer_len: Some(8 * 1024), max_buffered: 16 * 1024, ..TcpConfig::default() };
    let server = echo(Tcp::new(config), Limits { outbox, ..unlimited() }).await;
    let peers = stalled_crowd(&server, PEERS).await;
    let client =
        Client::builder(Tcp::default()).rules(patient()).connect(server.local()).await.expect("connects");
    client.request("hello").await.expect("answers");
    let own = server.sessions().into_iter().max_by_key(Session::id).expect("the client's");
    let stalled = |session: &Session| *session != own;

    // Until no one takes any more, neither the system nor the engine.
    soon("full outboxes", async {
        while server.broadcast_if(vec![7; 1_000], stalled).full < PEERS {
            client.request("still served").await.expect("answers");
        }
    })
    .await;
    for session in server.sessions() {
        assert!(session.stats().waiting_bytes <= 32 * 1024);
    }
    let full = resident();
    let mut slowest = Duration::ZERO;
    for round in 0..300 {
        assert_eq!(server.broadcast_if(vec![8; 1_000], stalled).full, PEERS, "round {round}");
        for session in server.sessions().iter().filter(|session| stalled(session)) {
            assert_eq!(session.send(vec![9; 1_000]).expect("refuses"), Delivery::Full);
        }
        let began = Instant::now();
        client.request("still served").await.expect("answers");
        slowest = slowest.max(began.elapsed());
    }
    let grown = resident().saturating_sub(full);
    assert!(grown < 4_000, "{grown} KiB more after 300 000 messages that nobody takes");
    assert!(slowest < Duration::from_millis(500), "another client waited for {slowest:?}");

    // An observation, not a wait: what does it cost that they are there?
    let before = cpu();
    tokio::time::sleep(secs(3)).await;
    let spent = cpu().saturating_sub(before);
    assert!(spent < Duration::from_millis(60), "{spent:?} of CPU in 3 s in which nothing happens");
    assert_eq!(server.len(), PEERS + 1);
    drop(peers);
    soon("their end", async {
        while server.len() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a9_stalled_readers_are_disconnected_at_the_deadline_and_others_are_unaffected() {
    const PEERS: usize = 50;
    let _alone = ALONE.lock().await;
    let config =
        TcpConfig { send_buffer_len: Some(8 * 1024), max_buffered: 16 * 1024, ..TcpConfig::default() };
    let session = Limits { stall_timeout: Some(Duration::from_millis(800)), ..unlimited() };
    let server = echo(Tcp::new(config), session).await;
    let peers = stalled_crowd(&server, PEERS).await;
    let sessions = server.sessions();
    let client = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
    for _ in 0..100 {
        for session in &sessions {
            assert!(session.send(vec![7; 1_000]).expect("sends").is_accepted());
        }
    }
    soon("the deadline", async {
        while server.len() > 1 {
            assert_eq!(client.request("hello").await.expect("answers").payload(), "hello");
        }
    })
    .await;
    for session in &sessions {
        assert!(matches!(session.closed().await, CloseReason::Stalled), "{:?}", session.close_reason());
    }
    assert!(client.is_connected());
    drop(peers);
}
