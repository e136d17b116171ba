//! What leaves when, and in which order.

use futures_util::FutureExt;
use net_core::{Message, MessageKind, Receiver, Sender, memory::Memory};
use net_messaging::{Client, HandlerResult, Limits, Server, SessionConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::duplex;
use crate::rig::{
    Peer, Ruled, echo, feed, frame, listen, ms, narrow, only, patient, push, quiet, secs, settle, soon, turn,
    unlimited,
};

#[tokio::test(start_paused = true)]
async fn whenever_the_driver_waits_it_has_flushed_so_a_waiting_handler_holds_back_no_earlier_reply() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(|_, message| async {
        if message.payload() == "for ever" {
            std::future::pending::<()>().await;
        }
        Ok(message.into_reply())
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    // All three arrive before the driver runs: the second handler begins right behind the first reply.
    peer.request(1, "quick").await;
    peer.request(2, "for ever").await;
    peer.request(3, "behind").await;
    assert_eq!((peer.recv().await.id(), peer.arrived()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_handler_holds_back_no_push_and_no_disconnect() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(|session, _| {
        push(session, "from the handler");
        std::future::pending::<Result<Option<Message>, _>>()
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    assert_eq!(peer.text().await, "from the handler");
    let session = only(&server).await;
    push(&session, "from elsewhere");
    assert_eq!(peer.text().await, "from elsewhere");
    server.broadcast("to all");
    assert_eq!(peer.text().await, "to all");
    session.disconnect();
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_handler_holds_back_no_deadline() {
    let memory = Memory::default();
    let config = Limits { idle_timeout: Some(secs(5)), ..unlimited() };
    let server = listen(
        Server::builder(memory.clone())
            .rules(config)
            .on_message(|_, _| std::future::pending::<Result<Option<Message>, _>>()),
    )
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    let began = tokio::time::Instant::now();
    peer.expect_end().await;
    assert!((ms(5000)..ms(6000)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_pushed_goes_out_before_its_reply() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).on_message(|session, message| {
        push(session, "sent");
        feed(session, "fed");
        async move { Ok(message.into_reply()) }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..100 {
        peer.request(id, "reply").await;
    }
    for id in 0..100 {
        assert_eq!((peer.text().await, peer.text().await), ("sent".into(), "fed".into()));
        let reply = peer.recv().await;
        assert_eq!((reply.kind(), reply.id()), (MessageKind::Response, id));
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_are_appended_to_what_is_blocked_and_replies_stay_behind_them() {
    let memory = narrow();
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(|session, message| {
        push(session, "pushed by the handler");
        async move { Ok(message.into_reply()) }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    // One message is under way, the others find no room.
    for text in ["1", "2", "3"] {
        push(&session, text);
    }
    settle().await;
    for text in ["4", "5"] {
        push(&session, text);
    }
    peer.request(7, "reply").await;
    settle().await;
    push(&session, "6");
    settle().await;
    let mut seen = Vec::new();
    for _ in 0..8 {
        seen.push(peer.text().await);
    }
    let place = |text: &str| seen.iter().position(|other| other == text).expect("it arrived");
    assert_eq!(seen[..5], ["1", "2", "3", "4", "5"]);
    assert!(place("5") < place("pushed by the handler"), "{seen:?}");
    assert!(place("pushed by the handler") < place("reply"), "{seen:?}");
    assert!(place("pushed by the handler") < place("6"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn replies_are_in_the_order_of_their_requests_however_often_there_is_no_room() {
    let memory = narrow();
    let server = echo(&memory, patient()).await;
    let Peer(connection) = Peer::connect(&memory, server.local()).await;
    let (mut tx, mut rx) = (connection.tx, connection.rx);
    let sending = tokio::spawn(async move {
        for id in 0..500 {
            tx.send(Message::new(MessageKind::Request, id, vec![7; 100]).encode()).await.expect("sends");
        }
        tx
    });
    for id in 0..500 {
        let frame = soon("a reply", rx.recv()).await.expect("receives").expect("not the end");
        assert_eq!(Message::decode(frame).expect("a message").id(), id);
    }
    drop(sending.await.expect("sent"));
}

#[tokio::test(start_paused = true)]
async fn what_is_fed_waits_for_the_flush_and_leaves_in_order() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for text in ["1", "2"] {
        feed(&session, text);
    }
    settle().await;
    assert_eq!(peer.arrived(), None, "nothing leaves before the flush");
    session.flush();
    assert_eq!((peer.text().await, peer.text().await), ("1".into(), "2".into()));
    feed(&session, "3");
    push(&session, "4");
    assert_eq!((peer.text().await, peer.text().await), ("3".into(), "4".into()));
}

#[tokio::test(start_paused = true)]
async fn m18_a_client_feeds_and_flushes_too() {
    let memory = Memory::default();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = listen(Server::builder(memory.clone()).on_message(move |_, message| {
        heard.send(message.into_payload()).expect("is heard");
        async { Ok(None) }
    }))
    .await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    for text in ["1", "2", "3"] {
        assert!(client.feed(text).expect("feeds").is_accepted());
    }
    settle().await;
    assert!(hears.try_recv().is_err(), "nothing leaves before the flush");
    client.flush();
    for text in ["1", "2", "3"] {
        assert_eq!(hears.recv().await.expect("it arrives"), text);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_fed_and_never_flushed_leaves_at_the_end() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    feed(&session, "fed");
    session.disconnect();
    assert_eq!(peer.text().await, "fed");
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_handles_at_most_256_messages_or_512_kib_then_flushes_and_lets_others_run() {
    for (max_concurrent, count, len, share) in
        [(1, 2_000, 0, 256), (1, 100, 64 * 1024, 8), (8, 2_000, 0, 256), (8, 100, 64 * 1024, 8)]
    {
        // Over a byte stream: what one read brought costs nothing of the runtime's own budget.
        let (duplex, mut stream) = duplex::transport(1 << 24);
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server = listen(
            Server::builder(duplex)
                .rules(config)
                .on_message(|_, message| async move { Ok(message.into_reply()) }),
        )
        .await;
        let session = only(&server).await;
        let wire: Vec<u8> = (0..count).flat_map(|id| frame(id, &vec![7; len])).collect();
        let answer_len = frame(0, &vec![7; len]).len();
        let counting = tokio::spawn(async move {
            stream.write_all(&wire).await.expect("writes");
            let mut answers = vec![0; wire.len()];
            let (mut handled, mut read) = (0, 0);
            while handled < count {
                turn().await;
                let now = session.stats().received_messages;
                assert!(now - handled <= share, "{} messages of {len} bytes in one turn", now - handled);
                handled = now;
                while let Some(some) = stream.read(&mut answers[read..]).now_or_never() {
                    match some.expect("reads") {
                        0 => break,
                        some => read += some,
                    }
                }
                assert_eq!(read / answer_len, usize::try_from(handled).expect("few"), "all are answered");
            }
        });
        soon("all messages", counting).await.expect("counts");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_reads_at_most_256_answers_and_heartbeats_and_lets_others_run() {
    for busy in [false, true] {
        let memory = Memory::default();
        let server = listen(
            Server::builder(memory.clone())
                .rules(patient())
                .on_message(|_, _| std::future::pending::<HandlerResult>()),
        )
        .await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        let session = only(&server).await;
        if busy {
            // Its handler never returns, so that everything is read beside it.
            peer.request(1, "").await;
            settle().await;
        }
        let before = session.stats().received_messages;
        let counting = tokio::spawn(async move {
            for id in 0..1_000 {
                for kind in [MessageKind::Heartbeat, MessageKind::Response] {
                    peer.0.tx.feed(Message::new(kind, id, "").encode()).await.expect("feeds");
                }
            }
            peer.0.tx.flush().await.expect("flushes");
            let mut read = before;
            while read < before + 2_000 {
                turn().await;
                let now = session.stats().received_messages;
                assert!(now - read <= 256, "{} messages in one turn", now - read);
                read = now;
            }
        });
        soon("all messages", counting).await.expect("counts");
    }
}
