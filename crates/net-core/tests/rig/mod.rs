//! What the tests of every transport begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use net_core::{Address, Admission, ErrorKind, Limit, Limits, Listener, Observer, Receiver, Sender};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) fn at(text: &str) -> Address {
    text.parse().expect("an address")
}

pub(crate) fn socket(address: &Address) -> SocketAddr {
    address.socket().expect("an IP address")
}

/// Waits for `event`, 10 s at the longest.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    within(Duration::from_secs(10), what, event).await
}

pub(crate) async fn within<T>(patience: Duration, what: &str, event: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(patience, event).await;
    waited.unwrap_or_else(|_| panic!("waited for {what} in vain"))
}

/// Sends back what arrives on every connection, until the listener is dropped or closed.
pub(crate) fn echo(mut listener: impl Listener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok(mut far) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(message)) = far.rx.recv().await {
                    if far.tx.send(message).await.is_err() {
                        return;
                    }
                }
                // The peer may be gone by now; whether it got its answers is for it to say.
                let _ = far.tx.finish().await;
            });
        }
    })
}

/// Sends until the peer's buffers are full, then has the peer read: what waits is told, in whatever layer it is, and grows less
/// as the peer takes it, so that a slow peer is not taken for one that is gone.
pub(crate) async fn waits_are_told(mut tx: impl Sender, mut rx: impl Receiver) {
    let message = Bytes::from(vec![7; 20_000]);
    let mut sent = 0;
    loop {
        let mut sending = pin!(tx.send(message.clone()));
        if poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await.is_pending() {
            break;
        }
        sent += 1;
    }
    // The one that found no room was accepted all the same.
    sent += 1;
    let mut waits = tx.unsent_len();
    assert!(waits > 0 && tx.held_len() >= waits, "{waits} wait after {sent} messages");
    let flushing = tokio::spawn(async move {
        let mut steps = 0;
        poll_fn(|cx| {
            let flushed = tx.poll_flush(cx);
            steps += u32::from(tx.unsent_len() < waits);
            waits = tx.unsent_len();
            flushed
        })
        .await
        .map(|()| (steps, tx))
    });
    for _ in 0..sent {
        assert_eq!(soon("a message", rx.recv()).await.expect("received"), Some(message.clone()));
    }
    let (steps, tx) = soon("the flush", flushing).await.expect("no panic").expect("flushed");
    assert!(steps > 0, "nothing was seen to leave");
    assert_eq!((tx.unsent_len(), tx.held_len()), (0, 0));
}

/// Returns an admission under `limits`, and what its observer sees.
pub(crate) fn watched(limits: &Limits) -> (Arc<Admission>, UnboundedReceiver<Seen>) {
    let (tell, told) = unbounded_channel();
    (Arc::new(Admission::new(*limits, Some(Arc::new(Watch(tell))))), told)
}

/// Tells what it sees through a channel.
#[derive(Debug)]
struct Watch(UnboundedSender<Seen>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Rejected(Limit),
    AcceptFailed(Option<i32>),
    HandshakeFailed(ErrorKind),
}

impl Observer for Watch {
    fn accept_failed(&self, error: &io::Error) {
        let _ = self.0.send(Seen::AcceptFailed(error.raw_os_error()));
    }

    fn rejected(&self, _: &Address, limit: Limit) {
        let _ = self.0.send(Seen::Rejected(limit));
    }

    fn handshake_failed(&self, _: &Address, error: &net_core::Error) {
        let _ = self.0.send(Seen::HandshakeFailed(error.kind()));
    }
}
