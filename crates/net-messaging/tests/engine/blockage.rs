//! Peers that do not take what waits for them: the deadline, and what others notice of it.

use bytes::Bytes;
use net_core::{
    Message, MessageKind, Sender,
    memory::{Memory, MemoryConfig},
};
use net_messaging::{
    Client, CloseReason, Delivery, Heartbeat, Limits, OutboxConfig, Overflow, Server, Session, SessionConfig,
};
use tokio::time::Instant;

use crate::duplex;
use crate::rig::{
    Peer, Ruled, Rules, echo, listen, ms, narrow, only, pair, push, quiet, secs, settle, soon, unlimited,
};

#[tokio::test(start_paused = true)]
async fn mutual_blockage_of_symmetric_peers_ends_at_the_stall_deadline() {
    // Both sides answer what the other asks, and neither asks less than it answers: no replies find room.
    let memory = narrow();
    let config = Limits { stall_timeout: Some(secs(10)), ..unlimited() };
    let server = echo(&memory, config).await;
    // A peer that sends without end and takes nothing.
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = Instant::now();
    let sending = async {
        for id in 0.. {
            let request = Message::new(MessageKind::Request, id, "");
            if peer.0.tx.send(request.encode()).await.is_err() {
                break;
            }
        }
    };
    soon("the end", sending).await;
    assert!(matches!(session.closed().await, CloseReason::Stalled));
    assert!((secs(10)..secs(13)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn two_engines_that_flood_one_another_are_done_or_end_at_the_stall_deadline() {
    for max_buffered in [1, 100, 10_000, 1 << 20] {
        let memory = Memory::new(MemoryConfig { max_buffered, ..MemoryConfig::default() });
        let outbox = OutboxConfig { max_messages: 8, ..OutboxConfig::default() };
        let config = Limits { stall_timeout: Some(secs(10)), outbox, ..unlimited() };
        let server = echo(&memory, config).await;
        let client = Client::builder(memory)
            .rules(config)
            .on_message(|_, message| async move { Ok(message.into_reply()) })
            .connect(server.local())
            .await
            .expect("connects");
        let sides = [client.session().expect("is connected"), only(&server).await];
        let began = Instant::now();
        let mut asking = Vec::new();
        for n in 0..2_000 {
            for side in sides.clone() {
                asking.push(tokio::spawn(async move {
                    let text = format!("{n}");
                    match side.request_within(text.clone(), secs(3_600)).await {
                        Ok(answer) => assert_eq!(answer.payload(), &text),
                        Err(error) => assert_eq!(error.kind(), net_core::ErrorKind::Closed),
                    }
                }));
            }
        }
        for asked in asking {
            asked.await.expect("is done");
        }
        assert!(began.elapsed() < secs(13), "{:?} with {max_buffered} bytes of room", began.elapsed());
        assert!(sides.iter().all(|side| side.stats().requests_in_flight == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a9_a_peer_that_takes_nothing_is_disconnected_at_the_stall_deadline() {
    let memory = narrow();
    let config = Limits { stall_timeout: Some(secs(10)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config)).await;
    let peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = Instant::now();
    for _ in 0..3 {
        push(&session, "not taken");
    }
    assert!(matches!(session.closed().await, CloseReason::Stalled));
    assert!((secs(10)..secs(13)).contains(&began.elapsed()), "{:?}", began.elapsed());
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a9_small_pushes_that_are_still_accepted_hide_no_stall() {
    // The sender has room for thousands of them, so that none is ever refused.
    let (duplex, peer) = duplex::transport(16);
    let config = Limits { stall_timeout: Some(secs(10)), ..unlimited() };
    let server = Server::builder(duplex).rules(config).listen("mem://duplex").await.expect("listens");
    let session = only(&server).await;
    let began = Instant::now();
    let pushing = async {
        while session.is_active() {
            if let Ok(delivery) = session.send(Bytes::from(vec![0; 64])) {
                assert_eq!(delivery, Delivery::Sent);
            }
            tokio::time::sleep(ms(500)).await;
        }
    };
    soon("the end", pushing).await;
    assert!(matches!(session.closed().await, CloseReason::Stalled));
    assert!((secs(10)..secs(13)).contains(&began.elapsed()), "{:?}", began.elapsed());
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_takes_a_little_now_and_then_is_not_stalled() {
    let memory = narrow();
    let config = Limits { stall_timeout: Some(secs(10)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config)).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for n in 0..20 {
        push(&session, format!("{n}"));
    }
    session.disconnect();
    // It takes 100 s: ten times the deadline, and nothing is lost.
    for n in 0..20 {
        tokio::time::sleep(secs(5)).await;
        assert_eq!(peer.text().await, format!("{n}"));
    }
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_does_not_keep_a_stalled_peer() {
    let memory = narrow();
    let config = Limits { stall_timeout: Some(secs(10)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(|session, _| {
        for _ in 0..3 {
            push(session, "not taken");
        }
        std::future::pending::<Result<Option<Message>, _>>()
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    let session = only(&server).await;
    assert!(matches!(soon("the end", session.closed()).await, CloseReason::Stalled));
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_stays_full_for_the_stall_time_out_ends_its_session() {
    let memory = narrow();
    let outbox = OutboxConfig { max_messages: 4, ..OutboxConfig::default() };
    let config = Limits { stall_timeout: Some(secs(10)), outbox, ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config)).await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = Instant::now();
    while session.send("x").expect("sends") != Delivery::Full {}
    assert!(matches!(session.closed().await, CloseReason::Stalled));
    assert!((secs(10)..secs(13)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_refuses_on_overflow_and_has_no_stall_deadline_stays() {
    let memory = narrow();
    let outbox = OutboxConfig { max_messages: 4, overflow: Overflow::Refuse, ..OutboxConfig::default() };
    let server = listen(Server::builder(memory.clone()).rules(Limits { outbox, ..unlimited() })).await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    while session.send("x").expect("sends") != Delivery::Full {}
    tokio::time::sleep(secs(3_600)).await;
    assert!(session.is_active());
}

#[tokio::test(start_paused = true)]
async fn a31_a_broadcast_does_not_wait_for_the_one_of_many_that_is_stalled() {
    let memory = Memory::new(MemoryConfig { max_buffered: 4 * 1024, ..MemoryConfig::default() });
    let outbox = OutboxConfig { max_messages: 50, ..OutboxConfig::default() };
    let config = Limits { outbox, stall_timeout: Some(secs(10)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config)).await;
    let stalled = Peer::connect(&memory, server.local()).await;
    let stalled_session = only(&server).await;
    let mut peers = Vec::new();
    for _ in 0..50 {
        peers.push(Peer::connect(&memory, server.local()).await);
    }
    while server.len() < 51 || !server.sessions().iter().all(Session::is_active) {
        tokio::task::yield_now().await;
    }
    let payload = Bytes::from(vec![7; 100]);
    let mut full = 0;
    for round in 0..500 {
        let before = Instant::now();
        let report = server.broadcast(payload.clone());
        assert_eq!(before.elapsed(), secs(0), "a broadcast waits for nobody");
        assert_eq!(report.sent + report.queued + report.full, 51, "round {round}");
        full += report.full;
        for peer in &mut peers {
            assert_eq!(peer.recv().await.payload(), &payload);
        }
    }
    assert!(full > 300, "the stalled one had {full} of 500 refused");
    let stats = stalled_session.stats();
    assert!(stats.waiting_messages <= 50, "{stats:?}");
    assert!(matches!(soon("the policy", stalled_session.closed()).await, CloseReason::Stalled));
    assert_eq!(server.len(), 50);
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn a31_a_broadcast_is_whole_for_who_stays_while_others_come_and_go() {
    let memory = Memory::new(MemoryConfig { max_buffered: 4 * 1024, ..MemoryConfig::default() });
    let outbox = OutboxConfig { max_messages: 50, ..OutboxConfig::default() };
    let server = listen(Server::builder(memory.clone()).rules(Limits { outbox, ..unlimited() })).await;
    let _stalled = Peer::connect(&memory, server.local()).await;
    let mut stays = Peer::connect(&memory, server.local()).await;
    let all_active = async |len: usize| {
        while server.len() != len || !server.sessions().iter().all(Session::is_active) {
            tokio::task::yield_now().await;
        }
    };
    all_active(2).await;
    for round in 0..300_u32 {
        // One joins before each message; it goes before the next, without having read.
        let comes = Peer::connect(&memory, server.local()).await;
        all_active(3).await;
        let before = Instant::now();
        let report = server.broadcast(Bytes::copy_from_slice(&round.to_be_bytes()));
        assert_eq!(before.elapsed(), secs(0), "a broadcast waits for nobody");
        assert_eq!(report.sent + report.queued + report.full, 3, "round {round}");
        assert_eq!(stays.recv().await.payload()[..], round.to_be_bytes());
        drop(comes);
        all_active(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_input_is_left_unread_is_not_taken_for_dead() {
    let memory = Memory::default();
    let heartbeat = Some(Heartbeat { interval: secs(1), missed: 3 });
    let config = Rules {
        session: SessionConfig { heartbeat, ..quiet() },
        limits: Limits {
            idle_timeout: Some(secs(10)),
            message_timeout: Some(secs(5)),
            stall_timeout: Some(secs(10)),
            ..unlimited()
        },
    };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(|_, message| async move {
        tokio::time::sleep(secs(60)).await;
        Ok(message.into_reply())
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..100 {
        peer.request(id, "").await;
    }
    let session = only(&server).await;
    // The backlog is full and the handler works: what the peer sends to prove its life cannot be read.
    let mut replies = 0;
    while replies < 30 {
        replies += usize::from(peer.recv().await.kind() == MessageKind::Response);
    }
    // Then all is read; the peer says nothing more and is found dead.
    let reason = session.closed();
    tokio::pin!(reason);
    while replies < 36 {
        replies += usize::from(peer.recv().await.kind() == MessageKind::Response);
    }
    assert!(matches!(soon("its death", reason).await, CloseReason::HeartbeatMissed));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_while_nothing_is_taken_times_out_and_forgets() {
    let memory = narrow();
    let (client, peer, _listener) = pair(&memory, |builder| builder).await;
    for _ in 0..5 {
        assert!(client.request_within("?", secs(1)).await.expect_err("times out").is_timeout());
    }
    settle().await;
    assert_eq!(client.session().expect("is connected").stats().requests_in_flight, 0);
    drop(peer);
}
