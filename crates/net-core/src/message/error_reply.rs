//! The payload of an error message.

use std::{fmt, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How much of a text `Display` shows, in characters.
const SHOWN: usize = 256;

/// Why a request was not served, as the payload of a message of kind 4.
///
/// ```text
/// +-------------+-------------------------+------------------------+
/// | code: 2, BE | retry after: 4, BE, ms  | text: UTF-8, to the end |
/// +-------------+-------------------------+------------------------+
/// ```
///
/// A retry-after of 0 means that the peer gives no advice.
///
/// # Examples
///
/// ```
/// use net_core::{ErrorCode, ErrorReply};
///
/// let error = ErrorReply::new(ErrorCode::Overloaded, "try again soon");
/// assert_eq!(ErrorReply::decode(&error.encode()), Some(error));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorReply {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// When the same request may succeed.
    pub retry_after: Option<Duration>,
    /// The reason, for people.
    pub text: Box<str>,
}

/// The reason of an [`ErrorReply`], for programs.
///
/// # Examples
///
/// ```
/// use net_core::{ErrorCode, ErrorReply};
///
/// /// Whether the request itself is at fault, so that to repeat it is of no use.
/// fn is_ours(reply: &ErrorReply) -> bool {
///     matches!(reply.code, ErrorCode::Invalid | ErrorCode::Unsupported | ErrorCode::PermissionDenied)
/// }
///
/// assert!(is_ours(&ErrorReply::new(ErrorCode::Invalid, "no such field")));
/// assert_eq!(ErrorCode::from_number(1000), ErrorCode::Other(1000)); // of a later version
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The handler failed.
    Failed,
    /// The request makes no sense to the receiver.
    Invalid,
    /// The receiver cannot take more work now.
    Overloaded,
    /// The handler did not finish in time.
    TimedOut,
    /// The receiver does not offer what is asked for.
    Unsupported,
    /// The peer has not shown who it is, or was not believed.
    Unauthenticated,
    /// Who the peer is may not do this.
    PermissionDenied,
    /// The peer asks more often than it may; the same request may succeed later.
    RateLimited,
    /// A number that this version does not know.
    Other(u16),
}

impl ErrorCode {
    /// Returns the number on the wire.
    pub fn to_number(self) -> u16 {
        match self {
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::Overloaded => 3,
            Self::TimedOut => 4,
            Self::Unsupported => 5,
            Self::Unauthenticated => 6,
            Self::PermissionDenied => 7,
            Self::RateLimited => 8,
            Self::Other(number) => number,
        }
    }

    /// Returns the code that `number` stands for.
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Failed,
            2 => Self::Invalid,
            3 => Self::Overloaded,
            4 => Self::TimedOut,
            5 => Self::Unsupported,
            6 => Self::Unauthenticated,
            7 => Self::PermissionDenied,
            8 => Self::RateLimited,
            number => Self::Other(number),
        }
    }
}

impl ErrorReply {
    /// Creates an error without advice on when to retry.
    pub fn new(code: ErrorCode, text: impl Into<Box<str>>) -> Self {
        Self { code, retry_after: None, text: text.into() }
    }

    /// Tells when the same request may succeed; on the wire in milliseconds, rounded up, so that it is never too early.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// Returns the payload of the error message.
    pub fn encode(&self) -> Bytes {
        let retry_after = self
            .retry_after
            .map_or(0, |wait| u32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1));
        let mut payload = BytesMut::with_capacity(6 + self.text.len());
        payload.put_u16(self.code.to_number());
        payload.put_u32(retry_after);
        payload.extend_from_slice(self.text.as_bytes());
        payload.freeze()
    }

    /// Reads the payload of an error message; `None` where it is malformed.
    pub fn decode(mut payload: &[u8]) -> Option<Self> {
        let code = ErrorCode::from_number(payload.try_get_u16().ok()?);
        let retry_after = payload.try_get_u32().ok()?;
        let retry_after = (retry_after > 0).then(|| Duration::from_millis(retry_after.into()));
        Some(Self { code, retry_after, text: std::str::from_utf8(payload).ok()?.into() })
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text is the peer's: it must neither write into a log nor fill it.
        let end = self.text.char_indices().nth(SHOWN).map_or(self.text.len(), |(end, _)| end);
        let (shown, rest) = self.text.split_at_checked(end).unwrap_or_default();
        write!(f, "{:?}: {}", self.code, shown.escape_debug())?;
        if !rest.is_empty() {
            write!(f, "… ({} bytes)", self.text.len())?;
        }
        if let Some(retry_after) = self.retry_after {
            write!(f, " (retry after {retry_after:?})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ErrorReply {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a37_what_is_shown_of_a_peers_text_is_bounded_and_escaped() {
        let short = ErrorReply::new(ErrorCode::Invalid, "née\n");
        assert_eq!(short.to_string(), "Invalid: née\\n");
        let long = ErrorReply::new(ErrorCode::Invalid, "é\u{1b}".repeat(100_000)).to_string();
        assert!(!long.contains('\x1b') && long.len() < 3_000, "{} bytes", long.len());
        assert!(long.ends_with("… (300000 bytes)"), "{long}");
    }
}
