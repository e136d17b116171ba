//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../../../net-core/tests/rig/mod.rs"]
mod any;

use std::{io, net::SocketAddr};

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use any::{Seen, at, echo, socket, soon, waits_are_told, watched};
use net_core::{Address, Connection, Listener, Transport, frame::LengthPrefix};
use net_tcp::{
    Tcp, TcpListener, TcpReceiver, TcpSender,
    stream::{Resolve, Resolving},
};

pub(crate) type TcpConnection<F = LengthPrefix> = Connection<TcpSender<F>, TcpReceiver<F>>;

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

/// Sends `text` and expects it back.
pub(crate) async fn round_trip(connection: &mut TcpConnection, text: &str) {
    connection.send(text.to_owned()).await.expect("sent");
    let answer = soon("the answer", connection.recv()).await.expect("received");
    assert_eq!(answer.as_deref(), Some(text.as_bytes()));
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
