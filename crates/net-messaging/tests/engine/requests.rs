//! Requests of a program: their answers, deadlines and ends.

use std::{
    collections::HashSet,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use net_core::{ErrorCode, ErrorKind, ErrorReply, Message, MessageKind, Sender, memory::Memory};
use net_messaging::{Client, Limits, Reconnect, Server};
use tokio::time::Instant;

use crate::rig::{Peer, Ruled, listen, narrow, pair, secs, settle, soon, unlimited};

fn in_flight(client: &Client) -> usize {
    client.session().expect("is connected").stats().requests_in_flight
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_requests_in_any_order() {
    let (client, mut peer, _listener) = pair(&Memory::default(), |builder| builder).await;
    let asking: Vec<_> = (0..100)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { (n, client.request(format!("{n}")).await.expect("answers")) })
        })
        .collect();
    let mut requests = Vec::new();
    for _ in 0..100 {
        requests.push(peer.recv().await);
    }
    let ids: HashSet<_> = requests.iter().map(Message::id).collect();
    assert_eq!(ids.len(), 100, "each has its own id");
    fastrand::Rng::with_seed(7).shuffle(&mut requests);
    for request in requests {
        peer.send(request.reply(request.payload().clone())).await;
    }
    for asked in asking {
        let (n, answer) = soon("an answer", asked).await.expect("runs");
        assert_eq!(answer.payload(), &format!("{n}"));
    }
    assert_eq!(in_flight(&client), 0);
}

#[tokio::test(start_paused = true)]
async fn a12_a_peer_that_never_answers_leaves_nothing_behind() {
    let (client, mut peer, _listener) =
        pair(&Memory::default(), |builder| builder.request_timeout(secs(5))).await;
    let began = Instant::now();
    let asking: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.request("?").await.expect_err("times out") })
        })
        .collect();
    settle().await;
    assert_eq!(in_flight(&client), 100);
    for asked in asking {
        assert_eq!(soon("the deadline", asked).await.expect("runs").kind(), ErrorKind::TimedOut);
    }
    assert_eq!((began.elapsed().as_secs(), in_flight(&client)), (5, 0));
    // The answers come too late.
    for _ in 0..100 {
        let request = peer.recv().await;
        peer.send(request.into_reply()).await;
    }
    settle().await;
    assert_eq!(client.session().expect("is connected").stats().unexpected_responses, 100);
}

#[tokio::test(start_paused = true)]
async fn a12_a_peer_that_dies_fails_all_that_wait() {
    for abort in [false, true] {
        let (client, mut peer, _listener) = pair(&Memory::default(), |builder| builder).await;
        let session = client.session().expect("is connected");
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.request("?").await.expect_err("fails") })
            })
            .collect();
        assert_eq!(peer.text().await, "?");
        if abort {
            peer.0.tx.feed("never flushed").await.expect("feeds");
        }
        drop(peer);
        for asked in asking {
            let error = soon("the end", asked).await.expect("runs");
            assert_eq!(error.kind(), ErrorKind::Closed);
            assert!(std::error::Error::source(&error).is_some(), "it tells why: {}", error.report());
        }
        assert_eq!(session.stats().requests_in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_message_is_a_typed_error() {
    let (client, mut peer, _listener) = pair(&Memory::default(), |builder| builder).await;
    let mut sent = ErrorReply::new(ErrorCode::Overloaded, "come back later");
    sent.retry_after = Some(secs(3));
    for payload in [sent.encode(), bytes::Bytes::from_static(b"?"), bytes::Bytes::new()] {
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.request("?").await.expect_err("fails") }
        });
        let id = peer.recv().await.id();
        peer.send(Message::new(MessageKind::Error, id, payload.clone())).await;
        let error = soon("the error", asking).await.expect("runs");
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<ErrorReply>());
        assert_eq!(source, ErrorReply::decode(&payload).as_ref(), "what makes no sense is no source");
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_max_in_flight_requests_are_under_way_and_the_next_waits_its_turn() {
    let memory = Memory::default();
    let config = Limits { max_in_flight: 3, ..unlimited() };
    let (client, mut peer, _listener) = pair(&memory, |builder| builder.rules(config)).await;
    let asking: Vec<_> = (0..20)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.request(format!("{n}")).await.expect("answers") })
        })
        .collect();
    for _ in 0..20 {
        let request = peer.recv().await;
        settle().await;
        assert!(in_flight(&client) <= 3);
        peer.send(request.into_reply()).await;
    }
    for asked in asking {
        soon("an answer", asked).await.expect("runs");
    }
    // One that waits its turn keeps to its deadline too.
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let client = client.clone();
        waiting.push(tokio::spawn(async move { client.request_within("?", secs(60)).await }));
    }
    settle().await;
    let began = Instant::now();
    let error = client.request_within("no turn", secs(2)).await.expect_err("has no turn");
    assert_eq!((error.kind(), began.elapsed().as_secs()), (ErrorKind::TimedOut, 2));
    assert_eq!(in_flight(&client), 3);
    for asked in waiting {
        asked.abort();
        let _ = asked.await;
    }
    assert_eq!(in_flight(&client), 0);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a39_a_request_dropped_after_any_poll_is_forgotten() {
    for way in ["free", "no room", "no turn"] {
        let memory = narrow();
        let outbox = net_messaging::OutboxConfig { max_messages: 1, ..Default::default() };
        let config = Limits { max_in_flight: if way == "no turn" { 1 } else { 8 }, outbox, ..unlimited() };
        let (client, mut peer, _listener) = pair(&memory, |builder| builder.rules(config)).await;
        let session = client.session().expect("is connected");
        let mut held = None;
        match way {
            "no room" => {
                for _ in 0..2 {
                    session.send_wait("in the way").await.expect("sends");
                    settle().await;
                }
            }
            "no turn" => {
                let session = session.clone();
                held = Some(tokio::spawn(async move { session.request("first").await }));
                settle().await;
            }
            _ => {}
        }
        let before = session.stats().requests_in_flight;
        for polls in 0..6 {
            let mut cx = Context::from_waker(Waker::noop());
            let mut request = Box::pin(session.request("?"));
            for _ in 0..polls {
                assert!(request.as_mut().poll(&mut cx).is_pending());
                settle().await;
            }
            drop(request);
            assert_eq!(session.stats().requests_in_flight, before, "{way}, after {polls} polls");
        }
        // What was sent before the drop may be answered; the answers are unexpected and harm nobody.
        let served = tokio::spawn(async move {
            loop {
                let message = peer.recv().await;
                if message.kind() == MessageKind::Request {
                    peer.send(message.into_reply()).await;
                }
            }
        });
        if let Some(held) = held {
            assert_eq!(soon("the first", held).await.expect("runs").expect("answers").payload(), "first");
        }
        assert_eq!(client.request("fine").await.expect("answers").payload(), "fine");
        assert_eq!(session.stats().requests_in_flight, 0);
        served.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a39_send_wait_dropped_after_any_poll_sends_whole_or_not_at_all() {
    let memory = narrow();
    let outbox = net_messaging::OutboxConfig { max_messages: 1, ..Default::default() };
    let config = Limits { outbox, ..unlimited() };
    let (client, mut peer, _listener) = pair(&memory, |builder| builder.rules(config)).await;
    let session = client.session().expect("is connected");
    let mut accepted = 0;
    for polls in 0..50 {
        let mut cx = Context::from_waker(Waker::noop());
        let mut sending = pin!(session.send_wait(vec![7; 100]));
        for _ in 0..polls % 5 {
            if let Poll::Ready(sent) = sending.as_mut().poll(&mut cx) {
                sent.expect("sends");
                accepted += 1;
                break;
            }
            settle().await;
            if polls % 7 == 0 {
                assert_eq!(peer.recv().await.payload()[..], [7; 100]);
                accepted -= 1;
            }
        }
    }
    for _ in 0..accepted {
        assert_eq!(peer.recv().await.payload()[..], [7; 100]);
    }
    settle().await;
    assert_eq!(peer.arrived(), None);
}

#[tokio::test(start_paused = true)]
async fn a39_the_other_waits_of_a_client_may_be_dropped_too() {
    let memory = Memory::default();
    let server =
        listen(Server::builder(memory.clone()).on_message(|_, message| async { Ok(message.into_reply()) }))
            .await;
    // Connecting is abandoned after any poll, and nothing is left of it.
    for polls in 0..5 {
        let mut connecting = Box::pin(Client::builder(memory.clone()).connect(server.local()));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if connecting.as_mut().poll(&mut cx).is_ready() {
                break;
            }
        }
        drop(connecting);
        tokio::time::sleep(secs(2)).await;
        assert_eq!((server.len(), server.connections()), (0, 0), "after {polls} polls");
    }
    let client = Client::builder(memory)
        .reconnect(Reconnect::default())
        .connect(server.local())
        .await
        .expect("connects");
    let session = client.session().expect("is connected");
    for polls in 0..3 {
        let mut cx = Context::from_waker(Waker::noop());
        let mut closed = Box::pin(session.closed());
        for _ in 0..polls {
            assert!(closed.as_mut().poll(&mut cx).is_pending());
        }
    }
    assert_eq!(client.request("fine").await.expect("answers").payload(), "fine");
    // It disconnects all the same.
    {
        let mut disconnecting = pin!(client.disconnect());
        assert!(disconnecting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(
        soon("the end", session.closed()).await.to_string(),
        net_messaging::CloseReason::ByUs.to_string()
    );
    assert!(!client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a33_requests_in_flight_at_the_loss_fail_and_are_not_sent_again() {
    let memory = Memory::default();
    let reconnect = Reconnect { jitter: false, ..Reconnect::default() };
    let (client, mut peer, mut listener) = pair(&memory, |builder| builder.reconnect(reconnect)).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.request("once only").await }
    });
    assert_eq!(peer.text().await, "once only");
    drop(peer);
    let error = soon("the loss", asking).await.expect("runs").expect_err("is lost");
    assert_eq!(error.kind(), ErrorKind::Closed);
    let mut peer = Peer::accept(&mut listener).await;
    tokio::time::sleep(secs(60)).await;
    let arrived = peer.arrived();
    assert!(arrived.is_none_or(|message| message.kind() == MessageKind::Heartbeat));
    // A new one is served.
    let asking = tokio::spawn(async move { client.request("anew").await });
    assert_eq!(peer.recv().await.payload(), "anew");
    asking.abort();
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_connection_that_comes_back() {
    let memory = Memory::default();
    let (client, peer, mut listener) = pair(&memory, |builder| builder.reconnect(Reconnect::default())).await;
    let session = client.session().expect("is connected");
    drop(peer);
    session.closed().await;
    let asking = tokio::spawn(async move { client.request_within("patient", Duration::MAX).await });
    let mut peer = Peer::accept(&mut listener).await;
    let request = peer.recv().await;
    assert_eq!(request.payload(), "patient");
    peer.send(request.into_reply()).await;
    assert_eq!(soon("the answer", asking).await.expect("runs").expect("answers").payload(), "patient");
}
