//! A length in front of each message.

use bytes::{Buf, BufMut, BytesMut};

use super::{Decoded, Found, FrameError, Framing, check_len};

/// The order of the bytes of a number on the wire.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{ByteOrder, Framing, LengthPrefix};
///
/// let mut wire = BytesMut::new();
/// LengthPrefix::new(2, ByteOrder::LittleEndian).encode(b"hello", &mut wire)?;
/// assert_eq!(&wire[..], b"\x05\0hello");
/// assert_eq!(LengthPrefix::default().byte_order(), ByteOrder::BigEndian);
/// # Ok::<(), net_core::frame::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The most significant byte first, as the protocols of the internet do.
    #[default]
    BigEndian,
    /// The least significant byte first.
    LittleEndian,
}

/// A length in front of each message: 4 bytes, big-endian, unless set otherwise.
///
/// ```text
/// +----------------+-----------------------+
/// | length (width) | message (length bytes) |
/// +----------------+-----------------------+
/// ```
///
/// A length equal to the limit is allowed; an empty message is a message. The limit is checked before any memory
/// is taken for the message.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{Decoded, Framing, LengthPrefix};
///
/// let mut framing = LengthPrefix::default().with_max_message_len(1024);
/// let mut wire = BytesMut::new();
/// framing.encode(b"hello", &mut wire)?;
/// assert_eq!(&wire[..], b"\0\0\0\x05hello");
/// assert_eq!(framing.decode(&mut wire)?, Decoded::Message("hello".into()));
/// # Ok::<(), net_core::frame::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthPrefix {
    width: u8,
    order: ByteOrder,
    max: usize,
}

impl LengthPrefix {
    /// The limit unless set: 1 MiB.
    pub const DEFAULT_MAX_MESSAGE_LEN: usize = 1 << 20;

    /// Creates a framing with a length field of `width` bytes, from 1 to 8; others are taken as the nearest of them.
    pub fn new(width: u8, order: ByteOrder) -> Self {
        Self { width: width.clamp(1, 8), order, max: 0 }.with_max_message_len(Self::DEFAULT_MAX_MESSAGE_LEN)
    }

    /// Sets the length of the longest message, in bytes; no more than the length field can say.
    #[must_use]
    pub fn with_max_message_len(self, max: usize) -> Self {
        let widest = u64::MAX >> (64 - 8 * u32::from(self.width));
        Self { max: max.min(usize::try_from(widest).unwrap_or(usize::MAX)), ..self }
    }

    /// Returns the width of the length field, in bytes.
    pub fn width(&self) -> usize {
        usize::from(self.width)
    }

    /// Returns the order of the length field's bytes.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Reads the length field at the start of `input`, where it is there whole.
    #[inline]
    fn peek(&self, input: &[u8]) -> Option<u64> {
        if self.width == 4 && self.order == ByteOrder::BigEndian {
            return input.first_chunk().map(|field| u64::from(u32::from_be_bytes(*field)));
        }
        let mut field = input.get(..self.width())?;
        Some(match self.order {
            ByteOrder::BigEndian => field.get_uint(self.width()),
            ByteOrder::LittleEndian => field.get_uint_le(self.width()),
        })
    }
}

impl Default for LengthPrefix {
    fn default() -> Self {
        Self::new(4, ByteOrder::BigEndian)
    }
}

impl Framing for LengthPrefix {
    fn max_message_len(&self) -> usize {
        self.max
    }

    fn set_max_message_len(&mut self, max: usize) {
        *self = self.with_max_message_len(max);
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "its caller knows the head's length")]
    fn encode_prefix(&self, head: &[u8], body: &[u8], out: &mut BytesMut) -> Result<usize, FrameError> {
        let len = check_len(head, body, self.max)? as u64;
        match self.order {
            // The default has a length that the compiler knows. So has the head of a message: both are appended in one go.
            ByteOrder::BigEndian if self.width == 4 => {
                let [_, _, _, _, a, b, c, d] = len.to_be_bytes();
                let mut start = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                if let Some(start) = start.get_mut(..4 + head.len())
                    && let Some((_, place)) = start.split_first_chunk_mut::<4>()
                {
                    place.copy_from_slice(head);
                    out.extend_from_slice(start);
                    return Ok(head.len());
                }
                out.extend_from_slice(&[a, b, c, d]);
            }
            ByteOrder::BigEndian => out.put_uint(len, self.width()),
            ByteOrder::LittleEndian => out.put_uint_le(len, self.width()),
        }
        Ok(0)
    }

    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "moving its large result through memory costs half as much again"
    )]
    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
        let Some(len) = self.peek(input) else {
            return Ok(Decoded::Incomplete { missing: self.width() - input.len() });
        };
        let len = match usize::try_from(len) {
            Ok(fits) if fits <= self.max => fits,
            _ => return Err(FrameError::TooLong { len, max: self.max }),
        };
        // No overflow: `max` is the length of a message in memory, so it is at most `isize::MAX` where it is met.
        let end = self.width().saturating_add(len);
        if input.len() < end {
            return Ok(Decoded::Incomplete { missing: end - input.len() });
        }
        input.advance(self.width());
        Ok(Decoded::Message(input.split_to(len).freeze()))
    }

    #[inline]
    fn find(&self, input: &[u8]) -> Option<Found> {
        let len = usize::try_from(self.peek(input)?).ok().filter(|len| *len <= self.max)?;
        let frame_len = self.width().saturating_add(len);
        (frame_len <= input.len()).then(|| Found { message: self.width()..frame_len, frame_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let mut framing = LengthPrefix::default().with_max_message_len(5);
        let mut wire = BytesMut::new();
        framing.encode(b"12345", &mut wire).expect("the limit itself");
        assert_eq!(framing.encode(b"123456", &mut wire), Err(FrameError::TooLong { len: 6, max: 5 }));
        assert_eq!(wire.len(), 9, "a refused message leaves nothing behind");
        assert_eq!(framing.decode(&mut wire), Ok(Decoded::Message("12345".into())));
        let mut wire = BytesMut::from(&b"\0\0\0\x06"[..]);
        assert_eq!(framing.decode(&mut wire), Err(FrameError::TooLong { len: 6, max: 5 }));
    }

    #[test]
    fn the_limit_never_exceeds_what_the_field_can_say() {
        let framing = LengthPrefix::new(1, ByteOrder::BigEndian);
        assert_eq!(framing.max_message_len(), 255);
        assert!(framing.encode(&[0; 256], &mut BytesMut::new()).is_err());
        assert_eq!(
            LengthPrefix::new(8, ByteOrder::LittleEndian).with_max_message_len(usize::MAX).max,
            usize::MAX
        );
    }

    #[test]
    fn a10_a_length_that_overflows_is_an_error() {
        let mut framing = LengthPrefix::new(8, ByteOrder::BigEndian).with_max_message_len(usize::MAX);
        let mut wire = BytesMut::from(&[0xff_u8; 12][..]);
        assert!(matches!(framing.decode(&mut wire), Ok(Decoded::Incomplete { .. })));
        assert_eq!(wire.len(), 12);
    }
}
