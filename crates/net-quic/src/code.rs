//! The codes by which a peer ends streams and connections.

use std::error::Error as StdError;

use net_core::Error;
use quinn::{ConnectionError, ReadError, WriteError};

/// The code by which the peer ended a stream or the connection; both sides agree on what it means.
///
/// A code of 2^62 or more is sent as 2^62 − 1 (RFC 9000 §16).
///
/// # Examples
///
/// ```no_run
/// use net_quic::{QuicCode, REFUSED, RecvStream};
///
/// # async fn example(mut rx: RecvStream) -> net_core::Result<()> {
/// if let Err(error) = rx.read_to_end(64 * 1024).await {
///     match QuicCode::of(&error) {
///         Some(QuicCode::Reset(code)) if code == u64::from(REFUSED) => println!("it is busy"),
///         Some(code) => println!("ended: {code:?}"),
///         None => return Err(error),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuicCode {
    /// It cut a stream that it sent (RFC 9000 §19.4).
    Reset(u64),
    /// It reads no more of a stream (RFC 9000 §19.5).
    Stopped(u64),
    /// Its application closed the connection (RFC 9000 §19.19).
    Closed(u64),
    /// Its QUIC closed the connection, for a reason of RFC 9000 §20.1.
    Transport(u64),
}

impl QuicCode {
    /// Returns the code that caused `error`, where one of the peer's did.
    pub fn of(error: &Error) -> Option<Self> {
        let mut cause = error.source();
        while let Some(error) = cause {
            let found = Self::of_cause(error);
            if found.is_some() {
                return found;
            }
            cause = error.source();
        }
        None
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        match self {
            Self::Reset(code) | Self::Stopped(code) | Self::Closed(code) | Self::Transport(code) => code,
        }
    }

    fn of_cause(cause: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref() {
            return match error {
                ReadError::Reset(code) => Some(Self::Reset(code.into_inner())),
                ReadError::ConnectionLost(lost) => Self::of_connection(lost),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref() {
            return match error {
                WriteError::Stopped(code) => Some(Self::Stopped(code.into_inner())),
                WriteError::ConnectionLost(lost) => Self::of_connection(lost),
                _ => None,
            };
        }
        Self::of_connection(cause.downcast_ref()?)
    }

    fn of_connection(lost: &ConnectionError) -> Option<Self> {
        match lost {
            ConnectionError::ApplicationClosed(closed) => Some(Self::Closed(closed.error_code.into_inner())),
            ConnectionError::ConnectionClosed(closed) => Some(Self::Transport(closed.error_code.into())),
            _ => None,
        }
    }
}
