//! How servers end: drain, stop, and the last handle that is dropped.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use net_core::{
    Address, ErrorKind, GoAway, GoAwayReason, Message, MessageKind, Observer, Receiver, Sender, Transport,
    memory::{Memory, MemoryConfig},
};
use net_messaging::{Client, CloseReason, DrainReport, Server, Session, SessionConfig};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::duplex;
use crate::rig::{
    Peer, Ruled, echo, for_ever, frame, listen, ms, narrow, only, patient, push, quiet, secs, settle, soon,
};

fn cut(report: DrainReport) -> (usize, usize) {
    (report.active, report.cut)
}

#[tokio::test(start_paused = true)]
async fn a36_a_drain_loses_no_accepted_message() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(|session, message| {
        let session = session.clone();
        async move {
            tokio::time::sleep(secs(3)).await;
            push(&session, "pushed");
            Ok(message.into_reply())
        }
    }))
    .await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = Peer::connect(&memory, server.local()).await;
        peer.request(1, "running").await;
        peers.push(peer);
    }
    while server.len() < 20 {
        tokio::task::yield_now().await;
    }
    settle().await;
    let report = server.broadcast("queued");
    assert_eq!(report.sent, 20);
    let draining = tokio::spawn({
        let server = server.clone();
        async move { server.drain(secs(0)..=secs(10)).await }
    });
    let began = Instant::now();
    for peer in &mut peers {
        assert_eq!(peer.text().await, "queued");
        assert_eq!(peer.sent_away().await, GoAway::new(GoAwayReason::Draining));
        for expected in ["pushed", "running"] {
            assert_eq!(peer.text().await, expected);
        }
        peer.expect_end().await;
    }
    drop(peers);
    assert_eq!(cut(soon("the drain", draining).await.expect("runs")), (20, 0));
    assert!((ms(2_900)..secs(4)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_serves_until_the_start_and_takes_nothing_new_after_it() {
    let memory = Memory::default();
    let server = echo(&memory, patient()).await;
    // A peer that does not heed the notice.
    let mut peer = Peer::connect(&memory, server.local()).await;
    only(&server).await;
    let draining = tokio::spawn({
        let server = server.clone();
        async move { server.drain(secs(5)..=secs(10)).await }
    });
    assert_eq!(peer.sent_away().await.reason, GoAwayReason::Draining);
    assert!(!server.is_accepting());
    // Who comes now is refused, who is there is served.
    let refused = Client::builder(memory.clone()).connect(server.local()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::Refused);
    let began = Instant::now();
    let mut served = 0;
    while began.elapsed() < secs(20) {
        peer.request(served, "still?").await;
        match soon("an answer or the end", peer.0.rx.recv()).await.expect("receives") {
            Some(_) => served += 1,
            None => break,
        }
        tokio::time::sleep(ms(100)).await;
    }
    drop(peer);
    assert!((48..=51).contains(&served), "{served} requests in 5 s");
    assert!((secs(5)..secs(6)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(cut(draining.await.expect("runs")), (1, 0));
    // Its address is free.
    drop(memory.listen(server.local()).await.expect("listens"));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_as_soon_as_nobody_is_left() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone())).await;
    let began = Instant::now();
    assert_eq!(cut(server.drain(secs(60)..=secs(120)).await), (0, 0));
    assert!(began.elapsed() < secs(1), "an empty server has nothing to wait for");
    assert_eq!(cut(server.drain(secs(60)..=secs(120)).await), (0, 0), "again");

    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let peer = Peer::connect(&memory, server.local()).await;
    only(&server).await;
    let leaving = tokio::spawn(async move {
        tokio::time::sleep(secs(7)).await;
        drop(peer);
    });
    let began = Instant::now();
    assert_eq!(cut(server.drain(secs(60)..=secs(120)).await), (1, 0));
    assert_eq!(began.elapsed().as_secs(), 7);
    leaving.await.expect("left");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_end_is_cut_and_counted() {
    let memory = narrow();
    let server =
        listen(Server::builder(memory.clone()).rules(patient()).on_message(|_, message| async move {
            if message.payload() == "for ever" {
                pending::<()>().await;
            }
            Ok(message.into_reply())
        }))
        .await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::connect(&memory, server.local()).await;
        peer.request(1, "for ever").await;
        peers.push(peer);
    }
    let unread = Peer::connect(&memory, server.local()).await;
    while server.len() < 4 || !server.sessions().iter().all(Session::is_active) {
        tokio::task::yield_now().await;
    }
    let sessions = server.sessions();
    assert_eq!(server.broadcast("1").sent, 4);
    settle().await;
    assert_eq!(server.broadcast("2").sent, 4);
    let began = Instant::now();
    let report = server.drain(secs(1)..=secs(5)).await;
    // Three handlers never return; the fourth peer takes nothing of what waits for it.
    assert_eq!((cut(report), report.finished(), began.elapsed().as_secs()), ((4, 4), 0, 5));
    // Of three messages for each, the second broadcast and the notice found no room.
    assert_eq!((report.requests_cut, report.messages_unsent, report.took.as_secs()), (3, 8, 5));
    for session in sessions {
        assert!(matches!(session.closed().await, CloseReason::Drained));
    }
    drop((unread, peers));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_keeps_asking_does_not_keep_a_server_from_draining() {
    for max_concurrent in [1, 4] {
        let memory = Memory::default();
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server =
            listen(Server::builder(memory.clone()).rules(config).on_message(|_, message| async move {
                tokio::time::sleep(ms(100)).await;
                Ok(message.into_reply())
            }))
            .await;
        let net_core::Connection { mut tx, mut rx, .. } = Peer::connect(&memory, server.local()).await.0;
        let asking = tokio::spawn(async move {
            for id in 0.. {
                if tx.send(Message::new(MessageKind::Request, id, "").encode()).await.is_err() {
                    break;
                }
                tokio::time::sleep(ms(10)).await;
            }
        });
        let reading = tokio::spawn(async move { while let Ok(Some(_)) = rx.recv().await {} });
        only(&server).await;
        tokio::time::sleep(ms(300)).await;
        let began = Instant::now();
        let report = server.drain(secs(0)..=secs(30)).await;
        // What was taken is answered: 64 wait at the most, 100 ms each; the peer never finishes, for 1 s more.
        assert_eq!(cut(report), (1, 0), "{max_concurrent} at once");
        assert!(began.elapsed() < secs(8), "{:?}", began.elapsed());
        asking.abort();
        reading.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_to_be_accepted_when_a_drain_begins_is_served() {
    let memory = Memory::default();
    let server = echo(&memory, patient()).await;
    // Nobody has accepted these yet: the server's loop has not run since.
    let mut peers = Vec::new();
    for _ in 0..50 {
        let mut peer = Peer::connect(&memory, server.local()).await;
        peer.request(1, "hello").await;
        peers.push(peer);
    }
    assert_eq!(server.len(), 0);
    let draining = tokio::spawn({
        let server = server.clone();
        async move { server.drain(secs(2)..=secs(5)).await }
    });
    for mut peer in peers {
        assert_eq!(peer.sent_away().await.reason, GoAwayReason::Draining);
        assert_eq!(peer.text().await, "hello");
    }
    assert_eq!(cut(draining.await.expect("runs")), (50, 0));
}

#[tokio::test(start_paused = true)]
async fn stop_ends_every_session_within_twice_the_close_time_out() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    // A peer that does not finish, and one whose connection is idle.
    let mut stubborn = Peer::connect(&memory, server.local()).await;
    let client = Client::builder(memory).rules(patient()).connect(server.local()).await.expect("connects");
    while server.len() < 2 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let report = server.stop().await;
    assert_eq!(cut(report), (2, 0));
    assert!(began.elapsed() <= secs(2), "{:?}", began.elapsed());
    assert_eq!(stubborn.sent_away().await.reason, GoAwayReason::Draining);
    stubborn.expect_end().await;
    settle().await;
    assert!(!client.is_connected() && server.is_empty() && server.connections() == 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_that_is_dropped_stops_the_server() {
    let memory = Memory::default();
    let dropped = Arc::new(AtomicUsize::new(0));
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message({
        let dropped = dropped.clone();
        move |_, _| for_ever(&dropped)
    }))
    .await;
    let to: Address = server.local().clone();
    let mut peer = Peer::connect(&memory, &to).await;
    peer.request(1, "").await;
    let session = only(&server).await;
    settle().await;
    // One waits to be accepted: it has come too late.
    let mut late = Peer::connect(&memory, &to).await;
    let other = server.clone();
    drop(server);
    assert!(session.is_active(), "a handle is left");
    drop(other);
    assert!(matches!(session.closed().await, CloseReason::Drained));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    peer.expect_end().await;
    late.expect_end().await;
    drop(memory.listen(&to).await.expect("the address is free"));
}

/// What the observer was told of the drain.
#[derive(Debug, Default)]
struct Drained(Mutex<Vec<(usize, usize)>>);

impl Observer for Drained {
    fn drained(&self, finished: usize, cut: usize) {
        self.0.lock().expect("not poisoned").push((finished, cut));
    }
}

/// What a peer does while its server drains.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Silent,
    /// Leaves after so many milliseconds.
    Leaves(u64),
    /// Asks every so many milliseconds and reads the answers.
    Asks(u64),
    /// Asks every so many milliseconds and reads nothing.
    Floods(u64),
    /// Breaks off after so many milliseconds.
    Breaks(u64),
    /// Asks for what never ends, and reads.
    Hangs,
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        Just(Behaviour::Silent),
        (1..8_000_u64).prop_map(Behaviour::Leaves),
        (1..500_u64).prop_map(Behaviour::Asks),
        (1..500_u64).prop_map(Behaviour::Floods),
        (1..8_000_u64).prop_map(Behaviour::Breaks),
        Just(Behaviour::Hangs),
    ]
}

async fn behave(memory: Memory, to: Address, behaviour: Behaviour) {
    let Ok(net_core::Connection { mut tx, mut rx, .. }) = memory.connect(&to).await else { return };
    let ask = |id| Message::new(MessageKind::Request, id, vec![7; 500]).encode();
    match behaviour {
        Behaviour::Silent => pending().await,
        Behaviour::Hangs => {
            let _ = tx.send(Message::new(MessageKind::Request, 0, "hang").encode()).await;
            while let Ok(Some(_)) = rx.recv().await {}
        }
        Behaviour::Leaves(after) => {
            tokio::time::sleep(ms(after)).await;
            let _ = tx.finish().await;
            while let Ok(Some(_)) = rx.recv().await {}
        }
        Behaviour::Breaks(after) => {
            let _ = tx.feed(ask(0)).await;
            tokio::time::sleep(ms(after)).await;
        }
        Behaviour::Asks(every) => {
            tokio::spawn(async move { while let Ok(Some(_)) = rx.recv().await {} });
            for id in 0.. {
                if tx.send(ask(id)).await.is_err() {
                    return;
                }
                tokio::time::sleep(ms(every)).await;
            }
        }
        Behaviour::Floods(every) => {
            for id in 0.. {
                if tx.send(ask(id)).await.is_err() {
                    return;
                }
                tokio::time::sleep(ms(every)).await;
            }
        }
    }
}

/// Drains a server whose handlers take `work`, whatever its peers do.
async fn drained(peers: Vec<Behaviour>, work: u64, start: u64, end: u64, max_concurrent: usize) {
    let memory = Memory::new(MemoryConfig { max_buffered: 4_000, ..MemoryConfig::default() });
    let watched = Arc::new(Drained::default());
    let config = SessionConfig { max_concurrent, ..SessionConfig::default() };
    let server = listen(Server::builder(memory.clone()).observer(watched.clone()).rules(config).on_message(
        move |_, message| async move {
            if message.payload() == "hang" {
                pending::<()>().await;
            }
            tokio::time::sleep(ms(work)).await;
            Ok(message.into_reply())
        },
    ))
    .await;
    let tasks: Vec<_> = peers
        .iter()
        .map(|behaviour| tokio::spawn(behave(memory.clone(), server.local().clone(), *behaviour)))
        .collect();
    while server.len() < peers.len() {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(ms(100)).await;
    let active = server.len();
    let silent = peers.iter().any(|behaviour| matches!(behaviour, Behaviour::Silent));
    let began = Instant::now();
    let report = server.drain(ms(start)..=ms(end)).await;
    let took = began.elapsed();
    assert!(took <= ms(end) + Duration::from_millis(2), "{took:?}, though {end} ms were allowed");
    // Whoever hangs would be cut at the handler time-out, which is later than any end here.
    let hangs = peers.iter().any(|behaviour| matches!(behaviour, Behaviour::Hangs));
    if hangs {
        assert!(took >= ms(end) && report.cut > 0 && report.requests_cut > 0, "{took:?} {report:?}");
    }
    assert_eq!(report.took, took);
    if silent {
        assert!(took >= ms(start.min(end)), "{took:?}: a silent one is given {start} ms");
    }
    assert_eq!(report.active, active);
    assert!(report.cut <= active);
    if took < ms(end) {
        assert_eq!(report.cut, 0);
    }
    assert_eq!(*watched.0.lock().expect("not poisoned"), [(report.active - report.cut, report.cut)]);
    settle().await;
    assert!(server.is_empty());
    assert_eq!(server.connections(), 0);
    for task in tasks {
        task.abort();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_drain_keeps_to_its_bounds_whatever_peers_do(
        peers in prop::collection::vec(behaviour(), 0..12),
        work in 0..5_000_u64,
        start in 0..3_000_u64,
        longer in 0..5_000_u64,
        max_concurrent in 1..4_usize,
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime")
            .block_on(drained(peers, work, start, start + longer, max_concurrent));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_behind_the_end_is_the_end() {
    #[allow(clippy::reversed_empty_ranges, reason = "what a program may compute by mistake")]
    let within = secs(60)..=secs(5);
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let peer = Peer::connect(&memory, server.local()).await;
    only(&server).await;
    let began = Instant::now();
    server.drain(within).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    drop(peer);
}

/// What a peer on a byte stream does while its server drains, beside what [`Behaviour`] has.
async fn misbehave(far: Arc<duplex::Far>, seed: u64) {
    let (mut read, mut write) = tokio::io::split(far.connect());
    match seed % 5 {
        // Drips one frame, byte by byte.
        0 => {
            for byte in frame(1, &vec![7; 100_000]) {
                if write.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(ms(1 + seed % 90)).await;
            }
            pending::<()>().await;
        }
        // Asks without end and reads nothing.
        1 => while write.write_all(&frame(seed, &[7; 1_000])).await.is_ok() {},
        // Is silent in the middle of a frame.
        2 => {
            let _ = write.write_all(frame(1, &[7; 1_000]).split_at(500).0).await;
            pending::<()>().await;
        }
        // Asks for what never ends.
        3 => {
            let _ = write.write_all(&frame(1, b"hang")).await;
            pending::<()>().await;
        }
        // Announces more than it may, or sends what is no message.
        _ => {
            let _ = write.write_all(&[0xff; 64]).await;
            let _ = read.read_to_end(&mut Vec::new()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time_whatever_peers_do_with_a_byte_stream() {
    for seed in 0..60_u64 {
        let (start, end) = (seed * 37 % 2_000, 100 + seed * 173 % 6_000);
        let (duplex, far) = duplex::crowd(4_096);
        let server = Server::builder(duplex)
            .rules(patient())
            .on_message(|_, message| async move {
                if message.payload() == "hang" {
                    pending::<()>().await;
                }
                Ok(message.into_reply())
            })
            .listen("mem://misbehaved")
            .await
            .expect("listens");
        let far = Arc::new(far);
        let tasks: Vec<_> =
            (0..=seed % 7).map(|peer| tokio::spawn(misbehave(far.clone(), seed + peer))).collect();
        tokio::time::sleep(ms(seed * 11 % 300)).await;
        let began = Instant::now();
        let report = server.drain(ms(start)..=ms(end)).await;
        assert!(began.elapsed() <= ms(end + 2), "seed {seed}: {:?} of {end} ms", began.elapsed());
        settle().await;
        assert!(server.is_empty(), "seed {seed}");
        assert!(report.cut <= report.active);
        for task in tasks {
            task.abort();
        }
    }
}
