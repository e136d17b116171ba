//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{future::Future, io, net::SocketAddr, time::Duration};

use net_core::{Address, Connection, Listener, Observer, Transport, frame::LengthPrefix};
use net_tcp::{
    Tcp, TcpListener, TcpReceiver, TcpSender,
    stream::{Resolve, Resolving},
};

pub(crate) type TcpConnection<F = LengthPrefix> = Connection<TcpSender<F>, TcpReceiver<F>>;

pub(crate) fn at(text: &str) -> Address {
    text.parse().expect("an address")
}

pub(crate) async fn loopback() -> (TcpListener, Address) {
    let listener = Tcp::default().listen(&at("tcp://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    (listener, to)
}

/// Returns the two ends of a connection: of who connected, and of who accepted.
pub(crate) async fn pair() -> (TcpConnection, TcpConnection) {
    let (mut listener, to) = loopback().await;
    let near = Tcp::default().connect(&to).await.expect("connecting");
    (near, listener.accept().await.expect("a connection"))
}

pub(crate) fn socket(address: &Address) -> SocketAddr {
    address.socket().expect("an IP address")
}

/// Waits for `event`, 10 s at the longest.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(10), event).await;
    waited.unwrap_or_else(|_| panic!("waited for {what} in vain"))
}

/// Sends back what arrives on every connection, until the listener is dropped or closed.
pub(crate) fn echo(mut listener: impl Listener) -> tokio::task::JoinHandle<()> {
    use net_core::{Receiver, Sender};
    tokio::spawn(async move {
        while let Ok(mut far) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(message)) = far.rx.recv().await {
                    if far.tx.send(message).await.is_err() {
                        return;
                    }
                }
                let _ = far.tx.finish().await;
            });
        }
    })
}

/// Sends `text` and expects it back.
pub(crate) async fn round_trip(connection: &mut TcpConnection, text: &str) {
    connection.send(text.to_owned()).await.expect("sent");
    let answer = soon("the answer", connection.recv()).await.expect("received");
    assert_eq!(answer.as_deref(), Some(text.as_bytes()));
}

/// Tells what it sees through a channel.
#[derive(Debug)]
pub(crate) struct Watch(pub(crate) tokio::sync::mpsc::UnboundedSender<Seen>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Rejected(net_core::Limit),
    AcceptFailed(Option<i32>),
}

impl Observer for Watch {
    fn accept_failed(&self, error: &io::Error) {
        let _ = self.0.send(Seen::AcceptFailed(error.raw_os_error()));
    }

    fn rejected(&self, _: &Address, limit: net_core::Limit) {
        let _ = self.0.send(Seen::Rejected(limit));
    }
}

/// Gives the answers of a function.
pub(crate) struct Answer<A>(pub(crate) A);

impl<A> std::fmt::Debug for Answer<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl<A: Fn(u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static> Resolve for Answer<A> {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { (self.0)(port) })
    }
}
