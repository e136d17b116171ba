//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../../../net-core/tests/rig/mod.rs"]
mod any;

use std::net::SocketAddr;

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use any::{at, echo, socket, soon};
use net_core::{Connection, Listener, Transport};
use net_udp::{Udp, UdpConfig, UdpListener, UdpPeer, UdpReceiver, UdpSender, UdpSocket, UdpStats};

pub(crate) type UdpConnection = Connection<UdpSender, UdpReceiver>;

/// Returns a socket for direct use on loopback.
pub(crate) fn bound() -> UdpSocket {
    UdpSocket::bind(([127, 0, 0, 1], 0).into()).expect("a socket")
}

/// Sends one datagram from each of so many sources.
pub(crate) async fn flood(to: SocketAddr, sources: u16) {
    for source in 0..sources {
        let [high, low] = source.to_be_bytes();
        let one = UdpSocket::bind(([127, 1, high, low.max(1)], 0).into()).expect("an address of loopback");
        one.send_to(b"whose is this?", to).await.expect("sent");
        // Whoever receives keeps up: what is asked here is not how much the kernel keeps.
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn listen(config: UdpConfig) -> (UdpListener, SocketAddr) {
    let listener = Udp::new(config).listen(&at("udp://127.0.0.1:0")).await.expect("listening");
    let to = socket(listener.local());
    (listener, to)
}

/// Begins a session with `first`, and returns what sends, and the session.
pub(crate) async fn session(config: UdpConfig, first: &[u8]) -> (UdpSocket, UdpListener, UdpConnection) {
    let (mut listener, to) = listen(config).await;
    let near = bound().connect(to).expect("a route");
    near.send(first).await.expect("sent");
    let far = soon("a session", listener.accept()).await.expect("a session");
    (near, listener, far)
}

pub(crate) fn peer(connection: &UdpConnection) -> UdpPeer {
    connection.info.details::<UdpPeer>().expect("a session of a listener").clone()
}

/// Serves `listener` until its counters are as `expected`, and returns them; no session is accepted.
pub(crate) async fn counted(
    listener: &mut UdpListener,
    what: &str,
    expected: impl Fn(&UdpStats) -> bool,
) -> UdpStats {
    soon(what, async {
        loop {
            let stats = listener.stats();
            if expected(&stats) {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Receives one datagram.
pub(crate) async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let (len, peer) = soon("a datagram", socket.recv_from(&mut buffer)).await.expect("a datagram");
    buffer.truncate(len);
    (buffer, peer)
}
