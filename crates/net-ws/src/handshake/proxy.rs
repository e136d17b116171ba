//! Connecting by way of an HTTP proxy. Source: RFC 9110 §9.3.6.

use std::fmt;

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use net_core::{Address, Error, ErrorKind, Result, Scheme};
use net_tcp::stream::{ByteStream, Connector};
use tokio::io::AsyncWriteExt;

use super::{HttpHead, client::authority, read_head, refusal::Refusal};
use crate::WsConfig;

/// An HTTP proxy, which is asked by `CONNECT` to connect to the server.
///
/// # Examples
///
/// ```
/// use net_ws::{Proxy, Ws};
///
/// # fn main() -> net_core::Result<()> {
/// let proxy = Proxy::new("http://proxy.example.org:3128".parse()?)?.with_basic_auth("user", "secret");
/// let ws = Ws::default().with_proxy(proxy);
/// # let _ = ws;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy {
    at: Address,
    authorization: Option<String>,
}

impl Proxy {
    /// Creates the proxy at `at`, `http://host:port`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`] for another scheme.
    pub fn new(at: Address) -> Result<Self> {
        if at.scheme() != Scheme::Http {
            let other = "a proxy is at http://host:port";
            return Err(Error::new(ErrorKind::InvalidAddress, "connect").at(&at).because(other));
        }
        Ok(Self { at, authorization: None })
    }

    /// Shows `user` and `password` to the proxy, which sends them in clear text.
    #[must_use]
    pub fn with_basic_auth(mut self, user: &str, password: &str) -> Self {
        let credentials = BASE64.encode(format!("{user}:{password}").as_bytes());
        self.authorization = Some(format!("Basic {credentials}"));
        self
    }

    /// Connects to `to` by way of this proxy, with TLS where the scheme says so.
    pub(crate) async fn connect(
        &self,
        connector: &Connector,
        to: &Address,
        config: &WsConfig,
    ) -> Result<ByteStream> {
        let mut stream = connector.connect(&self.at).await?;
        let target = authority(to, true);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str("Proxy-Authorization: ");
            request.push_str(authorization);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let failed = |error| Error::from_io(error, "connect").at(&self.at);
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let HttpHead { head, rest } = read_head(&mut stream, config.max_head_len, "connect")
            .await
            .map_err(|error| error.at(&self.at))?;
        let broken = |why: &str| Error::new(ErrorKind::Protocol, "connect").at(&self.at).because(why);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&head).map_err(|error| broken(&error.to_string()))?;
        let status =
            response.code.filter(|_| parsed.is_complete()).and_then(|code| StatusCode::from_u16(code).ok());
        match status {
            Some(status) if status.is_success() => {}
            Some(status) => {
                let said = (status, known(response.headers));
                let refusal = Refusal::read(&mut stream, said, rest, config.close_timeout).await;
                return Err(refusal.into_error().at(&self.at));
            }
            None => return Err(broken("the head of the response is none")),
        }
        // Nobody speaks before the client does, neither TLS nor WebSocket.
        if !rest.is_empty() {
            return Err(broken("something follows the response"));
        }
        connector.secure(stream, to).await
    }
}

/// Returns the headers of which the names and values are such.
fn known(headers: &[httparse::Header<'_>]) -> HeaderMap {
    let known = headers.iter().filter_map(|header| {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(header.value).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in known {
        map.append(name, value);
    }
    map
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("at", &self.at).finish_non_exhaustive()
    }
}
