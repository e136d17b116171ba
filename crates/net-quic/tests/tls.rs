//! TLS under QUIC: who is let in, who is believed, certificates that are exchanged.

#[path = "../../net-messaging/tests/over_tls/mod.rs"]
mod over_tls;
mod rig;

use std::fs;

use net_core::{
    ErrorKind, Limits, Listener, Transport,
    tls::{ClientTls, Pem, ServerTls, TlsInfo},
};
use net_quic::{Quic, QuicCode};
use rig::{
    Seen, at,
    authority::{Authority, LOCAL, WithPair},
    soon, watched,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};

#[tokio::test]
async fn m12_messaging_over_quic_is_unchanged_and_knows_the_client() {
    let authority = Authority::new("messaging");
    let server = authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings");
    let client = authority.client().pair(&authority.leaf(&["alice.test"])).build().expect("settings");
    over_tls::messaging_is_unchanged_and_knows_the_client(
        Quic::default().with_server_tls(server),
        Quic::default().with_client_tls(client),
        "quic://127.0.0.1:0",
    )
    .await;
}

#[tokio::test]
async fn a6_who_cannot_be_believed_is_refused_with_the_reason() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let cases = [
        ("unknown", ServerTls::builder().pair(&theirs.leaf(&LOCAL))),
        ("another name", ServerTls::builder().pair(&ours.leaf(&["elsewhere.test"]))),
    ];
    for (what, server) in cases {
        let quic = Quic::default().with_server_tls(server.build().expect("settings"));
        let quic = quic.with_client_tls(ours.client().build().expect("settings"));
        let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
        let to = listener.local().clone();
        let error = soon("a refusal", async {
            tokio::select! {
                connected = quic.connect(&to) => connected.expect_err(what),
                accepted = listener.accept() => panic!("{what}: {accepted:?}"),
            }
        })
        .await;
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{what}: {}", error.report());
    }
}

#[tokio::test]
async fn a6_a_client_that_cannot_be_believed_is_not_let_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = ours.server().client_ca(Pem::bytes(ours.pem.clone())).build().expect("settings");
    let mut listener =
        Quic::default().with_server_tls(server).listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (admission, mut told) = watched(&Limits::default());
    listener.set_admission(admission);
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let clients = [ours.client().pair(&theirs.leaf(&["mallory.test"])), ours.client()];
    for client in clients {
        let client = Quic::default().with_client_tls(client.build().expect("settings"));
        // In TLS 1.3 a client is done before the server has judged it: it learns by its connection.
        let refused = soon("a refusal", async {
            match client.connect(&to).await {
                Ok(mut connection) => connection.recv().await.expect_err("refused"),
                Err(error) => error,
            }
        })
        .await;
        assert!(refused.is_closed() || refused.kind() == ErrorKind::Rejected, "{}", refused.report());
        let failed = soon("the failure", told.recv()).await;
        assert_eq!(failed, Some(Seen::HandshakeFailed(ErrorKind::Untrusted)));
    }
}

#[tokio::test]
async fn why_a_connection_is_gone_is_told_alike_by_all_that_it_had() {
    let authority = Authority::new("alike");
    let server = authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings");
    let listener = Quic::default().with_server_tls(server).listen_sessions(&at("quic://127.0.0.1:0")).await;
    let mut listener = listener.expect("listening");
    let to = listener.local().clone();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let client = Quic::default().with_client_tls(authority.client().build().expect("settings"));
    // In TLS 1.3 a client without a certificate is done before the server misses it.
    let session = soon("a session", client.open(&to)).await.expect("nobody has judged it");
    let (mut tx, mut rx) = session.open_bi().await.expect("a stream");
    let mut ended = session.open_uni().await.expect("a stream");
    ended.end();
    let mut messages = session.open_messages().await.expect("a stream");
    let (mut writer, mut reader) = session.open_bi().await.expect("a stream");
    let gone = soon("the end", session.ended()).await;
    assert_eq!(gone.kind(), ErrorKind::Rejected, "{}", gone.report());
    let told = QuicCode::of(&gone);
    assert!(matches!(told, Some(QuicCode::Transport(0x100..=0x1ff))), "an alert: {told:?}");
    let through = |error: std::io::Error, operation| net_core::Error::from_io(error, operation);
    let errors = [
        session.open_bi().await.map(drop).expect_err("gone"),
        session.accept_uni().await.map(drop).expect_err("gone"),
        session.recv_datagram().await.map(drop).expect_err("gone"),
        rx.read(&mut [0; 8]).await.map(drop).expect_err("gone"),
        rx.read_chunk(8).await.map(drop).expect_err("gone"),
        rx.read_to_end(8).await.map(drop).expect_err("gone"),
        tx.write(b"x").await.map(drop).expect_err("gone"),
        tx.stopped().await.map(drop).expect_err("gone"),
        tx.finish().await.expect_err("gone"),
        ended.finish().await.expect_err("gone"),
        messages.recv().await.map(drop).expect_err("gone"),
        messages.send("x").await.expect_err("gone"),
        through(reader.read_u8().await.map(drop).expect_err("gone"), "read"),
        through(AsyncWriteExt::write_all(&mut writer, b"x").await.expect_err("gone"), "write"),
        through(writer.shutdown().await.expect_err("gone"), "shut down"),
    ];
    for error in errors {
        assert_eq!((error.kind(), QuicCode::of(&error)), (ErrorKind::Rejected, told), "{}", error.report());
    }
}

#[tokio::test]
async fn certificates_are_exchanged_while_a_server_serves() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let write = |authority: &Authority| {
        let pair = authority.leaf(&LOCAL);
        fs::write(path("server.pem"), pair.chain).expect("written");
        fs::write(path("server.key"), pair.key).expect("written");
    };
    write(&old);
    let tls = ServerTls::builder().certificate(Pem::file(path("server.pem")), Pem::file(path("server.key")));
    let tls = tls.build().expect("settings");
    let listener = Quic::default().with_server_tls(tls.clone()).listen(&at("quic://127.0.0.1:0")).await;
    let listener = listener.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);
    let client = |authority: &Authority| -> Quic {
        Quic::default().with_client_tls(authority.client().max_sessions(0).build().expect("settings"))
    };
    let mut before = soon("a connection", client(&old).connect(&to)).await.expect("the old one is shown");
    write(&new);
    tls.reload().expect("a good pair");
    let error = soon("a refusal", client(&old).connect(&to)).await.expect_err("the new one is shown");
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    soon("a connection", client(&new).connect(&to)).await.expect("the new one is shown");
    // A bad pair leaves the good one where it is.
    fs::write(path("server.key"), "no key").expect("written");
    assert_eq!(tls.reload().expect_err("a bad pair").kind(), ErrorKind::InvalidConfig);
    soon("a connection", client(&new).connect(&to)).await.expect("it is still there");
    before.send("still here").await.expect("sent");
    assert!(soon("an answer", before.recv()).await.expect("served").is_some());
}

#[tokio::test]
async fn settings_that_quic_cannot_use_are_refused() {
    let authority = Authority::new("settings");
    let old = authority
        .server()
        .cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"])
        .build()
        .expect("TLS 1.2");
    let error =
        Quic::default().with_server_tls(old).listen(&at("quic://127.0.0.1:0")).await.expect_err("no TLS 1.3");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{}", error.report());
    for (operation, error) in [
        ("listen", Quic::default().listen(&at("quic://127.0.0.1:0")).await.expect_err("no settings")),
        ("connect", Quic::default().connect(&at("quic://127.0.0.1:1")).await.expect_err("no settings")),
    ] {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, operation));
    }
    let any = ClientTls::builder().danger_accept_any_certificate().build().expect("settings");
    let wrong = Quic::default().with_client_tls(any).connect(&at("tcp://127.0.0.1:1")).await;
    assert_eq!(wrong.expect_err("another scheme").kind(), ErrorKind::InvalidAddress);
}

#[tokio::test]
async fn a_suite_alone_is_enough() {
    let authority = Authority::new("suite");
    let suites = ["TLS_CHACHA20_POLY1305_SHA256"];
    let quic = Quic::default()
        .with_server_tls(authority.server().cipher_suites(suites).build().expect("settings"))
        .with_client_tls(authority.client().cipher_suites(suites).build().expect("settings"));
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (near, _far) =
        soon("a connection", async { tokio::join!(quic.connect(&to), listener.accept()) }).await;
    let near = near.expect("connected");
    assert_eq!(near.info.details::<TlsInfo>().expect("TLS").cipher_suite.as_str(), suites[0]);
}
