//! Kinds, numbers and lengths of messages.

use net_core::{
    ErrorCode, ErrorKind, ErrorReply, Message, MessageKind, Sender,
    memory::{Memory, MemoryConfig},
};
use net_messaging::{Client, Format, Server, SessionConfig};
use tokio::sync::mpsc;

use crate::rig::{
    Peer, Ruled, Rules, echo, listen, only, patient, push, quiet, secs, settle, soon, unlimited,
};

#[tokio::test(start_paused = true)]
async fn echo_answers_kind_0_with_1_and_2_with_2_and_nothing_else() {
    let memory = Memory::default();
    let server = echo(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for kind in [1, 3, 4, 0, 2] {
        let kind = MessageKind::from_byte(kind).expect("a kind");
        peer.send(Message::new(kind, 77, format!("{kind:?}"))).await;
    }
    assert_eq!(peer.recv().await, Message::new(MessageKind::Response, 77, "Request"));
    assert_eq!(peer.recv().await, Message::new(MessageKind::Notification, 77, "Notification"));
    settle().await;
    assert_eq!(peer.arrived(), None);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_0_is_valid_and_may_be_used_again_after_the_answer() {
    let memory = Memory::default();
    let server = echo(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in [0, 0, u64::MAX, u64::MAX, 0] {
        peer.request(id, "x").await;
        assert_eq!(peer.recv().await, Message::new(MessageKind::Response, id, "x"));
    }
}

#[tokio::test(start_paused = true)]
async fn each_direction_has_its_own_ids() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).on_message(|session, message| {
        let session = session.clone();
        async move {
            // Both requests have the id 0 and wait at once.
            let back = session.request("back").await?;
            Ok(message.reply(back.into_payload()))
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(0, "there").await;
    assert_eq!(peer.recv().await, Message::new(MessageKind::Request, 0, "back"));
    peer.send(Message::new(MessageKind::Response, 0, "answer")).await;
    assert_eq!(peer.recv().await, Message::new(MessageKind::Response, 0, "answer"));
}

#[tokio::test(start_paused = true)]
async fn a11_answers_to_no_request_are_counted_and_dropped() {
    let memory = Memory::default();
    let server = echo(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..1_000 {
        peer.send(Message::new(MessageKind::Response, id, "?")).await;
        peer.send(Message::new(MessageKind::Error, id, "?")).await;
    }
    peer.request(1, "still here").await;
    assert_eq!(peer.recv().await.id(), 1);
    let stats = only(&server).await.stats();
    assert_eq!((stats.unexpected_responses, stats.requests_in_flight), (2_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a11_the_second_answer_to_a_request_is_unexpected() {
    let memory = Memory::default();
    let server = echo(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let asking = tokio::spawn({
        let session = session.clone();
        async move { session.request("?").await }
    });
    let id = peer.recv().await.id();
    peer.send(Message::new(MessageKind::Response, id, "first")).await;
    peer.send(Message::new(MessageKind::Response, id, "second")).await;
    assert_eq!(asking.await.expect("runs").expect("is answered").payload(), "first");
    settle().await;
    assert_eq!(session.stats().unexpected_responses, 1);
}

#[tokio::test(start_paused = true)]
async fn a11_a_duplicate_pending_id_closes() {
    // While the first runs, while the first waits, and while several may run at once.
    for (max_concurrent, ids) in [(1, vec![5, 5]), (1, vec![1, 5, 5]), (4, vec![5, 5]), (2, vec![1, 2, 5, 5])]
    {
        let memory = Memory::default();
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server = listen(
            Server::builder(memory.clone())
                .rules(config)
                .on_message(|_, _| std::future::pending::<Result<Option<Message>, _>>()),
        )
        .await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        let session = only(&server).await;
        for id in &ids {
            peer.request(*id, "").await;
        }
        let reason = soon("the end", session.closed()).await;
        assert_eq!(reason.error().expect("it broke").kind(), ErrorKind::Protocol, "{ids:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_and_a_notification_may_have_the_same_id() {
    for max_concurrent in [1, 4] {
        let memory = Memory::default();
        let config = SessionConfig { max_concurrent, ..quiet() };
        let server = listen(Server::builder(memory.clone()).rules(config).on_message(|_, message| async {
            tokio::time::sleep(secs(1)).await;
            Ok(message.into_reply())
        }))
        .await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        peer.request(5, "").await;
        for _ in 0..2 {
            peer.send(Message::new(MessageKind::Notification, 5, "")).await;
        }
        let mut kinds =
            [peer.recv().await, peer.recv().await, peer.recv().await].map(|reply| reply.kind() as u8);
        kinds.sort_unstable();
        assert_eq!(kinds, [1, 2, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a11_what_is_no_message_closes_with_the_reason() {
    for frame in [&b""[..], b"\0\0\0\0\0\0\0\0", b"\x7f\0\0\0\0\0\0\0\0", b"\xff\0\0\0\0\0\0\0\0payload"] {
        let memory = Memory::default();
        let server = echo(&memory, patient()).await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        let session = only(&server).await;
        peer.0.tx.send(frame).await.expect("sends");
        let reason = soon("the end", session.closed()).await;
        assert_eq!(reason.error().expect("it broke").kind(), ErrorKind::Protocol, "{frame:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_message_format_a_payload_may_be_the_cap_less_9_and_exactly_the_cap_is_accepted() {
    let cap = 1_000;
    let memory = Memory::new(MemoryConfig { max_message_len: cap, ..MemoryConfig::default() });
    let server = echo(&memory, patient()).await;
    let client = Client::builder(memory.clone()).connect(server.local()).await.expect("connects");
    let longest = vec![1; cap - 9];
    assert_eq!(client.request(longest.clone()).await.expect("answers").payload(), &longest);
    let error = client.request(vec![1; cap - 8]).await.expect_err("is too long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);
    let session = client.session().expect("is connected");
    assert_eq!(session.send(vec![1; cap - 8]).expect_err("is too long").kind(), ErrorKind::MessageTooLong);
    assert_eq!(client.request("fine").await.expect("the connection is intact").payload(), "fine");
    assert_eq!(session.stats().requests_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn in_raw_format_a_payload_may_be_the_cap() {
    let cap = 1_000;
    let memory = Memory::new(MemoryConfig { max_message_len: cap, ..MemoryConfig::default() });
    let server = echo(&memory, SessionConfig { format: Format::Raw, ..quiet() }).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.0.tx.send(vec![1; cap]).await.expect("sends");
    let frame = soon("the echo", peer.0.recv()).await.expect("receives").expect("not the end");
    assert_eq!(frame.len(), cap);
    let session = only(&server).await;
    assert_eq!(session.send(vec![1; cap + 1]).expect_err("is too long").kind(), ErrorKind::MessageTooLong);
    push(&session, vec![1; cap]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_too_long_is_answered_by_an_error_and_the_session_goes_on() {
    let memory = Memory::new(MemoryConfig { max_message_len: 1_000, ..MemoryConfig::default() });
    let server = listen(Server::builder(memory.clone()).on_message(|_, message| async move {
        let len = message.payload().len();
        Ok(message.reply(vec![1; len * 2]))
    }))
    .await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    let error = client.request(vec![1; 600]).await.expect_err("no answer fits");
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(client.request(vec![1; 400]).await.expect("answers").payload().len(), 800);
}

#[tokio::test(start_paused = true)]
async fn where_not_even_an_error_fits_it_is_dropped_and_the_session_goes_on() {
    let memory = Memory::new(MemoryConfig { max_message_len: 12, ..MemoryConfig::default() });
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(|_, message| async {
        match &message.payload()[..] {
            b"err" => Err("no error is as short as 3 bytes")?,
            b"len" => Ok(message.reply(vec![1; 100])),
            _ => Ok(message.into_reply()),
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for (id, payload) in [(1, "err"), (2, "len"), (3, "fit")] {
        peer.request(id, payload).await;
    }
    assert_eq!(peer.recv().await, Message::new(MessageKind::Response, 3, "fit"));
    assert_eq!(only(&server).await.stats().dropped_messages, 2);
}

#[tokio::test(start_paused = true)]
async fn in_raw_format_there_are_no_requests_no_heartbeats_and_no_errors() {
    let memory = Memory::default();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let config = SessionConfig { format: Format::Raw, ..SessionConfig::default() };
    let config = Rules { session: config, limits: unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(move |_, message| {
        heard.send((message.kind(), message.id())).expect("is heard");
        async move {
            match &message.payload()[..] {
                b"fail" => Err(ErrorReply::new(ErrorCode::Failed, "no"))?,
                _ => Ok(message.into_reply()),
            }
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    assert_eq!(session.request("?").await.expect_err("raw").kind(), ErrorKind::Unsupported);
    // What looks like a message is none here.
    let frame = Message::new(MessageKind::Heartbeat, 3, "").encode();
    peer.0.tx.send("fail").await.expect("sends");
    peer.0.tx.send(frame.clone()).await.expect("sends");
    assert_eq!(soon("the echo", peer.0.recv()).await.expect("receives"), Some(frame));
    for _ in 0..2 {
        assert_eq!(hears.recv().await, Some((MessageKind::Notification, 0)));
    }
    tokio::time::sleep(secs(3_600)).await;
    settle().await;
    assert!(session.is_active());
    assert_eq!(session.stats().sent_messages, 1);
}
