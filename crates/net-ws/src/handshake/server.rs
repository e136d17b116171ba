//! The server's side of the handshake.

use std::{fmt, sync::Arc};

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    uri::Authority,
};
use net_core::{Connection, Error, ErrorKind, Info, Result};
use net_tcp::stream::{ByteStream, ReadHalf, WriteHalf};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tungstenite::{
    error::{Error as Broken, ProtocolError as Violation},
    handshake::{
        machine::TryParse,
        server::{Request as Parsed, create_response, write_response},
    },
};

use super::{
    HttpHead,
    extensions::{self, Agreed},
    has_token, read_head, values,
};
use crate::{DeflateInfo, Extension, OriginPolicy, Role, WsConfig, WsInfo, WsReceiver, WsSender, link::Link};

/// What looks at requests beyond what a handshake must be.
pub(crate) type RequestCheck = Arc<dyn Fn(&Request<()>) -> Result<HeaderMap, StatusCode> + Send + Sync>;

/// What a server answers to requests.
#[derive(Clone, Default)]
pub(crate) struct Answers {
    pub(crate) protocols: Vec<Box<str>>,
    pub(crate) origins: OriginPolicy,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) check: Option<RequestCheck>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("protocols", &self.protocols)
            .field("origins", &self.origins)
            .field("checks", &self.check.is_some())
            .finish_non_exhaustive()
    }
}

/// A request that was accepted: the response, and what was agreed on.
///
/// It is what [`Ws::upgrade`](crate::Ws::upgrade) gives to an HTTP server, which has parsed the request already.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use http::Request;
/// use net_core::Info;
/// use net_ws::{Upgrade, Ws, WsInfo};
///
/// # fn main() -> net_core::Result<()> {
/// let request = Request::get("/feed?from=7")
///     .header("host", "example.org")
///     .header("connection", "upgrade")
///     .header("upgrade", "websocket")
///     .header("sec-websocket-version", "13")
///     .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .body(())
///     .expect("a request");
/// let upgrade: Upgrade = Ws::default().upgrade(&request).expect("a handshake");
/// assert_eq!((upgrade.info().path(), upgrade.info().query()), ("/feed", Some("from=7")));
/// // Once `upgrade.response()` is sent, the byte stream is what the HTTP server had.
/// let (stream, _client) = tokio::io::duplex(1024);
/// let info = Info::new("ws://example.org/feed".parse()?, "ws://192.0.2.1:4711".parse()?);
/// let connection = upgrade.into_connection(tokio::io::split(stream), info, BytesMut::new(), drop);
/// assert_eq!(connection.info.details::<WsInfo>().map(WsInfo::path), Some("/feed"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Upgrade {
    response: Response<()>,
    info: WsInfo,
    config: WsConfig,
}

impl Upgrade {
    /// Returns the response that the client is to be sent.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Returns what the request told.
    pub fn info(&self) -> &WsInfo {
        &self.info
    }

    /// Makes a connection of the byte stream, once the response is sent.
    ///
    /// `read` is what was read behind the request already. `abort` cuts the stream, so that the peer sees no clean end;
    /// `drop` where the stream has nothing better.
    pub fn into_connection<R, W>(
        self,
        (reading, writing): (R, W),
        info: Info,
        read: BytesMut,
        abort: fn(W),
    ) -> Connection<WsSender<W>, WsReceiver<R, W>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let agreed = self.info.deflate().copied();
        connection(
            (reading, writing),
            Role::Server,
            &self.config,
            agreed,
            info.with_details(self.info),
            read,
            abort,
        )
    }
}

/// Joins the halves of a connection whose handshake is over.
pub(crate) fn connection<R, W>(
    (reading, writing): (R, W),
    role: Role,
    config: &WsConfig,
    agreed: Option<DeflateInfo>,
    info: Info,
    read: BytesMut,
    abort: fn(W),
) -> Connection<WsSender<W>, WsReceiver<R, W>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let link = Arc::new(Link::new(writing, role));
    let tx = WsSender::new(link.clone(), role, config, agreed, abort);
    Connection::new(tx, WsReceiver::new(reading, link, role, config, agreed, read), info)
}

impl Answers {
    /// Looks at a request; `over_tls`: it is known to have come over TLS.
    ///
    /// # Errors
    ///
    /// The response that refuses it.
    pub(crate) fn accept(
        &self,
        config: &WsConfig,
        request: Request<()>,
        over_tls: bool,
    ) -> Result<Upgrade, Response<()>> {
        let version = request.version();
        self.judge(config, request, over_tls).map_err(|mut refusal| {
            if version >= Version::HTTP_2 {
                // "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields." Source: RFC 9113
                // §8.2.2.
                *refusal.version_mut() = version;
                refusal.headers_mut().remove(header::CONNECTION);
                refusal.headers_mut().remove(header::UPGRADE);
            }
            refusal
        })
    }

    fn judge(
        &self,
        config: &WsConfig,
        mut request: Request<()>,
        over_tls: bool,
    ) -> Result<Upgrade, Response<()>> {
        config.check().map_err(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR))?;
        let mut response = respond(&mut request)?;
        let headers = request.headers();
        let said = host(&request)?;
        // "An origin server MUST ignore the received Host header field (if any) and instead use the host information of the
        // request-target", where that has any. Source: RFC 9112 §3.2.2.
        let host = request.uri().authority().or(said.as_ref()).map(Authority::as_str);
        let Some(host) = host else { return Err(refuse(StatusCode::BAD_REQUEST)) };
        let over_tls = over_tls || matches!(request.uri().scheme_str(), Some("https" | "wss"));
        if !self.origins.admits(headers, host, over_tls) {
            return Err(refuse(StatusCode::FORBIDDEN));
        }
        add(response.headers_mut(), &self.headers);
        if let Some(check) = &self.check {
            add(response.headers_mut(), &check(&request).map_err(refuse)?);
        }
        let protocol = self.choose(headers);
        if let Some(protocol) = protocol
            && let Ok(value) = HeaderValue::from_str(protocol)
        {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        let offers: Vec<_> = values(headers, header::SEC_WEBSOCKET_EXTENSIONS.as_str()).collect();
        let (answer, mut agreed) = extensions::answer(&self.extensions, config.deflate.as_ref(), &offers);
        match HeaderValue::from_str(&answer) {
            Ok(_) if answer.is_empty() => {}
            Ok(value) => drop(response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, value)),
            // An extension answers what no header can carry: it is as if it had declined, and all with it.
            Err(_) => agreed = Agreed::default(),
        }
        let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let info = WsInfo::new(target, headers, protocol, agreed);
        Ok(Upgrade { response, info, config: *config })
    }

    /// Returns the first sub-protocol of the client that is served.
    fn choose(&self, headers: &HeaderMap) -> Option<&str> {
        values(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str())
            .flat_map(|value| value.split(',').map(str::trim))
            .find_map(|asked| {
                self.protocols.iter().map(|protocol| &**protocol).find(|served| *served == asked)
            })
    }
}

/// Returns the response to a request that is a handshake, before anybody has looked at what it asks for.
fn respond(request: &mut Request<()>) -> Result<Response<()>, Response<()>> {
    if is_extended_connect(request) {
        if request.headers().get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let mut refusal = refuse(StatusCode::BAD_REQUEST);
            refusal.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return Err(refusal);
        }
        let mut response = Response::new(());
        *response.version_mut() = request.version();
        return Ok(response);
    }
    // tungstenite looks at the first line of each, and at the whole value of `Upgrade`, where RFC 6455 §4.2.1 wants tokens.
    for (name, token) in [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")] {
        if has_token(values(request.headers(), name.as_str()), token) {
            request.headers_mut().insert(name, HeaderValue::from_static(token));
        }
    }
    let response = create_response(request).map_err(|broken| refusal(&broken))?;
    let headers = request.headers();
    // "MUST NOT appear more than once in an HTTP request." Source: RFC 6455 §11.3.1, and §11.3.5.
    let single = [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION];
    let several = single.iter().any(|name| headers.get_all(name).iter().count() > 1);
    // A body would be read as frames.
    let body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|len| len != "0");
    if several || body { Err(refuse(StatusCode::BAD_REQUEST)) } else { Ok(response) }
}

/// Returns what the header `Host` says, which only HTTP/2 and HTTP/3 may leave out.
///
/// "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host header field and
/// to any request message that contains more than one Host header field line or a Host header field with an invalid field value."
/// Source: RFC 9112 §3.2.
fn host(request: &Request<()>) -> Result<Option<Authority>, Response<()>> {
    let mut said = request.headers().get_all(header::HOST).iter();
    match (said.next(), said.next()) {
        (None, _) if request.version() >= Version::HTTP_2 => Ok(None),
        (Some(host), None) => {
            let host = Authority::try_from(host.as_bytes()).ok().filter(is_host);
            host.map(Some).ok_or_else(|| refuse(StatusCode::BAD_REQUEST))
        }
        _ => Err(refuse(StatusCode::BAD_REQUEST)),
    }
}

/// Tells whether there is a host, and beside it nothing but a port.
fn is_host(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host()).filter(|_| !authority.host().is_empty());
    port.is_some_and(|port| {
        port.strip_prefix(':').unwrap_or(port).bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Adds the application's headers to those of a response, but for what makes the handshake.
fn add(response: &mut HeaderMap, headers: &HeaderMap) {
    for (name, value) in headers {
        let own = [header::CONNECTION, header::UPGRADE].contains(name);
        if !own && !name.as_str().starts_with("sec-websocket-") {
            response.append(name.clone(), value.clone());
        }
    }
}

/// Tells whether a request is the handshake of WebSocket over HTTP/2 or HTTP/3, which has no key and is answered with 200. Source:
/// RFC 8441 §5 and RFC 9220 §3.
fn is_extended_connect(request: &Request<()>) -> bool {
    request.method() == Method::CONNECT && request.version() >= Version::HTTP_2
}

/// Takes the server's part in a handshake over `stream`.
pub(crate) async fn serve(
    mut stream: ByteStream,
    config: Arc<WsConfig>,
    answers: Arc<Answers>,
) -> Result<Connection<WsSender<WriteHalf>, WsReceiver<ReadHalf>>> {
    let remote = stream.info().remote.clone();
    let over_tls = stream.info().local.scheme().is_over_tls();
    let failed = |error: Error| error.at(&remote);
    let HttpHead { head, rest } = match read_head(&mut stream, config.max_head_len, "accept").await {
        Ok(read) => read,
        Err(error) => {
            if error.kind() == ErrorKind::MessageTooLong {
                let refusal = refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
                answer_last(&mut stream, &refusal, &config).await.map_err(failed)?;
            }
            return Err(failed(error));
        }
    };
    let accepted = match Parsed::try_parse(&head) {
        Ok(Some((_, request))) => answers.accept(&config, request, over_tls),
        Ok(None) => Err(refuse(StatusCode::BAD_REQUEST)),
        Err(broken) => Err(refusal(&broken)),
    };
    let upgrade = match accepted {
        Ok(upgrade) => upgrade,
        Err(refusal) => {
            answer_last(&mut stream, &refusal, &config).await.map_err(failed)?;
            let status = refusal.status();
            let refused = format!("the request was refused with {status}");
            return Err(failed(Error::new(ErrorKind::Protocol, "accept").because(refused)));
        }
    };
    answer(&mut stream, &upgrade.response).await.map_err(failed)?;
    let (reading, writing, info) = stream.into_split();
    let mut connection =
        upgrade.into_connection((reading, writing), info, rest, |mut writing| writing.abort());
    connection.tx = connection.tx.with_unsent_below(WriteHalf::unsent_len);
    Ok(connection)
}

/// Sends a response that refuses, ends the stream, then reads and discards until the client ends it or its time is over.
///
/// Closing a socket with unread input would reset the connection, and with it what the client is told. Source: RFC 9112 §9.6.
async fn answer_last(stream: &mut ByteStream, response: &Response<()>, config: &WsConfig) -> Result<()> {
    answer(stream, response).await?;
    stream.shutdown().await.map_err(|error| Error::from_io(error, "accept"))?;
    let mut nowhere = tokio::io::sink();
    let discarding = tokio::io::copy(stream, &mut nowhere);
    // An end that is none ends it too.
    let _ = timeout(config.close_timeout, discarding).await;
    Ok(())
}

async fn answer(stream: &mut ByteStream, response: &Response<()>) -> Result<()> {
    let mut wire = Vec::new();
    write_response(&mut wire, response)
        .map_err(|broken| Error::new(ErrorKind::InvalidConfig, "accept").because(broken))?;
    let failed = |error| Error::from_io(error, "accept");
    stream.write_all(&wire).await.map_err(failed)?;
    stream.flush().await.map_err(failed)
}

/// Returns the response that refuses with `status`.
fn refuse(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let mut put =
        |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    put(header::CONNECTION, "close");
    put(header::CONTENT_LENGTH, "0");
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            put(header::ALLOW, "GET");
        }
        // "An appropriate HTTP error code (such as 426 Upgrade Required) and a |Sec-WebSocket-Version| header field indicating
        // the version(s) the server is capable of understanding." Source: RFC 6455 §4.2.2.
        StatusCode::UPGRADE_REQUIRED => {
            put(header::UPGRADE, "websocket");
            put(header::SEC_WEBSOCKET_VERSION, "13");
        }
        _ => {}
    }
    response
}

/// Returns the response that refuses a request which is no handshake.
fn refusal(broken: &Broken) -> Response<()> {
    refuse(match broken {
        Broken::Protocol(Violation::WrongHttpMethod) => StatusCode::METHOD_NOT_ALLOWED,
        Broken::Protocol(
            Violation::MissingConnectionUpgradeHeader
            | Violation::MissingUpgradeWebSocketHeader
            | Violation::MissingSecWebSocketVersionHeader,
        ) => StatusCode::UPGRADE_REQUIRED,
        Broken::Capacity(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    })
}
