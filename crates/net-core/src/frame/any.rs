//! A framing chosen at run time, and how it is written.

use std::{fmt, str::FromStr};

use bytes::{Bytes, BytesMut};

use super::{ByteOrder, Decoded, Delimiter, FixedSize, Found, FrameError, Framing, LengthPrefix, Raw, Tlv};

/// A framing chosen at run time, written `length`, `lines`, `fixed:N`, `tlv` or `none`.
///
/// | text | framing |
/// |---|---|
/// | `length` | [`LengthPrefix`] of 4 bytes, big-endian |
/// | `length:W`, `length:W:le` | [`LengthPrefix`] of `W` bytes (1 to 8), big-endian or little-endian |
/// | `lines`, `lines:crlf` | [`Delimiter::lines`], [`Delimiter::crlf_lines`] |
/// | `delimiter:HEX` | [`Delimiter`] of the bytes that are written in hexadecimal |
/// | `fixed:N` | [`FixedSize`] of `N` bytes |
/// | `tlv` | [`Tlv`] |
/// | `none` | [`Raw`] |
///
/// # Examples
///
/// ```
/// use net_core::frame::{AnyFraming, Framing};
///
/// let framing: AnyFraming = "length:2:le".parse()?;
/// let framing = framing.with_max_message_len(1000);
/// assert_eq!((framing.to_string().as_str(), framing.max_message_len()), ("length:2:le", 1000));
/// # Ok::<(), net_core::frame::FramingSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnyFraming {
    /// A length in front of each message.
    LengthPrefix(LengthPrefix),
    /// A delimiter behind each message. It is boxed, so that any framing takes no more room in an idle connection than
    /// the default one.
    Delimiter(Box<Delimiter>),
    /// Messages of one length.
    FixedSize(FixedSize),
    /// Type, length, value.
    Tlv(Tlv),
    /// No marks at all.
    Raw(Raw),
}

/// What is wrong with the text of a framing.
///
/// # Examples
///
/// ```
/// use net_core::frame::{AnyFraming, FramingSpecError};
///
/// let error = "fixed".parse::<AnyFraming>().unwrap_err();
/// assert_eq!(error, FramingSpecError::BadSize);
/// assert!(error.to_string().ends_with("the form is fixed:64"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingSpecError {
    /// The name is none of those known.
    #[error("the framing is none of length, lines, delimiter:HEX, fixed:N, tlv, none")]
    Unknown,
    /// The width of the length field is no number from 1 to 8.
    #[error("the width of the length field is no number from 1 to 8")]
    BadWidth,
    /// The byte order is neither `be` nor `le`.
    #[error("the byte order is neither be nor le")]
    BadOrder,
    /// The size of the records is no number above 0.
    #[error("the size of the records is no number above 0; the form is fixed:64")]
    BadSize,
    /// The delimiter is not written in hexadecimal, two digits a byte, at least one byte.
    #[error("the delimiter is not in hexadecimal; the form is delimiter:0d0a")]
    BadDelimiter,
}

/// Calls the same method of whichever framing it is.
macro_rules! each {
    ($self:ident, $framing:ident => $call:expr) => {
        match $self {
            Self::LengthPrefix($framing) => $call,
            Self::Delimiter($framing) => $call,
            Self::FixedSize($framing) => $call,
            Self::Tlv($framing) => $call,
            Self::Raw($framing) => $call,
        }
    };
}

impl AnyFraming {
    /// Sets the length of the longest message, in bytes; the length of [`FixedSize`] is its own limit and stays.
    #[must_use]
    pub fn with_max_message_len(self, max: usize) -> Self {
        match self {
            Self::LengthPrefix(framing) => framing.with_max_message_len(max).into(),
            Self::Delimiter(framing) => framing.with_max_message_len(max).into(),
            Self::FixedSize(framing) => framing.into(),
            Self::Tlv(framing) => framing.with_max_message_len(max).into(),
            Self::Raw(framing) => framing.with_max_message_len(max).into(),
        }
    }
}

impl Default for AnyFraming {
    fn default() -> Self {
        LengthPrefix::default().into()
    }
}

impl Framing for AnyFraming {
    fn max_message_len(&self) -> usize {
        each!(self, framing => framing.max_message_len())
    }

    fn set_max_message_len(&mut self, max: usize) {
        each!(self, framing => framing.set_max_message_len(max));
    }

    fn preserves_messages(&self) -> bool {
        each!(self, framing => framing.preserves_messages())
    }

    #[inline]
    fn encode_prefix(&self, head: &[u8], body: &[u8], out: &mut BytesMut) -> Result<usize, FrameError> {
        each!(self, framing => framing.encode_prefix(head, body, out))
    }

    #[inline]
    fn encode_suffix(&self, out: &mut BytesMut) {
        each!(self, framing => framing.encode_suffix(out));
    }

    #[inline]
    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
        each!(self, framing => framing.decode(input))
    }

    #[inline]
    fn find(&self, input: &[u8]) -> Option<Found> {
        each!(self, framing => framing.find(input))
    }

    fn decode_end(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        each!(self, framing => framing.decode_end(input))
    }
}

impl fmt::Display for AnyFraming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthPrefix(length) => match (length.width(), length.byte_order()) {
                (4, ByteOrder::BigEndian) => f.write_str("length"),
                (width, ByteOrder::BigEndian) => write!(f, "length:{width}"),
                (width, ByteOrder::LittleEndian) => write!(f, "length:{width}:le"),
            },
            Self::Delimiter(lines) if lines.is_lines() => {
                f.write_str(if lines.delimiter() == b"\n" { "lines" } else { "lines:crlf" })
            }
            Self::Delimiter(other) => {
                f.write_str("delimiter:")?;
                other.delimiter().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::FixedSize(fixed) => write!(f, "fixed:{}", fixed.size()),
            Self::Tlv(_) => f.write_str("tlv"),
            Self::Raw(_) => f.write_str("none"),
        }
    }
}

impl FromStr for AnyFraming {
    type Err = FramingSpecError;

    fn from_str(text: &str) -> Result<Self, FramingSpecError> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let framing = match (name, parts.next(), parts.next(), parts.next()) {
            ("length", None, None, None) => LengthPrefix::default().into(),
            ("length", Some(width), order, None) => length_prefix(width, order)?.into(),
            ("lines", None, None, None) => Delimiter::lines().into(),
            ("lines", Some("crlf"), None, None) => Delimiter::crlf_lines().into(),
            ("delimiter", Some(hex), None, None) => bytes_of(hex)
                .and_then(|bytes| Delimiter::new(&bytes))
                .ok_or(FramingSpecError::BadDelimiter)?
                .into(),
            ("fixed", size, None, None) => match size.and_then(number) {
                None | Some(0) => return Err(FramingSpecError::BadSize),
                Some(size) => FixedSize::new(size).into(),
            },
            ("tlv", None, None, None) => Tlv::default().into(),
            ("none", None, None, None) => Raw::default().into(),
            _ => return Err(FramingSpecError::Unknown),
        };
        Ok(framing)
    }
}

fn length_prefix(width: &str, order: Option<&str>) -> Result<LengthPrefix, FramingSpecError> {
    let Some(width @ 1..=8) = number::<u8>(width) else { return Err(FramingSpecError::BadWidth) };
    match order {
        None | Some("be") => Ok(LengthPrefix::new(width, ByteOrder::BigEndian)),
        Some("le") => Ok(LengthPrefix::new(width, ByteOrder::LittleEndian)),
        Some(_) => Err(FramingSpecError::BadOrder),
    }
}

/// Parses digits, without the sign that `parse` takes.
fn number<N: FromStr>(digits: &str) -> Option<N> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl From<LengthPrefix> for AnyFraming {
    fn from(framing: LengthPrefix) -> Self {
        Self::LengthPrefix(framing)
    }
}

impl From<Delimiter> for AnyFraming {
    fn from(framing: Delimiter) -> Self {
        Self::Delimiter(Box::new(framing))
    }
}

impl From<FixedSize> for AnyFraming {
    fn from(framing: FixedSize) -> Self {
        Self::FixedSize(framing)
    }
}

impl From<Tlv> for AnyFraming {
    fn from(framing: Tlv) -> Self {
        Self::Tlv(framing)
    }
}

impl From<Raw> for AnyFraming {
    fn from(framing: Raw) -> Self {
        Self::Raw(framing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_framing_takes_no_more_room_than_the_default_one() {
        assert_eq!(size_of::<AnyFraming>(), size_of::<LengthPrefix>());
    }

    #[test]
    fn what_is_printed_parses_to_the_same_framing() {
        for text in [
            "length",
            "length:2",
            "length:8:le",
            "lines",
            "lines:crlf",
            "delimiter:00ff",
            "fixed:16",
            "tlv",
            "none",
        ] {
            let framing: AnyFraming = text.parse().expect(text);
            assert_eq!(framing.to_string(), text);
        }
        assert_eq!("length:4:be".parse(), Ok(AnyFraming::default()));
    }

    #[test]
    fn each_error_names_what_is_wrong() {
        use FramingSpecError as E;
        for (text, error) in [
            ("", E::Unknown),
            ("Length", E::Unknown),
            ("lines:cr", E::Unknown),
            ("tlv:1", E::Unknown),
            ("length:2:le:3", E::Unknown),
            ("length:9", E::BadWidth),
            ("length:+4", E::BadWidth),
            ("length:4:me", E::BadOrder),
            ("fixed", E::BadSize),
            ("fixed:0", E::BadSize),
            ("fixed:99999999999999999999", E::BadSize),
            ("delimiter:", E::BadDelimiter),
            ("delimiter:0", E::BadDelimiter),
            ("delimiter:é0", E::BadDelimiter),
        ] {
            assert_eq!(text.parse::<AnyFraming>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_limit_is_that_of_the_framing_within() {
        for text in ["length", "lines", "tlv", "none"] {
            let framing = text.parse::<AnyFraming>().expect(text).with_max_message_len(9);
            assert_eq!(framing.max_message_len(), 9, "{text}");
        }
    }
}
