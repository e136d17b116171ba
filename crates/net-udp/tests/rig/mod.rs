//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{future::Future, net::SocketAddr, time::Duration};

use net_core::{Address, Connection, Listener, Transport};
use net_udp::{Udp, UdpConfig, UdpListener, UdpPeer, UdpReceiver, UdpSender, UdpSocket, UdpStats};

pub(crate) type UdpConnection = Connection<UdpSender, UdpReceiver>;

pub(crate) fn at(text: &str) -> Address {
    text.parse().expect("an address")
}

pub(crate) fn socket(address: &Address) -> SocketAddr {
    address.socket().expect("an IP address")
}

/// Returns a socket for direct use on loopback.
pub(crate) fn bound() -> UdpSocket {
    UdpSocket::bind(([127, 0, 0, 1], 0).into()).expect("a socket")
}

/// Waits for `event`, 10 s at the longest.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(10), event).await;
    waited.unwrap_or_else(|_| panic!("waited for {what} in vain"))
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

/// Sends back what arrives in every session, until the listener is closed.
pub(crate) fn echo(mut listener: UdpListener) -> tokio::task::JoinHandle<()> {
    use net_core::{Receiver, Sender};
    tokio::spawn(async move {
        while let Ok(mut far) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(message)) = far.rx.recv().await {
                    if far.tx.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}

/// Receives one datagram.
pub(crate) async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let (len, peer) = soon("a datagram", socket.recv_from(&mut buffer)).await.expect("a datagram");
    buffer.truncate(len);
    (buffer, peer)
}
