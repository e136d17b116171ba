//! A server's limits for one address, which do not count loopback: in a network namespace with addresses of its own.
#![cfg(all(target_os = "linux", feature = "tls"))]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use authority::Authority;
use namespace::is_inside;
use net_core::{Address, Limit, Limits, Observer};
use net_messaging::{Client, Server};
use net_tcp::{Tcp, TcpConfig};
use rig::soon;
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    sync::mpsc,
};

/// A server, somebody who takes too much, and somebody else.
const SETUP: &str = "ip link set lo up
ip address add 10.9.0.1/32 dev lo
ip address add 10.9.0.2/32 dev lo
ip address add 10.9.0.3/32 dev lo";
const SERVER: &str = "10.9.0.1:0";
const GREEDY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

/// Passes on whom a limit has kept out.
#[derive(Debug)]
struct Refusals(mpsc::UnboundedSender<(Address, Limit)>);

impl Observer for Refusals {
    fn rejected(&self, peer: &Address, limit: Limit) {
        // A test that is over has nobody to tell.
        let _ = self.0.send((peer.clone(), limit));
    }
}

fn refusals() -> (Arc<Refusals>, mpsc::UnboundedReceiver<(Address, Limit)>) {
    let (tell, told) = mpsc::unbounded_channel();
    (Arc::new(Refusals(tell)), told)
}

fn from(ip: Ipv4Addr) -> Tcp {
    Tcp::new(TcpConfig { bind: Some(SocketAddr::new(ip.into(), 0)), ..TcpConfig::default() })
}

/// Connects, says nothing, and expects to be cut.
async fn is_cut(to: &Address, ip: Ipv4Addr) {
    let mut stream = silent(to, ip).await;
    let read = soon("the refusal", stream.read(&mut [0; 8])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

async fn silent(to: &Address, ip: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(ip.into(), 0)).expect("an address of this machine");
    socket.connect(rig::socket(to)).await.expect("connected")
}

#[tokio::test]
async fn a2_one_address_has_so_many_connections_and_others_have_theirs() {
    if !is_inside("a2_one_address_has_so_many_connections_and_others_have_theirs", SETUP) {
        return;
    }
    let (observer, mut told) = refusals();
    let server = Server::builder(Tcp::default())
        .limits(Limits { max_connections_per_prefix: 2, ..Limits::default() })
        .observer(observer)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen(format!("tcp://{SERVER}"))
        .await
        .expect("listening");
    let mut clients = Vec::new();
    for number in 0..2 {
        let client = Client::builder(from(GREEDY)).connect(server.local()).await.expect("connected");
        assert_eq!(client.request(number.to_string()).await.expect("served").payload(), &number.to_string());
        clients.push(client);
    }
    is_cut(server.local(), GREEDY).await;
    let (peer, limit) = soon("the refusal to be told", told.recv()).await.expect("told");
    assert_eq!((peer.ip(), limit), (Some(GREEDY.into()), Limit::ConnectionsPerPrefix));
    let other = Client::builder(from(OTHER)).connect(server.local()).await.expect("connected");
    assert_eq!(other.request("mine").await.expect("served").payload(), "mine");
    // A place that is given back is free.
    clients.pop().expect("two").disconnect().await;
    while server.len() > 2 {
        tokio::task::yield_now().await;
    }
    let client = Client::builder(from(GREEDY)).connect(server.local()).await.expect("connected");
    assert_eq!(client.request("again").await.expect("served").payload(), "again");
}

#[tokio::test]
async fn a5_one_address_has_a_quarter_of_the_handshakes() {
    if !is_inside("a5_one_address_has_a_quarter_of_the_handshakes", SETUP) {
        return;
    }
    let authority = Authority::new("prefixes");
    let (observer, mut told) = refusals();
    // The name that the client verifies is told apart from where it connects to.
    let tls = authority.server().build().expect("settings");
    let server = Server::builder(Tcp::default().with_server_tls(tls))
        .limits(Limits { max_handshakes: 8, ..Limits::default() })
        .observer(observer)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen(format!("tcps://{SERVER}"))
        .await
        .expect("listening");
    let _held = [silent(server.local(), GREEDY).await, silent(server.local(), GREEDY).await];
    for _ in 0..3 {
        is_cut(server.local(), GREEDY).await;
        let (peer, limit) = soon("the refusal to be told", told.recv()).await.expect("told");
        assert_eq!((peer.ip(), limit), (Some(GREEDY.into()), Limit::HandshakesPerPrefix));
    }
    let tls = authority.client().server_name("localhost").build().expect("settings");
    let other = Client::builder(from(OTHER).with_client_tls(tls)).connect(server.local()).await;
    let other = other.expect("connected");
    assert_eq!(other.request("mine").await.expect("served").payload(), "mine");
}
