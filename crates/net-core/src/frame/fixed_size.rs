//! Messages that all have one length, with nothing between them.

use bytes::BytesMut;

use super::{Decoded, Found, FrameError, Framing};

/// Messages that all have one length, with nothing between them.
///
/// ```text
/// +------------------+------------------+
/// | message (size)   | message (size)   |
/// +------------------+------------------+
/// ```
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{Decoded, FixedSize, Framing};
///
/// let mut framing = FixedSize::new(4);
/// let mut wire = BytesMut::from("ping");
/// assert_eq!(framing.decode(&mut wire)?, Decoded::Message("ping".into()));
/// assert!(framing.encode(b"hello", &mut wire).is_err());
/// # Ok::<(), net_core::frame::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedSize {
    size: usize,
}

impl FixedSize {
    /// Creates a framing of messages of `size` bytes; 0 is taken as 1.
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1) }
    }

    /// Returns the length of each message, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Framing for FixedSize {
    fn max_message_len(&self) -> usize {
        self.size
    }

    fn encode_prefix(&self, head: &[u8], body: &[u8], _: &mut BytesMut) -> Result<usize, FrameError> {
        let len = head.len() + body.len();
        if len != self.size {
            return Err(FrameError::WrongLength { len, expected: self.size });
        }
        Ok(0)
    }

    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
        if input.len() < self.size {
            return Ok(Decoded::Incomplete { missing: self.size - input.len() });
        }
        Ok(Decoded::Message(input.split_to(self.size).freeze()))
    }

    fn find(&self, input: &[u8]) -> Option<Found> {
        (input.len() >= self.size).then_some(Found { message: 0..self.size, frame_len: self.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_records_are_cut_at_their_size_and_a_part_of_one_is_an_error() {
        let mut framing = FixedSize::new(3);
        let mut wire = BytesMut::from(&b"abcdefg"[..]);
        assert_eq!(framing.decode_end(&mut wire), Ok(Some("abc".into())));
        assert_eq!(framing.decode(&mut wire), Ok(Decoded::Message("def".into())));
        assert_eq!(framing.decode(&mut wire), Ok(Decoded::Incomplete { missing: 2 }));
        assert_eq!(framing.decode_end(&mut wire), Err(FrameError::UnexpectedEnd { got: 1 }));
    }

    #[test]
    fn a_message_of_another_length_is_refused() {
        let mut out = BytesMut::new();
        for wrong in [&b""[..], b"ab", b"abcd"] {
            let expected = FrameError::WrongLength { len: wrong.len(), expected: 3 };
            assert_eq!(FixedSize::new(3).encode(wrong, &mut out), Err(expected));
        }
        assert!(out.is_empty());
    }
}
