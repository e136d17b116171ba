//! Messages as WebSocket has them: text or binary, whole or in fragments.

use bytes::Bytes;
use bytestring::ByteString;

/// What a message is.
///
/// # Examples
///
/// ```
/// use net_ws::{Kind, WsMessage};
///
/// assert_eq!(WsMessage::from("hello").kind(), Kind::Text);
/// assert_eq!(WsMessage::from(vec![0xff]).kind(), Kind::Binary);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    #[default]
    Binary,
}

/// What messages are sent as that come without a kind, through [`Sender`](net_core::Sender).
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_ws::{Kind, SendAs, Ws, WsConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let text = Ws::new(WsConfig { send_as: SendAs::Text, ..WsConfig::default() });
/// let mut listener = text.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// let to = listener.local().clone();
/// let (near, far) = tokio::join!(text.connect(&to), listener.accept());
/// let (mut near, mut far) = (near?, far?);
/// near.send("hello").await?;
/// let message = far.rx.recv_message().await?.expect("the message");
/// assert_eq!(message.kind(), Kind::Text);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum SendAs {
    /// Binary messages.
    #[default]
    Binary,
    /// Text; a message that is not UTF-8 is refused with [`ErrorKind::InvalidMessage`](net_core::ErrorKind::InvalidMessage).
    Text,
    /// What the last message of the peer was: text, where it was text and the message is UTF-8; until then binary.
    Received,
}

/// A message that knows what it is.
///
/// # Examples
///
/// ```
/// use net_ws::WsMessage;
///
/// let message = WsMessage::from("hello");
/// assert_eq!(message.as_bytes(), b"hello");
/// assert!(matches!(message, WsMessage::Text(text) if text == "hello"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WsMessage {
    /// UTF-8.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl WsMessage {
    /// Returns what it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns its bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl From<ByteString> for WsMessage {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<String> for WsMessage {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&str> for WsMessage {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for WsMessage {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for WsMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// A part of a message, in a frame of its own. Source: RFC 6455 §5.4.
///
/// Where text is cut, a part may begin and end inside a character.
///
/// # Examples
///
/// ```
/// use net_ws::{Fragment, Kind};
///
/// let first = Fragment { kind: Kind::Text, payload: "Hel".into(), last: false };
/// let second = Fragment { payload: "lo".into(), last: true, ..first };
/// # let _ = second;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What the message is.
    pub kind: Kind,
    /// The part.
    pub payload: Bytes,
    /// Nothing of the message follows.
    pub last: bool,
}

/// What arrives on a connection, for those who look at more than messages.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_ws::{Ws, WsEvent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let ws = Ws::default();
/// # let mut listener = ws.listen(&"ws://127.0.0.1:0".parse()?).await?;
/// # let to = listener.local().clone();
/// # let (near, far) = tokio::join!(ws.connect(&to), listener.accept());
/// # let (mut near, mut far) = (near?, far?);
/// near.tx.ping(b"still there?").await?;
/// assert_eq!(far.rx.recv_event().await?, Some(WsEvent::Ping("still there?".into())));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WsEvent {
    /// A whole message.
    Message(WsMessage),
    /// The peer asks for a sign of life. It is answered without you: as soon as there is room, by whoever receives or sends next; of
    /// pings that come faster than answers go, not each.
    Ping(Bytes),
    /// A sign of life: the answer to a ping, or unasked.
    Pong(Bytes),
}
