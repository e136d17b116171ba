//! How message connections of clients end, whose runtime ends with them.

mod rig;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use net_core::{Address, Error, ErrorKind, Listener, Sender, Transport, frame::LengthPrefix};
use net_quic::{Quic, QuicConfig, QuicSession};
use rig::{at, quic, soon};

/// Returns why a client's session ended, to a server, whose client did this in a runtime that ended right after it.
async fn told_of<F>(client: impl FnOnce(Quic, Address) -> F + Send + 'static) -> Error
where
    F: Future<Output = ()>,
{
    let config = QuicConfig { idle_timeout: None, keepalive_interval: None, ..QuicConfig::default() };
    let quic = rig::quic_with(config, LengthPrefix::default());
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(client(quic, to));
    });
    let mut far = soon("a connection", listener.accept()).await.expect("accepted");
    let text = soon("a text", far.recv()).await.expect("received").expect("a text");
    assert_eq!(text, "hello");
    // Who has left takes none.
    let _ = far.send(text).await;
    let _ = soon("its end", far.recv()).await;
    let _ = soon("the own end", far.tx.finish()).await;
    let ended = soon("to be told", QuicSession::of(&far.tx).ended()).await;
    running.join().expect("it has ended");
    ended
}

#[tokio::test]
async fn a_client_that_has_closed_has_told_its_server_whenever_its_runtime_ends() {
    let ended = told_of(|quic, to| async move {
        let mut near = quic.connect(&to).await.expect("connected");
        near.send("hello").await.expect("sent");
        assert_eq!(near.recv().await.expect("received").as_deref(), Some(&b"hello"[..]));
        near.close(Duration::from_secs(10)).await.expect("closed");
    })
    .await;
    assert_eq!(ended.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_client_that_waits_until_its_sockets_are_idle_has_delivered_what_it_sent_and_has_told_its_server() {
    let ended = told_of(|quic, to| async move {
        let mut near = quic.connect(&to).await.expect("connected");
        near.send("hello").await.expect("sent");
        drop(near);
        tokio::time::timeout(Duration::from_secs(10), quic.wait_idle()).await.expect("idle");
    })
    .await;
    assert_eq!(ended.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_session_that_is_held_outlives_its_message_connection() {
    let quic = quic();
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (near, far) =
        soon("a connection", async { tokio::join!(quic.connect(&to), listener.accept()) }).await;
    let (near, mut far) = (near.expect("connected"), far.expect("accepted"));
    let held = QuicSession::of(&near.tx);
    let closing = async { near.close(Duration::from_secs(10)).await };
    let ending = async {
        assert_eq!(far.recv().await.expect("received"), None);
        far.tx.finish().await
    };
    let (closed, ended) = soon("the end", async { tokio::join!(closing, ending) }).await;
    closed.and(ended).expect("closed");
    held.send_datagram(Bytes::from_static(b"still here")).expect("sent");
    let datagram = soon("a datagram", QuicSession::of(&far.tx).recv_datagram()).await.expect("received");
    assert_eq!(datagram, "still here");
}
