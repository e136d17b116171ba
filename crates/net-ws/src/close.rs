//! Why a connection is closed: codes and reasons.

use std::{fmt, str};

use bytestring::ByteString;

use crate::{error::ProtocolError, frame::MAX_CONTROL_LEN};

/// The longest reason: what a control frame holds, less the code.
const MAX_REASON_LEN: usize = MAX_CONTROL_LEN - 2;

/// Why a connection is closed, as a number. Source: RFC 6455 §7.4 and the registry of IANA.
///
/// # Examples
///
/// ```
/// use net_ws::CloseCode;
///
/// assert_eq!(CloseCode::GOING_AWAY.get(), 1001);
/// assert!(CloseCode::new(3000).is_some(), "for libraries and frameworks");
/// assert!(CloseCode::new(1006).is_none(), "never sent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: what the connection was for is done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: the kind of data cannot be taken, as binary where only text is understood.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: the data of a message is not what its kind says, as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message violates the policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: a client misses an extension.
    pub const MISSING_EXTENSION: Self = Self(1010);
    /// 1011: a server met something unexpected.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: a server restarts.
    pub const RESTART: Self = Self(1012);
    /// 1013: a server is overloaded.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Returns the code `code`; `None` where it must not be sent: 1004 to 1006, 1015, and what nobody has defined.
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// Returns the number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A code and a reason, of which the peer is told by a Close frame. Source: RFC 6455 §5.5.1.
///
/// # Examples
///
/// ```
/// use net_ws::{CloseCode, CloseFrame};
///
/// let frame = CloseFrame::new(CloseCode::POLICY, "no cats here");
/// assert_eq!(frame.reason(), "no cats here");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    code: CloseCode,
    reason: ByteString,
}

impl CloseFrame {
    /// Creates a Close frame; of a reason of more than 123 bytes the beginning is sent.
    pub fn new(code: CloseCode, reason: impl Into<ByteString>) -> Self {
        let reason = reason.into();
        let len = reason.floor_char_boundary(MAX_REASON_LEN);
        let reason = if len < reason.len() { ByteString::from(&reason[..len]) } else { reason };
        Self { code, reason }
    }

    /// Returns the code.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// Returns the reason, which comes from the peer: escape it before it is shown.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Reads the payload of a Close frame; an empty one says nothing.
    pub(crate) fn decode(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            // "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer."
            return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::ShortClose) };
        };
        let code = u16::from_be_bytes(*code);
        let code = CloseCode::new(code).ok_or(ProtocolError::CloseCode(code))?;
        let reason = str::from_utf8(reason).map_err(|_| ProtocolError::NotUtf8)?;
        Ok(Some(Self { code, reason: ByteString::from(reason) }))
    }

    /// Returns the payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = self.code.0.to_be_bytes().to_vec();
        payload.extend_from_slice(self.reason.as_bytes());
        payload
    }
}

impl From<CloseCode> for CloseFrame {
    fn from(code: CloseCode) -> Self {
        Self { code, reason: ByteString::new() }
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.code, self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = CloseFrame::new(CloseCode::NORMAL, "ä".repeat(100));
        assert_eq!(frame.reason(), "ä".repeat(61));
        assert!(frame.encode().len() <= MAX_CONTROL_LEN);
    }

    #[test]
    fn a16_codes_that_must_not_be_sent_are_refused() {
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, u16::MAX] {
            let read = CloseFrame::decode(&code.to_be_bytes());
            assert_eq!(read, Err(ProtocolError::CloseCode(code)));
        }
        assert_eq!(CloseFrame::decode(&[3]), Err(ProtocolError::ShortClose));
        assert_eq!(CloseFrame::decode(&[3, 232, 0xC3]), Err(ProtocolError::NotUtf8));
        assert_eq!(CloseFrame::decode(&[]), Ok(None));
    }

    #[test]
    fn what_is_sent_is_read() {
        let frame = CloseFrame::new(CloseCode::RESTART, "back soon");
        assert_eq!(CloseFrame::decode(&frame.encode()), Ok(Some(frame)));
    }
}
