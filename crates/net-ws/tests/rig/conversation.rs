//! What our server and our client do with a peer: the path says it, and `tests/peers/` has the other side of each.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use net_core::{Address, ErrorKind, Listener, Result, Sender, Transport};
use net_ws::{
    CloseCode, CloseFrame, DeflateConfig, DeflateInfo, Fragment, Kind, Ws, WsConfig, WsEvent, WsInfo,
    WsMessage, WsSender,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::rig::{WsConnection, at, soon};

/// What a message of 2 MiB breaks.
const LIMIT: usize = 1 << 20;
const LENGTHS: [usize; 7] = [0, 1, 125, 126, 65_535, 65_536, 1 << 20];
/// The actions that a peer takes one after the other.
pub(crate) const ACTIONS: [&str; 5] = ["echo", "fragments", "pings", "closed", "beyond"];

/// Returns our side; `generous`: its limit is above what it sends.
pub(crate) fn ours(deflate: Option<DeflateConfig>, generous: bool) -> Ws {
    let max_message_len = if generous { 16 * LIMIT } else { LIMIT };
    Ws::new(WsConfig { max_message_len, deflate, ..WsConfig::default() })
}

fn own(code: u16) -> CloseCode {
    CloseCode::new(code).expect("for applications")
}

/// Returns text of so many bytes, with characters of one byte and of two.
fn text(len: usize) -> String {
    let mut text = "Zürich, ".repeat(len / 9);
    text.push_str(&"x".repeat(len - text.len()));
    text
}

/// Returns bytes that cannot be compressed.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ len as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub(crate) fn messages() -> impl Iterator<Item = WsMessage> {
    // What cannot be compressed becomes longer: `limit` has one that is as long as it may be.
    LENGTHS.into_iter().flat_map(|len| [text(len).into(), noise(len - len / 64).into()])
}

/// Returns what was agreed on compression as the peer sees it and tells it.
pub(crate) fn theirs(agreed: Option<&DeflateInfo>) -> Value {
    agreed.map_or(Value::Null, |agreed| {
        json!({
            "send_takeover": agreed.recv_takeover,
            "recv_takeover": agreed.send_takeover,
            "send_bits": agreed.recv_window_bits,
            "recv_bits": agreed.send_window_bits,
        })
    })
}

/// What our server saw of a connection.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) protocol: Option<String>,
    pub(crate) agreed: Value,
    pub(crate) ended: Result<(), ErrorKind>,
    pub(crate) close: Option<CloseFrame>,
}

/// Serves whoever comes, and tells of each when it has gone.
pub(crate) async fn serve(ws: Ws) -> (Address, UnboundedReceiver<Served>) {
    serve_at(ws, &at("ws://127.0.0.1:0")).await
}

pub(crate) async fn serve_at(ws: Ws, address: &Address) -> (Address, UnboundedReceiver<Served>) {
    let name = http::HeaderName::from_static("x-from");
    let ws = ws
        .with_protocols(["second", "third"])
        .with_response_header(name, http::HeaderValue::from_static("a server"));
    let mut listener = ws.listen(address).await.expect("listening");
    let address = listener.local().clone();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok(mut far) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let info = far.info.details::<WsInfo>().expect("a handshake").clone();
                let ended = act(&mut far, info.path()).await.map_err(|error| error.kind());
                // The peer may be gone by now; it says itself whether it saw the end.
                let _ = far.tx.finish().await;
                let served = Served {
                    path: info.path().to_owned(),
                    query: info.query().map(str::to_owned),
                    header: info.header("x-from").map(<[u8]>::to_vec),
                    protocol: info.protocol().map(str::to_owned),
                    agreed: theirs(info.deflate()),
                    ended,
                    close: far.rx.close_frame(),
                };
                let _ = tell.send(served);
            });
        }
    });
    (address, told)
}

async fn act(far: &mut WsConnection, path: &str) -> Result<()> {
    match path {
        "/echo" | "/beyond" | "/limit" => {
            while let Some(message) = far.rx.recv_message().await? {
                far.tx.send_message(message).await?;
            }
            return Ok(());
        }
        "/fragments" => {
            while let Some(fragment) = far.rx.recv_fragment().await? {
                far.tx.feed_fragment(fragment).await?;
                far.tx.flush().await?;
            }
            return Ok(());
        }
        "/pings" => {
            far.tx.ping(b"from a server").await?;
            assert_eq!(far.rx.recv_event().await?, Some(WsEvent::Pong("from a server".into())));
            far.tx.send_message("a pong came").await?;
        }
        "/closed" => far.tx.close(own(4002), "enough").await?,
        "/flood" => far.tx.send_message(flood()).await?,
        path => panic!("{path} is nothing that a peer asks for"),
    }
    assert_eq!(far.rx.recv_message().await?, None);
    Ok(())
}

/// Returns a message over the limit that is easy to compress.
fn flood() -> String {
    "x".repeat(2 * LIMIT)
}

/// Looks at what our server saw of a peer that took this action.
pub(crate) async fn served(told: &mut UnboundedReceiver<Served>, action: &str, agreed: &Value) {
    let served = soon("the end of a connection", told.recv()).await.expect("it serves");
    assert_eq!(served.path, format!("/{action}"));
    assert_eq!(served.query.as_deref(), Some("name=7"));
    assert_eq!(served.header.as_deref(), Some(&b"a client"[..]));
    assert_eq!(served.protocol.as_deref(), Some("second"));
    assert_eq!(served.agreed, *agreed);
    let code = served.close.as_ref().map(|close| (close.code().get(), close.reason()));
    match action {
        "echo" => assert_eq!(code, Some((4001, "genüg"))),
        "closed" => assert_eq!(code.map(|(code, _)| code), Some(4002)),
        "flood" => assert_eq!(code.map(|(code, _)| code), Some(1009)),
        "beyond" => {}
        _ => assert_eq!(code, Some((1000, ""))),
    }
    let expected = if action == "beyond" { Err(ErrorKind::MessageTooLong) } else { Ok(()) };
    assert_eq!(served.ended, expected, "{action}");
}

/// Takes every action with a peer's server at `to`; what it tells of each is for [`saw`] to look at. `ours` gives our side, as
/// [`ours`](ours()) does.
pub(crate) async fn converse(ours: impl Fn(bool) -> Ws, to: &Address, agreed: &Value) {
    echo(&mut connected(ours(false), to, "echo", agreed).await).await;
    fragments(connected(ours(false), to, "fragments", agreed).await).await;
    pings(connected(ours(false), to, "pings", agreed).await).await;

    let mut near = connected(ours(false), to, "closed", agreed).await;
    assert_eq!(soon("the end", near.rx.recv_message()).await.expect("a clean one"), None);
    assert_eq!(near.rx.close_frame(), Some(CloseFrame::new(own(4002), "enough")));
    near.tx.finish().await.expect("answered");
    drop(near);

    beyond(ours(true), to, agreed).await;

    let mut near = connected(ours(false), to, "flood", agreed).await;
    let error = soon("a message", near.rx.recv_message()).await.expect_err("it is too long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);
}

pub(crate) async fn connected(ws: Ws, to: &Address, action: &str, agreed: &Value) -> WsConnection {
    let name = http::HeaderName::from_static("x-from");
    let ws = ws
        .with_protocols(["first", "second"])
        .with_request_header(name, http::HeaderValue::from_static("a client"));
    let near = soon("a connection", ws.connect(&at(&format!("{to}/{action}?name=7")))).await;
    let near = near.expect("connected");
    let told = near.info.details::<WsInfo>().expect("a handshake");
    assert_eq!(told.protocol(), Some("second"));
    assert_eq!(told.header("x-from"), Some(&b"a server"[..]));
    assert_eq!(theirs(told.deflate()), *agreed);
    near
}

/// Has messages sent back, pings, and closes with a code and a reason.
pub(crate) async fn echo(near: &mut WsConnection) {
    for message in messages() {
        near.tx.send_message(message.clone()).await.expect("sent");
        let back = soon("the echo", near.rx.recv_message()).await.expect("received");
        assert!(back == Some(message), "another message came back");
    }
    for payload in ["from a client", ""] {
        near.tx.ping(payload.as_bytes()).await.expect("sent");
        let event = soon("a pong", near.rx.recv_event()).await.expect("received");
        assert_eq!(event, Some(WsEvent::Pong(payload.into())));
    }
    near.tx.close(own(4001), "genüg").await.expect("closed");
    assert_eq!(soon("the end", near.rx.recv_message()).await.expect("a clean one"), None);
    assert_eq!(near.rx.close_frame().map(|close| close.code().get()), Some(4001));
}

async fn send_parts(tx: &mut WsSender, kind: Kind, parts: &[Vec<u8>]) {
    for (at, part) in parts.iter().enumerate() {
        let fragment = Fragment { kind, payload: part.clone().into(), last: at + 1 == parts.len() };
        tx.feed_fragment(fragment).await.expect("sent");
    }
    tx.flush().await.expect("sent");
}

async fn fragments(mut near: WsConnection) {
    let text = ["Z".into(), "üri".into(), String::new(), "ch".repeat(1000)].map(String::into_bytes);
    let binary = [vec![0], Vec::new(), vec![255; 70_000], b"end".to_vec()];
    for (kind, parts) in [(Kind::Text, &text), (Kind::Binary, &binary)] {
        // What comes in fragments is a message to who asks for messages, and fragments to who asks for fragments.
        send_parts(&mut near.tx, kind, parts).await;
        let back = soon("the echo", near.rx.recv_message()).await.expect("received").expect("a message");
        assert_eq!(back.kind(), kind);
        assert_eq!(back.as_bytes(), parts.concat());
        send_parts(&mut near.tx, kind, parts).await;
        let (mut back, mut count) = (Vec::new(), 0);
        loop {
            let fragment = soon("a fragment", near.rx.recv_fragment()).await.expect("received");
            let fragment = fragment.expect("a fragment");
            assert_eq!(fragment.kind, kind);
            back.extend_from_slice(&fragment.payload);
            count += 1;
            if fragment.last {
                break;
            }
        }
        assert_eq!(back, parts.concat());
        assert!(count >= parts.len(), "{count} fragments");
    }
    near.close(std::time::Duration::from_secs(5)).await.expect("a clean end");
}

async fn pings(mut near: WsConnection) {
    let event = soon("a ping", near.rx.recv_event()).await.expect("received");
    assert_eq!(event, Some(WsEvent::Ping("from a server".into())));
    let answered = soon("a message", near.rx.recv_message()).await.expect("received");
    assert_eq!(answered, Some("a pong came".into()));
    near.close(std::time::Duration::from_secs(5)).await.expect("a clean end");
}

/// Has a message sent back that is as long as it may be, and becomes longer where it is compressed.
pub(crate) async fn limit(deflate: Option<DeflateConfig>, to: &Address, agreed: &Value) {
    let mut near = connected(ours(deflate, false), to, "echo", agreed).await;
    let message = WsMessage::from(noise(LIMIT));
    near.tx.send_message(message.clone()).await.expect("sent");
    let back = soon("the echo", near.rx.recv_message()).await.expect("received");
    assert!(back == Some(message), "another message came back");
    near.close(std::time::Duration::from_secs(5)).await.expect("a clean end");
}

async fn beyond(ws: Ws, to: &Address, agreed: &Value) {
    // The peer takes it as any other message.
    let mut near = connected(ws, to, "echo", agreed).await;
    // It may have had enough before all of it is sent.
    let _ = near.tx.send_message(flood()).await;
    assert_eq!(soon("the end", near.rx.recv_message()).await.expect("a clean one"), None);
    assert_eq!(near.rx.close_frame().map(|close| close.code().get()), Some(1009));
}

/// The actions of [`converse`] as a peer's server tells of them: path, and the code of our Close frame where it got one.
pub(crate) const TOLD: [(&str, Option<u16>); 6] = [
    ("/echo", Some(4001)),
    ("/fragments", Some(1000)),
    ("/pings", Some(1000)),
    ("/closed", Some(4002)),
    ("/echo", None),
    ("/flood", Some(1009)),
];

/// Looks at a line that a peer's server printed of a connection of [`converse`].
pub(crate) fn saw(line: &str, (path, code): (&str, Option<u16>), agreed: &Value) {
    let saw: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    let tells = |name: &str| saw.get(name).unwrap_or_else(|| panic!("{line} lacks {name}"));
    assert_eq!(tells("path"), path, "{line}");
    assert_eq!(tells("query"), "name=7");
    assert_eq!(tells("header"), "a client");
    assert_eq!(tells("protocol"), "second");
    assert_eq!(tells("agreed"), agreed);
    if let Some(code) = code {
        assert_eq!(*tells("failure"), Value::Null, "{line}");
        assert_eq!(tells("code"), code, "{line}");
    }
    if code == Some(4001) {
        assert_eq!(tells("reason"), "genüg");
    }
}
