//! WebSocket in a browser: Chromium, and a page that connects to servers of ours.
#![cfg(feature = "tls")]

#[path = "rig/conversation.rs"]
mod conversation;
#[path = "rig/peers.rs"]
mod peers;
mod rig;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use conversation::{Served, serve_at};
use net_core::{Address, ErrorKind, Limits, Listener, Transport};
use net_messaging::{Format, Server, ServerConfig, SessionConfig};
use net_ws::{DeflateConfig, DeflateMemory, OriginPolicy, Ws, WsConfig};
use peers::{Files, Talk, node};
use rig::{Seen, at, soon, watched};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc::UnboundedReceiver,
};

/// Serves the page on a port of its own, and returns its origin.
async fn page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                // A browser asks for an icon too.
                let (status, body) = if request.starts_with(b"GET / ") {
                    ("200 OK", include_str!("peers/page.html"))
                } else {
                    ("404 Not Found", "")
                };
                let len = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    origin
}

/// Has a browser open the page and call this function of it.
fn open(origin: &str, action: &str, to: &Address, picture: Option<&Path>) -> Talk {
    let mut command = node("browser.mjs");
    command.args([origin, action, &to.to_string()]).args(picture);
    Talk::start(command)
}

fn picture() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's target directory");
    let directory = target.join("net-ws");
    std::fs::create_dir_all(&directory).expect("a directory");
    directory.join("browser.png")
}

fn deflating(memory: DeflateMemory) -> DeflateConfig {
    DeflateConfig { memory, min_len: 1, ..DeflateConfig::default() }
}

/// Has a browser exchange messages with our server at an address such as `ws://127.0.0.1:0`.
async fn exchanges(ws: Ws, at_address: &str, extensions: &str, picture: Option<&Path>) {
    let origin = page().await;
    let ws = ws.with_origins(OriginPolicy::listed([&origin]));
    let (to, mut told) = serve_at(ws, &at(at_address)).await;
    let to = at(&format!("{to}/echo?name=7"));
    let mut browser = open(&origin, "exchange", &to, picture);
    assert_eq!(browser.line().await, format!(r#"open: "second" {extensions}"#));
    for len in [0, 5, 900_000, 65_536] {
        assert_eq!(browser.line().await, format!("text: {len}"));
    }
    for len in [0, 125, 126, 65_535, 65_536, 1_000_000, 1 << 20] {
        assert_eq!(browser.line().await, format!("binary: {len}"));
    }
    assert_eq!(browser.line().await, r#"closed: 4001 "" cleanly"#);
    assert_eq!(browser.line().await, "done");
    let served = ended(&mut told).await;
    assert_eq!((served.path.as_str(), served.query.as_deref()), ("/echo", Some("name=7")));
    assert_eq!(served.ended, Ok(()));
    let close = served.close.expect("a Close frame");
    assert_eq!((close.code().get(), close.reason()), (4001, "genüg"));
}

async fn ended(told: &mut UnboundedReceiver<Served>) -> Served {
    soon("the end of a connection", told.recv()).await.expect("it serves")
}

#[tokio::test]
async fn w1_a_browser_exchanges_messages() {
    let ws = Ws::new(WsConfig { deflate: None, ..WsConfig::default() });
    exchanges(ws, "ws://127.0.0.1:0", "without extensions", None).await;
}

#[tokio::test]
async fn w3_a_browser_exchanges_compressed_messages() {
    let windows =
        DeflateConfig { send_window_bits: 8, recv_window_bits: 10, ..deflating(DeflateMemory::NoTakeover) };
    for (deflate, extensions) in [
        (deflating(DeflateMemory::Dedicated), "permessage-deflate"),
        (deflating(DeflateMemory::Shared), "permessage-deflate; server_no_context_takeover"),
        (
            windows,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=8; client_max_window_bits=10",
        ),
    ] {
        let ws = Ws::new(WsConfig { deflate: Some(deflate), ..WsConfig::default() });
        exchanges(ws, "ws://127.0.0.1:0", extensions, Some(&picture())).await;
    }
    let kept = std::fs::read(picture()).expect("a picture");
    assert!(kept.starts_with(b"\x89PNG") && kept.len() > 10_000, "{} bytes", kept.len());
}

#[tokio::test]
async fn w1_a_browser_exchanges_messages_over_tls() {
    let files = Files::new();
    let ws = Ws::default().with_server_tls(files.authority.server().build().expect("settings"));
    exchanges(ws, "wss://127.0.0.1:0", "permessage-deflate; server_no_context_takeover", None).await;
}

#[tokio::test]
async fn a18_a_page_of_another_origin_is_refused() {
    let origin = page().await;
    // The port is another one than the page's, and so is the origin.
    let mut listener = Ws::default().listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let (admission, mut seen) = watched(&Limits::default());
    listener.set_admission(admission);
    let to = listener.local().clone();
    let serving = tokio::spawn(async move { listener.accept().await.map(|_| ()) });
    let mut browser = open(&origin, "refused", &to, None);
    assert_eq!(browser.line().await, r#"closed: 1006 "" uncleanly"#);
    assert_eq!(browser.line().await, "done");
    let seen = soon("a refusal", seen.recv()).await;
    assert_eq!(seen, Some(Seen::HandshakeFailed(ErrorKind::Protocol)));
    assert!(!serving.is_finished(), "no connection came of it");
    serving.abort();
}

async fn server(ws: &Ws, at: &str) -> Server {
    let session = SessionConfig { format: Format::Raw, ..SessionConfig::default() };
    let server = Server::builder(ws.clone())
        .config(ServerConfig { session, ..ServerConfig::default() })
        .on_message(|_, message| async move { Ok(Some(message.into_reply())) });
    server.listen(at).await.expect("listening")
}

async fn drain(server: &Server) {
    let report = soon("the drain", server.drain(Duration::ZERO..=Duration::from_secs(5))).await;
    assert_eq!((report.active, report.cut), (1, 0));
}

#[tokio::test]
async fn w1_a_browser_is_told_to_go_by_a_server_that_drains_and_comes_back_to_the_next_one() {
    let origin = page().await;
    let config = WsConfig { send_as: net_ws::SendAs::Received, ..WsConfig::default() };
    let ws = Ws::new(config).with_origins(OriginPolicy::listed([&origin]));
    let first = server(&ws, "ws://127.0.0.1:0").await;
    let to = first.local().clone();
    let mut browser = open(&origin, "drained", &to, None);
    assert_eq!(browser.line().await, "back: before");
    drain(&first).await;
    assert_eq!(browser.line().await, r#"closed: 1001 "" cleanly"#);

    let second = server(&ws, &to.to_string()).await;
    assert_eq!(second.local(), &to);
    browser.go();
    assert_eq!(browser.line().await, "back: after");
    drain(&second).await;
    assert_eq!(browser.line().await, r#"closed: 1001 "" cleanly"#);
}
