//! A relay of UDP between a client and a server: it delays, loses, reorders, repeats, and changes the address that is seen.
//!
//! What happens to a datagram follows from a seed and its number alone.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// What a relay does to what it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) seed: u64,
    /// How many of a thousand datagrams are lost, in each direction.
    pub(crate) loss: u16,
    /// How long a datagram is on its way, in each direction.
    pub(crate) delay: Duration,
    /// How many of a thousand are on their way for half as long again, and overtaken.
    pub(crate) reorder: u16,
}

impl Default for Link {
    fn default() -> Self {
        Self { seed: 1, loss: 0, delay: Duration::ZERO, reorder: 0 }
    }
}

/// A relay for one client at a time, ended when dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    hop: AtomicBool,
    forge: AtomicBool,
    record: AtomicBool,
    recorded: Mutex<Vec<Vec<u8>>>,
    lost: AtomicU64,
    carried: AtomicU64,
    /// Datagrams that were sent from a forged address, and bytes that came to it.
    forged: AtomicU64,
    answered: AtomicU64,
}

impl Relay {
    pub(crate) async fn new(server: SocketAddr, link: Link) -> Self {
        let socket = UdpSocket::bind(any(server)).await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let running = tokio::spawn(run(socket, server, link, shared.clone()));
        Self { address, shared, running }
    }

    /// The server sees another address of the client from now on.
    pub(crate) fn hop(&self) {
        self.shared.hop.store(true, Ordering::SeqCst);
    }

    /// Every eighth datagram of the client is sent from another address too, ahead of itself, by one who sees all.
    pub(crate) fn forge(&self, on: bool) {
        self.shared.forge.store(on, Ordering::SeqCst);
    }

    /// Keeps what the client sends from now on.
    pub(crate) fn record(&self) {
        self.shared.record.store(true, Ordering::SeqCst);
    }

    pub(crate) fn recorded(&self) -> Vec<Vec<u8>> {
        self.shared.recorded.lock().expect("unpoisoned").clone()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }

    pub(crate) fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::SeqCst)
    }

    /// Datagrams sent from a forged address, and bytes that the server sent to it.
    pub(crate) fn forged(&self) -> (u64, u64) {
        (self.shared.forged.load(Ordering::SeqCst), self.shared.answered.load(Ordering::SeqCst))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn any(like: SocketAddr) -> SocketAddr {
    if like.is_ipv6() { "[::1]:0".parse() } else { "127.0.0.1:0".parse() }.expect("an address")
}

async fn upstream(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(any(server)).await.expect("a socket");
    socket.connect(server).await.expect("connected");
    socket
}

/// A datagram on its way.
struct Flying {
    bytes: Vec<u8>,
    to_server: bool,
}

async fn run(downstream: UdpSocket, server: SocketAddr, link: Link, shared: Arc<Shared>) {
    let mut up = upstream(server).await;
    let forger = upstream(server).await;
    let mut client = None;
    let mut flying: BTreeMap<(Instant, u64), Flying> = BTreeMap::new();
    let mut number = 0;
    let (mut from_client, mut from_server, mut to_forger) =
        (vec![0; 65_536], vec![0; 65_536], vec![0; 65_536]);
    let mut up_dice = fastrand::Rng::with_seed(link.seed);
    let mut down_dice = fastrand::Rng::with_seed(link.seed ^ 0xffff);
    loop {
        let next = flying.keys().next().map(|(due, _)| *due);
        let (bytes, to_server) = tokio::select! {
            biased;
            () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {
                let now = Instant::now();
                while let Some(first) = flying.first_entry() && first.key().0 <= now {
                    let datagram = first.remove();
                    let sent = match (datagram.to_server, client) {
                        (true, _) => up.send(&datagram.bytes).await.map(drop),
                        (false, Some(client)) => downstream.send_to(&datagram.bytes, client).await.map(drop),
                        (false, None) => Ok(()),
                    };
                    // A refusal is for whoever waits for an answer.
                    let _: io::Result<()> = sent;
                }
                continue;
            }
            received = downstream.recv_from(&mut from_client) => {
                let Ok((len, from)) = received else { continue };
                // Not QUIC: somebody asks whether anybody is there.
                if len < 20 {
                    continue;
                }
                client = Some(from);
                let bytes = from_client.iter().take(len).copied().collect::<Vec<_>>();
                if shared.record.load(Ordering::SeqCst) {
                    shared.recorded.lock().expect("unpoisoned").push(bytes.clone());
                }
                if shared.hop.swap(false, Ordering::SeqCst) {
                    up = upstream(server).await;
                }
                if shared.forge.load(Ordering::SeqCst) && number % 8 == 0 {
                    shared.forged.fetch_add(1, Ordering::SeqCst);
                    let _ = forger.send(&bytes).await;
                }
                (bytes, true)
            }
            received = up.recv(&mut from_server) => {
                let Ok(len) = received else { continue };
                (from_server.iter().take(len).copied().collect(), false)
            }
            received = forger.recv(&mut to_forger) => {
                shared.answered.fetch_add(received.unwrap_or(0) as u64, Ordering::SeqCst);
                continue;
            }
        };
        number += 1;
        let dice = if to_server { &mut up_dice } else { &mut down_dice };
        let (lost, overtaken) = (dice.u16(0..1000) < link.loss, dice.u16(0..1000) < link.reorder);
        if lost {
            shared.lost.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        shared.carried.fetch_add(1, Ordering::SeqCst);
        let delay = if overtaken { link.delay.mul_f64(1.5) } else { link.delay };
        flying.insert((Instant::now() + delay, number), Flying { bytes, to_server });
    }
}
