//! The engine over WebSocket: servers, clients and handlers are what they are over any transport.

mod rig;

use std::time::Duration;

use net_core::{ErrorKind, Transport};
use net_messaging::{Client, Format, Limits, Server, ServerConfig, SessionConfig};
use net_ws::{CloseCode, SendAs, Ws, WsConfig, WsInfo, WsMessage};
use rig::{at, soon};

#[tokio::test]
async fn messaging_is_unchanged() {
    for deflate in [None, WsConfig::default().deflate] {
        let ws = Ws::new(WsConfig { deflate, ..WsConfig::default() });
        let server = Server::builder(ws.clone())
            .on_message(|session, message| {
                let path = session.info().details::<WsInfo>().expect("told").path().to_owned();
                async move {
                    let text = String::from_utf8_lossy(message.payload()).into_owned();
                    Ok(message.reply(format!("{path} {text}")))
                }
            })
            .listen("ws://127.0.0.1:0")
            .await
            .expect("listening");
        let to = at(&format!("{}/room", server.local()));
        let client = Client::builder(ws).connect(&to).await.expect("connected");
        for number in 0..1000 {
            let answer = client.request(number.to_string()).await.expect("an answer");
            assert_eq!(answer.payload(), format!("/room {number}").as_bytes());
        }
        let large = client.request("x".repeat(900_000)).await.expect("an answer");
        assert_eq!(large.payload().len(), 900_006);
    }
}

fn raw() -> ServerConfig {
    let session = SessionConfig { format: Format::Raw, heartbeat: None, ..SessionConfig::default() };
    ServerConfig { session, ..ServerConfig::default() }
}

/// Starts a server that sends everything back as what it came.
async fn echo(config: ServerConfig) -> Server {
    let ws = Ws::new(WsConfig { send_as: SendAs::Received, ..WsConfig::default() });
    let builder = Server::builder(ws).config(config);
    let echoing = builder.on_message(|_, message| async move { Ok(message.into_reply()) });
    echoing.listen("ws://127.0.0.1:0").await.expect("listening")
}

#[tokio::test]
async fn what_came_as_text_goes_back_as_text() {
    let server = echo(raw()).await;
    let mut near = Ws::default().connect(server.local()).await.expect("connected");
    let long = "a long one ".repeat(20_000);
    for message in [WsMessage::from("text"), WsMessage::from(vec![0xFF; 3]), long.into(), "ä".into()] {
        near.tx.send_message(message.clone()).await.expect("sent");
        assert_eq!(soon("it", near.rx.recv_message()).await.expect("received"), Some(message));
    }
}

#[tokio::test]
async fn a36_a_server_that_drains_closes_with_1001_and_answers_what_was_asked() {
    let server = echo(raw()).await;
    let mut near = Ws::default().connect(server.local()).await.expect("connected");
    near.tx.send_message("before").await.expect("sent");
    assert_eq!(soon("it", near.rx.recv_message()).await.expect("received"), Some("before".into()));
    let waiting = async {
        assert_eq!(soon("the end", near.rx.recv_message()).await.expect("a clean end"), None);
        let frame = near.rx.close_frame().expect("a code");
        assert_eq!(frame.code(), CloseCode::GOING_AWAY);
        drop(near);
    };
    let (report, ()) = tokio::join!(server.drain(Duration::ZERO..=Duration::from_secs(5)), waiting);
    assert_eq!((report.cut, report.messages_unsent), (0, 0));
}

#[tokio::test]
async fn a_session_that_a_handler_ends_closes_with_1000() {
    let server = Server::builder(Ws::default())
        .config(raw())
        .on_message(|session, _| {
            session.disconnect();
            async { Ok(None) }
        })
        .listen("ws://127.0.0.1:0")
        .await
        .expect("listening");
    let mut near = Ws::default().connect(server.local()).await.expect("connected");
    near.send("leave").await.expect("sent");
    assert_eq!(soon("the end", near.recv()).await.expect("a clean end"), None);
    assert_eq!(near.rx.close_frame().expect("a code").code(), CloseCode::NORMAL);
}

#[tokio::test]
async fn w4_pongs_keep_a_session_alive_and_silence_ends_it() {
    let limits = Limits { idle_timeout: Some(Duration::from_secs(3)), ..Limits::default() };
    let server = echo(ServerConfig { limits, ..raw() }).await;
    let pings = WsConfig {
        ping_interval: Some(Duration::from_millis(100)),
        idle_timeout: None,
        ..WsConfig::default()
    };
    let mut lively = Ws::new(pings).connect(server.local()).await.expect("connected");
    let mut silent = Ws::default().connect(server.local()).await.expect("connected");
    // The lively one waits, and pings as it does, for as long as the silent one is not given up.
    let given_up = soon("the silent one's end", async {
        tokio::select! {
            end = silent.recv() => end,
            end = lively.recv() => panic!("the lively one ended: {end:?}"),
        }
    });
    let end = given_up.await;
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    lively.tx.send_message("alive").await.expect("sent");
    assert_eq!(soon("it", lively.rx.recv_message()).await.expect("received"), Some("alive".into()));
}

#[tokio::test]
async fn a_client_learns_of_a_handshake_that_was_refused() {
    let ws = Ws::default().with_request_check(|_| Err(http::StatusCode::FORBIDDEN));
    let server = Server::builder(ws).on_message(|_, _| async { Ok(None) }).listen("ws://127.0.0.1:0").await;
    let server = server.expect("listening");
    let error = Client::builder(Ws::default()).connect(server.local()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Rejected);
}
