//! The engine over QUIC: servers, clients and handlers are what they are over any transport.

use std::time::Duration;

use net_core::{
    Address, Transport,
    frame::LengthPrefix,
    tls::{ClientCertificates, Pem, TlsInfo},
};
use net_messaging::{
    Client, ClientState, CloseReason, Limits, Reconnect, Server, ServerConfig, Session, SessionConfig,
};
use net_quic::{Quic, QuicConfig, QuicStreams};
use tokio::sync::{mpsc, oneshot, watch};

mod rig;

use rig::{
    at,
    authority::{Authority, WithPair},
    quic, quic_with, soon,
};

const DRAIN: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(5);

async fn echo_at(transport: impl Transport, at: &Address) -> Server {
    let server =
        Server::builder(transport).on_message(|_, message| async move { Ok(Some(message.into_reply())) });
    server.listen(at).await.expect("listening")
}

async fn echo(transport: impl Transport) -> Server {
    echo_at(transport, &at("quic://127.0.0.1:0")).await
}

async fn connect(quic: &Quic, server: &Server) -> Client {
    let connected = soon("a connection", Client::builder(quic.clone()).connect(server.local())).await;
    connected.expect("connected")
}

async fn asks(client: &Client, payload: impl Into<bytes::Bytes>) {
    let payload = payload.into();
    let answer = soon("an answer", client.request(payload.clone())).await.expect("an answer");
    assert!(answer.payload() == &payload, "{} bytes came back of {}", answer.payload().len(), payload.len());
}

#[tokio::test]
async fn q1_requests_are_answered_whatever_their_length_and_many_at_once() {
    let quic = quic();
    let server = echo(quic.clone()).await;
    let client = connect(&quic, &server).await;
    for len in [0, 1, 1_200, 70_000, 1_000_000] {
        asks(&client, vec![7; len]).await;
    }
    let many: Vec<_> = (0..500_usize).map(|number| asks(&client, vec![1; number * 10])).collect();
    soon("all answers", futures_util::future::join_all(many)).await;
    assert_eq!(server.len(), 1);
    soon("the end", client.disconnect()).await;
    let report = soon("the drain", server.drain(DRAIN)).await;
    assert_eq!(report.cut, 0);
}

#[tokio::test]
async fn q1_a_broadcast_reaches_every_session() {
    let quic = quic();
    let server = echo(quic.clone()).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let mut clients = Vec::new();
    for number in 0..20 {
        let told = told.clone();
        let client = Client::builder(quic.clone()).on_message(move |_, message| {
            let _ = told.send((number, message.into_payload()));
            async { Ok(None) }
        });
        let client = soon("a connection", client.connect(server.local())).await.expect("connected");
        // Its session is there once it has been answered.
        asks(&client, "hello").await;
        clients.push(client);
    }
    let report = server.broadcast("news");
    assert_eq!((report.sent + report.queued, report.dropped + report.full), (20, 0));
    let mut who = Vec::new();
    for _ in 0..20 {
        let (number, news) = soon("the news", heard.recv()).await.expect("lives");
        assert_eq!(news, "news");
        who.push(number);
    }
    who.sort_unstable();
    assert_eq!(who, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn q1_what_is_under_way_is_answered_before_a_server_that_drains_ends() {
    let quic = quic();
    let (begun, mut under_way) = mpsc::unbounded_channel();
    let (release, released) = watch::channel(false);
    let server = Server::builder(quic.clone()).on_message(move |_, message| {
        let _ = begun.send(());
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.expect("the test lives");
            Ok(Some(message.into_reply()))
        }
    });
    let server = server.listen("quic://127.0.0.1:0").await.expect("listening");
    let client = connect(&quic, &server).await;
    let session = client.session().expect("connected");
    let asked = tokio::spawn(async move { client.request("slow").await });
    soon("the request", under_way.recv()).await.expect("lives");
    let mut draining = Box::pin(server.drain(DRAIN));
    let early = futures_util::poll!(&mut draining);
    assert!(early.is_pending(), "a request is under way");
    release.send(true).expect("the handler waits");
    let report = soon("the drain", draining).await;
    assert_eq!((report.active, report.cut), (1, 0));
    let answer = soon("the answer", asked).await.expect("runs").expect("an answer");
    assert_eq!(answer.payload(), &"slow");
    soon("the end", session.closed()).await;
}

#[tokio::test]
async fn m4_a_client_comes_back_to_a_server_that_is_started_again_on_its_port() {
    let quic = quic();
    let mut server = echo(quic.clone()).await;
    let to = server.local().clone();
    let quick = Reconnect {
        interval: Duration::from_millis(5),
        max_interval: Duration::from_millis(50),
        min_interval: Duration::from_millis(1),
        ..Reconnect::default()
    };
    let client = Client::builder(quic.clone()).reconnect(quick).connect(&to);
    let client = soon("a connection", client).await.expect("connected");
    for stopped in ["gently", "at once", "gently"] {
        let session = soon("a connection", client.connected()).await.expect("comes back");
        asks(&client, "hello").await;
        match stopped {
            "gently" => assert_eq!(soon("the stop", server.stop()).await.cut, 0),
            // The last handle is dropped: sessions are cut.
            _ => drop(server),
        }
        soon("the loss", session.closed()).await;
        server = echo_at(quic.clone(), &to).await;
    }
    soon("a connection", client.connected()).await.expect("comes back");
    asks(&client, "again").await;
    soon("the end", client.disconnect()).await;
    assert_eq!(client.state(), ClientState::Disconnected);
}

/// A server that tells why its sessions end.
async fn told(
    quic: &Quic,
    limits: &Limits,
    session: SessionConfig,
) -> (Server, mpsc::UnboundedReceiver<CloseReason>) {
    let (tell, told) = mpsc::unbounded_channel();
    let server = Server::builder(quic.clone())
        .limits(*limits)
        .session(session)
        .on_message(|_, message| async move { Ok(Some(message.into_reply())) })
        .on_disconnected(move |_: &Session, reason: &CloseReason| {
            let _ = tell.send(reason.clone());
        });
    (server.listen("quic://127.0.0.1:0").await.expect("listening"), told)
}

#[tokio::test]
async fn m5_a_server_knows_why_each_session_ended() {
    let quic = quic();
    let (server, mut why) = told(&quic, &Limits::default(), SessionConfig::default()).await;
    let client = connect(&quic, &server).await;
    asks(&client, "hello").await;
    soon("the end", client.disconnect()).await;
    assert!(matches!(soon("why", why.recv()).await, Some(CloseReason::ByPeer)));

    let client = connect(&quic, &server).await;
    asks(&client, "hello").await;
    let near = client.session().expect("is connected");
    server.sessions().pop().expect("its session").disconnect();
    assert!(matches!(soon("why", why.recv()).await, Some(CloseReason::ByUs)));
    soon("its end", near.closed()).await;
}

#[tokio::test]
async fn m8_the_idle_time_out_and_the_limit_of_connections_are_the_engines() {
    let quic = quic();
    let limits =
        Limits { idle_timeout: Some(Duration::from_millis(100)), max_connections: 1, ..Limits::default() };
    let session = SessionConfig { heartbeat: None, ..SessionConfig::default() };
    let (server, mut why) = told(&quic, &limits, session).await;
    let client = connect(&quic, &server).await;
    asks(&client, "hello").await;
    let refused = soon("a refusal", Client::builder(quic.clone()).connect(server.local())).await;
    drop(refused.expect_err("one is enough"));
    assert!(matches!(soon("why", why.recv()).await, Some(CloseReason::Idle)));
}

#[tokio::test]
async fn m12_a_handler_knows_the_certificate_of_its_client() {
    let (authority, people) = (Authority::new("servers"), Authority::new("people"));
    let alice = people.leaf(&["alice.example"]);
    let quic = Quic::with_framing(QuicConfig::default(), LengthPrefix::default())
        .with_server_tls(
            authority
                .server()
                .client_ca(Pem::bytes(people.pem.clone()))
                .client_certificates(ClientCertificates::Required)
                .build()
                .expect("settings"),
        )
        .with_client_tls(authority.client().pair(&alice).build().expect("settings"));
    let (tell, told) = oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let server = Server::builder(quic.clone())
        .on_connected(move |session| {
            let tls = session.info().details::<TlsInfo>().expect("TLS");
            let names = tls.peer.iter().flat_map(|peer| peer.dns_names().map(str::to_owned));
            let names: Vec<_> = names.collect();
            let _ = tell.lock().expect("not poisoned").take().expect("one").send(names);
            Ok(())
        })
        .listen("quic://127.0.0.1:0")
        .await
        .expect("listening");
    let _client = connect(&quic, &server).await;
    assert_eq!(soon("the certificate", told).await.expect("told"), ["alice.example"]);
}

#[tokio::test]
async fn q1_streams_of_one_session_are_sessions_of_a_server_beside_those_of_clients() {
    let quic = quic();
    let server = echo(QuicStreams::new(quic.clone())).await;
    let own = connect(&quic, &server).await;
    asks(&own, "a session of its own").await;
    let session = soon("a session", quic.open(server.local())).await.expect("connected");
    let mut streams = Vec::new();
    for number in 0..10_u32 {
        let mut stream = session.open_messages().await.expect("a stream");
        let request = net_core::Message::new(net_core::MessageKind::Request, number.into(), "which?");
        stream.send(request.encode()).await.expect("sent");
        streams.push(stream);
    }
    for stream in &mut streams {
        let answer = soon("an answer", stream.recv()).await.expect("received").expect("an answer");
        assert!(answer.ends_with(b"which?"), "{answer:?}");
    }
    assert_eq!(server.len(), 11);
    drop((streams, session));
    let report = soon("the drain", server.drain(DRAIN)).await;
    assert_eq!(report.cut, 0);
}

#[tokio::test]
async fn q1_several_threads_serve_one_port() {
    let config = QuicConfig { reuse_port: true, migration: false, ..QuicConfig::default() };
    let quic = quic_with(config, LengthPrefix::default());
    let server = Server::builder(quic.clone())
        .config(ServerConfig { io_threads: Some(2), ..ServerConfig::default() })
        .on_message(|_, message| async move { Ok(Some(message.into_reply())) })
        .listen("quic://127.0.0.1:0")
        .await
        .expect("listening");
    let mut clients = Vec::new();
    for number in 0..32 {
        let client = connect(&quic, &server).await;
        asks(&client, format!("{number}")).await;
        clients.push(client);
    }
    let report = soon("the drain", server.drain(DRAIN)).await;
    assert_eq!((report.active, report.cut), (32, 0));
}
