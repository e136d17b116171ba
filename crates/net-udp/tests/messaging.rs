//! The engine over UDP: servers, clients and handlers are what they are over any transport.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use net_core::{Address, ErrorKind, Info, Limits, Message, Observer};
use net_messaging::{Client, CloseReason, Format, Server, ServerConfig, SessionConfig};
use net_udp::{Udp, UdpConfig, UdpPeer};

mod rig;

use rig::{at, bound, flood, received, soon};

fn config(format: Format) -> ServerConfig {
    let session = SessionConfig { format, ..SessionConfig::default() };
    ServerConfig { session, ..ServerConfig::default() }
}

async fn echo(udp: Udp) -> Server {
    echo_at(udp, &at("udp://127.0.0.1:0")).await
}

async fn echo_at(udp: Udp, at: &Address) -> Server {
    let server = Server::builder(udp).on_message(|_, message| async move { Ok(Some(message.into_reply())) });
    server.listen(at).await.expect("listening")
}

#[tokio::test]
async fn requests_are_answered() {
    let server = echo(Udp::default()).await;
    let client = Client::builder(Udp::default()).connect(server.local()).await.expect("a route");
    for number in 0..100_usize {
        let payload = vec![7; number * 100];
        let answer = soon("an answer", client.request(payload.clone())).await.expect("an answer");
        assert_eq!(answer.payload(), &payload);
    }
    let many: Vec<_> = (0..64).map(|number| client.request(format!("{number}"))).collect();
    for (number, answer) in many.into_iter().enumerate() {
        let answer = soon("an answer", answer).await.expect("an answer");
        assert_eq!(answer.payload(), &format!("{number}"));
    }
    assert_eq!(server.len(), 1);
    client.disconnect().await;
    soon("the end", server.stop()).await;
}

#[tokio::test]
async fn raw_datagrams_are_answered() {
    let server = Server::builder(Udp::default())
        .config(config(Format::Raw))
        .on_message(|_, message| async move { Ok(Some(message.into_reply())) })
        .listen("udp://127.0.0.1:0")
        .await
        .expect("listening");
    let near = bound().connect(rig::socket(server.local())).expect("a route");
    for payload in [&b"hello"[..], b"", b"\xff\x00"] {
        near.send(payload).await.expect("sent");
        assert_eq!(received(&near).await.0, payload);
    }
    let report = soon("the drain", server.drain(Duration::ZERO..=Duration::from_secs(5))).await;
    assert_eq!((report.active, report.cut), (1, 0));
}

#[tokio::test]
async fn m4_a_server_is_started_again_on_its_port_as_soon_as_it_has_stopped() {
    start_again_and_again(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_on_several_threads_too() {
    // The task that has the socket may be on another thread, and later than the stop.
    start_again_and_again(30).await;
}

async fn start_again_and_again(times: usize) {
    let mut server = echo(Udp::default()).await;
    let to = server.local().clone();
    for _ in 0..times {
        let client = Client::builder(Udp::default()).connect(&to).await.expect("a route");
        let answer = soon("an answer", client.request("hello")).await.expect("an answer");
        assert_eq!(answer.payload(), &"hello");
        soon("the stop", server.stop()).await;
        server = echo_at(Udp::default(), &to).await;
    }
}

#[tokio::test]
async fn a_request_without_an_answer_times_out() {
    let sink = bound();
    let client = Client::builder(Udp::default()).request_timeout(Duration::from_millis(50));
    let client = client.connect(at(&format!("udp://{}", sink.local()))).await.expect("a route");
    let error = client.request("anybody?").await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(received(&sink).await.0.len(), Message::HEAD_LEN + 8);
}

/// Counts what was withheld.
#[derive(Debug, Default)]
struct Withheld(AtomicU64);

impl Observer for Withheld {
    fn dropped(&self, _: &Info, messages: u64) {
        self.0.fetch_add(messages, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a23_broadcasts_do_not_amplify() {
    let withheld = Arc::new(Withheld::default());
    let server = Server::builder(Udp::default())
        .observer(withheld.clone())
        .on_message(|session, message| {
            // Who knows the word has heard it.
            if message.payload() == "the word" {
                session.info().details::<UdpPeer>().expect("a peer").prove();
            }
            async move { Ok(Some(message.into_reply())) }
        })
        .listen("udp://127.0.0.1:0")
        .await
        .expect("listening");
    let to = rig::socket(server.local());
    let (honest, silent) = (bound().connect(to).expect("a route"), bound().connect(to).expect("a route"));
    let ask = |text: &'static str| Message::new(net_core::MessageKind::Request, 1, text).encode();
    honest.send(&ask("the word")).await.expect("sent");
    silent.send(&ask("another")).await.expect("sent");
    assert!(received(&honest).await.0.ends_with(b"the word"));
    assert!(received(&silent).await.0.ends_with(b"another"));

    let news = Message::new(net_core::MessageKind::Notification, 0, vec![1; 1_000]);
    server.broadcast(news);
    assert_eq!(received(&honest).await.0.len(), Message::HEAD_LEN + 1_000);
    soon("it to be told", async {
        while withheld.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // What comes next to the other one is an answer, which is as long as what it sent.
    silent.send(&ask("again")).await.expect("sent");
    assert!(received(&silent).await.0.ends_with(b"again"));
}

#[tokio::test]
async fn a_peer_that_goes_silent_ends_by_the_engines_time_out() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let limits = Limits { idle_timeout: Some(Duration::from_millis(50)), ..Limits::default() };
    let server = Server::builder(Udp::default())
        .limits(limits)
        .on_message(|_, message| async move { Ok(Some(message.into_reply())) })
        .on_disconnected(move |_, reason| {
            let _ = told.send(matches!(reason, CloseReason::Idle));
        })
        .listen("udp://127.0.0.1:0")
        .await
        .expect("listening");
    let client = Client::builder(Udp::default()).connect(server.local()).await.expect("a route");
    client.request("hello").await.expect("an answer");
    assert_eq!(soon("its end", heard.recv()).await, Some(true));
    // It comes back with its next message, without a handshake.
    assert_eq!(client.request("again").await.expect("an answer").payload(), &"again");
}

#[tokio::test]
async fn several_threads_serve_one_port() {
    let server = Server::builder(Udp::new(UdpConfig::default()))
        .config(ServerConfig { io_threads: Some(2), ..ServerConfig::default() })
        .on_message(|_, message| async move { Ok(Some(message.into_reply())) })
        .listen("udp://127.0.0.1:0")
        .await
        .expect("listening");
    // Kept, so that none gets the port of one before, and so its session.
    let mut clients = Vec::new();
    for number in 0..32 {
        let client = Client::builder(Udp::default()).connect(server.local()).await.expect("a route");
        let answer = soon("an answer", client.request(format!("{number}"))).await.expect("an answer");
        assert_eq!(answer.payload(), &format!("{number}"));
        clients.push(client);
    }
    let report = soon("the drain", server.drain(Duration::ZERO..=Duration::from_secs(5))).await;
    assert_eq!((report.active, report.cut), (32, 0));
}

/// Floods a server that has a hundred places from a thousand sources, and then has fifty peers ask for something.
async fn served_after_a_flood(udp: UdpConfig, server: ServerConfig) {
    let limits = Limits { max_connections: 100, ..Limits::default() };
    let server = Server::builder(Udp::new(udp))
        .config(ServerConfig { limits, ..server })
        .on_message(|_, message| async move { Ok(Some(message.into_reply())) })
        .listen("udp://127.0.0.1:0")
        .await
        .expect("listening");
    let to = rig::socket(server.local());
    flood(to, 1_000).await;
    for number in 0..50 {
        let near = bound().connect(to).expect("a route");
        near.send(format!("{number}").as_bytes()).await.expect("sent");
        assert_eq!(received(&near).await.0, format!("{number}").as_bytes());
    }
    // Those that have lost their places are gone once they have been told.
    soon("those displaced to leave", async {
        while server.len() > 100 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon("the end", server.stop()).await;
}

fn with_threads(io_threads: Option<usize>) -> ServerConfig {
    ServerConfig { io_threads, ..config(Format::Raw) }
}

#[tokio::test]
async fn a23_a_server_of_one_thread_serves_who_is_there_in_spite_of_forged_sources() {
    served_after_a_flood(UdpConfig { max_sessions: 100, ..UdpConfig::default() }, with_threads(None)).await;
    // Its table is never full.
    served_after_a_flood(UdpConfig::default(), with_threads(None)).await;
    // All may be sent anything, whoever they are.
    served_after_a_flood(UdpConfig { max_amplification: None, ..UdpConfig::default() }, with_threads(None))
        .await;
}

#[tokio::test]
async fn a23_a_server_whose_threads_share_the_limit_serves_who_is_there_in_spite_of_forged_sources() {
    served_after_a_flood(UdpConfig { max_sessions: 100, ..UdpConfig::default() }, with_threads(Some(2)))
        .await;
    served_after_a_flood(UdpConfig::default(), with_threads(Some(2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a23_a_server_on_several_workers_serves_who_is_there_in_spite_of_forged_sources() {
    served_after_a_flood(UdpConfig { max_sessions: 100, ..UdpConfig::default() }, with_threads(None)).await;
    served_after_a_flood(UdpConfig::default(), with_threads(None)).await;
}
