//! No marks at all: each read is a message, and boundaries are lost.

use bytes::BytesMut;

use super::{Decoded, Found, FrameError, Framing, check_len};

/// No marks at all: each read is a message, and boundaries are lost.
///
/// What was sent as one message may arrive as several, and several as one; only the bytes and their order are kept.
/// An empty message has no form on the wire and is refused.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{Decoded, Framing, Raw};
///
/// let mut wire = BytesMut::from("HELLOWORLD");
/// assert_eq!(Raw::default().decode(&mut wire)?, Decoded::Message("HELLOWORLD".into()));
/// # Ok::<(), net_core::frame::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw {
    max: usize,
}

impl Raw {
    /// The limit unless set: 1 MiB.
    pub const DEFAULT_MAX_MESSAGE_LEN: usize = 1 << 20;

    /// Sets the length of the longest message, in bytes, at least 1; what is read at once beyond it becomes the next
    /// message.
    #[must_use]
    pub fn with_max_message_len(self, max: usize) -> Self {
        Self { max: max.max(1) }
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self { max: Self::DEFAULT_MAX_MESSAGE_LEN }
    }
}

impl Framing for Raw {
    fn max_message_len(&self) -> usize {
        self.max
    }

    fn set_max_message_len(&mut self, max: usize) {
        *self = self.with_max_message_len(max);
    }

    fn preserves_messages(&self) -> bool {
        false
    }

    fn encode_prefix(&self, head: &[u8], body: &[u8], _: &mut BytesMut) -> Result<usize, FrameError> {
        match check_len(head, body, self.max)? {
            0 => Err(FrameError::Empty),
            _ => Ok(0),
        }
    }

    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
        if input.is_empty() {
            return Ok(Decoded::Incomplete { missing: 1 });
        }
        Ok(Decoded::Message(input.split_to(input.len().min(self.max)).freeze()))
    }

    fn find(&self, input: &[u8]) -> Option<Found> {
        let len = input.len().min(self.max);
        (len > 0).then_some(Found { message: 0..len, frame_len: len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_in_pieces_no_longer_than_the_limit() {
        let mut framing = Raw::default().with_max_message_len(3);
        let mut wire = BytesMut::new();
        framing.encode(b"ab", &mut wire).expect("short enough");
        framing.encode(b"cde", &mut wire).expect("the limit itself");
        assert_eq!(framing.decode(&mut wire), Ok(Decoded::Message("abc".into())));
        assert_eq!(framing.decode(&mut wire), Ok(Decoded::Message("de".into())));
        assert_eq!(framing.decode_end(&mut wire), Ok(None));
    }

    #[test]
    fn an_empty_message_and_one_over_the_limit_are_refused() {
        let framing = Raw::default().with_max_message_len(3);
        assert_eq!(framing.encode(b"", &mut BytesMut::new()), Err(FrameError::Empty));
        let too_long = FrameError::TooLong { len: 4, max: 3 };
        assert_eq!(framing.encode(b"abcd", &mut BytesMut::new()), Err(too_long));
    }
}
