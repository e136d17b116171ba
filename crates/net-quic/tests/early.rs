//! Early data: off unless asked for, marked, and of no use to who repeats it.

mod rig;

use std::{pin::pin, time::Duration};

use futures_util::poll;
use net_core::{
    Address, ErrorKind, Limits, Listener, Scheme, Transport,
    frame::LengthPrefix,
    testing::{Faults, RelayConfig},
    tls::{Pem, TlsInfo},
};
use net_quic::{
    EarlyData, Idempotent, Quic, QuicConfig, QuicSession, QuicSessions, QuicStreams, RecvStream,
    StreamListener,
};
use rig::{
    Seen, at,
    authority::{Authority, WithPair},
    other_version, quic, quic_with, relay, socket, soon, versions_for, watched,
};
use tokio::{net::UdpSocket, sync::oneshot};

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
        assert!(session.info().details::<TlsInfo>().is_some_and(|tls| tls.resumed));
        assert_eq!(answer.read_to_end(100).await.expect("all"), b"answer");
        session
    };
    let answering = async {
        let far = sessions.accept().await.expect("accepted");
        assert!(far.is_handshaking(), "it is given before the handshake is over");
        let served = serve_one(far.clone()).await;
        far.established().await.expect("a session");
        assert!(!far.is_handshaking());
        assert!(far.info().details::<TlsInfo>().is_some_and(|tls| tls.resumed));
        served
    };
    let (_session, served) = soon("an early answer", async { tokio::join!(asking, answering) }).await;
    assert_eq!(served, (b"lookup".to_vec(), true));
}

#[tokio::test]
async fn a7_early_data_is_off_by_default_on_either_side() {
    for (client_allows, server_allows) in [(false, true), (true, false)] {
        let authority = Authority::new("early");
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
    let (admission, mut told) = watched(&Limits::default());
    sessions.set_admission(admission);
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
    let attacker = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
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
    // The ticket is good once: it is a handshake like any other, which the attacker cannot finish.
    let serving = async {
        tokio::select! {
            accepted = sessions.accept() => panic!("what was repeated is not served: {accepted:?}"),
            failed = told.recv() => failed,
        }
    };
    let ((), failed) = soon("the end of it", async { tokio::join!(repeating, serving) }).await;
    // Whatever the rest of what is repeated says: it acknowledges what this connection may not have sent.
    assert!(
        matches!(failed, Some(Seen::HandshakeFailed(ErrorKind::TimedOut | ErrorKind::Protocol))),
        "{failed:?}"
    );
}

/// Returns a client with a ticket that its server, which is listening, does not take any more.
async fn with_old_ticket(config: QuicConfig) -> (Quic, QuicSessions) {
    let authority = Authority::new("early");
    let config = QuicConfig { early_data: true, ..config };
    let tls = authority.server().build().expect("settings");
    let server = Quic::new(config.clone()).with_server_tls(tls.clone());
    let client = Quic::new(config).with_client_tls(authority.client().build().expect("settings"));
    let mut sessions = server.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    get_ticket(&client, &to, &mut sessions).await;
    // Sessions from before a reload are not resumed.
    tls.reload().expect("settings");
    (client, sessions)
}

#[tokio::test]
async fn q2_early_data_that_the_server_cannot_read_is_told_to_be_rejected() {
    let (client, mut sessions) = with_old_ticket(QuicConfig::default()).await;
    let to = sessions.local().clone();
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

/// Returns the two ends of a session whose early data, of one message, was rejected, and where its answer would have come.
async fn rejected() -> (QuicSession, QuicSession, RecvStream, QuicSessions) {
    let (client, mut sessions) = with_old_ticket(QuicConfig::default()).await;
    let to = sessions.local().clone();
    let asking = async {
        let early = client.connect_early(&to).await.expect("connected");
        assert!(early.is_early());
        let lost = early.send(&Idempotent::new("lookup")).await.expect("sent");
        let (session, outcome) = early.established().await.expect("a session");
        assert_eq!(outcome, EarlyData::Rejected);
        (session, lost)
    };
    let ((near, lost), far) = soon("a session", async { tokio::join!(asking, sessions.accept()) }).await;
    (near, far.expect("accepted"), lost, sessions)
}

#[tokio::test]
async fn a_session_whose_early_data_was_rejected_finishes_well() {
    let (near, far, _lost, _sessions) = rejected().await;
    let receiving = tokio::spawn(async move {
        let mut rx = far.accept_uni().await.expect("a stream");
        let all = rx.read_to_end(100_000).await.expect("all");
        (all.len(), far.ended().await.kind())
    });
    let mut tx = near.open_uni().await.expect("a stream");
    tx.write_all(&vec![9; 50_000]).await.expect("written");
    drop(tx);
    near.finish_and_wait(Duration::from_secs(10)).await.expect("all is there");
    assert_eq!(soon("everything", receiving).await.expect("no panic"), (50_000, ErrorKind::Closed));
}

#[tokio::test]
async fn a_rejected_stream_does_not_end_the_one_that_has_its_number() {
    let (near, far, lost, _sessions) = rejected().await;
    let receiving = tokio::spawn(async move {
        let (_tx, mut rx) = far.accept_bi().await.expect("a stream");
        rx.read_to_end(100).await
    });
    let (mut tx, _rx) = near.open_bi().await.expect("a stream");
    assert_eq!(tx.id(), lost.id());
    tx.write_all(b"all ").await.expect("written");
    // So many that the session forgets those that need not be waited for.
    for _ in 0..40 {
        near.open_uni().await.expect("a stream").write_all(b"another").await.expect("written");
    }
    tx.write_all(b"of it").await.expect("it is open");
    tx.end();
    assert_eq!(soon("the stream", receiving).await.expect("no panic").expect("all"), b"all of it");
    near.finish_and_wait(Duration::from_secs(10)).await.expect("all is there");
}

#[tokio::test]
async fn a_rejected_answer_that_is_dropped_leaves_who_reads_from_its_number() {
    let (near, far, lost, _sessions) = rejected().await;
    let (mut tx, mut rx) = near.open_bi().await.expect("a stream");
    assert_eq!(rx.id(), lost.id());
    tx.write_all(b"again").await.expect("written");
    tx.end();
    let (tell, waits) = oneshot::channel();
    // In a task of its own, which nothing else wakes.
    let reading = tokio::spawn(async move {
        let mut reading = pin!(rx.read_to_end(100));
        assert!(poll!(&mut reading).is_pending(), "nobody has answered");
        tell.send(()).expect("it is waited for");
        reading.await
    });
    soon("a reader", waits).await.expect("it waits");
    drop(lost);
    soon("a request", serve_one(far)).await;
    assert_eq!(soon("an answer", reading).await.expect("no panic").expect("all"), b"answer");
}

#[tokio::test]
async fn an_early_message_that_is_given_up_leaves_the_stream_that_has_its_number() {
    const LEN: usize = 300_000;
    let config = QuicConfig { stream_window: 100_000, ..QuicConfig::default() };
    let (client, mut sessions) = with_old_ticket(config).await;
    let to = sessions.local().clone();
    let long = |byte| Idempotent::new(vec![byte; LEN]);
    let early = client.connect_early(&to).await.expect("connected");
    let (first, second) = (long(1), long(2));
    let mut given_up = Box::pin(early.send(&first));
    assert!(poll!(&mut given_up).is_pending(), "there is no room for all of it");
    let far = soon("a session", sessions.accept()).await.expect("accepted");
    soon("the handshake", async {
        while early.is_early() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut sending = pin!(early.send(&second));
    assert!(poll!(&mut sending).is_pending(), "nobody reads");
    drop(given_up);
    let reading = async {
        let (_tx, mut rx) = far.accept_bi().await.expect("a stream");
        rx.read_to_end(LEN).await.expect("all")
    };
    let (sent, read) = soon("all of it", async { tokio::join!(sending, reading) }).await;
    sent.expect("sent");
    assert!(read.len() == LEN && read.iter().all(|&byte| byte == 2));
}

#[tokio::test]
async fn an_early_message_that_waits_for_room_goes_when_the_handshake_is_over() {
    let config = QuicConfig { max_bidi_streams: 2, ..QuicConfig::default() };
    let (client, mut sessions) = with_old_ticket(config).await;
    let to = sessions.local().clone();
    let early = client.connect_early(&to).await.expect("connected");
    let lookup = Idempotent::new("lookup");
    for _ in 0..2 {
        early.send(&lookup).await.expect("sent");
    }
    let (tell, waits) = oneshot::channel();
    // In a task of its own, which nothing else wakes.
    let waiting = tokio::spawn(async move {
        let mut waiting = pin!(early.send(&lookup));
        assert!(poll!(&mut waiting).is_pending(), "there is no room for a third");
        tell.send(()).expect("it is waited for");
        waiting.await.expect("sent").read_to_end(100).await.expect("all")
    });
    soon("who waits", waits).await.expect("it waits");
    let serving = async { serve_one(sessions.accept().await.expect("accepted")).await };
    let (answer, served) = soon("an answer", async { tokio::join!(waiting, serving) }).await;
    assert_eq!((answer.expect("no panic"), served.0), (b"answer".to_vec(), b"lookup".to_vec()));
}

#[test]
fn an_early_message_that_waits_for_room_fails_where_the_runtime_of_the_handshake_is_gone() {
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let (first, second) = (runtime(), runtime());
    let config = QuicConfig { max_bidi_streams: 1, ..QuicConfig::default() };
    // The server is served no more, so that the handshake goes on.
    let (client, sessions) = second.block_on(with_old_ticket(config));
    let lookup = Idempotent::new("lookup");
    let early = first.block_on(async {
        let early = client.connect_early(sessions.local()).await.expect("connected");
        early.send(&lookup).await.expect("sent");
        early
    });
    drop(first);
    let error = second.block_on(soon("an error", early.send(&lookup))).expect_err("nobody sends it");
    assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
}

/// Makes a first session with a server that gives streams as connections, which leaves a ticket behind.
async fn get_ticket_of_streams(quic: &Quic, to: &Address, listener: &mut StreamListener) {
    let first = async {
        let early = quic.connect_early(to).await.expect("connected");
        let (session, _) = early.established().await.expect("a session");
        let mut near = session.open_messages().await.expect("a stream");
        near.send("a ticket, please").await.expect("sent");
        near.recv().await.expect("received").expect("an answer");
        session.close(0, "");
    };
    let serving = async {
        let mut far = listener.accept().await.expect("a stream");
        let tls = far.info.details::<TlsInfo>().expect("the handshake is over").clone();
        far.recv().await.expect("received");
        // Behind the tickets, so that they have arrived when this has.
        far.send("there").await.expect("sent");
        tls
    };
    let ((), tls) = soon("a first stream", async { tokio::join!(first, serving) }).await;
    assert!(!tls.resumed && tls.verified, "{tls:?}");
}

#[tokio::test]
async fn a7_streams_that_are_given_as_connections_are_never_early_and_know_the_client() {
    let authority = Authority::new("early");
    let tls = authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings");
    let config = QuicConfig { early_data: true, ..QuicConfig::default() };
    let server = Quic::new(config.clone()).with_server_tls(tls);
    let anywhere = at("quic://127.0.0.1:0");
    let streams = QuicStreams::new(server.clone()).listen(&anywhere).await.expect("listening");
    let sessions = server.listen_sessions(&anywhere).await.expect("listening").into_streams();
    for (mut listener, takes_early_data) in [(streams, false), (sessions, true)] {
        let tls = authority.client().pair(&authority.leaf(&["alice.test"])).build().expect("settings");
        let client = Quic::new(config.clone()).with_client_tls(tls);
        // A long way, so that the message is there long before the handshake is over.
        let slow = Faults { delay: Duration::from_millis(100), ..Faults::default() };
        let (_relay, to) = relay(listener.local(), RelayConfig::both(1, slow)).await;
        get_ticket_of_streams(&client, &to, &mut listener).await;
        let asking = async {
            let early = client.connect_early(&to).await.expect("connected");
            assert_eq!(early.is_early(), takes_early_data);
            // A message of 6 bytes, as the framing has it.
            let mut answer = early.send(&Idempotent::new(&b"\0\0\0\x06lookup"[..])).await.expect("sent");
            let (session, _) = early.established().await.expect("a session");
            let answer = answer.read_to_end(100).await.expect("all");
            assert_eq!(answer, b"\0\0\0\x06answer");
            session
        };
        let answering = async {
            let mut far = listener.accept().await.expect("a stream");
            assert!(!QuicSession::of(&far.tx).is_handshaking(), "what comes may not be a repetition");
            let tls = far.info.details::<TlsInfo>().expect("the handshake is over").clone();
            assert!(tls.resumed && tls.verified, "{tls:?}");
            let alice = tls.peer.as_ref().and_then(|peer| peer.dns_names().next());
            assert_eq!(alice, Some("alice.test"));
            assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"lookup"[..]));
            far.send("answer").await.expect("sent");
        };
        let (_session, ()) = soon("an answer", async { tokio::join!(asking, answering) }).await;
    }
}

/// Returns what a client that has a ticket sends first, to whom it believes to be the server.
async fn early_flight(quic: &Quic) -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let to = Address::from_socket(Scheme::Quic, nobody.local_addr().expect("an address"));
    let early = quic.connect_early(&to).await.expect("connected");
    assert!(early.is_early());
    let mut flight = Vec::new();
    // The greeting of a client with post-quantum keys takes two packets.
    while flight.len() < 2 {
        let mut datagram = vec![0; 2000];
        let len = soon("a first flight", nobody.recv(&mut datagram)).await.expect("received");
        datagram.truncate(len);
        flight.push(datagram);
    }
    flight
}

#[tokio::test]
async fn a20_an_early_session_counts_as_a_handshake_and_has_its_deadline() {
    let authority = Authority::new("early");
    let config = QuicConfig { early_data: true, retry_threshold: 1, ..QuicConfig::default() };
    let quic = Quic::new(config)
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"));
    let mut sessions = quic.listen_sessions(&at("quic://:0")).await.expect("listening");
    let port = sessions.local().port().expect("a port");
    let to = at(&format!("quic://127.0.0.1:{port}"));
    let limits = Limits { handshake_timeout: Duration::from_secs(3), ..Limits::default() };
    let (admission, _told) = watched(&limits);
    sessions.set_admission(admission.clone());
    get_ticket(&quic, &to, &mut sessions).await;
    let flight = early_flight(&quic).await;
    // From another address than the one that the client has shown.
    let spoofed = UdpSocket::bind("[::1]:0").await.expect("a socket");
    for datagram in &flight {
        spoofed.send_to(datagram, ("::1", port)).await.expect("sent");
    }
    let far = soon("an early session", sessions.accept()).await.expect("listening");
    assert!(far.is_handshaking());
    // Its place among the handshakes is taken: who begins now must show its address.
    let accepting = tokio::spawn(async move { sessions.accept().await });
    let other = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let connecting = Quic::default().with_client_tls(authority.client().build().expect("settings"));
    let stranger = Address::from_socket(Scheme::Quic, other.local_addr().expect("an address"));
    let mut first = vec![0; 2000];
    let len = soon("a first packet", async {
        tokio::select! {
            received = other.recv(&mut first) => received.expect("received"),
            _ = connecting.open(&stranger) => unreachable!("nobody answers"),
        }
    })
    .await;
    other.send_to(&first[..len], socket(&to)).await.expect("sent");
    let mut answer = [0; 2000];
    let server_says = async {
        loop {
            let (_, from) = other.recv_from(&mut answer).await.expect("received");
            if from == socket(&to) {
                return answer[0];
            }
        }
    };
    assert_eq!(soon("an answer", server_says).await & 0xf0, 0xf0, "a Retry (RFC 9000 §17.2.5)");
    let error = soon("the deadline", far.established()).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.report());
    drop(far);
    soon("its place", async {
        while admission.active() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!accepting.is_finished());
}

#[tokio::test]
async fn connecting_early_has_a_deadline() {
    let quic = early_with(QuicConfig { connect_timeout: Duration::from_secs(1), ..QuicConfig::default() });
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    get_ticket(&quic, &to, &mut sessions).await;
    let nobody = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let to = Address::from_socket(Scheme::Quic, nobody.local_addr().expect("an address"));
    let early = quic.connect_early(&to).await.expect("it is on its way");
    assert!(early.is_early());
    let error = soon("the deadline", early.established()).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.report());
}

#[tokio::test]
async fn d7_connecting_early_to_a_closed_port_is_refused() {
    let quic = early();
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    get_ticket(&quic, &to, &mut sessions).await;
    let closed =
        std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let to = Address::from_socket(Scheme::Quic, closed);
    let early = quic.connect_early(&to).await.expect("it is on its way");
    let error = soon("a refusal", early.established()).await.expect_err("nobody listens there");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.report());
}

#[tokio::test]
async fn a6_who_cannot_be_believed_is_refused_with_the_reason_by_who_connects_early() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let config = QuicConfig { early_data: true, ..QuicConfig::default() };
    let client = Quic::new(config.clone()).with_client_tls(ours.client().build().expect("settings"));
    let server = Quic::new(config.clone()).with_server_tls(ours.server().build().expect("settings"));
    let mut sessions = server.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    get_ticket(&client, &to, &mut sessions).await;
    // At the same name another server, which has no such ticket and shows who it is.
    let other = Quic::new(config).with_server_tls(theirs.server().build().expect("settings"));
    let mut sessions = other.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    tokio::spawn(async move { while sessions.accept().await.is_ok() {} });
    let early = client.connect_early(&to).await.expect("it is on its way");
    assert!(early.is_early());
    let error = soon("a refusal", early.established()).await.expect_err("nobody vouches for it");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{}", error.report());
}
