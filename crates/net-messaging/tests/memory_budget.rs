//! The memory budget against the allocator's own count: what a thousand peers begin on real sockets.

use std::{
    alloc::System,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use net_messaging::{Limits, Server, ServerConfig};
use net_tcp::Tcp;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

#[tokio::test]
async fn measured_a10_what_a_thousand_peers_begin_stays_within_the_budget() {
    const PEERS: usize = 1_000;
    const BUDGET: usize = 16 << 20;
    let limits = Limits { memory_budget: Some(BUDGET), ..Limits::default() };
    let server = Server::builder(Tcp::default())
        .config(ServerConfig { limits, io_threads: Some(1), ..ServerConfig::default() })
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to: SocketAddr = server.local().to_string()["tcp://".len()..].parse().expect("an address");
    let mut peers = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        peers.push(TcpStream::connect(to).expect("connects"));
    }
    while server.len() < PEERS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Each announces a message of 1 MiB less a bit, and sends so much of it that a whole read buffer is pinned.
    let mut begun = vec![7; 20_000];
    begun[..4].copy_from_slice(&1_000_000_u32.to_be_bytes());
    let (before, mut highest) = (allocated(), 0);
    for peer in &mut peers {
        // One that was cut takes nothing any more.
        let _ = peer.write_all(&begun);
        highest = highest.max(allocated().saturating_sub(before));
        tokio::task::yield_now().await;
    }
    // Until the last of them was received: the sweeps cut more, so it only becomes less.
    for _ in 0..300 {
        highest = highest.max(allocated().saturating_sub(before));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let left = server.len();
    assert!(left < PEERS, "some are cut");
    // Without a budget it would be 128 MiB. What is not counted is small change of each session, and what the one
    // thread takes in at once.
    let bound = BUDGET + PEERS * 4 * 1024 + (1 << 20);
    assert!(
        highest <= bound,
        "{highest} bytes were taken, and {bound} are allowed; {left} sessions are left"
    );
    assert!(highest > BUDGET / 2, "{highest}: the peers did reach the server");
    server.stop().await;
}
