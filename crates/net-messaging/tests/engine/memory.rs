//! The memory budget of a server: what all sessions hold together, whatever their peers do.

use std::sync::Arc;

use net_core::{ErrorKind, memory::Memory};
use net_messaging::{Client, CloseReason, Delivery, Limits, OutboxConfig, Overflow, Server, Session};
use tokio::io::AsyncWriteExt;

use crate::duplex;
use crate::rig::{Peer, Ruled, Told, frame, listen, narrow, only, patient, secs, settle, unlimited};

/// What of each session is not counted.
const UNCOUNTED: usize = 4 * 1024;

fn waiting(sessions: &[Session]) -> usize {
    sessions.iter().map(|session| session.stats().waiting_bytes).sum()
}

#[tokio::test(start_paused = true)]
async fn a9_a_thousand_peers_that_do_not_read_cannot_exceed_the_budget() {
    const PEERS: usize = 1_000;
    const BUDGET: usize = 8 << 20;
    let (memory, told) = (narrow(), Arc::new(Told::default()));
    let outbox = OutboxConfig { overflow: Overflow::Refuse, ..OutboxConfig::default() };
    let limits = Limits { memory_budget: Some(BUDGET), outbox, max_connections: PEERS, ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(limits).observer(told.clone())).await;
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(Peer::connect(&memory, server.local()).await);
    }
    while server.len() < PEERS || !server.sessions().iter().all(Session::is_active) {
        tokio::task::yield_now().await;
    }
    let sessions = server.sessions();
    let (mut accepted, mut full) = (0, 0);
    for round in 0..40 {
        for (place, session) in sessions.iter().enumerate() {
            // From 100 bytes to 30 KiB.
            let len = 100 + (place * 7_919 + round * 104_729) % 30_000;
            match session.send(vec![7; len]) {
                Ok(delivery) if delivery.is_accepted() => accepted += 1,
                Ok(_) => full += 1,
                // The sweep has cut it.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
            }
        }
        let open: Vec<_> = sessions.iter().filter(|session| session.is_active()).cloned().collect();
        let held = waiting(&open);
        assert!(held <= BUDGET + PEERS * UNCOUNTED, "{held} in round {round}");
        if round % 10 == 9 {
            // The sweep has its turn, which cuts those that hold most.
            tokio::time::sleep(secs(2)).await;
        }
    }
    assert!(accepted > PEERS && full > PEERS, "{accepted} accepted, {full} refused");
    let cut = sessions
        .iter()
        .filter(|session| matches!(session.close_reason(), Some(CloseReason::MemoryBudget)))
        .count();
    assert!((1..PEERS).contains(&cut), "{cut} were cut");
    assert!(told.take().iter().all(|limit| limit == "memory_budget"));
    // All of it is given back: a server whose peers have left has its whole budget again.
    drop((peers, sessions));
    while !server.is_empty() {
        tokio::task::yield_now().await;
    }
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let last = OutboxConfig::default().max_bytes - 1_000;
    assert_eq!(session.send(vec![7; last]).expect("is open"), Delivery::Queued);
}

#[tokio::test(start_paused = true)]
async fn a10_peers_that_begin_long_messages_are_cut_at_the_budget_and_others_are_served() {
    const BUDGET: usize = 4 << 20;
    let (duplex, far) = duplex::crowd(64 * 1024);
    let told = Arc::new(Told::default());
    let limits = Limits { memory_budget: Some(BUDGET), ..unlimited() };
    let server = Server::builder(duplex)
        .rules(limits)
        .observer(told.clone())
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("mem://crowd")
        .await
        .expect("listens");
    let mut good = far.connect();
    let long = frame(1, &vec![7; 1_000_000]);
    let mut bad = Vec::new();
    for _ in 0..200 {
        let mut stream = far.connect();
        // Just more than the receiver would move to a buffer of its own size: it pins a whole read buffer.
        stream.write_all(&long[..20_000]).await.expect("is taken");
        bad.push(stream);
        settle().await;
    }
    // Each holds a read buffer of 128 KiB, so no more than 32 of them fit.
    let left = server.sessions().iter().filter(|session| session.stats().received_messages == 0).count();
    assert!((2..=33).contains(&left), "{left} are left");
    let reasons = told.take();
    assert_eq!(reasons.len(), 201 - left);
    assert!(reasons.iter().all(|limit| limit == "memory_budget"), "{reasons:?}");
    // Who holds little is served, and cut by no sweep.
    tokio::time::sleep(secs(60)).await;
    good.write_all(&frame(7, b"good")).await.expect("is taken");
    let mut answer = vec![0; frame(7, b"good").len()];
    tokio::io::AsyncReadExt::read_exact(&mut good, &mut answer).await.expect("answers");
    assert!(answer.ends_with(b"good"));
}

#[tokio::test(start_paused = true)]
async fn send_wait_says_that_the_budget_is_used_up() {
    let (memory, told) = (narrow(), Arc::new(Told::default()));
    let limits = Limits { memory_budget: Some(64 * 1024), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(limits).observer(told.clone())).await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let error = session.send_wait(vec![7; 100_000]).await.expect_err("more than all may hold");
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.report().contains("memory_budget"), "{}", error.report());
    assert_eq!(session.send(vec![7; 100_000]).expect("is open"), Delivery::Full);
    assert_eq!(told.take(), ["memory_budget"; 2]);
    // It is no fault of the peer: the session stays, and what fits is sent.
    tokio::time::sleep(secs(60)).await;
    session.send_wait(vec![7; 50_000]).await.expect("fits");
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_a_session_that_has_ended_keeps_nothing_of_what_was_not_sent() {
    let memory = narrow();
    let limits = Limits { memory_budget: Some(1 << 20), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(limits)).await;
    let mut ended = Vec::new();
    // Each takes more than half of the budget, and its handle is kept.
    for _ in 0..10 {
        let peer = Peer::connect(&memory, server.local()).await;
        let session = only(&server).await;
        for _ in 0..3 {
            // The first is with the transport, the second in the driver's hands, the third in the outbox.
            assert!(session.send(vec![7; 300_000]).expect("is open").is_accepted());
            settle().await;
        }
        assert!(session.stats().waiting_bytes > 600_000);
        drop(peer);
        session.closed().await;
        ended.push(session);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_has_a_budget_too() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let limits = Limits { memory_budget: Some(1 << 16), ..unlimited() };
    let client = Client::builder(memory).rules(limits).connect(server.local()).await.expect("connects");
    let error = client.request(vec![7; 100_000]).await.expect_err("more than it may hold");
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(client.is_connected());
}
