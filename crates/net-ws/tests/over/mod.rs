//! A connection over bytes that are there already, and the ways to read messages from it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{future::poll_fn, io::Write as _};

use bytes::{Bytes, BytesMut};
use http::Request;
use net_core::{Connection, Error, ErrorKind, Info, Receiver};
use net_ws::{ProtocolError, Ws, WsConfig, WsMessage, WsReceiver, WsSender};
use tokio::io::{AsyncRead, Sink};

use crate::chunked::Chunked;

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
pub(crate) fn server<R: AsyncRead + Unpin>(
    wire: R,
    config: &WsConfig,
    deflates: bool,
) -> Connection<WsSender<Sink>, WsReceiver<R, Sink>> {
    let mut request = Request::get("/")
        .header("host", "localhost")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    if deflates {
        request = request.header("sec-websocket-extensions", "permessage-deflate");
    }
    let config = WsConfig { ping_interval: None, idle_timeout: None, ..*config };
    let upgrade = Ws::new(config).upgrade(&request.body(()).expect("a request")).expect("a handshake");
    let at: net_core::Address = "ws://localhost".parse().expect("an address");
    upgrade.into_connection((wire, tokio::io::sink()), Info::new(at.clone(), at), BytesMut::new(), drop)
}

fn runtime() -> tokio::runtime::Runtime {
    // What is wrong is followed by a wait for the peer, which passes at once.
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// Takes messages as they come.
pub(crate) fn receive(config: &WsConfig, deflates: bool, wire: Chunked) -> Outcome {
    runtime().block_on(async {
        let mut rx = server(wire, config, deflates).rx;
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
    })
}

/// Looks at messages before they are taken: some are then consumed, some received.
pub(crate) fn peek(config: &WsConfig, deflates: bool, wire: Chunked) -> Outcome {
    runtime().block_on(async {
        let mut rx = server(wire, config, deflates).rx;
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
    })
}

/// Takes fragments one by one, and joins them.
pub(crate) fn fragments(config: &WsConfig, deflates: bool, wire: Chunked) -> Outcome {
    runtime().block_on(async {
        let mut rx = server(wire, config, deflates).rx;
        let (mut messages, mut begun) = (Vec::new(), Vec::new());
        loop {
            match rx.recv_fragment().await {
                Ok(Some(fragment)) => {
                    begun.write_all(&fragment.payload).expect("memory");
                    if fragment.last {
                        messages.push(std::mem::take(&mut begun).into());
                    }
                }
                Ok(None) => return Outcome::closed(messages),
                Err(error) => return Outcome::failed(messages, &error),
            }
        }
    })
}

/// Reads `wire` in every way and in different pieces, and checks that all find the same.
pub(crate) fn agree(config: &WsConfig, deflates: bool, wire: &[u8], sizes: &[usize]) -> Outcome {
    let whole = receive(config, deflates, Chunked::new(wire, &[]));
    for sizes in [sizes, &[]] {
        assert_eq!(receive(config, deflates, Chunked::new(wire, sizes)), whole);
        assert_eq!(peek(config, deflates, Chunked::new(wire, sizes)), whole);
        let parts = fragments(config, deflates, Chunked::new(wire, sizes));
        if !whole.limited {
            assert_eq!(parts, whole);
        }
    }
    for message in &whole.messages {
        assert!(message.len() <= config.max_message_len);
    }
    whole
}
