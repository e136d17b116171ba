//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../../../net-core/tests/rig/mod.rs"]
mod any;
#[path = "../../../net-core/tests/tls/authority.rs"]
pub(crate) mod authority;

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use any::{Seen, at, echo, socket, soon, watched, within};
use authority::Authority;
use net_core::{
    Address, Scheme,
    frame::{Framing, LengthPrefix},
    testing::{Relay, RelayConfig},
};
use net_quic::{Quic, QuicConfig, QuicDatagrams, QuicSession, QuicSessions};

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
    join(quic, &to, sessions).await
}

async fn join(quic: &Quic, to: &Address, sessions: &mut QuicSessions) -> (QuicSession, QuicSession) {
    let (near, far) = soon("a session", async { tokio::join!(quic.open(to), sessions.accept()) }).await;
    (near.expect("connected"), far.expect("accepted"))
}

/// Returns a relay to `server`, and its address.
pub(crate) async fn relay(server: &Address, config: RelayConfig) -> (Relay, Address) {
    let relay = Relay::new(socket(server), config).await.expect("a socket");
    let to = Address::from_socket(Scheme::Quic, relay.address());
    (relay, to)
}

/// Returns the two ends of a session through a relay, the relay, and what accepted the session.
pub(crate) async fn session_over(
    quic: &Quic,
    config: RelayConfig,
) -> (QuicSession, QuicSession, Relay, QuicSessions) {
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (relay, to) = relay(sessions.local(), config).await;
    let (near, far) = join(quic, &to, &mut sessions).await;
    (near, far, relay, sessions)
}

/// Returns a packet of a version that nobody speaks, `len` bytes long, with `id` in its identifiers.
///
/// A server answers it at once and by itself, where it is as long as a first packet has to be (RFC 9000 §6.1): what was
/// sent before it has been looked at by then.
pub(crate) fn other_version(id: u8, len: usize) -> Vec<u8> {
    let mut packet =
        vec![0xc0, 0xba, 0xba, 0xba, 0xba, 8, 1, 2, 3, 4, 5, 6, 7, id, 8, 1, 2, 3, 4, 5, 6, 7, id];
    packet.resize(len, 0);
    packet
}

/// Returns the `id` of the packet that `answer` tells the versions for (RFC 9000 §17.2.1), if it does.
pub(crate) fn versions_for(answer: &[u8]) -> Option<u8> {
    let tells_versions = answer.get(1..6) == Some(&[0, 0, 0, 0, 8][..]);
    answer.get(13).copied().filter(|_| tells_versions)
}

/// Sends back the bytes of every bidirectional stream of every session.
pub(crate) fn echo_streams(mut sessions: QuicSessions) {
    tokio::spawn(async move {
        while let Ok(session) = sessions.accept().await {
            echo_session(session);
        }
    });
}

/// Sends back the bytes of every bidirectional stream of a session.
pub(crate) fn echo_session(session: QuicSession) {
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
