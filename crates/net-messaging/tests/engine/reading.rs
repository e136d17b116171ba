//! What is read while a handler runs, and what is not.

use std::sync::Arc;

use net_core::{
    Connection, ErrorCode, ErrorKind, ErrorReply, Message, MessageKind, Receiver, Sender,
    memory::{Memory, MemoryConfig},
};
use net_messaging::{Client, HandlerResult, Limits, Server, SessionConfig};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use crate::rig::{
    Peer, Ruled, Rules, echo, listen, narrow, only, pair, patient, push, secs, settle, soon, text, unlimited,
};

/// A server whose handler waits for a permit before each reply.
async fn gated(memory: &Memory, config: impl Into<Rules>) -> (Server, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let server = listen(Server::builder(memory.clone()).rules(config).on_message({
        let gate = gate.clone();
        move |_, message| {
            let gate = gate.clone();
            async move {
                gate.acquire().await?.forget();
                Ok(message.into_reply())
            }
        }
    }))
    .await;
    (server, gate)
}

#[tokio::test(start_paused = true)]
async fn a_handler_asks_its_own_peer_at_concurrency_1() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).on_message(|session, message| {
        let session = session.clone();
        async move {
            let first = session.request(message.payload().clone()).await?;
            let second = session.request(first.payload().clone()).await?;
            Ok(message.reply(second.into_payload()))
        }
    }))
    .await;
    let client = Client::builder(memory)
        .on_message(|_, message| async move { Ok(message.reply([b"+", &message.payload()[..]].concat())) })
        .connect(server.local())
        .await
        .expect("connects");
    for _ in 0..50 {
        assert_eq!(client.request("x").await.expect("answers").payload(), "++x");
    }
    assert_eq!(only(&server).await.stats().requests_in_flight, 0);
}

/// Answers a number by asking the other for the one below.
async fn count_down(session: net_messaging::Session, message: Message) -> HandlerResult {
    let n: u32 = text(&message).parse()?;
    if n == 0 {
        return Ok(Some(message.reply("done")));
    }
    let below = session.request(format!("{}", n - 1)).await?;
    Ok(Some(message.reply(below.into_payload())))
}

#[tokio::test(start_paused = true)]
async fn d3_both_sides_ask_each_other_inside_their_handlers() {
    let memory = Memory::default();
    let config = SessionConfig { max_concurrent: 16, ..SessionConfig::default() };
    let server = listen(
        Server::builder(memory.clone())
            .rules(config)
            .on_message(|session, message| count_down(session.clone(), message)),
    )
    .await;
    let client = Client::builder(memory)
        .rules(config)
        .on_message(|session, message| count_down(session.clone(), message))
        .connect(server.local())
        .await
        .expect("connects");
    assert_eq!(client.request("20").await.expect("answers").payload(), "done");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_read_at_once_while_a_handler_runs() {
    let memory = Memory::default();
    let (server, gate) = gated(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    let session = only(&server).await;
    for _ in 0..1_000 {
        peer.send(Message::new(MessageKind::Heartbeat, 0, "")).await;
    }
    settle().await;
    assert_eq!(session.stats().received_messages, 1_001);
    gate.add_permits(1);
    assert_eq!(peer.recv().await.id(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_most_64_messages_wait_for_a_handler() {
    let memory = Memory::default();
    let (server, gate) = gated(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..1_000 {
        peer.request(id, "").await;
    }
    let session = only(&server).await;
    settle().await;
    assert_eq!(session.stats().received_messages, 1 + 64, "the one that runs, and 64");
    // Limits of what runs work by not reading, never by refusal: all are answered, in order.
    gate.add_permits(1_000);
    for id in 0..1_000 {
        assert_eq!(peer.recv().await, Message::new(MessageKind::Response, id, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_256_kib_wait_for_a_handler() {
    let memory = Memory::default();
    let (server, gate) = gated(&memory, patient()).await;
    let Connection { mut tx, mut rx, .. } = Peer::connect(&memory, server.local()).await.0;
    let sending = tokio::spawn(async move {
        for id in 0..40 {
            let request = Message::new(MessageKind::Request, id, vec![1; 60_000]);
            tx.send(request.encode()).await.expect("sends");
        }
        tx
    });
    let session = only(&server).await;
    settle().await;
    // 256 KiB are 4.4 of them; the one that passes the bound is the last.
    assert_eq!(session.stats().received_messages, 1 + 5);
    gate.add_permits(40);
    for id in 0..40 {
        let frame = soon("a reply", rx.recv()).await.expect("receives").expect("not the end");
        assert_eq!(Message::decode(frame).expect("a message").id(), id);
    }
    drop(sending.await.expect("sends"));
}

#[tokio::test(start_paused = true)]
async fn a_request_inside_a_handler_fails_as_overloaded_when_its_answer_can_never_be_read() {
    let memory = Memory::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    let server =
        listen(Server::builder(memory.clone()).rules(patient()).on_message(move |session, message| {
            let (session, tell) = (session.clone(), tell.clone());
            async move {
                if message.payload() == "ask" {
                    let error = session.request("?").await.expect_err("cannot be answered");
                    tell.send(error.kind()).expect("is heard");
                }
                Ok(message.into_reply())
            }
        }))
        .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(0, "ask").await;
    assert_eq!(peer.text().await, "?");
    for id in 1..=63 {
        peer.request(id, "").await;
    }
    settle().await;
    assert!(told.try_recv().is_err(), "there is still room for the answer");
    peer.request(64, "").await;
    assert_eq!(soon("the error", told.recv()).await, Some(ErrorKind::Overloaded));
    for id in 0..=64 {
        assert_eq!(peer.recv().await.id(), id, "the session goes on");
    }
    assert_eq!(only(&server).await.stats().requests_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_from_elsewhere_outlives_a_full_backlog() {
    let memory = Memory::default();
    let (server, gate) = gated(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for id in 0..200 {
        peer.request(id, "").await;
    }
    let asking = tokio::spawn(async move { session.request("?").await });
    settle().await;
    assert_eq!(peer.text().await, "?");
    peer.send(Message::new(MessageKind::Response, 0, "!")).await;
    settle().await;
    assert!(!asking.is_finished(), "its answer stands behind what is not read");
    gate.add_permits(200);
    assert_eq!(asking.await.expect("runs").expect("is answered").payload(), "!");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_which_there_is_no_turn_fails_as_overloaded_too() {
    let memory = Memory::default();
    let config = Limits { max_in_flight: 1, ..unlimited() };
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(move |session, message| {
        let (session, tell) = (session.clone(), tell.clone());
        async move {
            if message.payload() == "ask" {
                let (one, two) = tokio::join!(session.request("1"), session.request("2"));
                for error in [one.expect_err("no answer"), two.expect_err("no turn")] {
                    tell.send(error.kind()).expect("is heard");
                }
            }
            Ok(message.into_reply())
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(0, "ask").await;
    for id in 1..=64 {
        peer.request(id, "").await;
    }
    for _ in 0..2 {
        assert_eq!(soon("the error", told.recv()).await, Some(ErrorKind::Overloaded));
    }
}

#[tokio::test(start_paused = true)]
async fn reading_does_not_stop_because_pushes_or_our_own_requests_find_no_room() {
    for requests in [false, true] {
        let memory = narrow();
        let (heard, mut hears) = mpsc::unbounded_channel();
        let server =
            listen(Server::builder(memory.clone()).rules(patient()).on_message(move |_, message| {
                heard.send(text(&message)).expect("is heard");
                async { Ok(None) }
            }))
            .await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        let session = only(&server).await;
        for n in 0..10 {
            let session = session.clone();
            if requests {
                tokio::spawn(async move { session.request(format!("{n}")).await });
            } else {
                push(&session, "nobody takes it");
            }
        }
        settle().await;
        assert!(session.stats().waiting_messages > 0, "they are blocked");
        for n in 0..500 {
            peer.notify(format!("{n}")).await;
            assert_eq!(soon("it", hears.recv()).await, Some(format!("{n}")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_reading_while_replies_find_no_room() {
    let memory = narrow();
    let server = echo(&memory, patient()).await;
    let Connection { mut tx, mut rx, .. } = Peer::connect(&memory, server.local()).await.0;
    let sending = tokio::spawn(async move {
        for id in 0..200 {
            tx.send(Message::new(MessageKind::Request, id, "").encode()).await.expect("sends");
        }
        tx
    });
    let session = only(&server).await;
    settle().await;
    // One reply is under way, one waits; the next request was handled for it and is the last to be read.
    assert!(session.stats().received_messages <= 3, "{:?}", session.stats());
    assert!(!sending.is_finished(), "what is not read does not find room for ever");
    for id in 0..200 {
        let frame = soon("a reply", rx.recv()).await.expect("receives").expect("not the end");
        assert_eq!(Message::decode(frame).expect("a message").id(), id);
    }
    drop(sending.await.expect("sends"));
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_while_its_replies_find_no_room() {
    let memory = narrow();
    let (client, mut peer, _listener) =
        pair(&memory, |builder| builder.on_message(|_, message| async move { Ok(message.into_reply()) }))
            .await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.request("?").await }
    });
    assert_eq!(peer.text().await, "?");
    // The server asks and takes no reply; then it answers, and is read all the same.
    for id in 0..10 {
        peer.request(id, "").await;
    }
    peer.send(Message::new(MessageKind::Response, 0, "!")).await;
    assert_eq!(soon("the answer", asking).await.expect("runs").expect("is answered").payload(), "!");
    for id in 0..10 {
        assert_eq!(peer.recv().await.id(), id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_replies_find_no_room_reads_on_behind_the_share_of_a_wake_up() {
    let memory = Memory::new(MemoryConfig { max_buffered: 20_000, ..MemoryConfig::default() });
    let (client, mut peer, _listener) = pair(&memory, |builder| {
        builder.on_message(|_, message| async move { Ok(message.reply(vec![7; 15_000])) })
    })
    .await;
    let asking = tokio::spawn(async move { client.request("?").await });
    assert_eq!(peer.text().await, "?");
    // The first reply is under way, the second finds no room.
    peer.request(0, "").await;
    peer.request(1, "").await;
    settle().await;
    // The 256th message of the next wake-up waits for the handler, and the answer stands behind it.
    for _ in 0..255 {
        peer.0.tx.feed(Message::new(MessageKind::Heartbeat, 0, "").encode()).await.expect("feeds");
    }
    peer.0.tx.feed(Message::new(MessageKind::Request, 2, "").encode()).await.expect("feeds");
    peer.send(Message::new(MessageKind::Response, 0, "!")).await;
    let began = Instant::now();
    assert_eq!(soon("the answer", asking).await.expect("runs").expect("is answered").payload(), "!");
    assert_eq!(began.elapsed(), secs(0), "nothing else wakes the client, but the next sweep");
}

#[tokio::test(start_paused = true)]
async fn a_handler_error_tells_the_peer_only_what_was_written_for_it() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).on_message(|_, message| async move {
        match &message.payload()[..] {
            b"told" => Err(ErrorReply::new(ErrorCode::Invalid, "no such thing"))?,
            _ => Err::<Option<Message>, _>("the password is 1234")?,
        };
        Ok(None::<Message>)
    }))
    .await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    let report = |error: net_core::Error| {
        assert_eq!(error.kind(), ErrorKind::Rejected);
        error.report()
    };
    let told = report(client.request("told").await.expect_err("fails"));
    assert!(told.contains("no such thing"), "{told}");
    let silent = report(client.request("silent").await.expect_err("fails"));
    assert!(!silent.contains("1234"), "{silent}");
    assert!(client.request_within("told", secs(1)).await.is_err(), "the session goes on");
}
