//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../../../net-core/tests/tls/authority.rs"]
pub(crate) mod authority;

use std::{future::Future, net::SocketAddr, time::Duration};

use authority::Authority;
use net_core::{
    Address, Listener,
    frame::{Framing, LengthPrefix},
};
use net_quic::{Quic, QuicConfig, QuicDatagrams, QuicSession, QuicSessions};

pub(crate) fn at(text: &str) -> Address {
    text.parse().expect("an address")
}

/// Returns QUIC whose client trusts its server.
pub(crate) fn quic() -> Quic {
    quic_with(QuicConfig::default(), LengthPrefix::default())
}

pub(crate) fn quic_with<F: Framing>(config: QuicConfig, framing: F) -> Quic<F> {
    let authority = Authority::new("quic");
    Quic::with_framing(config, framing)
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"))
}

pub(crate) fn datagrams() -> QuicDatagrams {
    let authority = Authority::new("quic");
    QuicDatagrams::default()
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"))
}

/// Returns the two ends of a session, of who connected and of who accepted, and what accepted it.
pub(crate) async fn session(quic: &Quic) -> (QuicSession, QuicSession, QuicSessions) {
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (near, far) = connect(quic, &mut sessions).await;
    (near, far, sessions)
}

pub(crate) async fn connect(quic: &Quic, sessions: &mut QuicSessions) -> (QuicSession, QuicSession) {
    let to = sessions.local().clone();
    let (near, far) = soon("a session", async { tokio::join!(quic.open(&to), sessions.accept()) }).await;
    (near.expect("connected"), far.expect("accepted"))
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

/// Sends back the bytes of every bidirectional stream of every session.
pub(crate) fn echo_streams(mut sessions: QuicSessions) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok(session) = sessions.accept().await {
            tokio::spawn(async move {
                while let Ok((mut tx, mut rx)) = session.accept_bi().await {
                    tokio::spawn(async move {
                        while let Ok(Some(chunk)) = rx.read_chunk(64 * 1024).await {
                            if tx.write_chunk(chunk).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            });
        }
    })
}
