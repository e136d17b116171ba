//! Type, length, value: as the framing of a stream, and as fields inside a message.

use bytes::{Buf, BufMut, BytesMut};

use super::{Decoded, FrameError, Framing, check_len};

mod fields;

pub use fields::{Field, FieldError, Fields, FieldsBuilder};

/// The length of type and length, in bytes.
const HEADER_LEN: usize = 3;

/// Type, length, value: a message is its type, one byte, and then its value.
///
/// ```text
/// +----------+----------------------+----------------+
/// | type (1) | length (2, big-end.) | value (length) |
/// +----------+----------------------+----------------+
/// ```
///
/// The message is the type and the value without the length between them, so that nothing is lost and any message
/// that is not empty can be sent: its first byte is the type.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{Decoded, Framing, Tlv};
///
/// let mut framing = Tlv::default();
/// let mut wire = BytesMut::new();
/// framing.encode(b"\x07value", &mut wire)?;
/// assert_eq!(&wire[..], b"\x07\x00\x05value");
/// assert_eq!(framing.decode(&mut wire)?, Decoded::Message("\x07value".into()));
/// # Ok::<(), net_core::frame::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv {
    max: usize,
}

impl Tlv {
    /// The limit unless set: 65 536 bytes, which is a type and the longest value that the length can say.
    pub const DEFAULT_MAX_MESSAGE_LEN: usize = 1 + u16::MAX as usize;

    /// Sets the length of the longest message, in bytes, its type counted; no more than the default.
    #[must_use]
    pub fn with_max_message_len(self, max: usize) -> Self {
        Self { max: max.clamp(1, Self::DEFAULT_MAX_MESSAGE_LEN) }
    }
}

impl Default for Tlv {
    fn default() -> Self {
        Self { max: Self::DEFAULT_MAX_MESSAGE_LEN }
    }
}

impl Framing for Tlv {
    fn max_message_len(&self) -> usize {
        self.max
    }

    fn set_max_message_len(&mut self, max: usize) {
        *self = self.with_max_message_len(max);
    }

    fn encode_prefix(&self, head: &[u8], body: &[u8], out: &mut BytesMut) -> Result<usize, FrameError> {
        let len = check_len(head, body, self.max)?;
        let kind = *head.first().or_else(|| body.first()).ok_or(FrameError::Empty)?;
        // The limit is no more than the length can say.
        let [.., high, low] = (len - 1).to_be_bytes();
        out.put_slice(&[kind, high, low]);
        Ok(1)
    }

    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
        let Some([_, high, low]) = input.first_chunk::<HEADER_LEN>() else {
            return Ok(Decoded::Incomplete { missing: HEADER_LEN - input.len() });
        };
        let value_len = usize::from(u16::from_be_bytes([*high, *low]));
        if 1 + value_len > self.max {
            return Err(FrameError::TooLong { len: 1 + value_len as u64, max: self.max });
        }
        let end = HEADER_LEN + value_len;
        if input.len() < end {
            return Ok(Decoded::Incomplete { missing: end - input.len() });
        }
        let mut message = input.split_to(end);
        // The type moves next to the value, over the length: the message is in one piece without a copy.
        if let Some([kind, _, last]) = message.first_chunk_mut::<HEADER_LEN>() {
            *last = *kind;
        }
        message.advance(HEADER_LEN - 1);
        Ok(Decoded::Message(message.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_type_and_value_arrive_as_they_were_sent() {
        let mut framing = Tlv::default();
        let mut wire = BytesMut::new();
        let longest = vec![7; Tlv::DEFAULT_MAX_MESSAGE_LEN];
        for message in [&b"\x01"[..], b"\xffvalue", &longest] {
            framing.encode(message, &mut wire).expect("within the limit");
            assert_eq!(framing.decode(&mut wire), Ok(Decoded::Message(message.to_vec().into())));
        }
        assert!(wire.is_empty());
    }

    #[test]
    fn s6_the_type_may_stand_in_either_part() {
        let mut wire = BytesMut::new();
        assert_eq!(Tlv::default().encode_prefix(b"\x01a", b"bc", &mut wire), Ok(1));
        assert_eq!(Tlv::default().encode_prefix(b"", b"\x02", &mut wire), Ok(1));
        assert_eq!(&wire[..], b"\x01\0\x03\x02\0\0");
    }

    #[test]
    fn s6_empty_and_long_messages_are_refused() {
        let mut framing = Tlv::default().with_max_message_len(4);
        let mut wire = BytesMut::new();
        assert_eq!(framing.encode(b"", &mut wire), Err(FrameError::Empty));
        assert_eq!(framing.encode(b"12345", &mut wire), Err(FrameError::TooLong { len: 5, max: 4 }));
        assert!(wire.is_empty());
        wire.extend_from_slice(b"\x01\0\x04");
        assert_eq!(framing.decode(&mut wire), Err(FrameError::TooLong { len: 5, max: 4 }));
        let mut cut = BytesMut::from(&b"\x01\0\x03ab"[..]);
        assert_eq!(framing.decode(&mut cut), Ok(Decoded::Incomplete { missing: 1 }));
        assert_eq!(framing.decode_end(&mut cut), Err(FrameError::UnexpectedEnd { got: 5 }));
    }
}
