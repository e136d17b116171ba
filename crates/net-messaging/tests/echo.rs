//! Requests, notifications and pushes between a client and a server in memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use net_core::{ErrorKind, Info, Message, Observer, memory::Memory};
use net_messaging::{Client, CloseReason, Server, SessionState};

#[tokio::test]
async fn a_request_is_answered() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone())
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("mem://echo")
        .await
        .expect("listens");
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    for n in 0..1000_u32 {
        let answer = client.request(n.to_be_bytes().to_vec()).await.expect("answers");
        assert_eq!(answer.payload()[..], n.to_be_bytes());
    }
    let session = server.sessions().pop().expect("one session");
    assert_eq!(session.state(), SessionState::Active);
    client.disconnect().await;
    assert!(matches!(session.closed().await, CloseReason::ByPeer));
    assert_eq!(server.len(), 0);
    assert_eq!(client.request("late").await.expect_err("is closed").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_request_nobody_answers_times_out() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone()).listen("mem://silent").await.expect("listens");
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    let error = client.request_within("?", Duration::from_secs(3)).await.expect_err("times out");
    assert!(error.is_timeout());
    assert_eq!(client.session().expect("is connected").stats().requests_in_flight, 0);
}

#[tokio::test]
async fn many_requests_are_answered_out_of_order() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone())
        .session(net_messaging::SessionConfig { max_concurrent: 8, ..Default::default() })
        .on_message(|_, message| async move {
            if message.payload() == "slow" {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            Ok(Message::into_reply(message))
        })
        .listen("mem://many")
        .await
        .expect("listens");
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    let (slow, quick) = tokio::join!(client.request("slow"), client.request("quick"));
    assert_eq!(slow.expect("answers").payload(), "slow");
    assert_eq!(quick.expect("answers").payload(), "quick");
}

/// Keeps how long requests took.
#[derive(Debug, Default)]
struct Durations(Mutex<Vec<Duration>>);

impl Observer for Durations {
    fn request_finished(&self, _: &Info, elapsed: Duration) {
        self.0.lock().expect("no panic").push(elapsed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_learns_how_long_an_answered_request_took() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone())
        .on_message(|_, message| async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(message.into_reply())
        })
        .listen("mem://slow")
        .await
        .expect("listens");
    let durations = Arc::new(Durations::default());
    let client =
        Client::builder(memory).observer(durations.clone()).connect(server.local()).await.expect("connects");
    client.request("?").await.expect("answers");
    client.request_within("?", Duration::from_secs(1)).await.expect_err("times out");
    assert_eq!(*durations.0.lock().expect("no panic"), [Duration::from_secs(2)], "one was answered");
}
