//! A message with a kind and a number, and the bytes it has inside a frame.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

mod credentials;
mod error_reply;
mod go_away;
mod message_ref;

pub use credentials::{ApiKey, Credentials, CredentialsError};
pub use error_reply::{ErrorCode, ErrorReply};
pub use go_away::{GoAway, GoAwayReason};
pub use message_ref::MessageRef;

/// What a message is to its receiver.
///
/// # Examples
///
/// ```
/// use net_core::{Message, MessageKind};
///
/// fn wants_an_answer(message: &Message) -> bool {
///     matches!(message.kind(), MessageKind::Request | MessageKind::Authenticate)
/// }
///
/// assert!(wants_an_answer(&Message::new(MessageKind::Request, 7, "hello")));
/// assert!(!wants_an_answer(&Message::from("a notification")));
/// assert_eq!(MessageKind::from_byte(99), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// Asks for a response with the same id.
    Request = 0,
    /// Answers the request with the same id.
    Response = 1,
    /// Tells something and asks for nothing.
    Notification = 2,
    /// Proves that the sender lives; never answered.
    Heartbeat = 3,
    /// Answers the request with the same id by an error; see [`ErrorReply`].
    Error = 4,
    /// Shows who the sender is, before anything else; answered as a request is. See [`Credentials`].
    Authenticate = 5,
    /// Asks the receiver to leave; never answered; see [`GoAway`].
    GoAway = 6,
}

impl MessageKind {
    /// Returns the kind that `byte` stands for on the wire.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Request,
            1 => Self::Response,
            2 => Self::Notification,
            3 => Self::Heartbeat,
            4 => Self::Error,
            5 => Self::Authenticate,
            6 => Self::GoAway,
            _ => return None,
        })
    }

    /// The kind of an answer to a message of this kind.
    #[inline]
    fn of_reply(self) -> Self {
        match self {
            Self::Request | Self::Authenticate => Self::Response,
            _ => Self::Notification,
        }
    }
}

/// A message: kind, id and payload. It is immutable and cheap to clone: the payload is shared.
///
/// In a frame it is
///
/// ```text
/// +---------+------------+---------------------------+
/// | kind: 1 | id: 8, BE  | payload: rest of the frame |
/// +---------+------------+---------------------------+
/// ```
///
/// # Examples
///
/// ```
/// use net_core::{Message, MessageKind};
///
/// let request = Message::new(MessageKind::Request, 7, "hello");
/// let answer = Message::decode(request.reply("world").encode())?;
/// assert_eq!((answer.kind(), answer.id()), (MessageKind::Response, 7));
/// assert_eq!(answer.payload(), "world");
/// # Ok::<(), net_core::MessageError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    kind: MessageKind,
    id: u64,
    payload: Bytes,
}

impl Message {
    /// The length of kind and id, in bytes.
    pub const HEAD_LEN: usize = 9;

    /// Creates a message.
    pub fn new(kind: MessageKind, id: u64, payload: impl Into<Bytes>) -> Self {
        Self { kind, id, payload: payload.into() }
    }

    /// Returns what the message is to its receiver.
    #[inline]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Returns the number that joins a request and its answer.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the payload; a clone of it shares the memory.
    #[inline]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Takes the payload out.
    #[inline]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Returns an answer to this message: a response to a request and to credentials, a notification to a notification.
    #[must_use]
    #[inline]
    pub fn reply(&self, payload: impl Into<Bytes>) -> Self {
        Self { kind: self.kind.of_reply(), id: self.id, payload: payload.into() }
    }

    /// Turns this message into an answer with the same payload.
    #[must_use]
    #[inline]
    pub fn into_reply(self) -> Self {
        Self { kind: self.kind.of_reply(), ..self }
    }

    /// Returns an error as the answer to this message.
    #[must_use]
    pub fn reply_error(&self, error: &ErrorReply) -> Self {
        Self { kind: MessageKind::Error, id: self.id, payload: error.encode() }
    }

    fn shown(&self) -> Shown<'_> {
        Shown { kind: self.kind, payload: &self.payload }
    }

    /// Returns kind and id as they stand in front of the payload.
    #[inline]
    pub fn head(&self) -> [u8; Self::HEAD_LEN] {
        head(self.kind, self.id)
    }

    /// Returns the message as the content of a frame.
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(Self::HEAD_LEN + self.payload.len());
        body.extend_from_slice(&self.head());
        body.extend_from_slice(&self.payload);
        body.freeze()
    }

    /// Reads a message from the content of a frame; the payload is a view of it.
    ///
    /// # Errors
    ///
    /// The content is shorter than kind and id, or its kind is unknown.
    #[inline]
    pub fn decode(mut body: Bytes) -> Result<Self, MessageError> {
        let MessageRef { kind, id, .. } = MessageRef::decode(&body)?;
        body.advance(Self::HEAD_LEN);
        Ok(Self { kind, id, payload: body })
    }
}

/// Kind and id as they stand in front of a payload.
#[inline]
fn head(kind: MessageKind, id: u64) -> [u8; Message::HEAD_LEN] {
    let mut head = [0; Message::HEAD_LEN];
    let (kind_byte, id_bytes) = head.split_at_mut(1);
    kind_byte.copy_from_slice(&[kind as u8]);
    id_bytes.copy_from_slice(&id.to_be_bytes());
    head
}

/// A notification with id 0.
impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Self {
        Self::new(MessageKind::Notification, 0, payload)
    }
}

/// A notification with id 0.
impl From<&'static str> for Message {
    fn from(payload: &'static str) -> Self {
        Bytes::from(payload).into()
    }
}

/// A notification with id 0.
impl From<String> for Message {
    fn from(payload: String) -> Self {
        Bytes::from(payload).into()
    }
}

/// A notification with id 0.
impl From<Vec<u8>> for Message {
    fn from(payload: Vec<u8>) -> Self {
        Bytes::from(payload).into()
    }
}

/// Why the content of a frame is no message.
///
/// # Examples
///
/// ```
/// use net_core::{Message, MessageError};
///
/// assert_eq!(Message::decode("short".into()), Err(MessageError::TooShort { len: 5 }));
/// assert_eq!(Message::decode("?and so on".into()), Err(MessageError::UnknownKind { kind: b'?' }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The frame ends before the head does.
    #[error("a frame of {len} bytes is shorter than the head of a message, {}", Message::HEAD_LEN)]
    TooShort {
        /// The length of the frame.
        len: usize,
    },
    /// The kind is none that this version knows.
    #[error("{kind} is no kind of message")]
    UnknownKind {
        /// The kind as it arrived.
        kind: u8,
    },
}

/// How much of a payload `Debug` and `Display` show, in bytes.
const SHOWN: usize = 64;

/// Shows the start of a payload with everything but printable ASCII escaped, so that no peer writes into a log; of
/// credentials it shows nothing.
struct Shown<'a> {
    kind: MessageKind,
    payload: &'a [u8],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == MessageKind::Authenticate {
            return f.write_str("[hidden]");
        }
        let payload = self.payload;
        let shown = payload.get(..SHOWN).unwrap_or(payload);
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if payload.len() > SHOWN {
            write!(f, "… ({} bytes)", payload.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("payload", &format_args!("{}", self.shown()))
            .finish()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.kind, self.id, self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same_message() {
        for kind in (0..=u8::MAX).filter_map(MessageKind::from_byte) {
            let message = Message::new(kind, u64::MAX - 1, "payload");
            assert_eq!(Message::decode(message.encode()), Ok(message));
        }
    }

    #[test]
    fn a11_an_unknown_kind_or_a_short_frame_is_an_error() {
        assert_eq!(Message::decode(Bytes::new()), Err(MessageError::TooShort { len: 0 }));
        assert_eq!(Message::decode(Bytes::from_static(&[0; 8])), Err(MessageError::TooShort { len: 8 }));
        assert_eq!(
            Message::decode(Bytes::from_static(&[99; 9])),
            Err(MessageError::UnknownKind { kind: 99 })
        );
        assert!(Message::decode(Bytes::from_static(&[0; 9])).is_ok(), "an empty payload is a payload");
    }

    #[test]
    fn a37_what_is_shown_is_bounded_and_escaped() {
        let message = Message::new(MessageKind::Notification, 1, vec![0x1b; 1000]);
        let shown = format!("{message} {message:?}");
        assert!(!shown.contains('\x1b') && shown.len() < 800, "{shown}");
    }

    #[test]
    fn a27_credentials_are_not_shown() {
        let payload = Credentials::new("s3cret").encode().expect("fits");
        let message = Message::new(MessageKind::Authenticate, 1, payload);
        let shown = format!("{message} {message:?} {message:#?}");
        assert!(!shown.contains("s3cret") && shown.contains("[hidden]"), "{shown}");
    }
}
