//! What went wrong, while doing what, at which address, because of what.

use std::{error::Error as StdError, fmt, io, time::Duration};

use crate::{Address, ErrorReply, frame::FrameError};

/// The result of every operation in this workspace that does I/O.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for `match`.
///
/// # Examples
///
/// ```
/// use net_core::{Error, ErrorKind};
///
/// fn advice(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::Refused => "is the server running?",
///         ErrorKind::Untrusted => "is the certificate for this name?",
///         _ if error.is_retryable() => "try again",
///         _ => "give up",
///     }
/// }
///
/// assert_eq!(advice(&Error::new(ErrorKind::Refused, "connect")), "is the server running?");
/// assert_eq!(advice(&Error::new(ErrorKind::TimedOut, "connect")), "try again");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another socket already listens at the address.
    AddressInUse,
    /// This side ended the connection, or the peer has finished and can no longer be reached.
    Closed,
    /// The address is malformed, or not one that this transport serves.
    InvalidAddress,
    /// A setting contradicts another one or is out of its range.
    InvalidConfig,
    /// The framing has no form for the message: it is empty, has not the one length, or contains what marks its end.
    /// Message and connection are intact.
    InvalidMessage,
    /// The operating system refused the operation for a reason that has no kind of its own.
    Io,
    /// A limit of connections, sessions or descriptors is reached.
    LimitReached,
    /// The message is longer than the framing or the transport carries. One that is refused on sending leaves message
    /// and connection intact; one that the peer sends is the end of receiving.
    MessageTooLong,
    /// The other side cannot take more work now; the same request may succeed later.
    Overloaded,
    /// The operating system does not permit the operation.
    PermissionDenied,
    /// The peer broke the protocol.
    Protocol,
    /// Nobody listens at the address.
    Refused,
    /// The peer answered a request with an error message, or refused the handshake.
    Rejected,
    /// The peer, or the network, aborted the connection.
    Reset,
    /// The deadline passed.
    TimedOut,
    /// The peer does not believe who this side is, or was not told.
    Unauthenticated,
    /// The stream ended inside a message.
    UnexpectedEnd,
    /// No route leads to the address.
    Unreachable,
    /// The host name has no address.
    Unresolved,
    /// The transport does not offer the operation.
    Unsupported,
    /// The peer could not prove who it is: its certificate is missing, expired, revoked, for another name, or signed by
    /// nobody who is trusted.
    Untrusted,
}

impl ErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::AddressInUse => "address in use",
            Self::Closed => "closed",
            Self::InvalidAddress => "invalid address",
            Self::InvalidConfig => "invalid configuration",
            Self::InvalidMessage => "invalid message",
            Self::Io => "input/output error",
            Self::LimitReached => "limit reached",
            Self::MessageTooLong => "message too long",
            Self::Overloaded => "overloaded",
            Self::PermissionDenied => "permission denied",
            Self::Protocol => "protocol violation",
            Self::Refused => "connection refused",
            Self::Rejected => "rejected by the peer",
            Self::Reset => "connection reset",
            Self::TimedOut => "timed out",
            Self::Unauthenticated => "not authenticated",
            Self::UnexpectedEnd => "end of stream inside a message",
            Self::Unreachable => "unreachable",
            Self::Unresolved => "name not resolved",
            Self::Unsupported => "unsupported",
            Self::Untrusted => "peer not trusted",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of the network: what failed, while doing what, at which address, because of what.
///
/// `Display` tells this level only, as in `connect tcp://10.0.0.1:80: timed out`; the cause is in
/// [`source`](StdError::source). [`Error::report`] prints the whole chain for people.
///
/// # Examples
///
/// ```
/// use net_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::TimedOut, "connect").at(&"tcp://10.0.0.1:80".parse()?);
/// assert_eq!(error.to_string(), "connect tcp://10.0.0.1:80: timed out");
/// assert!(error.is_retryable());
/// # Ok::<(), Error>(())
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    address: Option<Address>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind`, met during `operation` (a verb: `connect`, `accept`, `send`).
    #[cold]
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Inner { kind, operation, address: None, source: None }))
    }

    /// Creates an error from one of the operating system.
    #[cold]
    pub fn from_io(source: io::Error, operation: &'static str) -> Self {
        let source = match source.downcast::<Self>() {
            // One of ours that travelled through an I/O trait is what it was.
            Ok(mut ours) => {
                ours.0.operation = operation;
                return ours;
            }
            Err(source) => source,
        };
        let kind = source.get_ref().and_then(kind_of_carried).unwrap_or_else(|| kind_of_io(&source));
        Self::new(kind, operation).because(source)
    }

    /// Names the address that was involved.
    #[must_use]
    pub fn at(mut self, address: &Address) -> Self {
        self.0.address = Some(address.clone());
        self
    }

    /// Adds what caused this error.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the operation that failed, a verb.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns the address that was involved, where there is one.
    pub fn address(&self) -> Option<&Address> {
        self.0.address.as_ref()
    }

    /// Tells whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::TimedOut
    }

    /// Tells whether the connection is gone: closed by this side, by the peer, or broken.
    pub fn is_closed(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Closed | ErrorKind::Reset | ErrorKind::UnexpectedEnd)
    }

    /// Returns after what time the same operation may succeed, where the peer told it in its error message.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use net_core::{Error, ErrorCode, ErrorKind, ErrorReply};
    ///
    /// let reply = ErrorReply::new(ErrorCode::RateLimited, "too often").with_retry_after(Duration::from_secs(2));
    /// let error = Error::new(ErrorKind::Rejected, "request").because(reply);
    /// assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    /// assert!(error.is_retryable());
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        self.reply()?.retry_after
    }

    /// Returns the error message of the peer that caused this error, where one did.
    pub fn reply(&self) -> Option<&ErrorReply> {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(reply) = error.downcast_ref() {
                return Some(reply);
            }
            cause = error.source();
        }
        None
    }

    /// Tells whether the same operation may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        let by_its_kind = matches!(
            self.0.kind,
            ErrorKind::Closed
                | ErrorKind::LimitReached
                | ErrorKind::Overloaded
                | ErrorKind::Refused
                | ErrorKind::Reset
                | ErrorKind::TimedOut
                | ErrorKind::UnexpectedEnd
                | ErrorKind::Unreachable
                | ErrorKind::Unresolved
        );
        by_its_kind || self.retry_after().is_some()
    }

    /// Returns this error and all its causes in one line, joined by `: `.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("address", &self.0.address)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation)?;
        if let Some(address) = &self.0.address {
            write!(f, " {address}")?;
        }
        write!(f, ": {}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl Error {
    /// Creates the error of a broken framing, met during `operation`.
    #[cold]
    pub fn from_frame(source: FrameError, operation: &'static str) -> Self {
        Self::new(kind_of_frame(source), operation).because(source)
    }
}

fn kind_of_frame(error: FrameError) -> ErrorKind {
    match error {
        FrameError::TooLong { .. } => ErrorKind::MessageTooLong,
        FrameError::UnexpectedEnd { .. } => ErrorKind::UnexpectedEnd,
        FrameError::WrongLength { .. } | FrameError::ContainsDelimiter { .. } | FrameError::Empty => {
            ErrorKind::InvalidMessage
        }
    }
}

/// Returns the kind of an error that travelled through an I/O trait, which keeps it: one of framing, or of TLS.
fn kind_of_carried(inner: &(dyn StdError + Send + Sync + 'static)) -> Option<ErrorKind> {
    inner.downcast_ref().map(|frame| kind_of_frame(*frame)).or_else(|| kind_of_tls(inner))
}

#[cfg(feature = "tls")]
fn kind_of_tls(inner: &(dyn StdError + Send + Sync + 'static)) -> Option<ErrorKind> {
    inner.downcast_ref().map(crate::tls::kind_of)
}

#[cfg(not(feature = "tls"))]
fn kind_of_tls(_: &(dyn StdError + Send + Sync + 'static)) -> Option<ErrorKind> {
    None
}

fn kind_of_io(error: &io::Error) -> ErrorKind {
    // `EMFILE` and `ENFILE`: the standard library has no kind for a shortage of descriptors.
    match error.raw_os_error() {
        Some(23 | 24) if cfg!(unix) => ErrorKind::LimitReached,
        _ => kind_of(error.kind()),
    }
}

fn kind_of(kind: io::ErrorKind) -> ErrorKind {
    use io::ErrorKind as Io;
    match kind {
        Io::AddrInUse => ErrorKind::AddressInUse,
        Io::AddrNotAvailable | Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown => {
            ErrorKind::Unreachable
        }
        Io::BrokenPipe | Io::NotConnected | Io::WriteZero => ErrorKind::Closed,
        Io::ConnectionAborted | Io::ConnectionReset => ErrorKind::Reset,
        Io::ConnectionRefused | Io::NotFound => ErrorKind::Refused,
        Io::PermissionDenied => ErrorKind::PermissionDenied,
        Io::TimedOut => ErrorKind::TimedOut,
        Io::InvalidData => ErrorKind::Protocol,
        Io::UnexpectedEof => ErrorKind::UnexpectedEnd,
        Io::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_tells_every_cause() {
        let error = Error::from_io(io::ErrorKind::ConnectionRefused.into(), "connect");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(error.report(), "connect: connection refused: connection refused");
    }

    #[test]
    fn a_framing_error_keeps_its_kind_through_io() {
        let through = io::Error::other(FrameError::TooLong { len: 9, max: 8 });
        assert_eq!(Error::from_io(through, "receive").kind(), ErrorKind::MessageTooLong);
    }

    #[test]
    fn an_error_of_ours_is_itself_through_io() {
        let ours = Error::new(ErrorKind::Rejected, "write").because(io::Error::from(io::ErrorKind::Other));
        let through = Error::from_io(io::Error::other(ours), "send");
        assert_eq!(through.kind(), ErrorKind::Rejected);
        assert_eq!(through.report(), "send: rejected by the peer: other error");
    }

    #[test]
    fn a_message_that_cannot_be_framed_is_not_the_peers_fault() {
        for frame in [
            FrameError::Empty,
            FrameError::ContainsDelimiter { at: 0 },
            FrameError::WrongLength { len: 1, expected: 2 },
        ] {
            let error = Error::from_frame(frame, "send");
            assert_eq!(error.kind(), ErrorKind::InvalidMessage);
            assert!(!error.is_closed() && !error.is_retryable());
        }
    }

    #[test]
    fn a1_a_shortage_of_descriptors_is_a_limit() {
        if cfg!(unix) {
            let error = Error::from_io(io::Error::from_raw_os_error(24), "connect");
            assert_eq!(error.kind(), ErrorKind::LimitReached);
            assert!(error.is_retryable());
        }
    }

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
