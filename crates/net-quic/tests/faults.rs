//! Peers that lie about where they are, ask for more than is theirs, or are nobody: rows A20 and A21, and limits.

mod rig;

use std::{net::SocketAddr, time::Duration};

use futures_util::FutureExt;
use net_core::{
    Address, ErrorKind, Limit, Limits, Listener, Scheme, Transport,
    testing::{Faults, RelayConfig},
};
use net_quic::{Quic, QuicConfig};
use rig::{Seen, at, echo, other_version, quic, quic_with, relay, socket, soon, versions_for, watched};
use tokio::net::UdpSocket;

/// Returns what a client of `quic` sends first, to whom it believes to be a server.
async fn first_flight(quic: &Quic) -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let to = Address::from_socket(Scheme::Quic, nobody.local_addr().expect("an address"));
    let mut flight = Vec::new();
    let listening = async {
        let mut datagram = vec![0; 2000];
        // The greeting of a client with post-quantum keys takes two packets.
        while flight.len() < 2 {
            let len = nobody.recv(&mut datagram).await.expect("received");
            if len >= 1200 {
                flight.push(datagram.iter().take(len).copied().collect());
            }
        }
    };
    tokio::select! {
        () = soon("a first flight", listening) => {}
        _ = quic.open(&to) => unreachable!("nobody answers"),
    }
    flight
}

/// Sends `flight` from an address at which nobody answers.
async fn send_all(server: SocketAddr, flight: &[Vec<u8>]) -> UdpSocket {
    let spoofed = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for datagram in flight {
        spoofed.send_to(datagram, server).await.expect("sent");
    }
    spoofed
}

/// Returns what has come to `spoofed` when the server has looked at everything before.
async fn answers(server: SocketAddr, spoofed: &UdpSocket) -> Vec<Vec<u8>> {
    const LAST: u8 = 255;
    spoofed.send_to(&other_version(LAST, 1200), server).await.expect("sent");
    let mut answers = Vec::new();
    let mut answer = vec![0; 2000];
    loop {
        let len = soon("the last answer", spoofed.recv(&mut answer)).await.expect("received");
        let answer = answer.get(..len).expect("within");
        if versions_for(answer) == Some(LAST) {
            return answers;
        }
        answers.push(answer.to_vec());
    }
}

#[tokio::test]
async fn a20_no_more_than_three_times_as_much_goes_to_an_address_that_was_not_shown() {
    let quic = quic();
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let server = socket(listener.local());
    // What is not acknowledged is sent again, at first after less than a second.
    let limits = Limits { handshake_timeout: Duration::from_millis(2500), ..Limits::default() };
    let (admission, mut told) = watched(&limits);
    listener.set_admission(admission);
    echo(listener);
    let flight = first_flight(&quic).await;
    let sent: usize = flight.iter().map(Vec::len).sum();
    let spoofed = send_all(server, &flight).await;
    let given_up = soon("the server to give up", told.recv()).await;
    assert_eq!(given_up, Some(Seen::HandshakeFailed(ErrorKind::TimedOut)));
    let answers = answers(server, &spoofed).await;
    let answered: usize = answers.iter().map(Vec::len).sum();
    assert!(answered > 0, "the server began a handshake");
    assert!(answered <= 3 * sent, "{answered} bytes for {sent}");
}

#[tokio::test]
async fn a20_above_the_threshold_an_address_must_be_shown_first() {
    let config = QuicConfig { retry_threshold: 3, ..QuicConfig::default() };
    let quic = quic_with(config, net_core::frame::LengthPrefix::default());
    let listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (server, to) = (socket(listener.local()), listener.local().clone());
    echo(listener);
    let flights = first_flights(&quic, 6).await;
    let (retries, _spoofed) = retries(server, &flights).await;
    assert_eq!(retries, 3, "three handshakes run, all others must show their address");
    // Who does is served meanwhile.
    let mut near = soon("a connection", quic.connect(&to)).await.expect("connected");
    near.send("hello").await.expect("sent");
    assert!(soon("the echo", near.recv()).await.expect("received").is_some());
}

/// Returns how many of `flights` are answered by a Retry, each sent from an address of its own.
async fn retries(server: SocketAddr, flights: &[Vec<Vec<u8>>]) -> (usize, Vec<UdpSocket>) {
    let mut retries = 0;
    let mut spoofed = Vec::new();
    for flight in flights {
        let socket = send_all(server, flight).await;
        let mut answer = [0; 2000];
        let len = soon("an answer", socket.recv(&mut answer)).await.expect("received");
        if is_retry(&answer) {
            retries += 1;
            assert!(len < 200, "a Retry is small: {len}");
        }
        spoofed.push(socket);
    }
    (retries, spoofed)
}

async fn first_flights(quic: &Quic, count: usize) -> Vec<Vec<Vec<u8>>> {
    let mut flights = Vec::new();
    for _ in 0..count {
        flights.push(first_flight(quic).await);
    }
    flights
}

#[tokio::test]
async fn a20_a_flood_that_must_show_its_addresses_leaves_other_tasks_their_turn() {
    const A_TURN: usize = 64;
    let (mut listener, server, spoofed) = asked_at_once(A_TURN + 10).await;
    assert!(listener.accept().now_or_never().is_none(), "nobody has shown its address");
    assert_eq!(retries_at(server, &spoofed).await, A_TURN);
    // The rest has its turn without anybody else coming.
    let accepting = tokio::spawn(async move { listener.accept().await });
    let mut rest = 0;
    soon("the rest", async {
        while rest < 10 {
            rest += retries_at(server, &spoofed).await;
        }
    })
    .await;
    assert!(!accepting.is_finished(), "nobody was given");
}

#[tokio::test]
async fn a20_a_listener_that_closes_answers_all_who_must_show_their_addresses() {
    const MANY: usize = 100;
    let (mut listener, _, spoofed) = asked_at_once(MANY).await;
    listener.close();
    // The server's socket is gone by then.
    let mut answered = 0;
    for socket in &spoofed {
        let mut answer = [0; 2000];
        soon("the Retry", socket.recv(&mut answer)).await.expect("received");
        answered += usize::from(is_retry(&answer));
    }
    assert_eq!(answered, MANY);
}

/// Returns a listener at which `count` clients wait that must show their addresses, its address, and the clients.
async fn asked_at_once(count: usize) -> (net_quic::QuicListener, SocketAddr, Vec<UdpSocket>) {
    let config = QuicConfig { retry_threshold: 0, ..QuicConfig::default() };
    let quic = quic_with(config, net_core::frame::LengthPrefix::default());
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let server = socket(listener.local());
    // From here on what comes is looked at.
    assert!(listener.accept().now_or_never().is_none());
    let mut spoofed = Vec::new();
    for flight in first_flights(&quic, count).await {
        let socket = send_all(server, &flight).await;
        answers(server, &socket).await;
        spoofed.push(socket);
    }
    (listener, server, spoofed)
}

/// Returns how many Retries have come to `spoofed` since it was last asked.
async fn retries_at(server: SocketAddr, spoofed: &[UdpSocket]) -> usize {
    let mut retries = 0;
    for socket in spoofed {
        retries += answers(server, socket).await.iter().filter(|answer| is_retry(answer)).count();
    }
    retries
}

/// RFC 9000 §17.2.5: a long header of type 3.
fn is_retry(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0xf0 == 0xf0)
}

#[tokio::test]
async fn a20_where_early_data_is_on_who_does_not_resume_is_held_as_ever() {
    let config = QuicConfig { early_data: true, retry_threshold: 3, ..QuicConfig::default() };
    let quic = quic_with(config, net_core::frame::LengthPrefix::default());
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let server = socket(sessions.local());
    let limits = Limits { handshake_timeout: Duration::from_millis(2500), ..Limits::default() };
    let (admission, mut told) = watched(&limits);
    sessions.set_admission(admission.clone());
    let accepting = tokio::spawn(async move { sessions.accept().await });
    let flights = first_flights(&quic, 6).await;
    let (retries, _spoofed) = retries(server, &flights).await;
    assert_eq!(retries, 3, "three handshakes run, all others must show their address");
    for _ in 0..3 {
        let given_up = soon("the deadline", told.recv()).await;
        assert_eq!(given_up, Some(Seen::HandshakeFailed(ErrorKind::TimedOut)));
    }
    soon("their places", async {
        while admission.active() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!accepting.is_finished(), "nobody was given");
}

/// At the proportions of the defaults: whoever has shown its address keeps its place, however many others begin.
#[tokio::test]
async fn a20_a_flood_of_spoofed_handshakes_does_not_displace_who_has_shown_its_address() {
    const PLACES: usize = 16;
    let retry_threshold = PLACES * QuicConfig::default().retry_threshold / Limits::default().max_handshakes;
    let config = QuicConfig { retry_threshold, ..QuicConfig::default() };
    let quic = quic_with(config, net_core::frame::LengthPrefix::default());
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (server, to) = (socket(listener.local()), listener.local().clone());
    let handshake_timeout = Duration::from_mins(1);
    let limits = Limits { max_handshakes: PLACES, handshake_timeout, ..Limits::default() };
    let (admission, mut told) = watched(&limits);
    listener.set_admission(admission);
    echo(listener);
    let flights = first_flights(&quic, 2 * PLACES).await;
    // Until it has opened the stream of its messages, it counts as a handshake.
    let session = soon("a session", quic.open(&to)).await.expect("connected");
    let (retries, _spoofed) = retries(server, &flights).await;
    assert!(retries >= 2 * PLACES - retry_threshold, "{retries}");
    let mut near = session.open_messages().await.expect("a stream");
    near.send("hello").await.expect("sent");
    assert!(soon("the echo", near.recv()).await.expect("received").is_some());
    assert!(told.try_recv().is_err(), "no handshake gave way");
}

#[tokio::test]
async fn a20_a_token_is_good_for_the_address_that_it_was_given_to() {
    let config =
        QuicConfig { retry_threshold: 0, connect_timeout: Duration::from_secs(2), ..QuicConfig::default() };
    let quic = quic_with(config, net_core::frame::LengthPrefix::default());
    let listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let slow = Faults { delay: Duration::from_millis(50), ..Faults::default() };
    let (relay, to) = relay(listener.local(), RelayConfig::both(1, slow)).await;
    echo(listener);
    let connecting = quic.connect(&to);
    let stealing = async {
        // Two packets to the server, one Retry back: what the client sends then has the token, and comes from elsewhere.
        soon("the Retry", relay.until_carried(3)).await;
        relay.hop();
    };
    let (connected, ()) = tokio::join!(connecting, stealing);
    let error = connected.expect_err("the token is another address's");
    assert!(
        matches!(error.kind(), ErrorKind::Rejected | ErrorKind::TimedOut),
        "the server does not believe it: {}",
        error.report()
    );
    // From the address that it was given to, it is.
    soon("a connection", quic.connect(&to)).await.expect("connected");
}

#[tokio::test]
async fn a20_other_versions_and_garbage_get_no_more_than_they_bring() {
    let quic = quic();
    let listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (server, to) = (socket(listener.local()), listener.local().clone());
    echo(listener);
    let asked = async |packets: &[Vec<u8>]| answers(server, &send_all(server, packets).await).await;
    let mut dice = fastrand::Rng::with_seed(20);
    for len in [0, 1, 7, 100, 1199] {
        assert!(asked(&[other_version(8, len)]).await.is_empty(), "{len} bytes are too few to answer");
    }
    let told = asked(&[other_version(8, 1200)]).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].len() < 100 && told[0][1..5] == [0; 4], "which versions there are: {told:?}");
    // RFC 9000 §17.2.1: behind two identifiers of 8 bytes; §15: those like 0x?a?a?a?a are there to be ignored.
    let versions =
        told[0][23..].chunks(4).map(|version| u32::from_be_bytes(version.try_into().expect("four")));
    let versions: Vec<u32> = versions.filter(|version| version & 0x0f0f_0f0f != 0x0a0a_0a0a).collect();
    assert_eq!(versions, [1], "version 1 alone");
    let garbage: Vec<Vec<u8>> =
        (0..500).map(|_| (0..dice.usize(1..1400)).map(|_| dice.u8(..)).collect()).collect();
    let sent: usize = garbage.iter().map(Vec::len).sum();
    let mut answered = 0;
    // Part by part, so that the server's socket has room for it.
    for part in garbage.chunks(20) {
        answered += asked(part).await.iter().map(Vec::len).sum::<usize>();
    }
    assert!(answered < sent / 4, "{answered} bytes for {sent}");
    soon("a connection", quic.connect(&to)).await.expect("it still serves");
}

#[tokio::test]
async fn a2_a_client_over_a_limit_is_refused_before_its_handshake() {
    let quic = quic();
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (admission, mut told) = watched(&Limits { max_connections: 1, ..Limits::default() });
    listener.set_admission(admission);
    echo(listener);
    let mut first = soon("a connection", quic.connect(&to)).await.expect("connected");
    let error = soon("a refusal", quic.connect(&to)).await.expect_err("one is enough");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.report());
    assert_eq!(soon("the refusal", told.recv()).await, Some(Seen::Rejected(Limit::Connections)));
    first.send("still here").await.expect("sent");
    assert!(soon("the echo", first.recv()).await.expect("received").is_some());
    // Its place is free when it has gone; until then each refusal is told.
    drop(first);
    soon("a connection", async {
        while quic.connect(&to).await.is_err() {
            assert_eq!(told.recv().await, Some(Seen::Rejected(Limit::Connections)));
        }
    })
    .await;
}

#[tokio::test]
async fn who_comes_after_a_listener_was_closed_is_refused_though_the_last_handshake_has_yet_to_begin() {
    let quic = quic();
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (server, to) = (socket(listener.local()), listener.local().clone());
    let flight = first_flight(&quic).await;
    // From here on what comes is looked at.
    assert!(listener.accept().now_or_never().is_none());
    let spoofed = send_all(server, &flight).await;
    answers(server, &spoofed).await;
    // Takes the one that waits, and begins nothing.
    listener.close();
    let error = soon("a refusal", quic.connect(&to)).await.expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.report());
}

#[tokio::test]
async fn a3_a_silent_client_is_dropped_at_the_deadline() {
    let quic = quic();
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let server = socket(listener.local());
    let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
    let (admission, mut told) = watched(&limits);
    listener.set_admission(admission);
    echo(listener);
    let _silent = send_all(server, &first_flight(&quic).await).await;
    let given_up = soon("the deadline", told.recv()).await;
    assert_eq!(given_up, Some(Seen::HandshakeFailed(ErrorKind::TimedOut)));
}

#[tokio::test]
async fn d7_a_closed_port_is_refused() {
    let closed =
        std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let to = Address::from_socket(Scheme::Quic, closed);
    let error = soon("an error", quic().connect(&to)).await.expect_err("nobody listens there");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.report());
    assert!(error.report().contains(&closed.to_string()), "{}", error.report());
}

#[tokio::test]
async fn several_sockets_share_a_port_where_clients_stay() {
    const LISTENERS: usize = 4;
    let authority = rig::authority::Authority::new("shared");
    let config = QuicConfig { migration: false, ..QuicConfig::default() };
    let server = Quic::new(config).with_server_tls(authority.server().build().expect("settings"));
    let listeners = server.listen_many(&at("quic://127.0.0.1:0"), LISTENERS).await.expect("listening");
    assert_eq!(listeners.len(), if cfg!(target_os = "linux") { LISTENERS } else { 1 });
    let to = listeners[0].local().clone();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for (number, mut listener) in listeners.into_iter().enumerate() {
        assert_eq!(*listener.local(), to);
        let tell = tell.clone();
        tokio::spawn(async move {
            while let Ok(far) = listener.accept().await {
                let _ = tell.send((number, far));
            }
        });
    }
    let mut served = std::collections::HashSet::new();
    let tls = authority.client().build().expect("settings");
    for _ in 0..32 {
        // Each from a socket of its own: the kernel chooses by the client's address.
        let mut near = soon("a connection", Quic::default().with_client_tls(tls.clone()).connect(&to)).await;
        let near = near.as_mut().expect("connected");
        near.send("hello").await.expect("sent");
        let (number, mut far) = soon("an acceptance", told.recv()).await.expect("one accepts");
        assert_eq!(soon("a message", far.recv()).await.expect("received").as_deref(), Some(&b"hello"[..]));
        served.insert(number);
    }
    assert!(served.len() > 1 || !cfg!(target_os = "linux"), "the kernel spreads clients over the sockets");

    // A foreign socket at the port is an error, and no share of its datagrams is taken.
    let taken =
        std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (taken, _foreign) = taken.expect("a socket");
    let error = server.listen_many(&Address::from_socket(Scheme::Quic, taken), 2).await.expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::AddressInUse, "{}", error.report());

    // With clients that move there is one socket.
    let moving = quic().listen_many(&at("quic://127.0.0.1:0"), LISTENERS).await.expect("listening");
    assert_eq!(moving.len(), 1);
    let both = QuicConfig { migration: true, reuse_port: true, ..QuicConfig::default() };
    let error =
        quic_with(both, net_core::frame::LengthPrefix::default()).listen(&at("quic://127.0.0.1:0")).await;
    assert_eq!(error.expect_err("they exclude each other").kind(), ErrorKind::InvalidConfig);
}
