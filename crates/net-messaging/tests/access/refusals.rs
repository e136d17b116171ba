//! What a client makes of a server that does not let it in.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use net_core::{
    Credentials, Error, ErrorCode, ErrorKind, ErrorReply, Message, MessageKind, Transport, memory::Memory,
};
use net_messaging::{Client, ClientState, Identity, Reconnect, Refusal, Server};
use tokio::time::Instant;

use crate::{
    claims::{Heard, OneKey, attempt, reply, right, wrong},
    rig::{Peer, Ruled, listen, only, patient, secs, settle, soon},
};

fn steady() -> Reconnect {
    Reconnect { interval: secs(1), multiplier: 1.0, jitter: false, ..Reconnect::default() }
}

async fn reach(client: &Client, wanted: impl FnMut(&ClientState) -> bool) -> ClientState {
    let mut state = client.watch_state();
    let reached = soon("the state", state.wait_for(wanted)).await.expect("the client lives");
    reached.clone()
}

#[tokio::test(start_paused = true)]
async fn m13_a_refusal_is_a_clear_error_with_reconnection_and_without() {
    let memory = Memory::default();
    let heard = Heard::default();
    let server = listen(Server::builder(memory.clone()).authenticator(OneKey)).await;
    for reconnect in [None, Some(steady())] {
        let mut builder = Client::builder(memory.clone()).authenticate(wrong()).handler(heard.clone());
        if let Some(reconnect) = reconnect {
            builder = builder.reconnect(reconnect);
        }
        let error = soon("the refusal", builder.connect(server.local())).await.expect_err("is refused");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthenticated, false));
        assert_eq!(error.report(), "connect mem://server: not authenticated: Unauthenticated: unknown key");
    }
    assert_eq!(heard.all(), Vec::<String>::new(), "its handler heard of no connection");
}

#[tokio::test(start_paused = true)]
async fn m13_a_refusal_ends_reconnecting_until_it_is_asked_for_by_hand() {
    let memory = Memory::default();
    let open = Arc::new(AtomicU32::new(1));
    let server = Server::builder(memory.clone())
        .on_authenticate({
            let open = open.clone();
            move |_, _| {
                let open = open.load(Ordering::Relaxed) == 1;
                async move {
                    if open {
                        Ok(Identity::new("ann"))
                    } else {
                        Err(Refusal::forbidden("your account is closed"))
                    }
                }
            }
        })
        .on_message(|_, message| async { Ok(message.into_reply()) });
    let server = listen(server).await;
    let client = Client::builder(memory).authenticate(right("ann")).reconnect(steady());
    let client = client.connect(server.local()).await.expect("is let in");
    open.store(0, Ordering::Relaxed);
    only(&server).await.disconnect();
    let refused = ErrorReply::new(ErrorCode::PermissionDenied, "your account is closed");
    let state = reach(&client, |state| matches!(state, ClientState::Refused(_))).await;
    assert_eq!(state, ClientState::Refused(refused.clone()));
    for error in [
        client.request("?").await.expect_err("is refused"),
        client.send_wait("?").await.expect_err("is refused"),
        client.send("?").expect_err("is refused"),
        client.connected().await.expect_err("is refused"),
    ] {
        assert_eq!((error.kind(), error.reply()), (ErrorKind::Unauthenticated, Some(&refused)));
    }
    tokio::time::sleep(secs(3_600)).await;
    assert!(matches!(client.state(), ClientState::Refused(_)), "it does not come back by itself");
    open.store(1, Ordering::Relaxed);
    client.reconnect();
    settle().await;
    soon("the connection", client.connected()).await.expect("is let in again");
    client.request("hello").await.expect("answers");
}

#[tokio::test(start_paused = true)]
async fn m13_what_is_no_refusal_is_tried_again_after_the_time_the_server_gives() {
    let memory = Memory::default();
    let asked = Arc::new(AtomicU32::new(0));
    let server = Server::builder(memory.clone()).on_authenticate({
        let asked = asked.clone();
        move |_, _| {
            let asked = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match asked {
                    0 => Err(Refusal::unavailable("the directory is down").with_retry_after(secs(9))),
                    // The decision takes too long.
                    1 => std::future::pending().await,
                    _ => Ok(Identity::new("ann")),
                }
            }
        }
    });
    let server = listen(server).await;
    let began = Instant::now();
    let client = Client::builder(memory.clone()).authenticate(right("ann")).reconnect(steady());
    let client = soon("the connection", client.connect(server.local())).await.expect("is let in at last");
    // 9 s as told, 5 s for the decision, 1 s between the attempts.
    assert_eq!(began.elapsed().as_secs(), 15);
    assert!(client.is_connected());
    // Without reconnection the first reason is the last word.
    asked.store(0, Ordering::Relaxed);
    let client = Client::builder(memory).authenticate(right("ann")).connect(server.local());
    let error = soon("the reason", client).await.expect_err("is not let in");
    assert_eq!(error.retry_after(), Some(secs(9)));
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn m13_credentials_that_cannot_be_had_or_are_not_answered_are_an_error() {
    let memory = Memory::default();
    let mut listener = memory.listen(&"mem://server".parse().expect("an address")).await.expect("listens");
    let client = Client::builder(memory.clone())
        .authenticate_with(|| async { Err(Error::new(ErrorKind::TimedOut, "fetch token")) });
    let (client, mut peer) = tokio::join!(client.connect("mem://server"), Peer::accept(&mut listener));
    let error = client.expect_err("has nothing to show");
    assert!(error.report().contains("no credentials: fetch token: timed out"), "{}", error.report());
    peer.expect_end().await;

    let long = Credentials::new(vec![7; 5000]);
    let client = Client::builder(memory.clone()).authenticate(long).connect("mem://server");
    let (client, _peer) = tokio::join!(client, Peer::accept(&mut listener));
    assert!(client.expect_err("too long").report().contains("5000"));

    let client = Client::builder(memory).authenticate(right("ann")).request_timeout(secs(7));
    let began = Instant::now();
    let (client, mut peer) = tokio::join!(client.connect("mem://server"), Peer::accept(&mut listener));
    assert_eq!(client.expect_err("no answer").kind(), ErrorKind::TimedOut);
    // And the close time-out, since the server does not finish either.
    assert_eq!(began.elapsed().as_secs(), 7 + 1);
    assert_eq!(peer.recv().await.kind(), MessageKind::Authenticate, "before anything else");
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn m13_a_connection_that_breaks_before_the_answer_ends_connect_though_the_client_reconnects() {
    let memory = Memory::default();
    let mut listener = memory.listen(&"mem://server".parse().expect("an address")).await.expect("listens");
    let connecting = || {
        let client = Client::builder(memory.clone()).authenticate(right("ann")).reconnect(steady());
        soon("an answer", client.connect("mem://server"))
    };
    let (client, ()) = tokio::join!(connecting(), async { drop(Peer::accept(&mut listener).await) });
    let error = client.expect_err("nobody has answered");
    assert!(matches!(error.kind(), ErrorKind::Closed | ErrorKind::Reset), "{}", error.report());

    // A server that cannot decide now is asked again; where it is gone by then, that is the reason.
    let (client, ()) = tokio::join!(connecting(), async {
        let mut peer = Peer::accept(&mut listener).await;
        let shown = peer.recv().await;
        let later = ErrorReply::new(ErrorCode::Overloaded, "the directory is down");
        peer.send(Message::new(MessageKind::Error, shown.id(), later.encode())).await;
        drop(listener);
        peer.expect_end().await;
    });
    let error = client.expect_err("nobody listens any more");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.report());
}

#[tokio::test(start_paused = true)]
async fn m13_credentials_that_nobody_asked_for_are_answered_and_harm_nobody() {
    let memory = Memory::default();
    let heard = Heard::default();
    let server = listen(Server::builder(memory.clone()).handler(heard.clone())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let answer = attempt(&mut peer, 3, &right("ann")).await;
    assert_eq!((answer.id(), reply(&answer).code), (3, ErrorCode::Unsupported));
    peer.request(4, "hello").await;
    assert_eq!(peer.text().await, "hello");
    // A client that wants to be known learns that it is not.
    let error = Client::builder(memory.clone()).authenticate(right("ann")).connect(server.local()).await;
    let error = error.expect_err("nobody is asked");
    assert_eq!(error.reply().map(|reply| reply.code), Some(ErrorCode::Unsupported));
    // Once is enough.
    drop(server);
    settle().await;
    let server = listen(Server::builder(memory.clone()).authenticator(OneKey)).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    assert_eq!(attempt(&mut peer, 0, &right("ann")).await.kind(), MessageKind::Response);
    let again = attempt(&mut peer, 1, &right("bob")).await;
    assert_eq!(reply(&again).code, ErrorCode::Invalid);
    assert_eq!(only(&server).await.identity().map(Identity::name), Some("ann"));
}

#[tokio::test(start_paused = true)]
async fn m13_a_server_that_shows_credentials_to_a_client_breaks_the_protocol() {
    let memory = Memory::default();
    let mut listener = memory.listen(&"mem://server".parse().expect("an address")).await.expect("listens");
    let client = Client::builder(memory).rules(patient());
    let (client, mut peer) = tokio::join!(client.connect("mem://server"), Peer::accept(&mut listener));
    let client = client.expect("connects");
    let session = client.session().expect("is connected");
    peer.send(Message::new(MessageKind::Authenticate, 0, "")).await;
    let reason = soon("the end", session.closed()).await;
    assert_eq!(reason.error().map(Error::kind), Some(ErrorKind::Protocol));
}
