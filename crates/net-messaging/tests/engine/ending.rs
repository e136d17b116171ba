//! How sessions end, and that nothing accepted is lost.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use net_core::{
    ErrorKind, Message, MessageKind, Receiver, Sender,
    memory::{Memory, MemoryConfig},
};
use net_messaging::{Client, CloseReason, Format, Limits, Server, SessionConfig, SessionState};
use tokio::sync::{Notify, mpsc};

use crate::rig::{
    Peer, Ruled, echo, feed, for_ever, listen, narrow, only, patient, push, quiet, secs, settle, soon,
    unlimited,
};

#[tokio::test(start_paused = true)]
async fn at_the_end_of_input_running_handlers_complete_and_all_replies_arrive() {
    for max_concurrent in [1, 8] {
        let memory = Memory::default();
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server = listen(Server::builder(memory.clone()).rules(config).on_message(|session, message| {
            let session = session.clone();
            async move {
                tokio::time::sleep(secs(5)).await;
                push(&session, "a last push");
                Ok(message.into_reply())
            }
        }))
        .await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        for id in 0..10 {
            peer.0.tx.feed(Message::new(MessageKind::Request, id, "").encode()).await.expect("feeds");
        }
        // The requests and the end arrive together.
        peer.0.tx.finish().await.expect("finishes");
        let mut replies = Vec::new();
        for _ in 0..20 {
            let message = peer.recv().await;
            if message.kind() == MessageKind::Response {
                replies.push(message.id());
            }
        }
        peer.expect_end().await;
        replies.sort_unstable();
        assert_eq!(replies, (0..10).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_input_the_outbox_empties_however_narrow_the_way() {
    let memory = narrow();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for n in 0..100 {
        push(&session, format!("{n}"));
    }
    peer.0.tx.finish().await.expect("finishes");
    for n in 0..100 {
        assert_eq!(peer.text().await, format!("{n}"));
    }
    peer.expect_end().await;
    assert!(matches!(session.closed().await, CloseReason::ByPeer));
    assert_eq!(session.stats().waiting_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn data_and_end_that_arrive_together_lose_nothing() {
    let memory = Memory::default();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let server = listen(Server::builder(memory.clone()).on_message(move |_, message| {
        heard.send(message.id()).expect("is heard");
        async { Ok(None) }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..1_000 {
        peer.0.tx.feed(Message::new(MessageKind::Notification, id, "").encode()).await.expect("feeds");
    }
    peer.0.tx.finish().await.expect("finishes");
    for id in 0..1_000 {
        assert_eq!(soon("it", hears.recv()).await, Some(id));
    }
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn requests_of_our_own_fail_at_once_when_the_peer_has_finished() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(|session, message| {
        let session = session.clone();
        async move {
            // The peer finishes before it answers, so that no answer can come any more.
            let error = session.request("?").await.expect_err("no answer");
            Ok(message.reply(format!("{:?}", error.kind())))
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    assert_eq!(peer.text().await, "?");
    peer.0.tx.finish().await.expect("finishes");
    assert_eq!(peer.text().await, "Closed");
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn requests_of_our_own_fail_at_once_when_we_disconnect() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let asking = tokio::spawn({
        let session = session.clone();
        async move { session.request("?").await }
    });
    assert_eq!(peer.text().await, "?");
    let began = tokio::time::Instant::now();
    session.disconnect();
    // The peer has not finished, but what it sends now is read by nobody.
    let error = soon("the end", asking).await.expect("runs").expect_err("no answer is read");
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Closed, secs(0)));
    assert!(error.report().contains(&CloseReason::ByUs.to_string()), "{}", error.report());
}

#[tokio::test(start_paused = true)]
async fn disconnect_in_ones_own_handler_acts_when_the_handler_returns() {
    for max_concurrent in [1, 8] {
        let memory = Memory::default();
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server = listen(Server::builder(memory.clone()).rules(config).on_message(|session, message| {
            session.disconnect();
            push(session, "sent after it");
            async move {
                tokio::time::sleep(secs(5)).await;
                Ok(message.into_reply())
            }
        }))
        .await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        peer.request(1, "the reply").await;
        peer.request(2, "not handled any more").await;
        assert_eq!(peer.text().await, "sent after it");
        let session = only(&server).await;
        assert_eq!(peer.text().await, "the reply");
        peer.expect_end().await;
        assert!(matches!(soon("the end", session.closed()).await, CloseReason::ByUs));
        assert!(server.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn disconnect_from_elsewhere_drops_the_handler_at_once_and_sends_what_was_accepted() {
    for max_concurrent in [1, 8] {
        let memory = Memory::default();
        let dropped = Arc::new(AtomicUsize::new(0));
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server = listen(Server::builder(memory.clone()).rules(config).on_message({
            let dropped = dropped.clone();
            move |session, _| {
                push(session, "accepted");
                for_ever(&dropped)
            }
        }))
        .await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        peer.request(1, "").await;
        let session = only(&server).await;
        settle().await;
        push(&session, "accepted too");
        session.disconnect();
        assert_eq!((peer.text().await, peer.text().await), ("accepted".into(), "accepted too".into()));
        peer.expect_end().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert!(session.state() >= SessionState::Disconnecting);
        assert_eq!(session.send("late").expect_err("is refused").kind(), ErrorKind::Closed);
        drop(peer);
        assert!(matches!(session.closed().await, CloseReason::ByUs));
    }
}

#[tokio::test(start_paused = true)]
async fn disconnect_from_elsewhere_overrules_one_in_the_handler_that_waits() {
    let memory = Memory::default();
    let waits = Arc::new(Notify::new());
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message({
        let waits = waits.clone();
        move |session, _| {
            session.disconnect();
            waits.notify_one();
            std::future::pending::<Result<Option<Message>, _>>()
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    let session = only(&server).await;
    waits.notified().await;
    settle().await;
    assert!(session.is_active(), "its handler has not returned");
    session.disconnect();
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_connection_breaks_the_handler_is_dropped() {
    let memory = Memory::default();
    let dropped = Arc::new(AtomicUsize::new(0));
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message({
        let dropped = dropped.clone();
        move |_, _| for_ever(&dropped)
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    let session = only(&server).await;
    settle().await;
    // Dropped with something that was not flushed: an abort.
    peer.0.tx.feed(Message::from("never flushed").encode()).await.expect("feeds");
    drop(peer);
    let reason = soon("the end", session.closed()).await;
    assert_eq!(reason.error().expect("it broke").kind(), ErrorKind::Reset);
    assert!(!reason.is_clean());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_finishes_is_waited_for_no_longer_than_the_close_time_out() {
    let memory = Memory::default();
    let config = Limits { close_timeout: secs(3), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config)).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = tokio::time::Instant::now();
    session.disconnect();
    peer.expect_end().await;
    // It goes on sending, which is read and thrown away.
    let session = soon("the end", async {
        while peer.0.tx.send(Message::from("still here").encode()).await.is_ok() {
            settle().await;
        }
        session
    })
    .await;
    session.closed().await;
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_stays() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    session.disconnect();
    peer.0.tx.finish().await.expect("finishes");
    assert!(matches!(session.closed().await, CloseReason::ByUs));
    session.disconnect();
    assert!(matches!(session.close_reason(), Some(CloseReason::ByUs)));
    assert_eq!(session.state(), SessionState::Closed);
}

#[tokio::test(start_paused = true)]
async fn m5_each_end_tells_its_reason_to_both_handlers() {
    let memory = Memory::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = listen(Server::builder(memory.clone()).on_disconnected({
        let tell = tell.clone();
        move |session, reason| {
            assert_eq!(session.state(), SessionState::Disconnecting);
            tell.send(("server", reason.to_string())).expect("is heard");
        }
    }))
    .await;
    let client = Client::builder(memory)
        .on_disconnected(move |_, reason| tell.send(("client", reason.to_string())).expect("is heard"))
        .connect(server.local())
        .await
        .expect("connects");
    client.disconnect().await;
    let mut ends = [told.recv().await.expect("told"), told.recv().await.expect("told")];
    ends.sort_unstable();
    let expected = [("client", CloseReason::ByUs), ("server", CloseReason::ByPeer)];
    assert_eq!(ends, expected.map(|(side, reason)| (side, reason.to_string())));
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_violation_has_its_answer() {
    for max_concurrent in [1, 8] {
        let memory = Memory::default();
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server = echo(&memory, config).await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        for id in 0..10 {
            peer.0.tx.feed(Message::new(MessageKind::Request, id, "").encode()).await.expect("feeds");
        }
        // All arrive together, and what is no message is behind them.
        peer.0.tx.send(Bytes::from_static(b"\xff")).await.expect("sends");
        for id in 0..10 {
            assert_eq!(peer.recv().await.id(), id);
        }
        assert!(!matches!(soon("the end", peer.0.rx.recv()).await, Ok(Some(_))), "nothing follows");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_no_frame_can_carry_is_counted_where_nobody_can_be_told() {
    let memory = Memory::new(MemoryConfig { max_message_len: 8, ..MemoryConfig::default() });
    let config = SessionConfig { format: Format::Raw, ..quiet() };
    let server = listen(
        Server::builder(memory.clone())
            .rules(config)
            .on_message(|_, message| async move { Ok(message.reply(message.payload().repeat(4))) }),
    )
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    for text in ["long", "ab"] {
        peer.0.tx.send(Bytes::from(text)).await.expect("sends");
    }
    let reply = soon("a reply", peer.0.rx.recv()).await.expect("receives");
    assert_eq!(reply.as_deref(), Some(&b"abababab"[..]));
    assert_eq!(session.stats().dropped_messages, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_fed_behind_a_blocked_message_leaves_before_the_end() {
    let memory = narrow();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    push(&session, "first");
    push(&session, "second");
    // The second one waits for room, and nothing tells the driver of the third.
    settle().await;
    feed(&session, "third");
    session.disconnect();
    for expected in ["first", "second", "third"] {
        assert_eq!(peer.text().await, expected);
    }
    peer.expect_end().await;
}
