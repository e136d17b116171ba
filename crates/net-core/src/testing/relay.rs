//! A relay of UDP between a client and a server: seeded faults below what runs over datagrams, another address, a forger.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    net::UdpSocket,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{Faults, link::Direction};

/// The longest datagram.
const MAX_DATAGRAM_LEN: usize = 65_535;
/// How many datagrams are kept at the most of what is recorded.
const MAX_RECORDED: usize = 100_000;
/// How many datagrams are under way at the most; more are lost, as on a path whose queues are full.
const MAX_FLYING: usize = 65_536;
/// Of so many datagrams of the client one is forged.
const FORGED: u64 = 8;

/// What goes wrong on a [`Relay`].
///
/// Of the [`Faults`] those count that a datagram can meet: delay, jitter, loss, reordering, duplication, a black hole,
/// partitions (counted from the relay's start).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::testing::{Faults, RelayConfig};
///
/// // 50 ms there and back, and one datagram of a hundred is lost in each direction.
/// let faults = Faults { delay: Duration::from_millis(25), loss: 0.01, ..Faults::default() };
/// let config = RelayConfig::both(7, faults);
/// assert_eq!(config.there, config.back);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelayConfig {
    /// What all chance is drawn from. Default: 0.
    pub seed: u64,
    /// The faults from the client to the server. Default: none.
    pub there: Faults,
    /// The faults from the server to the client. Default: none.
    pub back: Faults,
}

impl RelayConfig {
    /// Gives both directions the same faults.
    pub fn both(seed: u64, faults: Faults) -> Self {
        Self { seed, there: faults.clone(), back: faults }
    }
}

/// A relay of UDP between one client, the first that sends to it, and a server. It ends when it is dropped.
///
/// Unlike a [`Link`](super::Link) it is below what runs over UDP, so that what answers for losses, such as QUIC, meets
/// them. Which datagrams of a direction are lost follows from the seed and their order alone.
///
/// # Examples
///
/// ```
/// use net_core::testing::{Relay, RelayConfig};
/// use tokio::net::UdpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let relay = Relay::new(server.local_addr()?, RelayConfig::default()).await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to(b"hello", relay.address()).await?;
/// let mut buffer = [0; 16];
/// let (len, seen_as) = server.recv_from(&mut buffer).await?;
/// assert_eq!(&buffer[..len], b"hello");
/// server.send_to(b"welcome", seen_as).await?;
/// let (len, _) = client.recv_from(&mut buffer).await?;
/// assert_eq!(&buffer[..len], b"welcome");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    config: RelayConfig,
    start: Instant,
    hop: AtomicBool,
    forge: AtomicBool,
    record: AtomicBool,
    recorded: Mutex<Vec<Vec<u8>>>,
    lost: AtomicU64,
    carried: watch::Sender<u64>,
    forged: AtomicU64,
    answered: AtomicU64,
}

impl Relay {
    /// Carries datagrams between a client and `server`, at an address of loopback of the same family.
    ///
    /// # Errors
    ///
    /// Why there can be no socket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn new(server: SocketAddr, config: RelayConfig) -> io::Result<Self> {
        let client_side = UdpSocket::bind(loopback(server)).await?;
        let address = client_side.local_addr()?;
        let (up, forger) = (upstream(server).await?, upstream(server).await?);
        let shared = Arc::new(Shared {
            config,
            start: Instant::now(),
            hop: AtomicBool::default(),
            forge: AtomicBool::default(),
            record: AtomicBool::default(),
            recorded: Mutex::default(),
            lost: AtomicU64::default(),
            carried: watch::Sender::default(),
            forged: AtomicU64::default(),
            answered: AtomicU64::default(),
        });
        let carrier =
            Carrier { client_side, client: None, server, up, forger, came: 0, shared: shared.clone() };
        Ok(Self { address, shared, running: tokio::spawn(carrier.run()) })
    }

    /// Returns where the client sends to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the server see another address of the client from its next datagram on, as a NAT does.
    pub fn hop(&self) {
        self.shared.hop.store(true, Ordering::SeqCst);
    }

    /// Sends every eighth datagram of the client from another address too, ahead of itself: as one does who sees all.
    pub fn forge(&self, on: bool) {
        self.shared.forge.store(on, Ordering::SeqCst);
    }

    /// Returns how many datagrams were sent from the forged address, and how many bytes the server sent to it.
    pub fn forged(&self) -> (u64, u64) {
        (self.shared.forged.load(Ordering::SeqCst), self.shared.answered.load(Ordering::SeqCst))
    }

    /// Keeps what the client sends from now on.
    pub fn record(&self) {
        self.shared.record.store(true, Ordering::SeqCst);
    }

    /// Returns the datagrams that were kept, oldest first; no more than the first 100 000.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        self.shared.recorded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many datagrams were lost, in both directions.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Returns how many datagrams came and were not lost, in both directions.
    pub fn carried(&self) -> u64 {
        *self.shared.carried.borrow()
    }

    /// Waits until so many datagrams came and were not lost.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn until_carried(&self, count: u64) {
        let mut carried = self.shared.carried.subscribe();
        // It fails only where the sender is gone, which this relay holds.
        let _ = carried.wait_for(|carried| *carried >= count).await;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn loopback(like: SocketAddr) -> SocketAddr {
    if like.is_ipv6() { (Ipv6Addr::LOCALHOST, 0).into() } else { (Ipv4Addr::LOCALHOST, 0).into() }
}

/// Returns a socket with an address of its own for the way to `server`.
async fn upstream(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(loopback(server)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// What carries the datagrams of a relay.
struct Carrier {
    client_side: UdpSocket,
    client: Option<SocketAddr>,
    server: SocketAddr,
    up: UdpSocket,
    forger: UdpSocket,
    /// Datagrams of the client.
    came: u64,
    shared: Arc<Shared>,
}

impl Carrier {
    async fn run(mut self) {
        let mut flying: BTreeMap<(Instant, u64), (Direction, Vec<u8>)> = BTreeMap::new();
        let mut number = 0;
        let [mut from_client, mut from_server, mut to_forger] = [(); 3].map(|()| vec![0; MAX_DATAGRAM_LEN]);
        let seed = self.shared.config.seed;
        // Each direction has chance of its own: how the two interleave changes nothing.
        let [mut there, mut back] = [seed, !seed].map(fastrand::Rng::with_seed);
        loop {
            let next = flying.keys().next().map(|(due, _)| *due);
            let (direction, bytes) = tokio::select! {
                biased;
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let now = Instant::now();
                    while let Some(first) = flying.first_entry() && first.key().0 <= now {
                        let (direction, bytes) = first.remove();
                        self.deliver(direction, &bytes).await;
                    }
                    continue;
                }
                received = self.client_side.recv_from(&mut from_client) => {
                    let Ok((len, from)) = received else { continue };
                    // Somebody else may ask whether anybody is there.
                    if *self.client.get_or_insert(from) != from {
                        continue;
                    }
                    let bytes = from_client.get(..len).unwrap_or_default().to_vec();
                    self.look_at(&bytes).await;
                    (Direction::There, bytes)
                }
                received = self.up.recv(&mut from_server) => {
                    let Ok(len) = received else { continue };
                    (Direction::Back, from_server.get(..len).unwrap_or_default().to_vec())
                }
                received = self.forger.recv(&mut to_forger) => {
                    self.shared.answered.fetch_add(received.unwrap_or(0) as u64, Ordering::SeqCst);
                    continue;
                }
            };
            let (faults, rng) = match direction {
                Direction::There => (&self.shared.config.there, &mut there),
                Direction::Back => (&self.shared.config.back, &mut back),
            };
            let fate = faults.fate(rng, bytes.len(), self.shared.start.elapsed(), true);
            if fate.losses > 0 || flying.len() >= MAX_FLYING {
                self.shared.lost.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            for due in fate.due.into_iter().flatten() {
                number += 1;
                flying.insert((self.shared.start + due, number), (direction, bytes.clone()));
            }
            self.shared.carried.send_modify(|carried| *carried += 1);
        }
    }

    /// Does what is asked for with a datagram of the client, before it is on its way.
    async fn look_at(&mut self, bytes: &[u8]) {
        self.came += 1;
        if self.shared.record.load(Ordering::SeqCst) {
            let mut recorded = self.shared.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            if recorded.len() < MAX_RECORDED {
                recorded.push(bytes.to_vec());
            }
        }
        if self.shared.hop.swap(false, Ordering::SeqCst)
            && let Ok(another) = upstream(self.server).await
        {
            self.up = another;
        }
        if self.shared.forge.load(Ordering::SeqCst) && self.came.is_multiple_of(FORGED) {
            self.shared.forged.fetch_add(1, Ordering::SeqCst);
            // What is refused is lost.
            let _ = self.forger.send(bytes).await;
        }
    }

    async fn deliver(&self, direction: Direction, bytes: &[u8]) {
        // A refusal is for whoever waits for an answer.
        let _ = match (direction, self.client) {
            (Direction::There, _) => self.up.send(bytes).await,
            (Direction::Back, Some(client)) => self.client_side.send_to(bytes, client).await,
            (Direction::Back, None) => Ok(0),
        };
    }
}
