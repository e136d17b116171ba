//! Early data: off unless asked for, marked, and of no use to who repeats it.

mod rig;

use std::time::Duration;

use net_core::{
    Address, ErrorKind,
    frame::LengthPrefix,
    testing::{Faults, RelayConfig},
};
use net_quic::{EarlyData, Idempotent, Quic, QuicConfig, QuicSession, QuicSessions};
use rig::{at, other_version, quic, quic_with, relay, socket, soon, versions_for};

fn early() -> Quic {
    early_with(QuicConfig::default())
}

fn early_with(config: QuicConfig) -> Quic {
    quic_with(QuicConfig { early_data: true, ..config }, LengthPrefix::default())
}

/// Makes a first session, which leaves a ticket behind.
async fn get_ticket(quic: &Quic, to: &Address, sessions: &mut QuicSessions) {
    let first = async {
        let (near, outcome) =
            quic.connect_early(to).await.expect("connected").established().await.expect("a session");
        assert_eq!(outcome, EarlyData::None, "there is no ticket yet");
        let mut rx = near.accept_uni().await.expect("a stream");
        rx.read_to_end(100).await.expect("all");
        near
    };
    let accepting = async {
        let far = sessions.accept().await.expect("accepted");
        far.established().await.expect("a session");
        // Behind the tickets, so that they have arrived when this has.
        let mut tx = far.open_uni().await.expect("a stream");
        tx.write_all(b"ticket").await.expect("written");
        tx.finish().await.expect("acknowledged");
        far
    };
    let (near, far) = soon("a first session", async { tokio::join!(first, accepting) }).await;
    near.close(0, "");
    far.ended().await;
}

/// Accepts a session and its first stream, and returns what came, and whether it was early.
async fn serve_one(far: QuicSession) -> (Vec<u8>, bool) {
    let (mut tx, mut rx) = far.accept_bi().await.expect("a stream");
    let early = rx.is_early();
    let all = rx.read_to_end(1000).await.expect("all");
    tx.write_all(b"answer").await.expect("written");
    tx.finish().await.expect("acknowledged");
    (all, early)
}

#[tokio::test]
async fn q2_idempotent_messages_travel_in_the_first_flight_and_are_marked() {
    let quic = early();
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    // A long way, so that the message is there long before the handshake is over.
    let slow = Faults { delay: Duration::from_millis(100), ..Faults::default() };
    let (_relay, to) = relay(sessions.local(), RelayConfig::both(1, slow)).await;
    get_ticket(&quic, &to, &mut sessions).await;

    let asking = async {
        let early = quic.connect_early(&to).await.expect("connected");
        assert!(early.is_early());
        let mut answer = early.send(&Idempotent::new("lookup")).await.expect("sent");
        let (session, outcome) = early.established().await.expect("a session");
        assert_eq!(outcome, EarlyData::Accepted);
        assert!(session.info().details::<net_core::tls::TlsInfo>().is_some_and(|tls| tls.resumed));
        assert_eq!(answer.read_to_end(100).await.expect("all"), b"answer");
        session
    };
    let answering = async {
        let far = sessions.accept().await.expect("accepted");
        assert!(far.is_handshaking(), "it is given before the handshake is over");
        let served = serve_one(far.clone()).await;
        far.established().await.expect("a session");
        assert!(!far.is_handshaking());
        assert!(far.info().details::<net_core::tls::TlsInfo>().is_some_and(|tls| tls.resumed));
        served
    };
    let (_session, served) = soon("an early answer", async { tokio::join!(asking, answering) }).await;
    assert_eq!(served, (b"lookup".to_vec(), true));
}

#[tokio::test]
async fn a7_early_data_is_off_by_default_on_either_side() {
    for (client_allows, server_allows) in [(false, true), (true, false)] {
        let authority = rig::authority::Authority::new("early");
        let with = |early_data| Quic::new(QuicConfig { early_data, ..QuicConfig::default() });
        let server = with(server_allows).with_server_tls(authority.server().build().expect("settings"));
        let client = with(client_allows).with_client_tls(authority.client().build().expect("settings"));
        let mut sessions = server.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
        let to = sessions.local().clone();
        get_ticket(&client, &to, &mut sessions).await;
        let asking = async {
            let early = client.connect_early(&to).await.expect("connected");
            assert!(!early.is_early());
            let mut answer = early.send(&Idempotent::new("lookup")).await.expect("sent");
            let (session, outcome) = early.established().await.expect("a session");
            assert_eq!(outcome, EarlyData::None);
            assert_eq!(answer.read_to_end(100).await.expect("all"), b"answer");
            session
        };
        let answering = async { serve_one(sessions.accept().await.expect("accepted")).await };
        let (_session, served) = soon("an answer", async { tokio::join!(asking, answering) }).await;
        assert_eq!(served, (b"lookup".to_vec(), false), "whatever came was not early");
    }
    assert!(!quic().config().early_data);
}

#[tokio::test]
async fn a7_a_repeated_first_flight_is_not_served_again() {
    // Who says nothing more is given up soon.
    let idle_timeout = Some(Duration::from_secs(1));
    let quic = early_with(QuicConfig { idle_timeout, keepalive_interval: None, ..QuicConfig::default() });
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let server = socket(sessions.local());
    let (relay, to) = relay(sessions.local(), RelayConfig::default()).await;
    get_ticket(&quic, &to, &mut sessions).await;
    relay.record();
    let asking = async {
        let early = quic.connect_early(&to).await.expect("connected");
        let mut answer = early.send(&Idempotent::new("pay once")).await.expect("sent");
        let (session, outcome) = early.established().await.expect("a session");
        assert_eq!(outcome, EarlyData::Accepted);
        assert_eq!(answer.read_to_end(100).await.expect("all"), b"answer");
        session
    };
    let answering = async { serve_one(sessions.accept().await.expect("accepted")).await };
    let (session, served) = soon("an answer", async { tokio::join!(asking, answering) }).await;
    assert_eq!(served.0, b"pay once");
    // The first connection is over: its identifiers lead nowhere any more.
    session.close(0, "");
    drop(session);
    let flight = relay.recorded();
    assert!(!flight.is_empty());
    let attacker = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    // Until the first connection is forgotten, what is repeated is taken for its own. Then the server begins another one.
    let repeating = async {
        let mut answer = [0; 2000];
        loop {
            for datagram in &flight {
                attacker.send_to(datagram, server).await.expect("sent");
            }
            attacker.send_to(&other_version(0, 1200), server).await.expect("sent");
            loop {
                let len = attacker.recv(&mut answer).await.expect("received");
                let answer = answer.get(..len).expect("within");
                if versions_for(answer).is_some() {
                    break;
                }
                // A handshake, of version 1; what is not understood of the rest is answered otherwise.
                if answer[0] & 0x80 != 0 && answer.get(1..5) == Some(&[0, 0, 0, 1][..]) {
                    return;
                }
            }
        }
    };
    // The attacker cannot finish it, and the ticket is good once.
    let serving = async {
        let far = sessions.accept().await.expect("listening");
        assert!(far.is_handshaking());
        far.accept_bi().await.expect_err("what was repeated is not served")
    };
    let ((), error) = soon("the end of it", async { tokio::join!(repeating, serving) }).await;
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn q2_early_data_that_the_server_cannot_read_is_told_to_be_rejected() {
    let authority = rig::authority::Authority::new("early");
    let config = QuicConfig { early_data: true, ..QuicConfig::default() };
    let tls = authority.server().build().expect("settings");
    let server = Quic::new(config.clone()).with_server_tls(tls.clone());
    let client = Quic::new(config).with_client_tls(authority.client().build().expect("settings"));
    let mut sessions = server.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    get_ticket(&client, &to, &mut sessions).await;
    // Sessions from before a reload are not resumed.
    tls.reload().expect("settings");
    let asking = async {
        let early = client.connect_early(&to).await.expect("connected");
        assert!(early.is_early());
        let lookup = Idempotent::new("lookup");
        let mut lost = early.send(&lookup).await.expect("sent");
        let (session, outcome) = early.established().await.expect("a session");
        assert_eq!(outcome, EarlyData::Rejected);
        lost.read_to_end(100).await.expect_err("nobody answers");
        let (mut tx, mut rx) = session.open_bi().await.expect("a stream");
        tx.write_chunk(lookup.message().clone()).await.expect("written");
        tx.end();
        assert_eq!(rx.read_to_end(100).await.expect("all"), b"answer");
        session
    };
    let answering = async { serve_one(sessions.accept().await.expect("accepted")).await };
    let (_session, served) = soon("an answer", async { tokio::join!(asking, answering) }).await;
    assert_eq!(served.0, b"lookup");
}
