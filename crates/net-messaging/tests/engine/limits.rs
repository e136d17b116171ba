//! Every limit of a session is reached once: what it does, and what the observer is told.

use std::{future::pending, sync::Arc};

use net_core::{ErrorKind, Message, MessageKind, Receiver, Sender, memory::Memory};
use net_messaging::{
    Client, CloseReason, DataRate, Delivery, Format, Lifetime, Limits, OutboxConfig, Overflow, Server,
    Session, SessionConfig,
};
use tokio::{io::AsyncWriteExt, time::Instant};

use crate::duplex;
use crate::rig::{
    Peer, Ruled, Rules, Told, frame, listen, narrow, only, patient, push, secs, settle, soon, text, unlimited,
};

/// Waits for the end of a session for as long as an hour of paused time.
async fn end(session: &Session) -> CloseReason {
    tokio::time::timeout(secs(3_600), session.closed()).await.expect("it ends within the hour")
}

/// A server over a byte stream whose observer writes limits down, the other end of the stream, and their session.
async fn bytes(limits: impl Into<Rules>) -> (Server, tokio::io::DuplexStream, Session, Arc<Told>) {
    let (duplex, stream) = duplex::transport(64 * 1024);
    let told = Arc::new(Told::default());
    let server = Server::builder(duplex)
        .rules(limits)
        .observer(told.clone())
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("mem://duplex")
        .await
        .expect("listens");
    let session = only(&server).await;
    (server, stream, session, told)
}

/// A server in memory that echoes and whose observer writes limits down.
async fn told_echo(memory: &Memory, limits: &Limits, told: &Arc<Told>) -> Server {
    let builder = Server::builder(memory.clone()).rules(*limits).observer(told.clone());
    listen(builder.on_message(|_, message| async { Ok(message.into_reply()) })).await
}

#[tokio::test(start_paused = true)]
async fn a10_a_byte_a_second_is_cut_by_the_data_rate() {
    let limits = Limits {
        message_timeout: Some(secs(3_000)),
        min_data_rate: Some(DataRate::default()),
        ..unlimited()
    };
    let (_server, mut stream, session, told) = bytes(limits).await;
    let began = Instant::now();
    let dribbling = async {
        for byte in frame(1, &[7; 10_000]) {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(secs(1)).await;
        }
        pending::<()>().await;
    };
    let reason = tokio::select! {
        reason = end(&session) => reason,
        () = dribbling => unreachable!("it never ends"),
    };
    assert!(matches!(reason, CloseReason::TooSlow), "{reason:?}");
    assert!((secs(5)..secs(8)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(told.take(), ["min_data_rate"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_at_the_least_rate_is_served_however_long_it_takes() {
    let rate = DataRate { bytes_per_second: 240, grace: secs(5) };
    let (_server, mut stream, session, told) =
        bytes(Limits { min_data_rate: Some(rate), ..unlimited() }).await;
    let began = Instant::now();
    for piece in frame(1, &vec![7; 60_000]).chunks(250) {
        stream.write_all(piece).await.expect("is taken");
        tokio::time::sleep(secs(1)).await;
    }
    settle().await;
    assert!(began.elapsed() > secs(200));
    assert_eq!(session.stats().received_messages, 1);
    // Between messages nothing has to arrive.
    tokio::time::sleep(secs(3_600)).await;
    assert!(session.is_active(), "{:?}", session.close_reason());
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn each_time_out_of_a_session_is_told_by_its_name() {
    let told = Arc::new(Told::default());
    for (limits, says, name) in [
        (Limits { first_message_timeout: Some(secs(3)), ..unlimited() }, false, "first_message_timeout"),
        (Limits { idle_timeout: Some(secs(3)), ..unlimited() }, true, "idle_timeout"),
    ] {
        let memory = Memory::default();
        let server = listen(Server::builder(memory.clone()).rules(limits).observer(told.clone())).await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        if says {
            peer.notify("hello").await;
        }
        let reason = end(&only(&server).await).await;
        assert_eq!(reason.limit().map(net_core::Limit::as_str), Some(name));
        assert_eq!(told.take(), [name]);
    }
    let (_server, mut stream, session, told) =
        bytes(Limits { message_timeout: Some(secs(3)), ..unlimited() }).await;
    stream.write_all(&[0, 0]).await.expect("is taken");
    assert!(matches!(end(&session).await, CloseReason::MessageTimeout));
    assert_eq!(told.take(), ["message_timeout"]);
}

#[tokio::test(start_paused = true)]
async fn a9_a_peer_that_does_not_read_is_told_as_a_stall() {
    let (memory, told) = (narrow(), Arc::new(Told::default()));
    let limits = Limits { stall_timeout: Some(secs(3)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(limits).observer(told.clone())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for _ in 0..3 {
        push(&session, "unread");
    }
    assert!(matches!(end(&session).await, CloseReason::Stalled));
    assert_eq!(told.take(), ["stall_timeout"]);
    // What was on its way arrives; that the rest is lost does not look like the end.
    assert_eq!(peer.text().await, "unread");
    let lost = soon("the abort", peer.0.rx.recv()).await.expect_err("two were lost");
    assert_eq!(lost.kind(), ErrorKind::Reset);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_told_and_its_session_goes_on() {
    let (memory, told) = (Memory::default(), Arc::new(Told::default()));
    let limits = Limits { handler_timeout: Some(secs(3)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(limits).observer(told.clone()).on_message(
        |_, message| async move {
            if message.payload() == "hang" {
                pending::<()>().await;
            }
            Ok(message.into_reply())
        },
    ))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "hang").await;
    assert_eq!(peer.recv().await.kind(), MessageKind::Error);
    assert_eq!(told.take(), ["handler_timeout"]);
    peer.request(2, "still there?").await;
    assert_eq!(peer.text().await, "still there?");
}

#[tokio::test(start_paused = true)]
async fn m11_each_bound_of_an_outbox_is_told_by_its_name() {
    let all = OutboxConfig { overflow: Overflow::Refuse, ..OutboxConfig::default() };
    for (outbox, name) in [
        (OutboxConfig { max_messages: 2, ..all }, "outbox.max_messages"),
        (OutboxConfig { max_bytes: 3_000, ..all }, "outbox.max_bytes"),
    ] {
        let (memory, told) = (Memory::default(), Arc::new(Told::default()));
        let limits = Limits { outbox, ..unlimited() };
        let server = listen(Server::builder(memory.clone()).rules(limits).observer(told.clone())).await;
        let _peer = Peer::connect(&memory, server.local()).await;
        let session = only(&server).await;
        // The driver has no turn meanwhile.
        let deliveries: Vec<_> = (0..3).map(|_| session.send(vec![7; 1_000]).expect("is open")).collect();
        assert_eq!(deliveries, [Delivery::Sent, Delivery::Sent, Delivery::Full], "{name}");
        assert_eq!(told.take(), [name]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_over_max_in_flight_waits_and_is_told() {
    let (memory, told) = (Memory::default(), Arc::new(Told::default()));
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(|_, message| async {
        tokio::time::sleep(secs(1)).await;
        Ok(message.into_reply())
    }))
    .await;
    let limits = Limits { max_in_flight: 1, ..unlimited() };
    let builder = Client::builder(memory).rules(limits).observer(told.clone());
    let client = builder.connect(server.local()).await.expect("connects");
    let (one, other) = tokio::join!(client.request("one"), client.request("other"));
    assert_eq!(
        (text(&one.expect("answers")), text(&other.expect("answers"))),
        ("one".into(), "other".into())
    );
    assert_eq!(told.take(), ["max_in_flight"]);
}

#[tokio::test(start_paused = true)]
async fn a10_a_message_over_the_limit_ends_the_session_and_one_of_ours_is_refused() {
    let limits = Limits { max_message_len: Some(100), ..unlimited() };
    let (memory, told) = (Memory::default(), Arc::new(Told::default()));
    let server = told_echo(&memory, &limits, &told).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let payload = 100 - Message::HEAD_LEN;
    peer.request(1, vec![7; payload]).await;
    assert_eq!(peer.recv().await.payload().len(), payload, "the limit itself is allowed");
    let refused = session.send(vec![7; payload + 1]).expect_err("too long");
    assert_eq!(refused.kind(), ErrorKind::MessageTooLong);
    assert_eq!(told.take(), ["max_message_len"]);
    peer.request(2, vec![7; payload + 1]).await;
    let reason = end(&session).await;
    assert_eq!(reason.error().map(net_core::Error::kind), Some(ErrorKind::MessageTooLong));
    assert_eq!(told.take(), ["max_message_len"]);
    // One that merely grows beyond it is not waited for.
    let (_server, mut stream, session, told) = bytes(limits).await;
    stream.write_all(&frame(1, &[7; 10_000])[..1_000]).await.expect("is taken");
    assert!(matches!(end(&session).await.limit(), Some(net_core::Limit::MessageLen)));
    assert_eq!(told.take(), ["max_message_len"]);
}

#[tokio::test(start_paused = true)]
async fn a2_a_connection_over_the_limit_is_refused_and_told() {
    let (memory, told) = (Memory::default(), Arc::new(Told::default()));
    let limits = Limits { max_connections: 1, ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(limits).observer(told.clone())).await;
    let first = Peer::connect(&memory, server.local()).await;
    only(&server).await;
    let mut second = Peer::connect(&memory, server.local()).await;
    assert!(matches!(soon("the refusal", second.0.rx.recv()).await, Ok(None) | Err(_)));
    assert_eq!(told.take(), ["rejected max_connections"]);
    drop((first, second));
    settle().await;
    let mut third = Peer::connect(&memory, server.local()).await;
    only(&server).await;
    third.notify("a place is free").await;
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_ends_with_a_notice_and_a_grace_and_not_for_all_at_once() {
    let (memory, told) = (Memory::default(), Arc::new(Told::default()));
    let limits = Limits { lifetime: Some(Lifetime::new(secs(1_000))), ..unlimited() };
    let server = told_echo(&memory, &limits, &told).await;
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let mut peer = Peer::connect(&memory, server.local()).await;
        tasks.push(tokio::spawn(async move {
            let frame = peer.0.rx.recv().await.expect("receives").expect("not the end");
            let asked = began.elapsed();
            assert_eq!(Message::decode(frame).expect("a message").kind(), MessageKind::GoAway);
            // In the grace it is served as before.
            peer.request(1, "still?").await;
            assert_eq!(peer.text().await, "still?");
            peer.expect_end().await;
            (asked, began.elapsed())
        }));
    }
    while server.len() < 50 {
        tokio::task::yield_now().await;
    }
    let sessions = server.sessions();
    let mut asked = Vec::new();
    for task in tasks {
        let (notice, ended) = task.await.expect("runs");
        assert!((secs(899)..secs(1_102)).contains(&notice), "{notice:?}");
        assert!((secs(4)..secs(8)).contains(&ended.saturating_sub(notice)), "{notice:?} {ended:?}");
        asked.push(notice.as_secs());
    }
    asked.sort_unstable();
    assert!(asked[49] - asked[0] > 100, "they spread over a fifth: {asked:?}");
    for session in sessions {
        assert!(matches!(end(&session).await, CloseReason::Lifetime));
    }
    assert_eq!(told.take(), ["lifetime"; 50]);
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_lets_a_running_handler_finish_and_says_nothing_in_the_raw_format() {
    let memory = Memory::default();
    let limits = Limits { lifetime: Some(Lifetime { after: secs(100), grace: secs(5) }), ..unlimited() };
    let session = SessionConfig { format: Format::Raw, heartbeat: None, ..SessionConfig::default() };
    let server = listen(Server::builder(memory.clone()).rules(Rules { session, limits }).on_message(
        |_, message| async {
            tokio::time::sleep(secs(60)).await;
            Ok(message.into_reply())
        },
    ))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    tokio::time::sleep(secs(80)).await;
    peer.0.tx.send("work").await.expect("sends");
    let answer = tokio::time::timeout(secs(100), peer.0.rx.recv()).await.expect("in time");
    assert_eq!(answer.expect("receives").as_deref(), Some(&b"work"[..]));
    peer.expect_end().await;
    assert!(matches!(end(&session).await, CloseReason::Lifetime));
    assert!(session.age() > secs(139), "{:?}", session.age());
}
