//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../../../net-core/tests/rig/mod.rs"]
mod any;

use std::{io, net::SocketAddr};

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use any::{Seen, at, echo, socket, soon, waits_are_told, watched};
use net_core::{Address, Connection, Listener, Scheme, Transport, frame::LengthPrefix};
use net_tcp::{
    Tcp, TcpListener, TcpReceiver, TcpSender,
    stream::{Resolve, Resolving},
};
use socket2::{Domain, Socket, Type};

pub(crate) type TcpConnection<F = LengthPrefix> = Connection<TcpSender<F>, TcpReceiver<F>>;

pub(crate) async fn loopback() -> (TcpListener, Address) {
    let listener = Tcp::default().listen(&at("tcp://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    (listener, to)
}

/// Returns an address where nobody listens, nor anybody else can for as long as the socket is kept; it is one port of all
/// addresses of IPv4.
pub(crate) fn nobody() -> (Address, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into()).expect("a free port");
    let port = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("an address").port();
    (Address::from_socket(Scheme::Tcp, ([127, 0, 0, 1], port).into()), socket)
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
