//! Sessions that hold a place on a server and do nothing with it.

mod rig;

use std::{sync::Arc, time::Duration};

use net_core::{Address, Admission, ErrorKind, Info, Limit, Limits, Listener, Observer, Transport};
use net_quic::{Quic, QuicSession, QuicStreams};
use rig::{at, echo, quic, soon};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Tells which limits sessions have reached.
#[derive(Debug)]
struct Watch(UnboundedSender<Limit>);

impl Observer for Watch {
    fn limited(&self, _: &Info, limit: Limit) {
        let _ = self.0.send(limit);
    }
}

/// A server of streams under `limits`, its address and what its observer is told.
async fn server(quic: &Quic, limits: &Limits) -> (Arc<Admission>, Address, UnboundedReceiver<Limit>) {
    let mut listener =
        QuicStreams::new(quic.clone()).listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (tell, told) = unbounded_channel();
    let admission = Arc::new(Admission::new(*limits, Some(Arc::new(Watch(tell)))));
    listener.set_admission(admission.clone());
    let to = listener.local().clone();
    echo(listener);
    (admission, to, told)
}

async fn until_free(admission: &Admission) {
    soon("the places", async {
        while admission.active() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Has `session` exchange a message on a stream of its own, which is given.
async fn exchange(
    session: &QuicSession,
) -> net_core::Connection<net_quic::QuicSender, net_quic::QuicReceiver> {
    let mut near = session.open_messages().await.expect("a stream");
    near.send("hello").await.expect("sent");
    assert!(soon("the echo", near.recv()).await.expect("received").is_some());
    near
}

#[tokio::test]
async fn a2_a_session_that_opens_no_stream_loses_its_place() {
    const FIRST: Duration = Duration::from_millis(300);
    let idle = Limits { first_message_timeout: None, idle_timeout: Some(FIRST), ..Limits::default() };
    let first = Limits { first_message_timeout: Some(FIRST), idle_timeout: None, ..Limits::default() };
    for (limits, limit) in [(first, Limit::FirstMessageTimeout), (idle, Limit::IdleTimeout)] {
        let quic = quic();
        let (admission, to, mut told) = server(&quic, &limits).await;
        let silent = soon("a session", quic.open(&to)).await.expect("connected");
        assert_eq!(soon("the end", silent.ended()).await.kind(), ErrorKind::Closed);
        assert_eq!(told.recv().await, Some(limit));
        until_free(&admission).await;
    }
}

#[tokio::test]
async fn a2_a_session_without_a_stream_for_too_long_loses_its_place_and_one_with_a_stream_does_not() {
    let quic = quic();
    let limits = Limits { idle_timeout: Some(Duration::from_millis(600)), ..Limits::default() };
    let (admission, to, mut told) = server(&quic, &limits).await;
    let busy = soon("a session", quic.open(&to)).await.expect("connected");
    let mut held = exchange(&busy).await;
    let idle = soon("a session", quic.open(&to)).await.expect("connected");
    for _ in 0..3 {
        drop(exchange(&idle).await);
    }
    assert_eq!(soon("the end", idle.ended()).await.kind(), ErrorKind::Closed);
    assert_eq!(told.recv().await, Some(Limit::IdleTimeout));
    // It has been there for longer, and its streams are still taken.
    held.send("still here").await.expect("sent");
    assert!(soon("the echo", held.recv()).await.expect("received").is_some());
    drop((exchange(&busy).await, held));
    assert_eq!(soon("the end", busy.ended()).await.kind(), ErrorKind::Closed);
    assert_eq!(told.recv().await, Some(Limit::IdleTimeout));
    until_free(&admission).await;
}

#[tokio::test]
async fn a_session_may_be_without_a_stream_where_nothing_says_otherwise() {
    let quic = quic();
    let limits = Limits { first_message_timeout: None, idle_timeout: None, ..Limits::default() };
    let (_, to, mut told) = server(&quic, &limits).await;
    let session = soon("a session", quic.open(&to)).await.expect("connected");
    drop(exchange(&session).await);
    drop(exchange(&session).await);
    assert!(told.try_recv().is_err());
}
