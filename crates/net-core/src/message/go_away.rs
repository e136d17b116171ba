//! The payload of a message that asks its receiver to leave.

use std::{fmt, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Asks the receiver to send nothing new and to leave once what runs is answered: the payload of a message of kind 6.
///
/// ```text
/// +---------------+-------------------------+
/// | reason: 2, BE | retry after: 4, BE, ms  |
/// +---------------+-------------------------+
/// ```
///
/// A retry-after of 0 means that the peer gives no advice. What follows is for later versions, and is skipped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::{GoAway, GoAwayReason};
///
/// let go_away = GoAway::new(GoAwayReason::Draining).with_retry_after(Duration::from_secs(2));
/// assert_eq!(GoAway::decode(&go_away.encode()), Some(go_away));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoAway {
    /// Why.
    pub reason: GoAwayReason,
    /// When the receiver may come back, at the earliest.
    pub retry_after: Option<Duration>,
}

/// Why a peer asks the other one to leave.
///
/// # Examples
///
/// ```
/// use net_core::{GoAway, GoAwayReason};
///
/// let mine = GoAway::new(GoAwayReason::Other(1000)); // a number of the application's own
/// let read = GoAway::decode(&mine.encode()).map(|go_away| go_away.reason);
/// let meaning = match read {
///     Some(GoAwayReason::Other(1000)) => "the game is over",
///     Some(GoAwayReason::Draining) => "connect to another server",
///     _ => "come back later",
/// };
/// assert_eq!(meaning, "the game is over");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoAwayReason {
    /// It stops.
    Draining,
    /// The connection has lived for as long as it may.
    Lifetime,
    /// It has too much to do.
    Overloaded,
    /// A number that this version does not know, or the application's own.
    Other(u16),
}

impl GoAwayReason {
    /// Returns the number on the wire.
    pub fn to_number(self) -> u16 {
        match self {
            Self::Draining => 1,
            Self::Lifetime => 2,
            Self::Overloaded => 3,
            Self::Other(number) => number,
        }
    }

    /// Returns the reason that `number` stands for.
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Draining,
            2 => Self::Lifetime,
            3 => Self::Overloaded,
            number => Self::Other(number),
        }
    }
}

impl GoAway {
    /// The length of the payload, in bytes.
    pub const LEN: usize = 6;

    /// Creates a notice without advice on when to come back.
    pub fn new(reason: GoAwayReason) -> Self {
        Self { reason, retry_after: None }
    }

    /// Tells when the receiver may come back, rounded to milliseconds.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// Returns the payload of the message.
    pub fn encode(&self) -> Bytes {
        let retry_after =
            self.retry_after.map_or(0, |wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1));
        let mut payload = BytesMut::with_capacity(Self::LEN);
        payload.put_u16(self.reason.to_number());
        payload.put_u32(retry_after);
        payload.freeze()
    }

    /// Reads the payload of the message; `None` where it is too short.
    pub fn decode(mut payload: &[u8]) -> Option<Self> {
        let reason = GoAwayReason::from_number(payload.try_get_u16().ok()?);
        let retry_after = payload.try_get_u32().ok()?;
        let retry_after = (retry_after > 0).then(|| Duration::from_millis(retry_after.into()));
        Some(Self { reason, retry_after })
    }
}

impl fmt::Display for GoAwayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("it stops"),
            Self::Lifetime => f.write_str("the connection has lived long enough"),
            Self::Overloaded => f.write_str("it has too much to do"),
            Self::Other(number) => write!(f, "reason {number}"),
        }
    }
}

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer asked to leave: {}", self.reason)?;
        if let Some(retry_after) = self.retry_after {
            write!(f, " (retry after {retry_after:?})")?;
        }
        Ok(())
    }
}

impl std::error::Error for GoAway {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_is_that_of_the_document() {
        let go_away = GoAway::new(GoAwayReason::Draining).with_retry_after(Duration::from_millis(0x0102));
        assert_eq!(&go_away.encode()[..], [0, 1, 0, 0, 1, 2]);
        assert_eq!(&GoAway::new(GoAwayReason::Other(0x0a0b)).encode()[..], [0x0a, 0x0b, 0, 0, 0, 0]);
        assert_eq!(GoAway::decode(&[0, 2, 0, 0, 0, 0, 9, 9]), Some(GoAway::new(GoAwayReason::Lifetime)));
        for short in 0..GoAway::LEN {
            assert_eq!(GoAway::decode(&go_away.encode()[..short]), None);
        }
    }

    #[test]
    fn a_wait_beyond_the_field_is_the_longest_it_can_say() {
        let long = GoAway::new(GoAwayReason::Overloaded).with_retry_after(Duration::MAX);
        let longest = Duration::from_millis(u32::MAX.into());
        assert_eq!(GoAway::decode(&long.encode()).and_then(|read| read.retry_after), Some(longest));
        let short = GoAway::new(GoAwayReason::Overloaded).with_retry_after(Duration::from_nanos(1));
        assert_eq!(
            GoAway::decode(&short.encode()).and_then(|read| read.retry_after),
            Some(Duration::from_millis(1))
        );
    }
}
