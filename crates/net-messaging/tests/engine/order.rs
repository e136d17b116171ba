//! What leaves when, and in which order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use net_core::{
    Message, MessageKind, Receiver, Sender,
    memory::{Memory, MemoryConfig},
};
use net_messaging::{Client, Limits, Server};

use crate::rig::{Peer, Ruled, feed, listen, ms, narrow, only, patient, push, secs, settle, soon, unlimited};

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
    let server = listen(
        Server::builder(memory.clone())
            .rules(patient())
            .on_message(|_, message| async move { Ok(message.into_reply()) }),
    )
    .await;
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
async fn a_wake_up_handles_at_most_256_messages_and_lets_others_run() {
    let memory = Memory::default();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(None) }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    only(&server).await;
    let watch = tokio::spawn(most_at_once(handled, 2_000));
    for _ in 0..2_000 {
        peer.0.tx.feed(Message::from("x").encode()).await.expect("feeds");
    }
    peer.0.tx.flush().await.expect("flushes");
    let most = soon("all messages", watch).await.expect("counts");
    assert!((1..=256).contains(&most), "{most} messages in one turn");
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_handles_at_most_256_kib_and_lets_others_run() {
    let memory = Memory::new(MemoryConfig { max_buffered: 1 << 24, ..MemoryConfig::default() });
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(None) }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    only(&server).await;
    let watch = tokio::spawn(most_at_once(handled, 100));
    for _ in 0..100 {
        let frame = Message::from(vec![0; 64 * 1024]).encode();
        peer.0.tx.feed(frame).await.expect("feeds");
    }
    peer.0.tx.flush().await.expect("flushes");
    let most = soon("all messages", watch).await.expect("counts");
    assert!((1..=4).contains(&most), "{most} messages of 64 KiB in one turn");
}

/// Returns by how much `handled` grows at most between two turns of a task that is always ready.
async fn most_at_once(handled: Arc<AtomicUsize>, total: usize) -> usize {
    let (mut last, mut most) = (0, 0);
    while last < total {
        turn().await;
        let now = handled.load(Ordering::Relaxed);
        most = most.max(now - last);
        last = now;
    }
    most
}

/// Lets the tasks that are ready run once. tokio's own `yield_now` waits until no task is, or for 61 of them.
async fn turn() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
