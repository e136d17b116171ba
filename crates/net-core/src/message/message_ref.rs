//! A message whose payload is borrowed.

use std::fmt;

use bytes::Bytes;

use super::{Message, MessageError, MessageKind, Shown, head};

/// A message whose payload is borrowed, as where it lies in the buffer into which it was read.
///
/// # Examples
///
/// ```
/// use net_core::{Message, MessageKind, MessageRef};
///
/// let frame = Message::new(MessageKind::Request, 7, "hello").encode();
/// let request = MessageRef::decode(&frame)?;
/// assert_eq!((request.kind(), request.id(), request.payload()), (MessageKind::Request, 7, &b"hello"[..]));
/// # Ok::<(), net_core::MessageError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageRef<'a> {
    pub(super) kind: MessageKind,
    pub(super) id: u64,
    pub(super) payload: &'a [u8],
}

impl<'a> MessageRef<'a> {
    /// Creates a message.
    #[inline]
    pub fn new(kind: MessageKind, id: u64, payload: &'a [u8]) -> Self {
        Self { kind, id, payload }
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

    /// Returns the payload.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns an answer to this message, as [`Message::reply`] does.
    #[must_use]
    #[inline]
    pub fn reply<'b>(&self, payload: &'b [u8]) -> MessageRef<'b> {
        MessageRef { kind: self.kind.of_reply(), id: self.id, payload }
    }

    /// Returns kind and id as they stand in front of the payload.
    #[inline]
    pub fn head(&self) -> [u8; Message::HEAD_LEN] {
        head(self.kind, self.id)
    }

    /// Reads a message from the content of a frame.
    ///
    /// # Errors
    ///
    /// As [`Message::decode`].
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, MessageError> {
        let Some((&kind, rest)) = body.split_first() else { return Err(MessageError::TooShort { len: 0 }) };
        let Some((id, payload)) = rest.split_first_chunk() else {
            return Err(MessageError::TooShort { len: body.len() });
        };
        let kind = MessageKind::from_byte(kind).ok_or(MessageError::UnknownKind { kind })?;
        Ok(Self { kind, id: u64::from_be_bytes(*id), payload })
    }
}

/// Copies the payload.
impl From<MessageRef<'_>> for Message {
    fn from(message: MessageRef<'_>) -> Self {
        Self::new(message.kind, message.id, Bytes::copy_from_slice(message.payload))
    }
}

impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("payload", &format_args!("{}", Shown { kind: self.kind, payload: self.payload }))
            .finish()
    }
}
