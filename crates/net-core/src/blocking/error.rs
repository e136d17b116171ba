//! How far a blocking transfer came, and why no further.

use std::{error::Error as StdError, fmt, io};

use crate::{Error, ErrorKind};

/// How far a blocking transfer came, and why no further.
///
/// It becomes an [`Error`] with its kind and itself as the source, or an [`io::Error`].
///
/// # Examples
///
/// ```
/// use net_core::blocking::{TransferFault, recv_exact};
///
/// let error = recv_exact(&mut &b"abc"[..], &mut [0; 8]).unwrap_err();
/// assert_eq!(error.transferred(), 3);
/// assert!(matches!(error.fault(), TransferFault::UnexpectedEnd));
/// ```
#[derive(Debug)]
pub struct TransferError {
    operation: &'static str,
    transferred: usize,
    expected: usize,
    fault: TransferFault,
}

/// Why a blocking transfer came no further.
///
/// # Examples
///
/// ```
/// use net_core::blocking::{TransferFault, send_all};
///
/// let mut place = [0_u8; 3];
/// let error = send_all(&mut &mut place[..], b"hello").unwrap_err();
/// let advice = match error.fault() {
///     TransferFault::TimedOut | TransferFault::WouldBlock => "go on later",
///     TransferFault::WroteNothing => "make room",
///     _ => "give up",
/// };
/// assert_eq!((advice, error.transferred()), ("make room", 3));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TransferFault {
    /// The stream had ended before the first byte.
    Ended,
    /// The stream ended inside the record.
    UnexpectedEnd,
    /// The writer took no bytes, and would take none if asked again.
    WroteNothing,
    /// The deadline passed.
    TimedOut,
    /// The socket is non-blocking and not ready, or its own time-out passed.
    WouldBlock,
    /// The operating system reports an error.
    Io(io::Error),
}

impl TransferError {
    pub(super) fn new(
        operation: &'static str,
        transferred: usize,
        expected: usize,
        fault: TransferFault,
    ) -> Self {
        Self { operation, transferred, expected, fault }
    }

    /// Returns how many bytes were transferred.
    pub fn transferred(&self) -> usize {
        self.transferred
    }

    /// Returns how many bytes were to be transferred.
    pub fn expected(&self) -> usize {
        self.expected
    }

    /// Returns why no more were transferred.
    pub fn fault(&self) -> &TransferFault {
        &self.fault
    }

    /// Tells whether the stream had ended before the first byte, between two records.
    pub fn is_clean_end(&self) -> bool {
        matches!(self.fault, TransferFault::Ended)
    }

    /// Tells whether the same stream may go on later, behind the bytes that were transferred.
    pub fn is_retryable(&self) -> bool {
        matches!(self.fault, TransferFault::TimedOut | TransferFault::WouldBlock)
    }

    pub(super) fn io_kind(&self) -> io::ErrorKind {
        match &self.fault {
            TransferFault::Ended | TransferFault::UnexpectedEnd => io::ErrorKind::UnexpectedEof,
            TransferFault::WroteNothing => io::ErrorKind::WriteZero,
            TransferFault::TimedOut => io::ErrorKind::TimedOut,
            TransferFault::WouldBlock => io::ErrorKind::WouldBlock,
            TransferFault::Io(error) => error.kind(),
        }
    }
}

impl From<io::Error> for TransferFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::WouldBlock,
            io::ErrorKind::TimedOut if is_not_ready(&error) => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// Tells whether `error` means that the stream is not ready, and not that it is broken.
///
/// The time-out of a single call is `WouldBlock` on Unix and `TimedOut` on Windows. `ETIMEDOUT` on Unix is the end of
/// the connection, which the system reports once: a further read would find a clean end.
pub(super) fn is_not_ready(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::WouldBlock => true,
        io::ErrorKind::TimedOut => cfg!(windows) || error.raw_os_error().is_none(),
        _ => false,
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Self {
        let kind = match &error.fault {
            TransferFault::Ended => ErrorKind::Closed,
            // The time-out of a socket is reported as this too.
            TransferFault::WouldBlock => ErrorKind::TimedOut,
            _ => Self::from_io(error.io_kind().into(), error.operation).kind(),
        };
        Self::new(kind, error.operation).because(error)
    }
}

impl From<TransferError> for io::Error {
    fn from(error: TransferError) -> Self {
        Self::new(error.io_kind(), error)
    }
}

impl fmt::Display for TransferFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the stream had ended",
            Self::UnexpectedEnd => "the stream ended inside a record",
            Self::WroteNothing => "the writer took nothing",
            Self::TimedOut => "the deadline passed",
            Self::WouldBlock => "the socket was not ready",
            Self::Io(_) => "input/output error",
        })
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} of {} bytes", self.fault, self.transferred, self.expected)
    }
}

impl StdError for TransferError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.fault {
            TransferFault::Io(error) => Some(error),
            _ => None,
        }
    }
}
