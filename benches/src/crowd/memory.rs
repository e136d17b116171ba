//! Sessions in one process over the memory transport: the engine alone, without a socket.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use net_core::memory::{Memory, MemoryConnection};
use net_core::{Message, MessageKind, Receiver as _, Sender as _, Transport as _};
use net_messaging::{Server, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::time::interval;

use crate::measure::{Watch, Window};

const HEARTBEAT: Duration = Duration::from_secs(10);
const PARTS: usize = 100;

/// What sessions in memory cost. The peers' ends and both directions of each connection are part of it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct InMemory {
    /// Sessions.
    pub sessions: usize,
    /// KiB resident before the first and with all of them.
    pub before_kib: u64,
    /// See `before_kib`.
    pub held_kib: u64,
    /// Seconds that opening all of them took, a message exchanged on each.
    pub open_s: f64,
    /// Share of a core while all are idle, the heartbeats of both sides included.
    pub cpu_share: f64,
    /// Seconds until each had a broadcast.
    pub broadcast_s: f64,
    /// How many had it.
    pub reached: usize,
}

/// Opens `sessions` and holds them for `hold`.
///
/// # Errors
/// When a session breaks.
pub fn run(sessions: usize, hold: Duration) -> io::Result<InMemory> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(sessions, hold))
}

async fn measure(sessions: usize, hold: Duration) -> io::Result<InMemory> {
    let memory = Memory::default();
    let mut config = ServerConfig::default();
    config.limits.max_connections = sessions + 2;
    let server = Server::builder(memory.clone())
        .config(config)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("mem://crowd")
        .await
        .map_err(io::Error::other)?;
    drop(exchange(&memory, &server).await?);
    let watch = Watch::new(std::process::id());
    let before_kib = watch.memory()?.rss_kib;
    let began = Instant::now();
    let mut peers = Vec::with_capacity(sessions);
    for _ in 0..sessions {
        peers.push(exchange(&memory, &server).await?);
    }
    let open_s = began.elapsed().as_secs_f64();
    let window = Window::begin(Some(watch))?;
    idle(&mut peers, hold).await;
    let idle = window.end()?;
    let held_kib = watch.memory()?.rss_kib;
    let began = Instant::now();
    server.broadcast(Message::new(MessageKind::Notification, 0, vec![0x5a; 64]));
    let mut reached = 0;
    for peer in &mut peers {
        while let Some(frame) = peer.rx.recv().await.map_err(io::Error::other)? {
            if Message::decode(frame).is_ok_and(|message| message.kind() == MessageKind::Notification) {
                reached += 1;
                break;
            }
        }
    }
    let cpu = Duration::from_nanos(idle.server_cpu_ns.unwrap_or(0)).as_secs_f64();
    Ok(InMemory {
        sessions: server.len(),
        before_kib,
        held_kib,
        open_s,
        cpu_share: cpu / idle.seconds,
        broadcast_s: began.elapsed().as_secs_f64(),
        reached,
    })
}

async fn exchange(memory: &Memory, server: &Server) -> io::Result<MemoryConnection> {
    let mut peer = memory.connect(server.local()).await.map_err(io::Error::other)?;
    let request = Message::new(MessageKind::Request, 7, vec![1; 64]);
    peer.tx.send(request.encode()).await.map_err(io::Error::other)?;
    let answer = peer.rx.recv().await.map_err(io::Error::other)?;
    let right = answer.and_then(|frame| Message::decode(frame).ok()).is_some_and(|answer| answer.id() == 7);
    if right { Ok(peer) } else { Err(io::Error::other("another answer than was asked for")) }
}

/// Keeps all peers alive, and takes what they are told.
async fn idle(peers: &mut [MemoryConnection], hold: Duration) {
    let until = Instant::now() + hold;
    let mut ticks = interval(HEARTBEAT / u32::try_from(PARTS).unwrap_or(1));
    let heartbeat = Message::new(MessageKind::Heartbeat, 0, Bytes::new()).encode();
    for part in (0..PARTS).cycle() {
        ticks.tick().await;
        if Instant::now() >= until {
            return;
        }
        for peer in peers.iter_mut().skip(part).step_by(PARTS) {
            let _ = peer.tx.send(heartbeat.clone()).now_or_never();
            while let Some(Ok(Some(_))) = peer.rx.recv().now_or_never() {}
        }
    }
}
