//! The memory budget against the allocator's own count: what a thousand peers begin, or do not read, on real sockets.
//!
//! The tests count what the process allocates, so they run one at a time.

use std::{
    alloc::System,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use net_core::{Info, Limit, Message, MessageKind, Observer, framed::ReadBuffer};
use net_messaging::{Format, HandlerResult, Limits, Server, ServerConfig, Session, SessionConfig};
use net_tcp::{Tcp, TcpConfig};
use socket2::{Domain, Socket, Type};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Held by each test: under `cargo test` they share one process.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Bytes that are allocated now.
fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// Looks at the allocator whenever the server has taken something in or given something up.
#[derive(Debug, Default)]
struct Highest {
    allocated: AtomicUsize,
    opened: watch::Sender<usize>,
    received: watch::Sender<usize>,
    cut: watch::Sender<usize>,
}

impl Highest {
    fn look(&self) {
        self.allocated.fetch_max(allocated(), Ordering::Relaxed);
    }
}

impl Observer for Highest {
    fn opened(&self, _: &Info) {
        self.opened.send_modify(|opened| *opened += 1);
    }

    fn received(&self, _: &Info, messages: u64, _: u64) {
        self.look();
        self.received.send_modify(|received| *received += usize::try_from(messages).expect("few"));
    }

    fn limited(&self, _: &Info, limit: Limit) {
        self.look();
        if limit == Limit::MemoryBudget {
            self.cut.send_modify(|cut| *cut += 1);
        }
    }
}

/// Waits until `count` is `wanted` or more.
async fn reach(what: &str, count: &watch::Sender<usize>, wanted: usize) {
    let mut count = count.subscribe();
    let reached = timeout(Duration::from_secs(20), count.wait_for(|count| *count >= wanted)).await;
    reached.unwrap_or_else(|_| panic!("too few {what}")).expect("the observer lives");
}

/// Waits for the answer of 4 bytes, or for the end of one that was cut.
fn answered_or_cut(peer: &mut TcpStream) {
    let mut answer = [0; 8];
    if let Err(error) = peer.read_exact(&mut answer) {
        let cut = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
        assert!(cut.contains(&error.kind()), "{error}");
    }
}

/// Serves on one thread of its own under a budget of `budget` bytes; gives the server, where it listens and what it tells.
async fn serve<Fut: Future<Output = HandlerResult> + Send + 'static>(
    tcp: TcpConfig,
    budget: usize,
    on_message: impl Fn(&Session, Message) -> Fut + Send + Sync + 'static,
) -> (Server, SocketAddr, Arc<Highest>) {
    let limits = Limits { memory_budget: Some(budget), ..Limits::default() };
    let session = SessionConfig { format: Format::Raw, ..SessionConfig::default() };
    let highest = Arc::new(Highest::default());
    let server = Server::builder(Tcp::new(tcp))
        .config(ServerConfig { limits, session, io_threads: Some(1), ..ServerConfig::default() })
        .observer(highest.clone())
        .on_message(on_message)
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an address");
    (server, to, highest)
}

/// Fails the test unless the sessions of `peers` peers took no more than `budget`, but nearly so much. What is not counted is
/// small change of each session, and what the one thread takes at once.
fn assert_within(budget: usize, peers: usize, before: usize, highest: &Highest, server: &Server) {
    highest.look();
    let highest = highest.allocated.load(Ordering::Relaxed).saturating_sub(before);
    let (bound, left) = (budget + peers * 4 * 1024 + (1 << 20), server.len());
    assert!(highest <= bound, "{highest} bytes were taken, {bound} are allowed; {left} sessions are left");
    assert!(highest > budget / 2, "{highest}: the peers did reach the server");
}

#[tokio::test]
async fn measured_a10_short_messages_that_wait_for_their_handlers_pin_no_more_than_the_budget() {
    const PEERS: usize = 400;
    const BUDGET: usize = 8 << 20;
    let _alone = ALONE.lock().await;
    let (server, to, highest) = serve(TcpConfig::default(), BUDGET, |_, message| {
        // What it keeps is its own affair.
        drop(message);
        std::future::pending::<HandlerResult>()
    })
    .await;
    let mut peers: Vec<_> = (0..PEERS).map(|_| TcpStream::connect(to).expect("connects")).collect();
    reach("sessions", &highest.opened, PEERS).await;
    let before = allocated();
    for peer in &mut peers {
        peer.write_all(b"\0\0\0\x05first\0\0\0\x06second").expect("is taken");
    }
    reach("messages", &highest.received, 2 * PEERS).await;
    // One of the sessions may not have come to rest yet; the thread keeps a few buffers to lend.
    let taken = allocated().saturating_sub(before);
    let bound = BUDGET + PEERS * 4 * 1024 + 20 * ReadBuffer::LENT_LEN;
    assert!(taken <= bound, "{taken} bytes were taken, and {bound} are allowed");
    assert_eq!(server.len(), PEERS, "nobody is cut for what a copy can save");
    drop(server);
}

#[tokio::test]
async fn measured_a10_what_a_thousand_peers_begin_stays_within_the_budget() {
    const PEERS: usize = 1_000;
    const BUDGET: usize = 16 << 20;
    let _alone = ALONE.lock().await;
    let (server, to, highest) =
        serve(TcpConfig::default(), BUDGET, |_, message| async { Ok(Some(message.into_reply())) }).await;
    let mut peers = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        let peer = TcpStream::connect(to).expect("connects");
        peer.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
        peers.push(peer);
    }
    reach("sessions", &highest.opened, PEERS).await;
    // Each asks, so that its answer tells when it was read, and behind that announces a message of 1 MiB less a bit,
    // of which it sends so much that a whole read buffer is pinned.
    let mut begun = [&4_u32.to_be_bytes()[..], b"ping", &1_000_000_u32.to_be_bytes()].concat();
    begun.resize(20_000, 7);
    let before = allocated();
    for peer in &mut peers {
        // One that was cut takes nothing any more.
        let _ = peer.write_all(&begun);
    }
    for peer in &mut peers {
        answered_or_cut(peer);
    }
    reach("cuts", &highest.cut, 1).await;
    // Without a budget it would be 128 MiB.
    assert_within(BUDGET, PEERS, before, &highest, &server);
    server.stop().await;
}

#[tokio::test]
async fn measured_a9_what_waits_for_peers_that_do_not_read_stays_within_the_budget() {
    const PEERS: usize = 300;
    const BUDGET: usize = 16 << 20;
    let _alone = ALONE.lock().await;
    let tcp = TcpConfig { send_buffer_len: Some(16 * 1024), ..TcpConfig::default() };
    let answer = |_: &Session, _| async { Ok(Some(Message::new(MessageKind::Request, 0, vec![7; 40_000]))) };
    let (server, to, highest) = serve(tcp, BUDGET, answer).await;
    let mut peers = Vec::with_capacity(PEERS);
    for _ in 0..PEERS {
        let peer = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // So that nearly all that it does not read waits at the server.
        peer.set_recv_buffer_size(4 * 1024).expect("a length");
        peer.connect(&to.into()).expect("connects");
        peers.push(TcpStream::from(peer));
    }
    reach("sessions", &highest.opened, PEERS).await;
    let before = allocated();
    // Ten answers of 40 KB each: 120 MB for all, of which the senders would take 300 KB each.
    for peer in &mut peers {
        // One that was cut takes nothing any more.
        let _ = peer.write_all(&b"\0\0\0\x04more".repeat(10));
    }
    reach("cuts", &highest.cut, PEERS / 2).await;
    assert_within(BUDGET, PEERS, before, &highest, &server);
    assert!(!server.is_empty(), "what fits is left in peace");
    server.stop().await;
}
