//! A connection over bytes that are there already, and the ways to read messages from it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    future::{pending, poll_fn},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::Request;
use net_core::{Error, ErrorKind, Info, Receiver, Transport};
use net_ws::{ProtocolError, Ws, WsConfig, WsMessage, WsReceiver};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Sink},
    net::{TcpListener, TcpStream},
};

use crate::{
    chunked::Chunked,
    rig::{WsConnection, at, proxy::head},
};

/// Which side reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Over bytes that are there.
    Server,
    /// Over TCP, which is how a client connects.
    Client,
}

/// How it reads.
#[derive(Clone, Copy, Debug)]
enum Way {
    Messages,
    Peeking,
    Fragments,
}

/// Into so many pieces a client's bytes are cut at the most.
const PIECES: usize = 32;

/// What came out of a byte stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Bytes>,
    /// How it ended: `None` by a Close frame.
    pub(crate) error: Option<ErrorKind>,
    /// It was ended by a limit of whole messages, which fragments that are given one by one have not.
    limited: bool,
}

impl Outcome {
    fn closed(messages: Vec<Bytes>) -> Self {
        Self { messages, error: None, limited: false }
    }

    fn failed(messages: Vec<Bytes>, error: &Error) -> Self {
        let wrong = std::error::Error::source(error).and_then(|source| source.downcast_ref());
        let limited =
            matches!(wrong, Some(ProtocolError::TooLong { .. } | ProtocolError::TooManyFragments { .. }));
        Self { messages, error: Some(error.kind()), limited }
    }
}

/// Returns a server's side over `wire`, which has no timer while it waits.
fn server(wire: Chunked, config: &WsConfig, deflates: bool) -> WsReceiver<Chunked, Sink> {
    let mut request = Request::get("/")
        .header("host", "localhost")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    if deflates {
        request = request.header("sec-websocket-extensions", "permessage-deflate");
    }
    let upgrade = Ws::new(*config).upgrade(&request.body(()).expect("a request")).expect("a handshake");
    let info = Info::new(at("ws://localhost"), at("ws://localhost"));
    upgrade.into_connection((wire, tokio::io::sink()), info, BytesMut::new(), drop).rx
}

/// Returns a client's side, and the stream of its server.
async fn client(config: &WsConfig, deflates: bool) -> (WsConnection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let asked = head(&mut stream).await;
        let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let agreed = if deflates { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{agreed}\r\n"
        );
        stream.write_all(response.as_bytes()).await.expect("sent");
        stream.set_nodelay(true).expect("set");
        stream
    };
    let ws = Ws::new(*config);
    let (near, stream) = tokio::join!(ws.connect(&to), serving);
    (near.expect("connected"), stream)
}

/// Writes `wire` in pieces; a client that has found something wrong takes no more.
async fn write(stream: &mut TcpStream, wire: &[u8], sizes: &[usize]) {
    let mut rest = wire;
    for size in sizes.iter().cycle().take(PIECES) {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        if stream.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
        rest = after;
    }
    if stream.write_all(rest).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// Reads `wire`, which is cut into pieces of these `sizes`.
fn read(side: Side, way: Way, config: &WsConfig, deflates: bool, wire: &[u8], sizes: &[usize]) -> Outcome {
    // No timer fires while it waits, what is wrong is followed by no wait for the peer, and no clock limits pings.
    let config = WsConfig {
        ping_interval: None,
        idle_timeout: None,
        close_timeout: Duration::ZERO,
        max_pings_per_second: u32::MAX,
        ..*config
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match side {
            Side::Server => receive(way, &mut server(Chunked::new(wire, sizes), &config, deflates)).await,
            Side::Client => {
                let (mut near, mut stream) = client(&config, deflates).await;
                let writing = async {
                    write(&mut stream, wire, sizes).await;
                    pending().await
                };
                let outcome = tokio::select! {
                    outcome = receive(way, &mut near.rx) => outcome,
                    never = writing => never,
                };
                // A port that waits for what is late is one less for the next ones.
                stream.set_zero_linger().expect("set");
                outcome
            }
        }
    })
}

async fn receive<R, W>(way: Way, rx: &mut WsReceiver<R, W>) -> Outcome
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    match way {
        Way::Messages => messages(rx).await,
        Way::Peeking => peeking(rx).await,
        Way::Fragments => fragments(rx).await,
    }
}

/// Takes messages as they come.
async fn messages<R, W>(rx: &mut WsReceiver<R, W>) -> Outcome
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut messages = Vec::new();
    loop {
        match rx.recv_message().await {
            Ok(Some(message)) => {
                if let WsMessage::Text(text) = &message {
                    assert!(std::str::from_utf8(text.as_bytes()).is_ok());
                }
                messages.push(message.into_bytes());
            }
            Ok(None) => return Outcome::closed(messages),
            Err(error) => return Outcome::failed(messages, &error),
        }
    }
}

/// Looks at messages before they are taken: some are then consumed, some received.
async fn peeking(rx: &mut impl Receiver) -> Outcome {
    let mut messages: Vec<Bytes> = Vec::new();
    loop {
        if messages.len().is_multiple_of(2)
            && rx.peek().is_none()
            && let Err(error) = poll_fn(|cx| rx.poll_fill(cx)).await
        {
            return Outcome::failed(messages, &error);
        }
        let shown = rx.peek().map(Bytes::copy_from_slice);
        assert_eq!(rx.peek().map(Bytes::copy_from_slice), shown, "to look changes nothing");
        if let Some(shown) = &shown
            && !messages.len().is_multiple_of(3)
        {
            rx.consume();
            rx.consume();
            messages.push(shown.clone());
            continue;
        }
        match rx.recv().await {
            Ok(Some(message)) => {
                assert!(shown.is_none_or(|shown| shown == message), "another message was shown");
                messages.push(message);
            }
            Ok(None) => return Outcome::closed(messages),
            Err(error) => return Outcome::failed(messages, &error),
        }
        rx.consume();
    }
}

/// Takes fragments one by one, and joins them.
async fn fragments<R, W>(rx: &mut WsReceiver<R, W>) -> Outcome
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut messages, mut begun) = (Vec::new(), Vec::new());
    loop {
        match rx.recv_fragment().await {
            Ok(Some(fragment)) => {
                begun.extend_from_slice(&fragment.payload);
                if fragment.last {
                    messages.push(std::mem::take(&mut begun).into());
                }
            }
            Ok(None) => return Outcome::closed(messages),
            Err(error) => return Outcome::failed(messages, &error),
        }
    }
}

/// Reads `wire` in every way and in different pieces, and checks that all find the same.
pub(crate) fn agree(side: Side, config: &WsConfig, deflates: bool, wire: &[u8], sizes: &[usize]) -> Outcome {
    let whole = read(side, Way::Messages, config, deflates, wire, &[]);
    for sizes in [sizes, &[]] {
        assert_eq!(read(side, Way::Messages, config, deflates, wire, sizes), whole);
        assert_eq!(read(side, Way::Peeking, config, deflates, wire, sizes), whole);
        let parts = read(side, Way::Fragments, config, deflates, wire, sizes);
        if !whole.limited {
            assert_eq!(parts, whole);
        }
    }
    for message in &whole.messages {
        assert!(message.len() <= config.max_message_len);
    }
    whole
}
