//! What must not go wrong with TLS, each test named by the row of the threat table that it covers.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::{
    error::Error as _,
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use authority::{Authority, LOCAL, Pair, WithPair};
use net_core::{
    Address, Admission, Connection, Error, ErrorKind, Limits, Listener, Observer, Receiver, Sender,
    Transport,
    tls::{ClientCertificates, ClientTls, Pem, ServerTls, ServerTlsBuilder, TlsInfo, TlsVersion, rustls},
};
use net_tcp::{Tcp, TcpConfig, TcpListener, TcpReceiver, TcpSender};
use proptest::prelude::*;
use rcgen::ExtendedKeyUsagePurpose;
use rig::{at, socket, soon};
use rustls::{
    CertificateError, Error as Tls,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
};

/// Tells why handshakes failed.
#[derive(Debug)]
struct Failures(mpsc::UnboundedSender<Error>);

impl Observer for Failures {
    fn handshake_failed(&self, _: &Address, error: &Error) {
        let again = Error::new(error.kind(), error.operation()).because(error.report());
        let _ = self.0.send(again);
    }
}

/// A server that echoes, where it listens, and what it tells of handshakes that failed.
struct Server {
    to: Address,
    failures: mpsc::UnboundedReceiver<Error>,
    admission: Arc<Admission>,
}

/// Listens with these settings.
async fn listen(tls: ServerTlsBuilder) -> TcpListener {
    let tcp = Tcp::default().with_server_tls(tls.build().expect("settings"));
    tcp.listen(&at("tcps://127.0.0.1:0")).await.expect("listening")
}

/// Connects a socket without TLS whose reads end in time, for a thread of its own.
fn blocking(to: SocketAddr) -> std::net::TcpStream {
    let peer = std::net::TcpStream::connect(to).expect("connecting");
    peer.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    peer
}

async fn serve(tls: &ServerTls, limits: &Limits) -> Server {
    let tcp = Tcp::default().with_server_tls(tls.clone());
    let mut listener = tcp.listen(&at("tcps://127.0.0.1:0")).await.expect("listening");
    let (tell, failures) = mpsc::unbounded_channel();
    let admission = Arc::new(Admission::new(*limits, Some(Arc::new(Failures(tell)))));
    listener.set_admission(admission.clone());
    let to = listener.local().clone();
    rig::echo(listener);
    Server { to, failures, admission }
}

async fn connect(tls: &ClientTls, to: &Address) -> net_core::Result<Connection<TcpSender, TcpReceiver>> {
    soon("a handshake", Tcp::default().with_client_tls(tls.clone()).connect(to)).await
}

/// Connects and exchanges a message: a TLS 1.3 client learns only by reading that the server refuses it.
async fn try_echo(tls: &ClientTls, to: &Address) -> net_core::Result<TlsInfo> {
    echo_or_end(tls, to).await?.ok_or_else(|| Error::new(ErrorKind::Closed, "receive"))
}

/// Does so; `None` where the connection came to a clean end instead of the answer.
async fn echo_or_end(tls: &ClientTls, to: &Address) -> net_core::Result<Option<TlsInfo>> {
    let mut connection = connect(tls, to).await?;
    connection.send("hello").await?;
    let Some(answer) = soon("an answer", connection.recv()).await? else { return Ok(None) };
    assert_eq!(&answer[..], b"hello");
    Ok(Some(connection.info.details::<TlsInfo>().expect("what was agreed on").clone()))
}

/// Returns why a certificate was refused.
fn refusal(error: &Error) -> CertificateError {
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{}", error.report());
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(Tls::InvalidCertificate(why)) => why.clone(),
        other => panic!("{other:?} in {}", error.report()),
    }
}

#[tokio::test]
async fn a3_silent_and_stalled_peers_are_dropped_at_the_deadline_and_accepting_never_waits() {
    let authority = Authority::new("a3");
    let limits = Limits { handshake_timeout: Duration::from_secs(2), ..Limits::default() };
    let mut server = serve(&authority.server().build().expect("settings"), &limits).await;
    let mut silent = TcpStream::connect(socket(&server.to)).await.expect("connecting");
    let mut stalled = TcpStream::connect(socket(&server.to)).await.expect("connecting");
    // The head of a ClientHello of 512 bytes, and no more.
    stalled.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.expect("written");

    // Who speaks is served meanwhile.
    try_echo(&authority.client().build().expect("settings"), &server.to).await.expect("served");
    for peer in [&mut silent, &mut stalled] {
        // Whether it is an end or a reset, it is over.
        let read = soon("the deadline", peer.read(&mut [0; 64])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    for _ in 0..2 {
        assert_eq!(
            soon("a report", server.failures.recv()).await.expect("a failure").kind(),
            ErrorKind::TimedOut
        );
    }
    soon("free places", async {
        while server.admission.active() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a3_the_connect_timeout_includes_the_handshake() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listening");
    let to = Address::from_socket(net_core::Scheme::Tcps, silent.local_addr().expect("an address"));
    let config = TcpConfig { connect_timeout: Duration::from_millis(100), ..TcpConfig::default() };
    let tls = Authority::new("a3").client().build().expect("settings");
    let error = soon("the deadline", Tcp::new(config).with_client_tls(tls).connect(&to)).await;
    let error = error.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.report().contains("TLS handshake"), "{}", error.report());
}

/// Returns a client of rustls alone, to be driven by hand.
fn by_hand(
    versions: &[&'static rustls::SupportedProtocolVersion],
    authority: &Authority,
) -> rustls::ClientConnection {
    by_hand_with(versions, authority, None)
}

/// Returns one that shows a certificate, whatever is wrong with it.
fn by_hand_with(
    versions: &[&'static rustls::SupportedProtocolVersion],
    authority: &Authority,
    pair: Option<&Pair>,
) -> rustls::ClientConnection {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let config = match pair.map(der) {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("a certificate"),
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").expect("a name");
    rustls::ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// Returns a pair as rustls takes it.
fn der(pair: &Pair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes()).map(|one| one.expect("PEM"));
    (chain.collect(), PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM"))
}

fn client_hello(authority: &Authority) -> Vec<u8> {
    let mut client = by_hand(rustls::DEFAULT_VERSIONS, authority);
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("written");
    hello
}

/// Sends `bytes` and nothing more; the server ends the connection, and tells why.
async fn is_refused(server: &mut Server, bytes: &[u8]) -> Error {
    let mut peer = TcpStream::connect(socket(&server.to)).await.expect("connecting");
    // The server may be gone before all is written.
    let _ = peer.write_all(bytes).await;
    let _ = peer.shutdown().await;
    let mut answer = Vec::new();
    let _ = soon("the server's end", peer.read_to_end(&mut answer)).await;
    soon("a report", server.failures.recv()).await.expect("a failure")
}

#[tokio::test]
async fn a4_garbage_and_broken_hellos_are_clean_errors() {
    let authority = Authority::new("a4");
    let mut server = serve(&authority.server().build().expect("settings"), &Limits::default()).await;
    let hello = client_hello(&authority);

    let error = is_refused(&mut server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let error = is_refused(&mut server, &[0xff; 100]).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // A hello that ends in the middle.
    let error = is_refused(&mut server, &hello[..hello.len() / 2]).await;
    assert_eq!(error.kind(), ErrorKind::UnexpectedEnd);
    // close_notify instead of a hello, after half of one, and after a whole one.
    let close_notify = [21, 3, 3, 0, 2, 1, 0];
    let error = is_refused(&mut server, &close_notify).await;
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEnd | ErrorKind::Protocol), "{error:?}");
    let error = is_refused(&mut server, &[&hello[..], &close_notify].concat()).await;
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEnd | ErrorKind::Protocol), "{error:?}");
    // A record that announces more than any may hold.
    let error = is_refused(&mut server, &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0]).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);

    try_echo(&authority.client().build().expect("settings"), &server.to).await.expect("still served");
}

#[tokio::test]
async fn a4_a_peer_whose_hello_is_refused_reads_the_alert_and_then_the_end() {
    let authority = Authority::new("a4");
    let mut server = serve(&authority.server().build().expect("settings"), &Limits::default()).await;
    let mut peer = TcpStream::connect(socket(&server.to)).await.expect("connecting");
    // More than one read takes, so that something is left when the server ends the connection.
    peer.write_all(&vec![0xff; 60_000]).await.expect("written");
    let mut alert = Vec::new();
    soon("the server's end", peer.read_to_end(&mut alert)).await.expect("an end, not a reset");
    // A fatal alert: its head, and two bytes (RFC 8446 §6).
    assert_eq!((alert.len(), alert[0], alert[5]), (7, 21, 2), "{alert:?}");
    let error = soon("a report", server.failures.recv()).await.expect("a failure");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{}", error.report());
}

#[tokio::test]
async fn a4_a_hello_in_fragments_of_one_byte_is_served() {
    let authority = Authority::new("a4");
    let server = serve(&authority.server().build().expect("settings"), &Limits::default()).await;
    let mut client = by_hand(rustls::DEFAULT_VERSIONS, &authority);
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("written");
    // One record becomes as many as it has bytes (RFC 8446 §5.1); the fragmented hello of RUSTSEC-2024-0399.
    let body = &hello[5..];
    let records: Vec<u8> = body.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();

    let to = socket(&server.to);
    let handshake = tokio::task::spawn_blocking(move || {
        let mut peer = blocking(to);
        peer.set_nodelay(true).expect("set");
        for part in records.chunks(97) {
            peer.write_all(part).expect("written");
        }
        while client.is_handshaking() {
            client.complete_io(&mut peer).expect("a handshake");
        }
    });
    soon("the handshake", handshake).await.expect("no panic");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a4_garbage_never_panics_nor_loops(
        garbage in prop::collection::vec(any::<u8>(), 0..600),
        kept in 0_usize..400,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let authority = Authority::new("a4");
            let mut server = serve(&authority.server().build().expect("settings"), &Limits::default()).await;
            let mut bytes = client_hello(&authority);
            for (place, flip) in &flips {
                let place = place.index(bytes.len());
                bytes[place] ^= flip;
            }
            bytes.truncate(kept);
            bytes.extend_from_slice(&garbage);
            let error = is_refused(&mut server, &bytes).await;
            // A handshake that panics would be told as `Io`.
            let expected = [ErrorKind::Protocol, ErrorKind::Rejected, ErrorKind::UnexpectedEnd];
            assert!(expected.contains(&error.kind()), "{}", error.report());
        });
    }
}

/// Passes one connection on to `to`, and cuts both ends after `many` bytes of one direction: by a reset or by an end.
async fn cut_after(to: SocketAddr, many: u64, of_client: bool, by_reset: bool) -> SocketAddr {
    let middle = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listening");
    let at = middle.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut client, _) = middle.accept().await.expect("a client");
        let mut server = TcpStream::connect(to).await.expect("connecting");
        if by_reset {
            for end in [&client, &server] {
                socket2::SockRef::from(end).set_linger(Some(Duration::ZERO)).expect("set");
            }
        }
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.split(), server.split());
        let limit = |cut: bool| if cut { many } else { u64::MAX };
        let (mut from_client, mut from_server) =
            ((&mut from_client).take(limit(of_client)), (&mut from_server).take(limit(!of_client)));
        // What one side does once the other is gone is its own affair.
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
            _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
        }
    });
    at
}

#[tokio::test]
async fn a35_a_handshake_that_is_cut_anywhere_fails_and_leaves_nothing() {
    let authority = Authority::new("a35");
    // Each side shows a certificate, so that the handshake has all its messages.
    let mut server = serve(
        &authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings"),
        &Limits::default(),
    )
    .await;
    let tls = authority.client().pair(&authority.leaf(&["client"])).build().expect("settings");
    let (mut before, mut after) = (0, 0);
    // A handshake takes some 2 500 bytes from the client, and 1 500 from the server; what is cut later is the message.
    for (round, many) in (0..2_600).step_by(53).enumerate() {
        for of_client in [true, false] {
            let middle = cut_after(socket(&server.to), many, of_client, round % 2 == 0).await;
            let to = Address::from_socket(net_core::Scheme::Tcps, middle);
            match echo_or_end(&tls, &to).await {
                // Whichever way it is told.
                Err(_) => {}
                Ok(None) => panic!("{many}: what is cut looks like an end"),
                // All of it fits.
                Ok(Some(_)) => after += 1,
            }
            before += usize::from(server.failures.try_recv().is_ok());
        }
    }
    assert!(before > 0 && after > 0, "{before} failed handshakes and {after} without a cut");
    soon("free places", async {
        while server.admission.active() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    try_echo(&tls, &server.to).await.expect("still served");
}

#[tokio::test]
async fn a5_handshakes_at_once_are_bounded_and_the_oldest_goes_first() {
    let authority = Authority::new("a5");
    let mut listener = listen(authority.server()).await;
    let (tell, mut failures) = mpsc::unbounded_channel();
    let limits = Limits { max_handshakes: 4, ..Limits::default() };
    listener.set_admission(Arc::new(Admission::new(limits, Some(Arc::new(Failures(tell))))));
    let to = listener.local().clone();
    rig::echo(listener);

    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(socket(&to)).await.expect("connecting"));
    }
    for peer in &mut silent[..8] {
        let read = soon("a dropped handshake", peer.read(&mut [0; 8])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        assert_eq!(failures.recv().await.expect("a failure").kind(), ErrorKind::LimitReached);
    }
    // A thirteenth has its place.
    try_echo(&authority.client().build().expect("settings"), &to).await.expect("served");
}

#[tokio::test]
async fn a5_a_storm_of_key_updates_is_bounded() {
    let authority = Authority::new("a5");
    let mut listener = listen(authority.server()).await;
    let to = socket(listener.local());
    let mut client = by_hand(&[&rustls::version::TLS13], &authority);
    let (begin, begun) = oneshot::channel();
    let storm = tokio::task::spawn_blocking(move || {
        let mut peer = blocking(to);
        while client.is_handshaking() {
            client.complete_io(&mut peer).expect("a handshake");
        }
        // What comes with the end of the handshake would fail that.
        begun.blocking_recv().expect("the connection is accepted");
        for _ in 0..10_000 {
            client.refresh_traffic_keys().expect("new keys");
            // The server ends the connection while we write.
            if client.write_tls(&mut peer).is_err() {
                break;
            }
        }
        let _ = peer.read(&mut [0; 1024]);
    });
    let mut far = soon("the connection", listener.accept()).await.expect("accepted");
    begin.send(()).expect("the storm waits");
    let error = soon("the error", far.recv()).await.expect_err("too many key updates");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{}", error.report());
    assert!(error.report().contains("TooManyKeyUpdateRequests"), "{}", error.report());
    drop(far);
    soon("the storm's end", storm).await.expect("no panic");
}

#[tokio::test]
async fn a5_keys_that_change_now_and_then_are_fine() {
    let authority = Authority::new("a5");
    let server = serve(&authority.server().build().expect("settings"), &Limits::default()).await;
    let mut client = by_hand(&[&rustls::version::TLS13], &authority);
    let to = socket(&server.to);
    let updating = tokio::task::spawn_blocking(move || {
        let mut peer = blocking(to);
        let mut stream = rustls::Stream::new(&mut client, &mut peer);
        for number in 0..100_u32 {
            stream.write_all(&[0, 0, 0, 4]).expect("written");
            stream.write_all(&number.to_be_bytes()).expect("written");
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer[4..], number.to_be_bytes());
            stream.conn.refresh_traffic_keys().expect("new keys");
        }
    });
    soon("all answers", updating).await.expect("no panic");
}

#[tokio::test]
async fn a6_an_expired_certificate_is_refused() {
    let authority = Authority::new("a6");
    // Our own server does not even start with it; so the client is the one that is mistaken about the time here.
    let error = ServerTls::builder().pair(&authority.expired(&LOCAL)).build().expect_err("expired");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.report().contains("expired"), "{}", error.report());

    let to = foreign_server(&authority.expired(&LOCAL));
    let error = connect(&authority.client().build().expect("settings"), &to).await.expect_err("expired");
    assert!(matches!(refusal(&error), CertificateError::ExpiredContext { .. }), "{}", error.report());
}

/// A server of rustls alone, which shows what it is given.
fn foreign_server(pair: &Pair) -> Address {
    let (chain, key) = der(pair);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listening");
    let to = Address::from_socket(net_core::Scheme::Tcps, listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let Ok((mut peer, _)) = listener.accept() else { return };
        let mut server = rustls::ServerConnection::new(config).expect("a server");
        while server.is_handshaking() && server.complete_io(&mut peer).is_ok_and(|(read, _)| read > 0) {}
    });
    to
}

#[tokio::test]
async fn a6_a_certificate_for_another_name_is_refused() {
    let authority = Authority::new("a6");
    let tls = ServerTls::builder().pair(&authority.leaf(&["elsewhere.test"])).build().expect("settings");
    let server = serve(&tls, &Limits::default()).await;
    let error =
        connect(&authority.client().build().expect("settings"), &server.to).await.expect_err("another name");
    assert!(matches!(refusal(&error), CertificateError::NotValidForNameContext { .. }), "{}", error.report());
}

#[tokio::test]
async fn a6_an_unknown_authority_is_refused() {
    let server = serve(&Authority::new("a6").server().build().expect("settings"), &Limits::default()).await;
    let other = Authority::new("other").client().build().expect("settings");
    let error = connect(&other, &server.to).await.expect_err("unknown");
    assert_eq!(refusal(&error), CertificateError::UnknownIssuer);
}

#[tokio::test]
async fn a6_a_revoked_certificate_is_refused() {
    let authority = Authority::new("a6");
    let list = Pem::bytes(authority.revoke(&[7]));
    for (serial, revoked) in [(7, true), (8, false)] {
        let tls = ServerTls::builder().pair(&authority.numbered(&LOCAL, serial)).build().expect("settings");
        let server = serve(&tls, &Limits::default()).await;
        let client = authority.client().revocation_lists(list.clone()).build().expect("settings");
        match try_echo(&client, &server.to).await {
            Err(error) if revoked => assert_eq!(refusal(&error), CertificateError::Revoked),
            outcome => assert!(outcome.is_ok() && !revoked, "{serial}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a6_a_revocation_list_past_its_next_update_counts_unless_it_is_refused() {
    let authority = Authority::new("a6");
    let ca = Pem::bytes(authority.pem.clone());
    let server = || ServerTls::builder().pair(&authority.numbered(&LOCAL, 8));
    for (year, refuses, good) in [(2021, false, true), (2021, true, false), (2100, true, true)] {
        let list = Pem::bytes(authority.revoke_until(year, &[7]));
        // What a client makes of its server's certificate.
        let serving = serve(&server().build().expect("settings"), &Limits::default()).await;
        let mut client = authority.client().revocation_lists(list.clone());
        if refuses {
            client = client.refuse_expired_revocation_lists();
        }
        match try_echo(&client.build().expect("settings"), &serving.to).await {
            Err(error) if !good => {
                let why = refusal(&error);
                assert!(matches!(why, CertificateError::ExpiredRevocationListContext { .. }), "{why:?}");
            }
            outcome => assert!(outcome.is_ok() && good, "{year} {refuses}: {outcome:?}"),
        }
        // What a server makes of its client's.
        let mut tls = server().client_ca(ca.clone()).revocation_lists(list);
        if refuses {
            tls = tls.refuse_expired_revocation_lists();
        }
        let serving = serve(&tls.build().expect("settings"), &Limits::default()).await;
        let client = authority.client().pair(&authority.numbered(&["client"], 9)).build().expect("settings");
        assert_eq!(try_echo(&client, &serving.to).await.is_ok(), good, "{year} {refuses}");
    }
}

#[tokio::test]
async fn a6_a_certificate_for_another_purpose_is_refused() {
    let authority = Authority::new("a6");
    let pair = authority.issue(&LOCAL, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let server =
        serve(&ServerTls::builder().pair(&pair).build().expect("settings"), &Limits::default()).await;
    let error =
        connect(&authority.client().build().expect("settings"), &server.to).await.expect_err("a client's");
    assert!(matches!(refusal(&error), CertificateError::InvalidPurposeContext { .. }), "{}", error.report());
}

#[tokio::test]
async fn a6_an_authority_beyond_its_name_constraints_is_refused() {
    let authority = Authority::constrained("a6", "inside.test");
    let client = |name: &str| authority.client().server_name(name).build().expect("settings");
    for (name, inside) in [("a.inside.test", true), ("outside.test", false)] {
        let tls = ServerTls::builder().pair(&authority.leaf(&[name])).build().expect("settings");
        let server = serve(&tls, &Limits::default()).await;
        match try_echo(&client(name), &server.to).await {
            Err(error) if !inside => {
                let why = refusal(&error);
                assert!(format!("{why:?}").contains("NameConstraint"), "{why:?}");
            }
            outcome => assert!(outcome.is_ok() && inside, "{name}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a6_bad_certificates_of_clients_are_refused_each_for_its_reason() {
    let authority = Authority::new("a6");
    let list = Pem::bytes(authority.revoke(&[7]));
    let tls = authority.server().client_ca(Pem::bytes(authority.pem.clone())).revocation_lists(list);
    let mut server = serve(&tls.build().expect("settings"), &Limits::default()).await;
    let servers_only = authority.issue(&["client"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (pair, reason) in [
        (None, "no certificates"),
        (Some(authority.numbered(&["client"], 7)), "revoked"),
        (Some(Authority::new("other").leaf(&["client"])), "UnknownIssuer"),
        (Some(servers_only), "extended key usage"),
    ] {
        let mut client = authority.client();
        if let Some(pair) = &pair {
            client = client.pair(pair);
        }
        let error = try_echo(&client.build().expect("settings"), &server.to).await.expect_err(reason);
        let failure = soon("a report", server.failures.recv()).await.expect("a failure");
        assert_eq!(failure.kind(), ErrorKind::Untrusted, "{}", failure.report());
        let report = failure.report().to_lowercase();
        assert!(report.contains(&reason.to_lowercase()), "{reason}: {report}");
        // The client is told, too, by the alert.
        assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.report());
    }
    let good = authority.client().pair(&authority.numbered(&["client", "alice.test"], 8));
    try_echo(&good.build().expect("settings"), &server.to).await.expect("served");
}

#[tokio::test]
async fn a6_clients_that_are_expired_or_beyond_the_constraints_of_their_authority_are_refused() {
    let (authority, constrained) = (Authority::new("a6"), Authority::constrained("a6 inside", "inside.test"));
    for (issuer, pair, reason) in [
        (&authority, authority.expired(&["client"]), Some("expired")),
        (&constrained, constrained.leaf(&["outside.test"]), Some("nameconstraint")),
        (&constrained, constrained.leaf(&["a.inside.test"]), None),
    ] {
        let tls = authority.server().client_ca(Pem::bytes(issuer.pem.clone()));
        let mut server = serve(&tls.build().expect("settings"), &Limits::default()).await;
        // Our own client does not even begin with an expired one.
        let mut client = by_hand_with(&[&rustls::version::TLS13], &authority, Some(&pair));
        let to = socket(&server.to);
        let talking = tokio::task::spawn_blocking(move || {
            let mut peer = blocking(to);
            let mut stream = rustls::Stream::new(&mut client, &mut peer);
            // In TLS 1.3 the client is done before the server has looked at its certificate.
            stream.write_all(&[0, 0, 0, 2, b'h', b'i'])?;
            stream.read_exact(&mut [0; 6])
        });
        let outcome = soon("the answer or the alert", talking).await.expect("no panic");
        let Some(reason) = reason else {
            outcome.expect("served");
            continue;
        };
        let failure = soon("a report", server.failures.recv()).await.expect("a failure");
        assert_eq!(failure.kind(), ErrorKind::Untrusted, "{}", failure.report());
        assert!(failure.report().to_lowercase().contains(reason), "{reason}: {}", failure.report());
        outcome.expect_err("an alert, or the end");
    }
}

#[tokio::test]
async fn m12_the_identity_of_a_client_is_in_the_connection() {
    let authority = Authority::new("m12");
    let mut listener = listen(authority.server().client_ca(Pem::bytes(authority.pem.clone()))).await;
    let pair = authority.leaf(&["alice.test", "127.0.0.1"]);
    let client = authority.client().pair(&pair).alpn(["x"]).build().expect("settings");
    let to = listener.local().clone();
    for resumed in [false, true] {
        let (near, far) = tokio::join!(connect(&client, &to), listener.accept());
        let (mut near, mut far) = (near.expect("connected"), far.expect("accepted"));
        let info = far.info.details::<TlsInfo>().expect("TLS");
        assert_eq!((info.version, info.resumed, info.verified), (TlsVersion::V1_3, resumed, true));
        let peer = info.peer.as_ref().expect("an identity");
        assert!(peer.subject.contains("CN=alice.test"), "{}", peer.subject);
        assert_eq!(peer.dns_names().collect::<Vec<_>>(), ["alice.test"]);
        assert_eq!(peer.alternative_names.len(), 2);
        assert_eq!(peer.fingerprint_hex(), fingerprint(&pair.chain));
        assert_eq!(info.group.as_ref().expect("a group").as_str(), "X25519MLKEM768");
        assert!(info.cipher_suite.as_str().starts_with("TLS_AES_"), "{}", info.cipher_suite);
        assert!(!format!("{info:?}").is_empty());
        // Tickets come with the first answer.
        far.send("hello").await.expect("sent");
        near.recv().await.expect("received");
        assert!(near.info.details::<TlsInfo>().expect("TLS").verified);
    }
    assert_eq!((client.stats().handshakes, client.stats().resumed), (2, 1));
}

/// SHA-256 of the certificate in `pem`, as openssl computes it.
fn fingerprint(pem: &str) -> String {
    let mut openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("openssl is missing: apt-get install openssl");
    openssl.stdin.take().expect("piped").write_all(pem.as_bytes()).expect("written");
    let output = openssl.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().rsplit('=').next().expect("a value").replace(':', "").to_lowercase()
}

#[tokio::test]
async fn m12_client_certificates_may_be_optional() {
    let authority = Authority::new("m12");
    let tls = authority
        .server()
        .client_ca(Pem::bytes(authority.pem.clone()))
        .client_certificates(ClientCertificates::Optional)
        .build()
        .expect("settings");
    let mut server = serve(&tls, &Limits::default()).await;
    try_echo(&authority.client().build().expect("settings"), &server.to).await.expect("without one");
    let stranger = Authority::new("other").leaf(&["client"]);
    let stranger = authority.client().pair(&stranger).build().expect("settings");
    try_echo(&stranger, &server.to).await.expect_err("a bad one is worse than none");
    let failure = soon("a report", server.failures.recv()).await.expect("a failure");
    assert_eq!(failure.kind(), ErrorKind::Untrusted);
}

#[tokio::test]
async fn m12_a_server_with_several_certificates_shows_the_one_that_is_asked_for() {
    let authority = Authority::new("m12");
    let tls = ServerTls::builder()
        .pair(&authority.leaf(&["default.test", "localhost"]))
        .pair(&authority.leaf(&["one.test"]))
        .pair(&authority.leaf(&["*.many.test"]))
        .build()
        .expect("settings");
    let server = serve(&tls, &Limits::default()).await;
    for (asked, shown) in [
        ("one.test", "one.test"),
        ("ONE.test", "one.test"),
        ("a.many.test", "*.many.test"),
        ("localhost", "default.test"),
    ] {
        let client = authority.client().server_name(asked).build().expect("settings");
        let info = try_echo(&client, &server.to).await.expect(asked);
        let peer = info.peer.expect("a certificate");
        assert_eq!(peer.dns_names().next(), Some(shown));
    }
    for unknown in ["two.test", "a.b.many.test", "many.test"] {
        let client = authority.client().server_name(unknown).build().expect("settings");
        let error = connect(&client, &server.to).await.expect_err(unknown);
        assert!(matches!(refusal(&error), CertificateError::NotValidForNameContext { .. }));
    }
}

#[tokio::test]
async fn m12_versions_suites_and_groups_are_held_to() {
    let authority = Authority::new("m12");
    let only_13 = authority
        .server()
        .min_version(TlsVersion::V1_3)
        .cipher_suites(["TLS_CHACHA20_POLY1305_SHA256"])
        .groups(["secp384r1"])
        .alpn(["a", "b"]);
    let server = serve(&only_13.build().expect("settings"), &Limits::default()).await;
    let info = try_echo(&authority.client().alpn(["b"]).build().expect("settings"), &server.to)
        .await
        .expect("agreed");
    assert_eq!(info.version, TlsVersion::V1_3);
    assert_eq!(info.cipher_suite.as_str(), "TLS_CHACHA20_POLY1305_SHA256");
    assert_eq!(info.group.expect("a group").as_str(), "secp384r1");
    assert_eq!(info.alpn.as_deref(), Some(&b"b"[..]));

    for refused in [
        authority.client().cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
        authority.client().groups(["x25519"]),
        authority.client().alpn(["c"]),
    ] {
        let error =
            connect(&refused.build().expect("settings"), &server.to).await.expect_err("nothing in common");
        assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.report());
    }
}

#[tokio::test]
async fn a7_early_data_is_never_taken() {
    let authority = Authority::new("a7");
    let tls = authority.server().build().expect("settings");
    assert_eq!(tls.config().max_early_data_size, 0);
    let client = authority.client().build().expect("settings");
    assert!(!client.config().enable_early_data);

    // A client that would send some is not even offered to, though its session is resumed.
    let server = serve(&tls, &Limits::default()).await;
    let mut config = (*client.config()).clone();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let to = socket(&server.to);
    let eager = tokio::task::spawn_blocking(move || {
        for resumed in [false, true] {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut client = rustls::ClientConnection::new(config.clone(), name).expect("a client");
            assert!(client.early_data().is_none(), "early data is offered");
            let mut peer = blocking(to);
            let mut stream = rustls::Stream::new(&mut client, &mut peer);
            stream.write_all(b"\0\0\0\x02hi").expect("written");
            stream.read_exact(&mut [0; 6]).expect("an answer");
            let kind = client.handshake_kind().expect("over");
            assert_eq!(kind == rustls::HandshakeKind::Resumed, resumed, "{kind:?}");
        }
    });
    soon("both connections", eager).await.expect("no panic");
    assert_eq!((tls.stats().handshakes, tls.stats().resumed), (2, 1));
}

#[tokio::test]
async fn d8_the_host_name_is_sent_and_verified_by_default() {
    let authority = Authority::new("d8");
    let mut listener = listen(ServerTls::builder().pair(&authority.leaf(&["localhost"]))).await;
    let port = listener.local().port().expect("a port");
    let client = authority.client().build().expect("settings");

    let by_name = at(&format!("tcps://localhost:{port}"));
    let (near, far) = tokio::join!(connect(&client, &by_name), listener.accept());
    near.expect("the name is right");
    let far = far.expect("accepted");
    assert_eq!(far.info.details::<TlsInfo>().expect("TLS").server_name.as_deref(), Some("localhost"));
    rig::echo(listener);

    // The certificate is trusted, and for another host.
    let by_ip = at(&format!("tcps://127.0.0.1:{port}"));
    let error = connect(&client, &by_ip).await.expect_err("another host");
    assert!(matches!(refusal(&error), CertificateError::NotValidForNameContext { .. }), "{}", error.report());
    let told = client.stats();
    assert_eq!(told.handshakes, 1);
}

#[tokio::test]
async fn d8_only_who_asks_for_it_trusts_anybody_and_it_shows() {
    let server = serve(&Authority::new("d8").server().build().expect("settings"), &Limits::default()).await;
    let careless = ClientTls::builder().danger_accept_any_certificate().build().expect("settings");
    assert!(!careless.verifies());
    let info = try_echo(&careless, &server.to).await.expect("anybody will do");
    assert!(!info.verified, "a certificate that nobody verified proves nothing");
    assert!(info.peer.is_some());
}

#[tokio::test]
async fn s9_a_stream_cut_without_close_notify_is_an_error_not_an_end() {
    let authority = Authority::new("s9");
    let mut listener = listen(authority.server()).await;
    let to = socket(listener.local());
    for close_notify in [true, false] {
        let mut client = by_hand(rustls::DEFAULT_VERSIONS, &authority);
        let peer = tokio::task::spawn_blocking(move || {
            let mut peer = blocking(to);
            let mut stream = rustls::Stream::new(&mut client, &mut peer);
            stream.write_all(b"\0\0\0\x02hi").expect("written");
            stream.flush().expect("flushed");
            if close_notify {
                client.send_close_notify();
                client.write_tls(&mut peer).expect("written");
            }
            peer.shutdown(std::net::Shutdown::Write).expect("ended");
            peer.read_to_end(&mut Vec::new())
        });
        let mut far = soon("the connection", listener.accept()).await.expect("accepted");
        assert_eq!(soon("a message", far.recv()).await.expect("whole").as_deref(), Some(&b"hi"[..]));
        match soon("the end", far.recv()).await {
            Ok(None) => assert!(close_notify, "a cut stream came as a clean end"),
            Err(error) => {
                assert!(!close_notify, "{}", error.report());
                assert_eq!(error.kind(), ErrorKind::UnexpectedEnd);
            }
            other => panic!("{other:?}"),
        }
        drop(far);
        let _ = peer.await.expect("no panic");
    }
}

#[tokio::test]
async fn data_and_an_end_that_come_with_the_last_of_the_handshake_are_received() {
    let authority = Authority::new("last");
    let mut listener = listen(authority.server()).await;
    let to = socket(listener.local());
    let mut client = by_hand(&[&rustls::version::TLS13], &authority);
    let peer = tokio::task::spawn_blocking(move || {
        let mut peer = blocking(to);
        while client.wants_write() {
            client.write_tls(&mut peer).expect("written");
        }
        while client.is_handshaking() {
            client.read_tls(&mut peer).expect("read");
            client.process_new_packets().expect("understood");
        }
        client.writer().write_all(b"\0\0\0\x02hi").expect("room");
        client.send_close_notify();
        let mut all = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut all).expect("written");
        }
        peer.write_all(&all).expect("written");
        peer.shutdown(std::net::Shutdown::Write).expect("ended");
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let mut far = soon("the connection", listener.accept()).await.expect("accepted");
    assert_eq!(soon("a message", far.recv()).await.expect("whole").as_deref(), Some(&b"hi"[..]));
    assert!(soon("the end", far.recv()).await.expect("clean").is_none());
    drop(far);
    peer.await.expect("no panic");
}

#[tokio::test]
async fn without_settings_the_error_says_what_to_set() {
    let tcp = Tcp::default();
    let error = tcp.connect(&at("tcps://127.0.0.1:1")).await.expect_err("no settings");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.report().contains("with_client_tls"), "{}", error.report());
    let error = tcp.listen(&at("tcps://127.0.0.1:0")).await.expect_err("no settings");
    assert!(error.report().contains("with_server_tls"), "{}", error.report());
}

#[tokio::test]
async fn halves_in_two_tasks_move_megabytes_both_ways() {
    static RECEIVED: AtomicUsize = AtomicUsize::new(0);
    const COUNT: usize = 500;
    let authority = Authority::new("halves");
    let server = serve(&authority.server().build().expect("settings"), &Limits::default()).await;
    let near = connect(&authority.client().build().expect("settings"), &server.to).await.expect("connected");
    let (mut tx, mut rx) = (near.tx, near.rx);
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            tx.feed(vec![u8::try_from(number % 251).expect("small"); 20_000 + number]).await.expect("sent");
        }
        tx.finish().await.expect("finished");
        tx
    });
    let receiving = tokio::spawn(async move {
        while let Some(message) = rx.recv().await.expect("a message") {
            let number = RECEIVED.fetch_add(1, Ordering::Relaxed);
            assert_eq!(message.len(), 20_000 + number);
            assert!(message.iter().all(|byte| usize::from(*byte) == number % 251));
        }
    });
    soon("all of it", async { tokio::try_join!(sending, receiving) }).await.expect("no panic");
    assert_eq!(RECEIVED.load(Ordering::Relaxed), COUNT);
}
