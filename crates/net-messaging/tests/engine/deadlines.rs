//! Deadlines: heartbeats, idle sessions, the first message, incomplete messages.

use net_core::{
    ErrorKind, Message, MessageKind,
    memory::Memory,
    testing::{Faults, Link, LinkConfig},
};
use net_messaging::{
    Client, CloseReason, Format, Heartbeat, Limits, Server, ServerConfig, Session, SessionConfig,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::duplex;
use crate::rig::{
    Peer, Ruled, Rules, frame, listen, ms, only, patient, push, quiet, secs, settle, soon, unlimited,
};

fn heartbeat(interval: u64, missed: u32) -> SessionConfig {
    SessionConfig { heartbeat: Some(Heartbeat { interval: secs(interval), missed }), ..quiet() }
}

/// Waits for the end of a session for as long as an hour of paused time.
async fn end(session: &Session) -> CloseReason {
    tokio::time::timeout(secs(3_600), session.closed()).await.expect("it ends within the hour")
}

#[tokio::test(start_paused = true)]
async fn m8_a_peer_that_says_nothing_is_dead_after_the_missed_heartbeats() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(heartbeat(10, 3))).await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = Instant::now();
    assert!(matches!(end(&session).await, CloseReason::HeartbeatMissed));
    assert!((secs(30)..secs(33)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn m8_a_half_open_connection_is_found_by_both_sides() {
    // From one minute on nothing gets through in either direction, and neither side is told.
    let silence = Faults { partitions: vec![secs(60)..secs(100_000)], ..Faults::default() };
    let link = Link::new(Memory::default(), LinkConfig::both(1, silence));
    let server = listen(Server::builder(link.clone()).rules(heartbeat(10, 3))).await;
    let client =
        Client::builder(link).rules(heartbeat(10, 3)).connect(server.local()).await.expect("connects");
    let began = Instant::now();
    let (near, far) = (client.session().expect("is connected"), only(&server).await);
    let (near, far) = tokio::join!(end(&near), end(&far));
    assert!(matches!((near, far), (CloseReason::HeartbeatMissed, CloseReason::HeartbeatMissed)));
    assert!((secs(80)..secs(96)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_when_nothing_was_sent_for_an_interval_and_never_answered() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(heartbeat(10, 1_000))).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = Instant::now();
    for n in 1..=10 {
        assert_eq!(peer.recv().await, Message::new(MessageKind::Heartbeat, 0, ""));
        let expected = secs(10 * n)..secs(12 * n);
        assert!(expected.contains(&began.elapsed()), "the {n}th after {:?}", began.elapsed());
        // What the peer sends of its own is answered by none.
        for _ in 0..5 {
            peer.send(Message::new(MessageKind::Heartbeat, 7, "")).await;
        }
        settle().await;
        assert_eq!(peer.arrived(), None);
    }
    assert_eq!(session.stats().sent_messages, 10);
}

#[tokio::test(start_paused = true)]
async fn who_sends_anyhow_sends_no_heartbeats() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(heartbeat(10, 1_000))).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for _ in 0..50 {
        tokio::time::sleep(secs(8)).await;
        push(&session, "news");
        assert_eq!(peer.text().await, "news");
    }
}

#[tokio::test(start_paused = true)]
async fn receiving_anything_proves_life() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(heartbeat(10, 3))).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for kind in [0_u8, 1, 2, 3, 4].iter().cycle().take(50) {
        tokio::time::sleep(secs(25)).await;
        peer.send(Message::new(MessageKind::from_byte(*kind).expect("a kind"), 0, "")).await;
    }
    assert!(session.is_active());
}

#[tokio::test(start_paused = true)]
async fn two_engines_with_heartbeats_stay_together_with_nothing_to_say() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone())).await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    tokio::time::sleep(secs(24 * 3_600)).await;
    assert!(client.is_connected());
    assert_eq!(server.len(), 1);
    let stats = client.session().expect("is connected").stats();
    // Once each 10 s at the most, and one sweep later at the latest.
    assert!((7_800..=8_640).contains(&stats.sent_messages), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn m8_idle_sessions_time_out_and_no_others() {
    let memory = Memory::default();
    let config = Limits { idle_timeout: Some(secs(120)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config)).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for _ in 0..20 {
        tokio::time::sleep(secs(110)).await;
        peer.notify("x").await;
    }
    assert!(session.is_active());
    let began = Instant::now();
    assert!(matches!(end(&session).await, CloseReason::Idle));
    assert!((secs(120)..secs(124)).contains(&began.elapsed()), "{:?}", began.elapsed());
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn m2_the_first_message_has_a_deadline() {
    let memory = Memory::default();
    let config = Limits { first_message_timeout: Some(secs(30)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config)).await;
    let silent = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = Instant::now();
    assert!(matches!(end(&session).await, CloseReason::NoFirstMessage));
    assert!((secs(30)..secs(33)).contains(&began.elapsed()), "{:?}", began.elapsed());
    drop(silent);
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.notify("x").await;
    tokio::time::sleep(secs(3_600)).await;
    assert!(only(&server).await.is_active(), "after the first one there is no such deadline");
}

#[tokio::test(start_paused = true)]
async fn m2_the_first_byte_and_the_rest_of_the_first_message_share_one_deadline() {
    let config =
        Limits { first_message_timeout: Some(secs(30)), message_timeout: Some(secs(20)), ..unlimited() };
    // The last of the bytes that come, when; then nothing more comes.
    for sent in [0, 1, 5, 20] {
        let (_server, mut stream, session) = bytes(config).await;
        let began = Instant::now();
        tokio::time::sleep(secs(29)).await;
        stream.write_all(&frame(1, &[7; 100])[..sent]).await.expect("writes");
        assert!(matches!(end(&session).await, CloseReason::NoFirstMessage), "{sent} bytes");
        assert!((secs(30)..secs(33)).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn time_outs_of_0_are_refused_at_the_start_by_name() {
    let memory = Memory::default();
    let zero = Limits { stall_timeout: Some(secs(0)), ..Limits::default() };
    let server = Server::builder(memory.clone()).limits(zero).listen("mem://zero").await;
    let error = server.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.report().contains("stall_timeout is 0"), "{}", error.report());
    let client = Client::builder(memory).session(heartbeat(0, 3)).connect("mem://zero").await;
    let error = client.expect_err("is refused");
    assert!(error.report().contains("heartbeat.interval is 0"), "{}", error.report());
}

#[tokio::test(start_paused = true)]
async fn a_server_need_not_say_anything_first() {
    let memory = Memory::default();
    let session = SessionConfig { format: Format::Raw, ..SessionConfig::default() };
    let limits = Limits { idle_timeout: None, ..Limits::default() };
    let server = listen(
        Server::builder(memory.clone())
            .rules(session)
            .limits(Limits { first_message_timeout: None, ..limits }),
    )
    .await;
    let client = Client::builder(memory)
        .rules(session)
        .limits(limits)
        .connect(server.local())
        .await
        .expect("connects");
    tokio::time::sleep(secs(3_600)).await;
    assert!(client.is_connected());
}

/// A server over a byte stream, the other end of the stream, and their session.
async fn bytes(rules: impl Into<Rules>) -> (Server, tokio::io::DuplexStream, Session) {
    let (duplex, stream) = duplex::transport(64 * 1024);
    let server = Server::builder(duplex)
        .rules(rules)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("mem://duplex")
        .await
        .expect("listens");
    let session = only(&server).await;
    (server, stream, session)
}

#[tokio::test(start_paused = true)]
async fn a10_a_partial_frame_then_silence_meets_the_frame_deadline() {
    let config = Limits { message_timeout: Some(secs(30)), ..unlimited() };
    for sent in [1, 3, 4, 5, 12, 50] {
        let (_server, mut stream, session) = bytes(config).await;
        stream.write_all(&frame(1, b"whole")).await.expect("writes");
        stream.write_all(&frame(2, &[7; 100])[..sent]).await.expect("writes");
        let began = Instant::now();
        assert!(matches!(end(&session).await, CloseReason::MessageTimeout), "{sent} bytes");
        assert!((secs(30)..secs(34)).contains(&began.elapsed()), "{:?}", began.elapsed());
        // The whole one before was answered.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("reads");
        assert_eq!(answer.len(), frame(1, b"whole").len());
    }
}

#[tokio::test(start_paused = true)]
async fn a10_a_frame_that_comes_byte_by_byte_meets_the_same_deadline() {
    let config = Limits { message_timeout: Some(secs(30)), idle_timeout: Some(secs(20)), ..unlimited() };
    let (_server, mut stream, session) = bytes(config).await;
    let began = Instant::now();
    let dribbling = async {
        for byte in frame(1, &[7; 1_000]) {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(secs(9)).await;
        }
    };
    let reason = tokio::select! {
        reason = end(&session) => reason,
        () = dribbling => panic!("it was taken"),
    };
    assert!(matches!(reason, CloseReason::MessageTimeout), "{reason:?}");
    assert!((secs(30)..secs(34)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_large_message_that_keeps_arriving_proves_life_until_its_own_deadline() {
    let limits = Limits { message_timeout: Some(secs(600)), idle_timeout: Some(secs(60)), ..unlimited() };
    let (_server, mut stream, session) = bytes(Rules { session: heartbeat(10, 3), limits }).await;
    let wire = frame(1, &vec![7; 900_000]);
    for piece in wire.chunks(50_000) {
        stream.write_all(piece).await.expect("writes");
        tokio::time::sleep(secs(20)).await;
    }
    assert!(session.is_active(), "{:?}", session.close_reason());
    assert_eq!(session.stats().received_messages, 1);
    let reason = end(&session).await;
    assert!(matches!(reason, CloseReason::HeartbeatMissed), "{reason:?}");
}

#[tokio::test(start_paused = true)]
async fn whole_messages_that_wait_unread_are_no_incomplete_message() {
    let config = Limits { message_timeout: Some(secs(5)), ..unlimited() };
    let (duplex, mut stream) = duplex::transport(64 * 1024);
    let server = Server::builder(duplex)
        .rules(config)
        .on_message(|_, message| async {
            tokio::time::sleep(secs(10)).await;
            Ok(message.into_reply())
        })
        .listen("mem://duplex")
        .await
        .expect("listens");
    let session = only(&server).await;
    for id in 0..100 {
        stream.write_all(&frame(id, b"")).await.expect("writes");
    }
    let mut answers = vec![0; 100 * frame(0, b"").len()];
    let reading = tokio::time::timeout(secs(3_600), stream.read_exact(&mut answers));
    reading.await.expect("within the hour").expect("all answers");
    assert!(session.is_active());
}

#[tokio::test(start_paused = true)]
async fn messages_that_overlap_reads_meet_no_deadline() {
    let config = Limits { message_timeout: Some(secs(5)), ..unlimited() };
    let (_server, mut stream, session) = bytes(config).await;
    // At every moment a message is incomplete, but none for long.
    let wire: Vec<u8> = (0..100).flat_map(|id| frame(id, &[7; 20])).collect();
    let mut answers = Vec::new();
    for piece in wire.chunks(25) {
        stream.write_all(piece).await.expect("writes");
        tokio::time::sleep(secs(1)).await;
    }
    let expected = wire.len();
    while answers.len() < expected {
        let mut buffer = [0; 4096];
        let read = soon("answers", stream.read(&mut buffer)).await.expect("reads");
        answers.extend_from_slice(&buffer[..read]);
    }
    assert!(session.is_active(), "{:?}", session.close_reason());
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_to_within_an_eighth_of_the_shortest() {
    for idle in [100, 1_000, 8_000] {
        let memory = Memory::default();
        let config = Limits { idle_timeout: Some(ms(idle)), ..unlimited() };
        let server = listen(Server::builder(memory.clone()).rules(config)).await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        only(&server).await;
        let began = Instant::now();
        peer.expect_end().await;
        let passed = u64::try_from(began.elapsed().as_millis()).expect("short");
        assert!((idle..=idle + idle / 8 + 20).contains(&passed), "{passed} for {idle}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_deadlines_lasts() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    tokio::time::sleep(secs(24 * 3_600)).await;
    assert!(session.is_active());
    assert_eq!(session.stats().sent_messages, 0);
}

#[test]
fn m2_defaults_are_those_of_the_specification() {
    let ServerConfig { session, limits, io_threads, .. } = ServerConfig::default();
    assert_eq!(io_threads, None, "the caller's runtime");
    assert_eq!(limits.max_connections, 10_000);
    assert_eq!(limits.first_message_timeout, Some(secs(30)));
    assert_eq!(session.heartbeat, Some(Heartbeat { interval: secs(10), missed: 3 }));
    assert_eq!(limits.stall_timeout, Some(secs(10)));
    assert_eq!(limits.close_timeout, secs(1));
    assert!(net_tcp::TcpConfig::default().nodelay && net_tcp::TcpConfig::default().keepalive.is_some());
}
