//! The server's side of the handshake.

use std::{fmt, sync::Arc};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use net_core::{Connection, Error, ErrorKind, Info, Result};
use net_tcp::stream::{ByteStream, ReadHalf, WriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tungstenite::{
    error::{Error as Broken, ProtocolError as Violation},
    handshake::{
        machine::TryParse,
        server::{Request as Parsed, create_response_with_body, write_response},
    },
};

use super::{
    HttpHead,
    extensions::{self, Agreed},
    read_head, values,
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
    /// Looks at a request.
    ///
    /// # Errors
    ///
    /// The response that refuses it.
    pub(crate) fn accept<B>(&self, config: &WsConfig, request: &Request<B>) -> Result<Upgrade, Response<()>> {
        let mut response = create_response_with_body(request, || ()).map_err(|broken| refusal(&broken))?;
        let headers = request.headers();
        // "The request MUST include a |Host| header field." Source: RFC 6455 §4.1.
        if !headers.contains_key(header::HOST) && request.uri().host().is_none() {
            return Err(refuse(StatusCode::BAD_REQUEST));
        }
        if !self.origins.admits(headers) {
            return Err(refuse(StatusCode::FORBIDDEN));
        }
        response.headers_mut().extend(self.headers.clone());
        if let Some(check) = &self.check {
            let mut bare = Request::new(());
            *bare.method_mut() = request.method().clone();
            *bare.uri_mut() = request.uri().clone();
            *bare.headers_mut() = headers.clone();
            response.headers_mut().extend(check(&bare).map_err(refuse)?);
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
        Ok(Upgrade { response, info: WsInfo::new(target, headers, protocol, agreed), config: *config })
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

/// Takes the server's part in a handshake over `stream`.
pub(crate) async fn serve(
    mut stream: ByteStream,
    config: Arc<WsConfig>,
    answers: Arc<Answers>,
) -> Result<Connection<WsSender<WriteHalf>, WsReceiver<ReadHalf>>> {
    let remote = stream.info().remote.clone();
    let failed = |error: Error| error.at(&remote);
    let HttpHead { head, rest } = match read_head(&mut stream, config.max_head_len, "accept").await {
        Ok(read) => read,
        Err(error) => {
            if error.kind() == ErrorKind::MessageTooLong {
                answer(&mut stream, &refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)).await?;
            }
            return Err(failed(error));
        }
    };
    let accepted = match Parsed::try_parse(&head) {
        Ok(Some((_, request))) => answers.accept(&config, &request),
        Ok(None) => Err(refuse(StatusCode::BAD_REQUEST)),
        Err(broken) => Err(refusal(&broken)),
    };
    let upgrade = match accepted {
        Ok(upgrade) => upgrade,
        Err(refusal) => {
            answer(&mut stream, &refusal).await.map_err(failed)?;
            let status = refusal.status();
            let refused = format!("the request was refused with {status}");
            return Err(failed(Error::new(ErrorKind::Protocol, "accept").because(refused)));
        }
    };
    answer(&mut stream, &upgrade.response).await.map_err(failed)?;
    let (reading, writing, info) = stream.into_split();
    Ok(upgrade.into_connection((reading, writing), info, rest, |mut writing| writing.abort()))
}

/// Sends a response; one that refuses is the last of the connection.
async fn answer(stream: &mut ByteStream, response: &Response<()>) -> Result<()> {
    let mut wire = Vec::new();
    write_response(&mut wire, response)
        .map_err(|broken| Error::new(ErrorKind::InvalidConfig, "accept").because(broken))?;
    let failed = |error| Error::from_io(error, "accept");
    stream.write_all(&wire).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        stream.shutdown().await.map_err(failed)?;
    }
    Ok(())
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
