//! How messages are marked in a byte stream: sans-I/O codecs that serve async and blocking callers alike.

use std::{fmt, ops::Range};

use bytes::{Bytes, BytesMut};

mod any;
mod delimiter;
mod fixed_size;
mod length_prefix;
mod raw;
pub mod tlv;

pub use any::{AnyFraming, FramingSpecError};
pub use delimiter::Delimiter;
pub use fixed_size::FixedSize;
pub use length_prefix::{ByteOrder, LengthPrefix};
pub use raw::Raw;
pub use tlv::Tlv;

/// Marks messages in a byte stream: encodes one into bytes, finds the next one in bytes.
///
/// A framing does no I/O, reads no clock and waits for nothing: [`framed`](crate::framed) drives it over async
/// streams and [`blocking`](crate::blocking) over `std::io`. A clone is taken for each direction of each
/// connection, so it may keep what it has learnt of an incomplete frame.
///
/// # Examples
///
/// ```
/// use bytes::{BufMut, BytesMut};
/// use net_core::frame::{Decoded, FrameError, Framing};
///
/// /// Messages of at most 255 bytes, each behind its length.
/// #[derive(Clone, Debug)]
/// struct Short;
///
/// impl Framing for Short {
///     fn max_message_len(&self) -> usize {
///         255
///     }
///
///     fn encode_prefix(&self, head: &[u8], body: &[u8], out: &mut BytesMut) -> Result<usize, FrameError> {
///         let len = head.len() + body.len();
///         out.put_u8(u8::try_from(len).map_err(|_| FrameError::TooLong { len: len as u64, max: 255 })?);
///         Ok(0)
///     }
///
///     fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
///         let end = 1 + input.first().map_or(0, |len| usize::from(*len));
///         if input.len() < end {
///             return Ok(Decoded::Incomplete { missing: end - input.len() });
///         }
///         Ok(Decoded::Message(input.split_to(end).freeze().slice(1..)))
///     }
/// }
///
/// let mut wire = BytesMut::new();
/// Short.encode(b"hello", &mut wire)?;
/// assert_eq!(&wire[..], b"\x05hello");
/// assert_eq!(Short.decode(&mut wire)?, Decoded::Message("hello".into()));
/// assert_eq!(Short.decode_end(&mut wire)?, None);
/// # Ok::<(), FrameError>(())
/// ```
pub trait Framing: Clone + fmt::Debug + Send + Sync + Unpin + 'static {
    /// Returns the length of the longest message, in bytes.
    fn max_message_len(&self) -> usize;

    /// Sets the length of the longest message, in bytes, where the framing does not fix it.
    fn set_max_message_len(&mut self, max: usize) {
        let _ = max;
    }

    /// Tells whether each message arrives as it was sent; `false` where the stream has no boundaries.
    fn preserves_messages(&self) -> bool {
        true
    }

    /// Checks the message `head` + `body` and appends to `out` what stands before it on the wire.
    ///
    /// The message comes in two parts so that a header can be put in front of a large payload without a copy.
    ///
    /// Returns how many bytes at the start of the message are thereby on the wire already: the type of
    /// [`Tlv`] stands before the length, and a short head may go along with what stands before it. The caller leaves them out
    /// ([`without_first`]).
    ///
    /// # Errors
    ///
    /// The message cannot be framed: it is too long, or contains what marks its end. `out` is as it was.
    fn encode_prefix(&self, head: &[u8], body: &[u8], out: &mut BytesMut) -> Result<usize, FrameError>;

    /// Appends to `out` what stands behind a message on the wire.
    fn encode_suffix(&self, out: &mut BytesMut) {
        let _ = out;
    }

    /// Takes the next message out of `input`.
    ///
    /// # Errors
    ///
    /// The bytes are no frame, or a frame over the limit. The stream is useless afterwards.
    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError>;

    /// Finds the next message in `input` without taking it out.
    ///
    /// `None` where [`decode`](Self::decode) has to look: the message has not arrived whole or is no frame, its bytes do
    /// not stand in one piece, or the framing keeps what it has learnt of the input. Whoever takes `frame_len` bytes off
    /// `input` afterwards has taken this message.
    fn find(&self, input: &[u8]) -> Option<Found> {
        let _ = input;
        None
    }

    /// Takes what is left in `input` once the stream has ended.
    ///
    /// # Errors
    ///
    /// [`FrameError::UnexpectedEnd`] where `input` is a part of a frame.
    fn decode_end(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.decode(input)? {
            Decoded::Message(message) => Ok(Some(message)),
            Decoded::Incomplete { .. } if input.is_empty() => Ok(None),
            Decoded::Incomplete { .. } => Err(FrameError::UnexpectedEnd { got: input.len() }),
        }
    }

    /// Appends a whole frame to `out`.
    ///
    /// # Errors
    ///
    /// As [`encode_prefix`](Self::encode_prefix).
    fn encode(&self, message: &[u8], out: &mut BytesMut) -> Result<(), FrameError> {
        let (_, rest) = without_first(self.encode_prefix(&[], message, out)?, &[], message);
        out.extend_from_slice(rest);
        self.encode_suffix(out);
        Ok(())
    }
}

/// What [`Framing::decode`] found.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{Decoded, Framing, LengthPrefix};
///
/// let mut framing = LengthPrefix::default();
/// let mut input = BytesMut::from(&b"\0\0\0\x05hel"[..]);
/// assert_eq!(framing.decode(&mut input)?, Decoded::Incomplete { missing: 2 });
/// input.extend_from_slice(b"lo");
/// let Decoded::Message(message) = framing.decode(&mut input)? else { panic!("it is whole") };
/// assert_eq!(message, "hello");
/// # Ok::<(), net_core::frame::FrameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole message, a view of the input buffer.
    Message(Bytes),
    /// The start of a frame, or nothing at all.
    Incomplete {
        /// How many more bytes are needed at least before another look is of use; 1 where that is not known.
        missing: usize,
    },
}

/// Where [`Framing::find`] found a whole message.
///
/// # Examples
///
/// ```
/// use net_core::frame::{Framing, LengthPrefix};
///
/// let input = b"\0\0\0\x05hello and more";
/// let found = LengthPrefix::default().find(input).expect("a whole message");
/// assert_eq!(input.get(found.message), Some(&b"hello"[..]));
/// assert_eq!(input.get(found.frame_len..), Some(&b" and more"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The message's place in the input.
    pub message: Range<usize>,
    /// The length of its frame, which begins where the input does.
    pub frame_len: usize,
}

/// Why bytes are no frame, or a message cannot be made one.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use net_core::frame::{Delimiter, FrameError, Framing, LengthPrefix};
///
/// let error = Delimiter::lines().encode(b"two\nlines", &mut BytesMut::new()).unwrap_err();
/// assert_eq!(error, FrameError::ContainsDelimiter { at: 3 });
///
/// let mut cut = BytesMut::from(&b"\0\0\0\x05hel"[..]);
/// let error = LengthPrefix::default().decode_end(&mut cut).unwrap_err();
/// assert_eq!(error, FrameError::UnexpectedEnd { got: 7 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The message is longer than the limit, or than the length field can say.
    #[error("a message of {len} bytes exceeds the limit of {max}")]
    TooLong {
        /// The length of the message, as far as it is known.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// The message has not the one length that the framing carries.
    #[error("a message of {len} bytes where each has {expected}")]
    WrongLength {
        /// The length of the message.
        len: usize,
        /// The length that each message has.
        expected: usize,
    },
    /// The message contains the delimiter that would end it.
    #[error("the message contains its delimiter at byte {at}")]
    ContainsDelimiter {
        /// Where in the message the delimiter stands.
        at: usize,
    },
    /// The framing has no form for an empty message.
    #[error("this framing cannot carry an empty message")]
    Empty,
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, after {got} bytes of it")]
    UnexpectedEnd {
        /// How many bytes of the frame had arrived.
        got: usize,
    },
}

/// Returns what is left of the message `head` + `body` without its first `taken` bytes.
#[inline]
pub fn without_first<'h, 'b>(taken: usize, head: &'h [u8], body: &'b [u8]) -> (&'h [u8], &'b [u8]) {
    match head.get(taken..) {
        Some(head) => (head, body),
        None => (&[], body.get(taken - head.len()..).unwrap_or_default()),
    }
}

/// Checks a message of `head` + `body` against `max`.
pub(crate) fn check_len(head: &[u8], body: &[u8], max: usize) -> Result<usize, FrameError> {
    let len = head.len() + body.len();
    if len > max {
        return Err(FrameError::TooLong { len: len as u64, max });
    }
    Ok(len)
}
