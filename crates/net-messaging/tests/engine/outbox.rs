//! What becomes of messages that are sent without waiting, and how much memory they hold.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use net_core::{ErrorKind, Message, MessageKind, Observer, memory::Memory};
use net_messaging::{Delivery, Limits, OutboxConfig, Overflow, Server, Session};
use tokio::time::Instant;

use crate::rig::{Peer, Ruled, feed, listen, narrow, only, push, secs, settle, soon, unlimited};

/// A server with this outbox, a peer that takes nothing yet, and the session between them, whose way is full.
async fn blocked(memory: &Memory, outbox: OutboxConfig) -> (Server, Peer, Session) {
    let server = listen(Server::builder(memory.clone()).rules(Limits { outbox, ..unlimited() })).await;
    let peer = Peer::connect(memory, server.local()).await;
    let session = only(&server).await;
    push(&session, "under way");
    settle().await;
    assert_eq!(session.stats().waiting_messages, 0);
    (server, peer, session)
}

fn outbox(max_messages: usize, overflow: Overflow) -> OutboxConfig {
    OutboxConfig { max_messages, overflow, ..OutboxConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn send_says_sent_then_queued_then_full() {
    let memory = narrow();
    let config = OutboxConfig { max_bytes: 4_000, high_water: 2_000, ..OutboxConfig::default() };
    let (_server, mut peer, session) = blocked(&memory, config).await;
    let began = Instant::now();
    let said: Vec<_> = (0..10).map(|_| session.send(vec![0; 500]).expect("sends")).collect();
    assert_eq!(began.elapsed(), secs(0), "send never waits");
    let place = |delivery| said.iter().position(|other| *other == delivery).expect("it was said");
    assert_eq!(place(Delivery::Sent), 0);
    assert!(place(Delivery::Queued) > 0 && place(Delivery::Full) > place(Delivery::Queued), "{said:?}");
    let accepted = said.iter().filter(|delivery| delivery.is_accepted()).count();
    // What is refused does not arrive, what is accepted does.
    session.disconnect();
    for _ in 0..=accepted {
        peer.recv().await;
    }
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_messages_is_kept() {
    for overflow in [Overflow::Disconnect, Overflow::Refuse] {
        let memory = narrow();
        let (_server, _peer, session) = blocked(&memory, outbox(5, overflow)).await;
        for _ in 0..5 {
            push(&session, "");
        }
        assert_eq!(session.send("").expect("sends"), Delivery::Full);
        settle().await;
        assert_eq!(session.send("").expect("sends"), Delivery::Full, "what the driver holds counts too");
        assert_eq!(session.stats().waiting_messages, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn one_message_always_fits() {
    let memory = narrow();
    let config = OutboxConfig { max_bytes: 10, ..OutboxConfig::default() };
    let (_server, mut peer, session) = blocked(&memory, config).await;
    push(&session, vec![0; 100_000]);
    assert_eq!(session.send("x").expect("sends"), Delivery::Full);
    assert_eq!(peer.text().await, "under way");
    assert_eq!(peer.recv().await.payload().len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn drop_newest_drops_what_comes_and_counts_it() {
    let memory = narrow();
    let (_server, mut peer, session) = blocked(&memory, outbox(3, Overflow::DropNewest)).await;
    for n in 0..3 {
        push(&session, format!("{n}"));
    }
    for _ in 0..7 {
        assert_eq!(session.send("dropped").expect("sends"), Delivery::Dropped);
    }
    assert_eq!(session.stats().dropped_messages, 7);
    session.disconnect();
    for expected in ["under way", "0", "1", "2"] {
        assert_eq!(peer.text().await, expected);
    }
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_drops_what_waits_longest_and_counts_it() {
    for settled in [false, true] {
        let memory = narrow();
        let (_server, mut peer, session) = blocked(&memory, outbox(4, Overflow::DropOldest)).await;
        for n in 0..20 {
            push(&session, format!("{n}"));
            if settled {
                // The driver has had its chance to take them out of the outbox.
                settle().await;
            }
        }
        let stats = session.stats();
        assert_eq!((stats.waiting_messages, stats.dropped_messages), (4, 16));
        session.disconnect();
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(peer.text().await);
        }
        peer.expect_end().await;
        // The one that the driver offers already is no longer dropped.
        let first = if settled { "0" } else { "16" };
        assert_eq!(seen, ["under way", first, "17", "18", "19"], "settled: {settled}");
    }
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_drops_a_burst_too_that_the_driver_has_taken() {
    let memory = narrow();
    let (_server, mut peer, session) = blocked(&memory, outbox(100, Overflow::DropOldest)).await;
    for n in 0..100 {
        push(&session, format!("old {n}"));
    }
    settle().await;
    for n in 0..99 {
        push(&session, format!("new {n}"));
    }
    assert_eq!(session.stats().dropped_messages, 99);
    session.disconnect();
    assert_eq!(peer.text().await, "under way");
    assert_eq!(peer.text().await, "old 0");
    for n in 0..99 {
        assert_eq!(peer.text().await, format!("new {n}"));
    }
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_counts_what_became_of_it_for_each() {
    let memory = narrow();
    let server = listen(
        Server::builder(memory.clone())
            .rules(Limits { outbox: outbox(2, Overflow::DropNewest), ..unlimited() }),
    )
    .await;
    let _stalled = Peer::connect(&memory, server.local()).await;
    let stalled = only(&server).await;
    for _ in 0..3 {
        push(&stalled, "x");
        settle().await;
    }
    let mut reader = Peer::connect(&memory, server.local()).await;
    while !server.sessions().iter().all(Session::is_active) || server.len() < 2 {
        tokio::task::yield_now().await;
    }
    let report = server.broadcast("news");
    assert_eq!((report.sent, report.queued, report.dropped, report.full), (1, 0, 1, 0));
    assert_eq!(reader.text().await, "news");
    let report = server.broadcast_if("others", |session| *session != stalled);
    assert_eq!((report.sent, report.dropped), (1, 0));
    assert_eq!(reader.text().await, "others");
}

#[tokio::test(start_paused = true)]
async fn send_wait_waits_for_room_whatever_the_bounds() {
    for (max_messages, high_water) in [(1, 1), (2, 1 << 20), (3, 0), (1_000, 600), (1, usize::MAX)] {
        let memory = narrow();
        let config = OutboxConfig { max_messages, max_bytes: 1_000, high_water, ..OutboxConfig::default() };
        let (_server, mut peer, session) = blocked(&memory, config).await;
        let sending = tokio::spawn({
            let session = session.clone();
            async move {
                for n in 0..100 {
                    session.send_wait(format!("{n}")).await.expect("sends");
                }
            }
        });
        settle().await;
        assert!(!sending.is_finished(), "100 found room in an outbox of {max_messages}");
        assert!(session.stats().waiting_bytes <= 1_000);
        assert_eq!(peer.text().await, "under way");
        for n in 0..100 {
            assert_eq!(peer.text().await, format!("{n}"));
        }
        soon("the last one", sending).await.expect("sends");
        assert_eq!(session.stats().dropped_messages, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn send_wait_ends_with_the_session() {
    let memory = narrow();
    let (_server, peer, session) = blocked(&memory, outbox(1, Overflow::Disconnect)).await;
    push(&session, "");
    let sending = tokio::spawn({
        let session = session.clone();
        async move { session.send_wait("late").await }
    });
    settle().await;
    drop(peer);
    let error = soon("the end", sending).await.expect("runs").expect_err("is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn many_senders_that_wait_all_have_their_turn() {
    let memory = narrow();
    let (_server, mut peer, session) = blocked(&memory, outbox(2, Overflow::Disconnect)).await;
    let senders: Vec<_> = (0..50)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move { session.send_wait(format!("{n}")).await })
        })
        .collect();
    assert_eq!(peer.text().await, "under way");
    let mut seen: Vec<u32> = Vec::new();
    for _ in 0..50 {
        seen.push(peer.text().await.parse().expect("a number"));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    for sender in senders {
        sender.await.expect("runs").expect("sends");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_fed_leaves_without_a_flush_where_others_would_wait_for_its_room() {
    let memory = Memory::default();
    let config = OutboxConfig { max_messages: 4, high_water: 1_000, ..OutboxConfig::default() };
    let server =
        listen(Server::builder(memory.clone()).rules(Limits { outbox: config, ..unlimited() })).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for _ in 0..4 {
        feed(&session, "fed");
    }
    soon("room", session.send_wait("behind it")).await.expect("sends");
    for expected in ["fed", "fed", "fed", "fed", "behind it"] {
        assert_eq!(peer.text().await, expected);
    }
    // Nor does so much wait that it is above the high-water mark.
    assert_eq!(session.feed(vec![7; 1_000]).expect("feeds"), Delivery::Queued);
    assert_eq!(peer.recv().await.payload().len(), 1_000);
}

/// Memory that counts how much of it is alive.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl Counted {
    fn bytes(len: usize, alive: &Arc<AtomicUsize>) -> Bytes {
        alive.fetch_add(len, Ordering::Relaxed);
        Bytes::from_owner(Self(vec![7; len], alive.clone()))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_slice_that_waits_pins_no_large_buffer() {
    let memory = narrow();
    let alive = Arc::new(AtomicUsize::new(0));
    let (server, mut peer, session) = blocked(&memory, OutboxConfig::default()).await;
    for _ in 0..100 {
        push(&session, Counted::bytes(256 * 1024, &alive).slice(1_000..1_064));
        feed(&session, Counted::bytes(256 * 1024, &alive).slice(..8 * 1024 - 1));
    }
    let report = server.broadcast(Counted::bytes(256 * 1024, &alive).slice(..64));
    assert_eq!(report.sent + report.queued, 1);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "all were copied");
    settle().await;
    assert_eq!(peer.text().await, "under way");
    assert_eq!(peer.recv().await.payload()[..], [7; 64]);
}

#[tokio::test(start_paused = true)]
async fn a_large_payload_is_kept_as_it_is_and_never_copied() {
    let memory = narrow();
    let alive = Arc::new(AtomicUsize::new(0));
    let (server, mut peer, session) = blocked(&memory, OutboxConfig::default()).await;
    let payload = Counted::bytes(8 * 1024, &alive);
    push(&session, payload.clone());
    let report = server.broadcast(payload.clone());
    assert_eq!(report.sent + report.queued, 1);
    drop(payload);
    assert_eq!(alive.load(Ordering::Relaxed), 8 * 1024, "they wait in their own memory");
    settle().await;
    assert_eq!(peer.text().await, "under way");
    for _ in 0..2 {
        assert_eq!(peer.recv().await.payload().len(), 8 * 1024);
    }
    settle().await;
    assert_eq!(alive.load(Ordering::Relaxed), 0, "it went home when it was sent");
}

#[derive(Debug)]
struct Drops(Arc<AtomicUsize>);

impl Observer for Drops {
    fn dropped(&self, _: &net_core::Info, messages: u64) {
        self.0.fetch_add(usize::try_from(messages).expect("few"), Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_are_told_of_every_dropped_message() {
    let memory = narrow();
    let drops = Arc::new(AtomicUsize::new(0));
    let server = listen(
        Server::builder(memory.clone())
            .observer(Drops(drops.clone()))
            .rules(Limits { outbox: outbox(1, Overflow::DropOldest), ..unlimited() }),
    )
    .await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for _ in 0..10 {
        push(&session, "");
    }
    assert_eq!(drops.load(Ordering::Relaxed), 9);
    assert_eq!(session.stats().dropped_messages, 9);
}

#[tokio::test(start_paused = true)]
async fn waiting_figures_return_to_nothing() {
    let memory = narrow();
    let (_server, mut peer, session) = blocked(&memory, OutboxConfig::default()).await;
    for len in [0, 1, 100, 10_000, 100_000] {
        push(&session, Message::new(MessageKind::Notification, 9, vec![1; len]));
    }
    assert_eq!(session.stats().waiting_messages, 5);
    assert!(session.stats().waiting_bytes > 110_000);
    for _ in 0..6 {
        peer.recv().await;
    }
    settle().await;
    let stats = session.stats();
    assert_eq!((stats.waiting_messages, stats.waiting_bytes, stats.sent_messages), (0, 0, 6));
}
