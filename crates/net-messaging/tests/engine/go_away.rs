//! A peer that is asked to leave: what is under way finishes, nothing new is sent, and it comes back later.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use net_core::{ErrorKind, GoAway, GoAwayReason, Listener, Message, MessageKind, Transport, memory::Memory};
use net_messaging::{
    Client, ClientState, CloseReason, Format, Limits, Reconnect, Server, Session, SessionConfig,
};
use net_tcp::Tcp;
use tokio::time::Instant;

use crate::rig::{Peer, Ruled, Told, listen, ms, only, patient, quiet, secs, settle, soon, text, unlimited};

/// Comes back 100 ms after it may.
fn steady() -> Reconnect {
    Reconnect { interval: ms(100), jitter: false, ..Reconnect::default() }
}

fn send_away(session: &Session, reason: GoAwayReason, retry_after: Option<Duration>) {
    assert!(session.go_away(reason, retry_after).expect("is open").is_accepted());
}

/// A server whose answers take 3 s.
async fn slow(memory: &Memory) -> Server {
    listen(Server::builder(memory.clone()).rules(patient()).on_message(|_, message| async {
        tokio::time::sleep(secs(3)).await;
        Ok(message.into_reply())
    }))
    .await
}

#[tokio::test(start_paused = true)]
async fn m4_a_client_that_is_sent_away_finishes_waits_and_comes_back() {
    let memory = Memory::default();
    let server = slow(&memory).await;
    let builder = Client::builder(memory).rules(patient()).reconnect(steady());
    let client = builder.connect(server.local()).await.expect("connects");
    let first = only(&server).await;
    let began = Instant::now();
    let ask = |what: &'static str| {
        tokio::spawn({
            let client = client.clone();
            async move { (text(&client.request(what).await.expect("answers")), began.elapsed()) }
        })
    };
    let under_way = ask("under way");
    settle().await;
    send_away(&first, GoAwayReason::Other(300), Some(secs(2)));
    settle().await;
    assert!(matches!(client.state(), ClientState::Leaving(_)) && !client.is_connected());
    let new = ask("new");
    // The answer of what runs comes on the old connection, and only then the client leaves.
    let (answer, after) = under_way.await.expect("runs");
    assert_eq!((&*answer, after.as_secs()), ("under way", 3));
    assert!(matches!(first.closed().await, CloseReason::ByPeer));
    assert!(began.elapsed() < ms(3_100), "{:?}", began.elapsed());
    // 3 s of the handler, 2 s that the server wants, which is longer than the back-off, 3 s of the handler.
    let (answer, after) = new.await.expect("runs");
    assert_eq!(&*answer, "new");
    assert!((ms(8_000)..ms(8_200)).contains(&after), "{after:?}");
    assert_ne!(only(&server).await, first);
    assert_eq!(first.stats().received_messages, 1, "nothing new was sent on it");
}

#[tokio::test(start_paused = true)]
async fn m4_a_server_that_wants_weeks_is_waited_for_no_longer_than_the_ceiling() {
    let memory = Memory::default();
    let server = slow(&memory).await;
    let reconnect = Reconnect { max_retry_after: secs(90), ..steady() };
    let builder = Client::builder(memory).rules(patient()).reconnect(reconnect);
    let client = builder.connect(server.local()).await.expect("connects");
    send_away(&only(&server).await, GoAwayReason::Overloaded, Some(ms(u64::from(u32::MAX))));
    let mut states = client.watch_state();
    let waiting = states.wait_for(|state| matches!(state, ClientState::Waiting { .. }));
    let waiting = soon("the wait", waiting).await.expect("it lives").clone();
    assert_eq!(waiting, ClientState::Waiting { attempt: 1, delay: secs(90) });
    tokio::time::sleep(secs(91)).await;
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_come_back_says_why_at_once() {
    let memory = Memory::default();
    let server = slow(&memory).await;
    let client = Client::builder(memory).rules(patient()).connect(server.local()).await.expect("connects");
    let session = client.session().expect("is connected");
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.request("under way").await }
    });
    settle().await;
    send_away(&only(&server).await, GoAwayReason::Draining, None);
    settle().await;
    let began = Instant::now();
    for error in [
        client.request("new").await.expect_err("is not sent"),
        session.request("new").await.expect_err("is not sent"),
        client.send_wait("new").await.expect_err("is not sent"),
        client.send("new").expect_err("is not sent"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
        let notice = error.source().and_then(|source| source.downcast_ref::<GoAway>());
        assert_eq!(notice, Some(&GoAway::new(GoAwayReason::Draining)), "{}", error.report());
    }
    assert_eq!(began.elapsed(), secs(0));
    assert_eq!(text(&running.await.expect("runs").expect("what runs is answered")), "under way");
    assert!(matches!(session.closed().await, CloseReason::GoAway(_)));
    assert_eq!(session.go_away_received(), Some(GoAway::new(GoAwayReason::Draining)));
    settle().await;
    assert_eq!(client.state(), ClientState::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_its_turn_goes_to_the_next_connection() {
    let memory = Memory::default();
    let server = slow(&memory).await;
    let limits = Limits { max_in_flight: 1, ..unlimited() };
    let builder = Client::builder(memory).rules(limits).reconnect(steady());
    let client = builder.connect(server.local()).await.expect("connects");
    let first = only(&server).await;
    let away = async {
        settle().await;
        send_away(&first, GoAwayReason::Draining, None);
    };
    let (one, other, ()) = tokio::join!(client.request("one"), client.request("other"), away);
    assert_eq!(
        (text(&one.expect("answers")), text(&other.expect("answers"))),
        ("one".into(), "other".into())
    );
    assert_eq!(first.stats().received_messages, 1);
    assert_eq!(only(&server).await.stats().received_messages, 1);
}

#[tokio::test(start_paused = true)]
async fn in_the_raw_format_nothing_is_sent() {
    let memory = Memory::default();
    let raw = SessionConfig { format: Format::Raw, ..quiet() };
    let server = listen(Server::builder(memory.clone()).rules(raw)).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let error = session.go_away(GoAwayReason::Draining, None).expect_err("there is no such message");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let draining = tokio::spawn(async move { server.drain(secs(1)..=secs(5)).await });
    peer.expect_end().await;
    assert_eq!(session.stats().sent_messages, 0);
    drop(peer);
    assert_eq!(draining.await.expect("runs").cut, 0);
}

#[tokio::test(start_paused = true)]
async fn a11_half_a_notice_breaks_the_protocol_and_a_second_one_changes_nothing() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for reason in [GoAwayReason::Overloaded, GoAwayReason::Draining] {
        peer.send(Message::new(MessageKind::GoAway, 0, GoAway::new(reason).encode())).await;
        settle().await;
        assert_eq!(session.go_away_received(), Some(GoAway::new(GoAwayReason::Overloaded)));
    }
    assert!(session.is_active(), "a server whose client goes away waits for it to leave");
    peer.send(Message::new(MessageKind::GoAway, 0, "half")).await;
    let reason = soon("the end", session.closed()).await;
    assert_eq!(reason.error().map(net_core::Error::kind), Some(ErrorKind::Protocol));
}

#[tokio::test(start_paused = true)]
async fn d7_a_server_that_accepts_and_closes_is_not_tried_in_a_hot_loop() {
    let (memory, told) = (Memory::default(), Arc::new(Told::default()));
    let mut listener = memory.listen(&"mem://server".parse().expect("an address")).await.expect("listens");
    let reconnect = Reconnect { max_attempts: Some(12), jitter: false, ..Reconnect::default() };
    let builder = Client::builder(memory).rules(patient()).reconnect(reconnect).observer(told.clone());
    let (client, peer) = tokio::join!(builder.connect("mem://server"), Peer::accept(&mut listener));
    let client = client.expect("connects");
    let began = Instant::now();
    drop(peer);
    let accepted = Arc::new(AtomicUsize::new(0));
    let closing = tokio::spawn({
        let accepted = accepted.clone();
        async move {
            // A clean end each time, with an invitation to come back at once.
            while let Ok(mut connection) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let notice =
                    Message::new(MessageKind::GoAway, 0, GoAway::new(GoAwayReason::Draining).encode());
                let _ = net_core::Sender::send(&mut connection.tx, notice.encode()).await;
                let _ = net_core::Sender::finish(&mut connection.tx).await;
            }
        }
    });
    let mut states = client.watch_state();
    let exhausted = states.wait_for(|state| *state == ClientState::Exhausted);
    drop(tokio::time::timeout(secs(3_600), exhausted).await.expect("within the hour").expect("it lives"));
    assert_eq!(accepted.load(Ordering::Relaxed), 12);
    // 0.1 + 0.2 + … + 25.6 + 30 + 30 + 30 s: a clean end counts as a failure does.
    assert!((secs(130)..secs(160)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(told.take(), ["exhausted after 12"]);
    assert_eq!(client.request("?").await.expect_err("has given up").kind(), ErrorKind::Closed);
    closing.abort();
}

async fn echo(at: &str) -> Server {
    Server::builder(Tcp::default())
        .on_message(|_, message| async {
            tokio::time::sleep(ms(1)).await;
            Ok(message.into_reply())
        })
        .listen(at)
        .await
        .expect("listens")
}

#[tokio::test]
async fn a36_a_server_that_is_replaced_fails_no_request_of_its_clients() {
    let mut server = echo("tcp://127.0.0.1:0").await;
    let to = server.local().to_string();
    let quick =
        Reconnect { interval: ms(5), min_interval: ms(1), max_interval: ms(50), ..Reconnect::default() };
    let done = Arc::new(AtomicUsize::new(0));
    let mut asking = Vec::new();
    for _ in 0..20 {
        let client = Client::builder(Tcp::default()).reconnect(quick).connect(&*to).await.expect("connects");
        let done = done.clone();
        asking.push(tokio::spawn(async move {
            for number in 0..600_u32 {
                let answer = client.request(number.to_be_bytes().to_vec()).await;
                // Every one is answered, by the old server or by the new one.
                let answer = answer.unwrap_or_else(|error| panic!("request {number}: {}", error.report()));
                assert_eq!(answer.payload()[..], number.to_be_bytes());
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for replaced in 1..=3 {
        while done.load(Ordering::Relaxed) < replaced * 2_000 {
            tokio::task::yield_now().await;
        }
        let old = server.clone();
        let draining = tokio::spawn(async move { old.drain(secs(10)..=secs(20)).await });
        while server.is_accepting() {
            tokio::task::yield_now().await;
        }
        // The address is free as soon as the listener is closed.
        server = loop {
            let builder = Server::builder(Tcp::default()).on_message(|_: &Session, message| async move {
                tokio::time::sleep(ms(1)).await;
                Ok(message.into_reply())
            });
            match builder.listen(&*to).await {
                Ok(server) => break server,
                Err(error) => assert_eq!(error.kind(), ErrorKind::AddressInUse),
            }
            tokio::task::yield_now().await;
        };
        let report = soon("the drain", draining).await.expect("runs");
        assert_eq!((report.active, report.cut, report.requests_cut), (20, 0, 0));
    }
    for task in asking {
        soon("the answers", task).await.expect("all are answered");
    }
    assert_eq!(done.load(Ordering::Relaxed), 20 * 600);
}
