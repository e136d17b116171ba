//! The client's side of the handshake.

use std::{
    io::{self, Read, Write},
    str,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use net_core::{Address, Connection, Error, ErrorKind, Host, Result, Scheme};
use net_tcp::stream::{ByteStream, ReadHalf, WriteHalf};
use tokio::io::AsyncWriteExt;
use tungstenite::{
    error::Error as Broken,
    handshake::{
        HandshakeError,
        client::{ClientHandshake, generate_key},
    },
};

use super::{HttpHead, extensions, has_token, read_head, refusal::Refusal, server::connection, values};
use crate::{Extension, Role, WsConfig, WsInfo, WsReceiver, WsSender, deflate::Offered};

/// What a client asks with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    pub(crate) protocols: Vec<Box<str>>,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: Vec<Extension>,
}

/// Headers that are meant for one server.
///
/// "Consider removing header fields ... including but not limited to ... Authorization, Cookie." Source: RFC 9110 §15.4.
const FOR_ONE_SERVER: [HeaderName; 4] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::HOST];

impl Asks {
    /// Forgets what is meant for the server that was asked first.
    pub(crate) fn forget_secrets(&mut self) {
        let secret =
            |name: &HeaderName, value: &HeaderValue| value.is_sensitive() || FOR_ONE_SERVER.contains(name);
        let secrets = self.headers.iter().filter(|(name, value)| secret(name, value));
        let names: Vec<HeaderName> = secrets.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.headers.remove(name);
        }
    }
}

/// What a server says to a request.
#[allow(clippy::large_enum_variant, reason = "once a connection, and most say this")]
pub(crate) enum Said {
    Connected(Connection<WsSender<WriteHalf>, WsReceiver<ReadHalf>>),
    /// Ask there instead.
    Redirected(Box<str>),
}

/// Takes the client's part in a handshake over `stream`, which leads to `to`. Unless it `follows`, a redirect is a refusal.
pub(crate) async fn ask(
    mut stream: ByteStream,
    to: &Address,
    config: &WsConfig,
    asks: &Asks,
    follows: bool,
) -> Result<Said> {
    let failed = |error: Error| error.at(to);
    let offered = config.deflate.map(Offered::new);
    let request = request(to, asks, offered)
        .map_err(|error| failed(Error::new(ErrorKind::InvalidAddress, "connect").because(error)))?;
    // tungstenite speaks to memory: what it writes goes out here, and what it reads is a head that has arrived whole.
    let memory = Exchange::default();
    let started = ClientHandshake::start(memory, request, None)
        .map_err(|broken| failed(Error::new(ErrorKind::InvalidConfig, "connect").because(broken)))?;
    let mut asked = match started.handshake() {
        Err(HandshakeError::Interrupted(asked)) => asked,
        Err(HandshakeError::Failure(broken)) => {
            return Err(failed(Error::new(ErrorKind::Protocol, "connect").because(broken)));
        }
        Ok(_) => return Err(failed(Error::new(ErrorKind::Protocol, "connect"))),
    };
    let wire = std::mem::take(&mut asked.get_mut().get_mut().written);
    let io_failed = |error| failed(Error::from_io(error, "connect"));
    stream.write_all(&wire).await.map_err(io_failed)?;
    stream.flush().await.map_err(io_failed)?;
    let HttpHead { head, rest } =
        read_head(&mut stream, config.max_head_len, "connect").await.map_err(failed)?;
    asked.get_mut().get_mut().arrived = with_plain_connection(head);
    let response = match asked.handshake() {
        Ok((_, response)) => response,
        Err(HandshakeError::Failure(Broken::Http(response))) => {
            let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            return match location {
                Some(location) if follows && response.status().is_redirection() => {
                    Ok(Said::Redirected(location.into()))
                }
                _ => {
                    let (parts, _) = response.into_parts();
                    let said = (parts.status, parts.headers);
                    let refusal = Refusal::read(&mut stream, said, rest, config.close_timeout).await;
                    Err(failed(refusal.into_error()))
                }
            };
        }
        Err(HandshakeError::Failure(broken)) => {
            return Err(failed(Error::new(ErrorKind::Protocol, "connect").because(broken)));
        }
        Err(HandshakeError::Interrupted(_)) => {
            let cut = "the head of the response is none";
            return Err(failed(Error::new(ErrorKind::Protocol, "connect").because(cut)));
        }
    };
    let headers = response.headers();
    let answered = values(headers, header::SEC_WEBSOCKET_EXTENSIONS.as_str());
    let agreed = extensions::agree(&asks.extensions, offered, answered);
    let agreed = agreed.map_err(|wrong| failed(Error::new(ErrorKind::Protocol, "connect").because(wrong)))?;
    let protocol = values(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str()).next();
    let deflate = agreed.deflate;
    let told = WsInfo::new(target(to), headers, protocol, agreed);
    let (reading, writing, info) = stream.into_split();
    let mut connected = connection(
        (reading, writing),
        Role::Client,
        config,
        deflate,
        info.with_details(told),
        rest,
        |mut writing| writing.abort(),
    );
    connected.tx = connected.tx.with_unsent_below(WriteHalf::unsent_len);
    Ok(Said::Connected(connected))
}

/// Puts `Connection: Upgrade` before the other headers of a response that says so among other tokens, or in another line: tungstenite
/// looks at the first one alone.
///
/// "The |Connection| header field doesn't contain a token that is an ASCII case-insensitive match for the value 'Upgrade'." Source:
/// RFC 6455 §4.1.
fn with_plain_connection(head: BytesMut) -> BytesMut {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    if !matches!(response.parse(&head), Ok(parsed) if parsed.is_complete()) {
        return head;
    }
    let connection = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
    let mut said = connection.filter_map(|header| str::from_utf8(header.value).ok()).peekable();
    if said.peek().is_none_or(|first| first.eq_ignore_ascii_case("upgrade")) || !has_token(said, "upgrade") {
        return head;
    }
    let Some(line) = memchr::memchr(b'\n', &head) else { return head };
    let (line, rest) = head.split_at(line + 1);
    line.iter().chain(b"Connection: Upgrade\r\n").chain(rest).collect()
}

/// Returns path and query of an address.
fn target(to: &Address) -> &str {
    if to.path().is_empty() { "/" } else { to.path() }
}

/// Returns host and port as they stand in a header; the port is left out where it is the scheme's.
pub(crate) fn authority(to: &Address, always_port: bool) -> String {
    let host = match to.host() {
        Host::Any => "localhost".to_owned(),
        // A scope means something to this machine alone.
        Host::V6(ip, _) => format!("[{ip}]"),
        host => host.to_string(),
    };
    match to.port() {
        Some(port) if always_port || Some(port) != to.scheme().default_port() => format!("{host}:{port}"),
        _ => host,
    }
}

/// What makes the handshake, and is not the caller's to set.
const OWN: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

fn request(to: &Address, asks: &Asks, offered: Option<Offered>) -> Result<Request<()>, http::Error> {
    let scheme = if to.scheme().is_over_tls() { Scheme::Wss } else { Scheme::Ws };
    let authority = authority(to, false);
    let path = target(to);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = Request::builder()
        .uri(format!("{scheme}://{authority}{slash}{path}"))
        .header(header::HOST, authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key());
    if !asks.protocols.is_empty() {
        request = request.header(header::SEC_WEBSOCKET_PROTOCOL, asks.protocols.join(", "));
    }
    let offer = extensions::offer(&asks.extensions, offered);
    if !offer.is_empty() {
        request = request.header(header::SEC_WEBSOCKET_EXTENSIONS, offer);
    }
    let mut request = request.body(())?;
    for (name, value) in asks.headers.iter().filter(|(name, _)| !OWN.contains(name)) {
        request.headers_mut().insert(name.clone(), HeaderValue::clone(value));
    }
    Ok(request)
}

/// Where tungstenite writes to and reads from.
#[derive(Debug, Default)]
struct Exchange {
    written: Vec<u8>,
    arrived: BytesMut,
}

impl Read for Exchange {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.arrived.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = into.len().min(self.arrived.len());
        let piece = self.arrived.split_to(count);
        into.iter_mut().zip(&piece).for_each(|(to, from)| *to = *from);
        Ok(count)
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
