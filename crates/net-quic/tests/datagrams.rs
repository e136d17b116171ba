//! Connections whose messages are datagrams: how they end.

mod rig;

use std::time::Duration;

use net_core::{ErrorKind, Listener, Receiver, Sender, Transport};
use net_quic::{DatagramReceiver, DatagramSender, QuicConfig, QuicDatagrams};
use rig::{at, datagrams, quic, soon};

type Connection = net_core::Connection<DatagramSender, DatagramReceiver>;

async fn connected() -> (Connection, Connection) {
    let datagrams = datagrams();
    let mut listener = datagrams.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (near, far) =
        soon("a connection", async { tokio::join!(datagrams.connect(&to), listener.accept()) }).await;
    (near.expect("connected"), far.expect("accepted"))
}

#[tokio::test]
async fn receiving_ends_where_this_side_has_finished() {
    let (near, mut far) = connected().await;
    let (mut tx, mut rx) = (near.tx, near.rx);
    far.send("before the end").await.expect("sent");
    assert!(soon("a message", rx.recv()).await.expect("received").is_some());
    // Who waits already is told, too.
    let (end, finished) = soon("the end", async { tokio::join!(rx.recv(), tx.finish()) }).await;
    finished.expect("finished");
    assert_eq!(end.expect("an end is no error"), None);
    assert_eq!(soon("the end", rx.recv()).await.expect("it stays so"), None);
}

#[tokio::test]
async fn closing_waits_for_nobody() {
    let (near, _far) = connected().await;
    soon("the end", near.close(Duration::from_mins(1))).await.expect("closed");
}

#[tokio::test]
async fn what_waits_as_both_halves_are_dropped_still_leaves() {
    const MANY: usize = 150;
    let (mut near, mut far) = connected().await;
    // Nothing leaves while this task does not wait.
    for _ in 0..MANY {
        near.tx.feed(vec![7; 1150]).await.expect("there is room");
    }
    drop(near);
    let received = soon("all of it", async {
        let mut received = 0;
        loop {
            match far.recv().await {
                Ok(Some(_)) => received += 1,
                Ok(None) => unreachable!("this side has not finished"),
                Err(error) => break (received, error.kind()),
            }
        }
    })
    .await;
    assert_eq!(received.1, ErrorKind::Closed);
    // A datagram may be lost on a busy machine.
    assert!(received.0 > MANY / 2, "{} of {MANY}", received.0);
}

#[tokio::test]
async fn the_session_of_a_sender_has_its_settings() {
    let quic = quic();
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    let any = net_core::tls::ClientTls::builder().danger_accept_any_certificate().build().expect("settings");
    let datagrams = QuicDatagrams::new(QuicConfig { max_buffered: 4711, ..QuicConfig::default() });
    let datagrams = datagrams.with_client_tls(any);
    let (near, _far) =
        soon("a connection", async { tokio::join!(datagrams.connect(&to), sessions.accept()) }).await;
    let session = near.expect("connected").tx.session();
    let messages = soon("a stream", session.open_messages()).await.expect("a stream");
    assert_eq!(messages.tx.max_buffered(), 4711);
}
