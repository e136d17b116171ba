//! What the handshake of a connection told.

use std::{fmt, str};

use http::HeaderMap;

use crate::{DeflateInfo, handshake::extensions::Agreed};

/// What the handshake of a connection told: `connection.info.details::<WsInfo>()`.
///
/// What comes from the peer is as it came: escape it before it is shown, and trust it as far as you trust the peer.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_ws::{Ws, WsInfo};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let ws = Ws::default().with_protocols(["chat"]);
/// let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// let to = format!("{}/room?name=7", listener.local()).parse()?;
/// let (near, far) = tokio::join!(ws.connect(&to), listener.accept());
/// let (_near, far) = (near?, far?);
/// let told = far.info.details::<WsInfo>().expect("a handshake");
/// assert_eq!((told.path(), told.query()), ("/room", Some("name=7")));
/// assert_eq!(told.protocol(), Some("chat"));
/// assert!(told.header("host").is_some_and(|host| host.starts_with(b"127.0.0.1:")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WsInfo {
    /// Path and query of the request.
    target: Box<str>,
    /// What the peer's headers say, as they stand on the wire: parsed, they would take several times the memory.
    headers: Box<[u8]>,
    protocol: Option<Box<str>>,
    agreed: Agreed,
}

/// Headers that say nothing once the handshake is over.
const SPENT: [&str; 6] = [
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-accept",
    "sec-websocket-version",
    "keep-alive",
];

impl WsInfo {
    pub(crate) fn new(target: &str, headers: &HeaderMap, protocol: Option<&str>, agreed: Agreed) -> Self {
        let mut kept = Vec::new();
        for (name, value) in headers.iter().filter(|(name, _)| !SPENT.contains(&name.as_str())) {
            kept.extend_from_slice(name.as_str().as_bytes());
            kept.push(b':');
            kept.extend_from_slice(value.as_bytes());
            kept.push(b'\n');
        }
        Self { target: target.into(), headers: kept.into(), protocol: protocol.map(Into::into), agreed }
    }

    /// Returns the path that the client asked for.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// Returns the query that the client asked with, still encoded.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Returns the headers of the peer, of the request to a server and of the response to a client, without those that made
    /// the handshake. Names are in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((str::from_utf8(line.get(..colon)?).ok()?, line.get(colon + 1..)?))
        })
    }

    /// Returns the value of the first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    /// Returns the sub-protocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Returns what was agreed on compression, where messages may be compressed.
    pub fn deflate(&self) -> Option<&DeflateInfo> {
        self.agreed.deflate.as_ref()
    }

    /// Returns the extensions of the application's own that were agreed on, as they stand in the header: `name; parameters`.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.agreed.own.iter().map(|extension| &**extension)
    }
}

impl fmt::Debug for WsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsInfo")
            .field("target", &self.target)
            .field("protocol", &self.protocol)
            .field("agreed", &self.agreed)
            // Headers hold secrets: cookies, tokens.
            .finish_non_exhaustive()
    }
}
