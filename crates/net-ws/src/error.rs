//! What a peer can do wrong, and how it is told so.

use net_core::{Error, ErrorKind};

use crate::CloseCode;

/// What a peer did wrong; the source of an [`Error`] of kind [`ErrorKind::Protocol`], or
/// [`ErrorKind::MessageTooLong`] where it is [`TooLong`](Self::TooLong).
///
/// The peer is told by the code of a Close frame: [`ProtocolError::close_code`].
///
/// # Examples
///
/// ```
/// use net_ws::{CloseCode, ProtocolError};
///
/// assert_eq!(ProtocolError::NotUtf8.close_code(), CloseCode::INVALID_DATA);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A bit is set that no extension has given a meaning. Source: RFC 6455 §5.2.
    #[error("a reserved bit is set")]
    ReservedBits,
    /// The opcode is reserved. Source: RFC 6455 §5.2.
    #[error("the opcode {0} is reserved")]
    Opcode(u8),
    /// A control frame is a fragment. Source: RFC 6455 §5.5.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame has more than 125 bytes. Source: RFC 6455 §5.5.
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// A client did not mask a frame. Source: RFC 6455 §5.1.
    #[error("a client's frame is not masked")]
    Unmasked,
    /// A server masked a frame. Source: RFC 6455 §5.1.
    #[error("a server's frame is masked")]
    Masked,
    /// The length takes more bytes than it needs, or has its highest bit set. Source: RFC 6455 §5.2.
    #[error("a length of {0} is not written as it must be")]
    Length(u64),
    /// A message begins inside another one. Source: RFC 6455 §5.4.
    #[error("a message begins inside another one")]
    Interleaved,
    /// A message is continued that has not begun. Source: RFC 6455 §5.4.
    #[error("a message is continued that has not begun")]
    Continuation,
    /// Text is not UTF-8. Source: RFC 6455 §8.1.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A Close frame has one byte, which is no code. Source: RFC 6455 §5.5.1.
    #[error("a Close frame has one byte")]
    ShortClose,
    /// A Close frame has a code that must not be sent. Source: RFC 6455 §7.4.
    #[error("a Close frame has the code {0}")]
    CloseCode(u16),
    /// What is marked as compressed is not, or ends its compression more than 16 times and once every 64 bytes. Source: RFC 7692
    /// §7.2.2.
    #[error("a compressed message cannot be decompressed")]
    Deflate,
    /// A frame or a message is longer than the limit.
    #[error("a message of at least {len} bytes exceeds the limit of {max}")]
    TooLong {
        /// Its length, as far as it is known.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// A message has more fragments than the limit.
    #[error("a message has more than {max} fragments")]
    TooManyFragments {
        /// The limit.
        max: usize,
    },
    /// The peer pings more often than the limit.
    #[error("the peer pings more than {max} times a second")]
    TooManyPings {
        /// The limit.
        max: u32,
    },
}

impl ProtocolError {
    /// Returns the code of the Close frame that tells the peer.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::INVALID_DATA,
            Self::TooLong { .. } | Self::TooManyFragments { .. } => CloseCode::TOO_BIG,
            Self::TooManyPings { .. } => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::TooLong { .. } => ErrorKind::MessageTooLong,
            _ => ErrorKind::Protocol,
        }
    }

    #[cold]
    pub(crate) fn during(self, operation: &'static str) -> Error {
        Error::new(self.kind(), operation).because(self)
    }
}
