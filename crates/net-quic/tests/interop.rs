//! QUIC against others: aioquic as client and as server, ngtcp2's client.

#[path = "rig/python.rs"]
mod python;
mod rig;

use std::{process::Command, time::Duration};

use bytes::Bytes;
use net_core::{
    Address, Listener, Sender, Transport,
    testing::{Faults, RelayConfig},
    tls::{Pem, TlsInfo},
};
use net_quic::{EarlyData, Idempotent, Quic, QuicConfig};
use python::{Files, Talk, python, run, text};
use rig::{at, echo, echo_session, relay, soon, within};

fn client(files: &Files, to: &Address, action: &str) -> Command {
    let mut command = python("client.py");
    command.arg(rig::socket(to).to_string()).arg(action).arg("--ca").arg(files.path("ca.pem"));
    command.arg("--cert").arg(files.path("client.pem")).arg("--key").arg(files.path("client.key"));
    command
}

async fn succeeds(files: &Files, to: &Address, action: &str) -> String {
    let output = run(client(files, to, action)).await;
    assert!(output.status.success() && text(&output).contains("ok "), "{action}: {}", text(&output));
    text(&output)
}

/// Sends back what comes on streams of both directions, and each datagram.
fn serve(mut sessions: net_quic::QuicSessions) {
    tokio::spawn(async move {
        while let Ok(session) = sessions.accept().await {
            let datagrams = session.clone();
            tokio::spawn(async move {
                while let Ok(datagram) = datagrams.recv_datagram().await {
                    if datagrams.send_datagram(datagram).is_err() {
                        return;
                    }
                }
            });
            echo_session(session);
        }
    });
}

#[tokio::test]
async fn real_d14_a_foreign_client_is_served() {
    let files = Files::new();
    let tls = files.authority.server().client_ca(Pem::file(files.path("ca.pem"))).build().expect("settings");
    for retry_threshold in [QuicConfig::default().retry_threshold, 0] {
        let quic = Quic::new(QuicConfig { retry_threshold, ..QuicConfig::default() });
        let sessions = quic.with_server_tls(tls.clone()).listen_sessions(&at("quic://127.0.0.1:0")).await;
        let sessions = sessions.expect("listening");
        let to = sessions.local().clone();
        serve(sessions);
        for action in ["streams", "datagrams", "abort", "migrate", "resume"] {
            succeeds(&files, &to, action).await;
        }
    }
}

/// A long way, so that what is early is there long before the handshake is over.
fn slow() -> RelayConfig {
    RelayConfig::both(1, Faults { delay: Duration::from_millis(100), ..Faults::default() })
}

#[tokio::test]
async fn real_d14_q2_early_data_of_a_foreign_client_is_taken_and_marked() {
    let files = Files::new();
    let tls = files.authority.server().build().expect("settings");
    let config = QuicConfig { early_data: true, ..QuicConfig::default() };
    let quic = Quic::new(config).with_server_tls(tls);
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    let (_relay, then) = relay(&to, slow()).await;
    let serving = async {
        let first = sessions.accept().await.expect("a session");
        assert!(!first.is_handshaking(), "it has no ticket yet");
        echo_session(first);
        let second = sessions.accept().await.expect("a session");
        assert!(second.is_handshaking(), "it is given before the handshake is over");
        let (mut tx, mut rx) = second.accept_bi().await.expect("a stream");
        let early = rx.is_early();
        let all = rx.read_to_end(1000).await.expect("all");
        second.established().await.expect("a session");
        tx.write_all(&all).await.expect("written");
        tx.end();
        second.ended().await;
        (all, early)
    };
    let mut asking = client(&files, &to, "early");
    asking.args(["--then", &rig::socket(&then).to_string()]);
    let asking = async { text(&run(asking).await) };
    let (output, (all, early)) =
        within(Duration::from_mins(1), "the exchange", async { tokio::join!(asking, serving) }).await;
    assert!(output.contains("ok early"), "{output}");
    assert_eq!((all.as_slice(), early), (&b"in the first flight"[..], true));
}

#[tokio::test]
async fn real_d14_q2_a_foreign_server_takes_our_early_data() {
    let files = Files::new();
    let (_server, server) = foreign_server(&files, &[]).await;
    let (_relay, to) = relay(&server, slow()).await;
    let config = QuicConfig { early_data: true, ..QuicConfig::default() };
    let tls = files.authority.client().build().expect("settings");
    let quic = Quic::new(config).with_client_tls(tls);
    for expected in [EarlyData::None, EarlyData::Accepted] {
        let early = soon("a session", quic.connect_early(&to)).await.expect("connected");
        assert_eq!(early.is_early(), expected == EarlyData::Accepted);
        let mut answer = early.send(&Idempotent::new("lookup")).await.expect("sent");
        // The tickets of the first one come before its echo.
        assert_eq!(soon("the echo", answer.read_to_end(100)).await.expect("all"), b"lookup");
        let (session, outcome) = soon("a session", early.established()).await.expect("connected");
        assert_eq!(outcome, expected);
        assert_eq!(
            session.info().details::<TlsInfo>().map(|tls| tls.resumed),
            Some(expected != EarlyData::None)
        );
        session.close(0, "");
    }
}

#[tokio::test]
async fn real_d14_a_foreign_client_exchanges_messages() {
    let files = Files::new();
    let tls = files.authority.server().client_ca(Pem::file(files.path("ca.pem"))).build().expect("settings");
    let listener = Quic::default().with_server_tls(tls).listen(&at("quic://127.0.0.1:0")).await;
    let listener = listener.expect("listening");
    let to = listener.local().clone();
    echo(listener);
    let output = succeeds(&files, &to, "frames").await;
    assert!(output.contains("ok 28 frames"), "{output}");
}

async fn foreign_server(files: &Files, flags: &[&str]) -> (Talk, Address) {
    let mut command = python("server.py");
    command
        .arg("--cert")
        .arg(files.path("server.pem"))
        .arg("--key")
        .arg(files.path("server.key"))
        .args(flags);
    let mut server = Talk::start(command);
    let port = server.line().await;
    (server, at(&format!("quic://127.0.0.1:{port}")))
}

#[tokio::test]
async fn real_d14_a_foreign_server_serves_us() {
    let files = Files::new();
    for flags in [&[][..], &["--retry"]] {
        let (_server, to) = foreign_server(&files, flags).await;
        let quic = Quic::default().with_client_tls(files.authority.client().build().expect("settings"));
        let session = soon("a session", quic.open(&to)).await.expect("connected");
        let tls = session.info().details::<TlsInfo>().expect("TLS");
        assert_eq!(tls.alpn.as_deref(), Some(&b"net"[..]));
        let mut running = tokio::task::JoinSet::new();
        for number in 0..40 {
            let session = session.clone();
            running.spawn(async move {
                let (mut tx, mut rx) = session.open_bi().await.expect("a stream");
                let sent = vec![number; usize::from(number) * 2500];
                tx.write_all(&sent).await.expect("written");
                tx.end();
                assert_eq!(rx.read_to_end(200_000).await.expect("all"), sent);
            });
        }
        soon("the streams", running.join_all()).await;

        let mut tx = session.open_uni().await.expect("a stream");
        tx.write_all(b"one way").await.expect("written");
        tx.end();
        let mut rx = soon("the answer", session.accept_uni()).await.expect("a stream");
        assert_eq!(rx.read_to_end(100).await.expect("all"), b"one way");

        assert!(session.send_datagram(Bytes::from_static(b"beside")).expect("sent"));
        assert_eq!(soon("a datagram", session.recv_datagram()).await.expect("received"), "beside");

        session.rebind().expect("another socket");
        let (mut tx, mut rx) = session.open_bi().await.expect("a stream");
        tx.write_all(b"from elsewhere").await.expect("written");
        soon("an acknowledgement", tx.finish()).await.expect("acknowledged");
        assert_eq!(soon("the echo", rx.read_to_end(100)).await.expect("all"), b"from elsewhere");
        session.finish_and_wait(Duration::from_secs(5)).await.expect("all is there");
    }
}

#[tokio::test]
async fn real_d14_a_foreign_server_exchanges_messages() {
    let files = Files::new();
    let (_server, to) = foreign_server(&files, &[]).await;
    let quic = Quic::default().with_client_tls(files.authority.client().build().expect("settings"));
    let mut near = soon("a connection", quic.connect(&to)).await.expect("connected");
    for len in [0, 1, 1000, 70_000, 500_000] {
        near.send(vec![b'x'; len]).await.expect("sent");
        let back = soon("the echo", near.recv()).await.expect("received").expect("a message");
        assert_eq!(back.len(), len);
    }
    soon("an acknowledgement", near.tx.finish()).await.expect("finished");
    assert_eq!(soon("the end", near.recv()).await.expect("received"), None);
}

/// ngtcp2's client speaks HTTP/3 alone: what it asks for on a stream is answered by hand.
#[tokio::test]
async fn real_d14_the_client_of_ngtcp2_is_served() {
    let files = Files::new();
    let config = QuicConfig { alpn: vec!["h3".to_owned()], ..QuicConfig::default() };
    let quic = Quic::new(config).with_server_tls(files.authority.server().build().expect("settings"));
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let port = sessions.local().port().expect("a port").to_string();
    let mut client = Command::new("gtlsclient");
    client.args(["--exit-on-all-streams-close", "--no-quic-dump", "127.0.0.1", &port]);
    client.arg(format!("https://localhost:{port}/"));
    let serving = async {
        let session = sessions.accept().await.expect("a session");
        // RFC 9114 §6.2.1: a control stream, and on it settings, of which there are none.
        let mut control = session.open_uni().await.expect("a stream");
        control.write_all(&[0x00, 0x04, 0x00]).await.expect("written");
        let mut theirs = session.accept_uni().await.expect("its control stream");
        let mut settings = [0; 2];
        theirs.read(&mut settings).await.expect("read");
        assert_eq!(settings[0], 0x00);
        let (mut tx, mut rx) = session.accept_bi().await.expect("a request");
        let request = rx.read_to_end(10_000).await.expect("all of it");
        assert_eq!(request[0], 0x01, "a frame of headers (RFC 9114 §7.2.2)");
        // `:status: 200` is entry 25 of the static table (RFC 9204, appendix A).
        tx.write_all(&[0x01, 0x03, 0x00, 0x00, 0xd9]).await.expect("written");
        tx.write_all(&[0x00, 0x05]).await.expect("written");
        tx.write_all(b"hello").await.expect("written");
        tx.end();
        session.ended().await
    };
    let (output, _) = soon("the exchange", async { tokio::join!(run(client), serving) }).await;
    let output = text(&output);
    assert!(output.contains(":status: 200"), "{output}");
    assert!(output.contains("hello"), "{output}");
}
