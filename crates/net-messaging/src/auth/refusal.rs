//! Why somebody is not let in.

use std::{fmt, time::Duration};

use net_core::{ErrorCode, ErrorReply};

/// Why somebody is not let in, as the peer is told.
///
/// A client that is told [`unauthenticated`](Self::unauthenticated) or [`forbidden`](Self::forbidden) does not come
/// back by itself; one that is told [`unavailable`](Self::unavailable) does.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_messaging::Refusal;
///
/// let refusal = Refusal::unavailable("the directory is down").with_retry_after(Duration::from_secs(5));
/// assert_eq!(refusal.to_string(), "Overloaded: the directory is down (retry after 5s)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(ErrorReply);

impl Refusal {
    /// The credentials prove nothing: unknown, wrong or expired. It counts as a failed attempt.
    ///
    /// The reason is sent to the peer: it should not tell which part was right.
    pub fn unauthenticated(reason: impl Into<Box<str>>) -> Self {
        Self(ErrorReply::new(ErrorCode::Unauthenticated, reason))
    }

    /// The credentials are right, but who they belong to may not come in. It counts as a failed attempt, too.
    pub fn forbidden(reason: impl Into<Box<str>>) -> Self {
        Self(ErrorReply::new(ErrorCode::PermissionDenied, reason))
    }

    /// Nothing can be decided now, through no fault of the peer.
    pub fn unavailable(reason: impl Into<Box<str>>) -> Self {
        Self(ErrorReply::new(ErrorCode::Overloaded, reason))
    }

    /// Tells when another attempt may succeed.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self(self.0.with_retry_after(retry_after))
    }

    /// Returns what the peer is told.
    pub fn reply(&self) -> &ErrorReply {
        &self.0
    }

    pub(crate) fn into_reply(self) -> ErrorReply {
        self.0
    }

    /// Tells whether it was a guess that failed.
    pub(crate) fn is_failure(&self) -> bool {
        is_final(self.0.code)
    }
}

/// Tells whether the same credentials will be refused again.
pub(crate) fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unauthenticated
            | ErrorCode::PermissionDenied
            | ErrorCode::Invalid
            | ErrorCode::Unsupported
            | ErrorCode::Other(_)
    )
}

impl From<ErrorReply> for Refusal {
    fn from(reply: ErrorReply) -> Self {
        Self(reply)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refusal {}
