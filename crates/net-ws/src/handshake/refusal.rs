//! What a server, or a proxy, says that does not let a client connect.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use httparse::{Status, parse_chunk_size};
use net_core::{Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::{has_token, values};

/// How much of the body is kept, in bytes.
const MAX_BODY_LEN: usize = 8 * 1024;

/// What a server, or a proxy, says that does not let a client connect: the source of the [`Error`] of `connect`.
///
/// What it says is as it came: escape it before it is shown.
///
/// # Examples
///
/// ```
/// use std::error::Error as _;
/// use http::StatusCode;
/// use net_core::{Error, Listener, Transport};
/// use net_ws::{Refusal, Ws};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let closed = Ws::default().with_request_check(|_| Err(StatusCode::NOT_FOUND));
/// let mut listener = closed.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// let to = listener.local().clone();
/// tokio::spawn(async move { listener.accept().await.map(drop) });
/// let error: Error = Ws::default().connect(&to).await.expect_err("refused");
/// let refusal = error.source().and_then(|source| source.downcast_ref::<Refusal>()).expect("what it said");
/// assert_eq!(refusal.status(), StatusCode::NOT_FOUND);
/// # Ok(())
/// # }
/// ```
#[derive(thiserror::Error)]
#[error("the server answered {status}{}", self.elsewhere())]
pub struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Refusal {
    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns where it redirects to, where it does, as it is shown.
    fn elsewhere(&self) -> String {
        let location = self.headers.get(header::LOCATION).filter(|_| self.status.is_redirection());
        location.map_or_else(String::new, |location| format!(" and redirects to {location:?}"))
    }

    /// Returns the body: its first 8 KiB, and what of it arrived within [`WsConfig::close_timeout`](crate::WsConfig::close_timeout).
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Reads the body behind a head; `read` is what was read of it already.
    pub(crate) async fn read(
        io: &mut (impl AsyncRead + Unpin),
        (status, headers): (StatusCode, HeaderMap),
        mut read: BytesMut,
        patience: Duration,
    ) -> Self {
        let framing = Framing::of(status, &headers);
        let reading = async {
            while !framing.take(&read).1 && read.len() < 2 * MAX_BODY_LEN {
                if !matches!(io.read_buf(&mut read).await, Ok(1..)) {
                    return;
                }
            }
        };
        // It was refused whatever its body says.
        let _ = timeout(patience, reading).await;
        let mut body = framing.take(&read).0;
        body.truncate(MAX_BODY_LEN);
        Self { status, headers, body: body.into() }
    }

    pub(crate) fn into_error(self) -> Error {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                ErrorKind::Unauthenticated
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => ErrorKind::Overloaded,
            _ => ErrorKind::Rejected,
        };
        Error::new(kind, "connect").because(self)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold secrets: cookies.
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Where a body ends. Source: RFC 9112 §6.3.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Sized(usize),
    Chunked,
    ToTheEnd,
}

impl Framing {
    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let mut len = values(headers, header::CONTENT_LENGTH.as_str());
        if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            Self::Sized(0)
        } else if has_token(values(headers, header::TRANSFER_ENCODING.as_str()), "chunked") {
            Self::Chunked
        } else {
            len.next().and_then(|len| len.trim().parse().ok()).map_or(Self::ToTheEnd, Self::Sized)
        }
    }

    /// Returns what of the body is in `read`, and whether that is all of it, or all that is kept.
    fn take(self, read: &[u8]) -> (Vec<u8>, bool) {
        match self {
            Self::Sized(len) => {
                let len = len.min(MAX_BODY_LEN);
                (read.get(..len).unwrap_or(read).to_vec(), read.len() >= len)
            }
            Self::ToTheEnd => (read.to_vec(), read.len() >= MAX_BODY_LEN),
            Self::Chunked => {
                let (mut body, mut rest) = (Vec::new(), read);
                while let Ok(Status::Complete((at, len))) = parse_chunk_size(rest)
                    && let Ok(len) = usize::try_from(len)
                    && let Some(chunk) = rest.get(at..)
                {
                    body.extend_from_slice(chunk.get(..len).unwrap_or(chunk));
                    if len == 0 || body.len() >= MAX_BODY_LEN {
                        return (body, true);
                    }
                    // Behind it stands the end of a line.
                    rest = chunk.get(len.saturating_add(2)..).unwrap_or_default();
                }
                (body, false)
            }
        }
    }
}
