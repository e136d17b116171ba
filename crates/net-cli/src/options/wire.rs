//! How messages stand on the wire.

use clap::{Args, ValueEnum};
use net_core::{
    Message,
    frame::{AnyFraming, Framing},
};
use net_messaging::Format;

use super::Size;
use crate::failure::Failure;

/// How messages stand on the wire; both sides must agree.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Wire format (the same on both sides)")]
pub(crate) struct Wire {
    /// How messages are marked in the byte stream
    ///
    /// length: a length of 4 bytes, big-endian, in front (length:2, length:8:le: other widths and orders); lines: a
    /// line feed behind (lines:crlf: CR LF); delimiter:HEX: these bytes behind; fixed:N: every message has N bytes;
    /// tlv: type, length, value, of which the type is the first byte of the message; none: no marks, so boundaries
    /// are lost.
    #[arg(long, default_value = "length", value_name = "length|lines|fixed:N|tlv|none")]
    framing: AnyFraming,

    /// What a frame holds: the payload alone, or kind, id and payload
    #[arg(long, value_enum, default_value_t = WireFormat::Raw)]
    pub(crate) format: WireFormat,

    /// The longest message, in the message format with its head of 9 bytes [default: 1MiB; lines 4KiB; tlv 64KiB]
    #[arg(long, value_name = "SIZE")]
    max_message_len: Option<Size>,
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WireFormat {
    /// The payload alone
    #[default]
    Raw,
    /// Kind (1 byte), id (8 bytes, big-endian) and payload
    Message,
}

impl WireFormat {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Message => "message",
        }
    }

    /// The bytes that stand before a payload in its frame.
    pub(crate) fn head_len(self) -> usize {
        match self {
            Self::Raw => 0,
            Self::Message => Message::HEAD_LEN,
        }
    }
}

impl From<WireFormat> for Format {
    fn from(format: WireFormat) -> Self {
        match format {
            WireFormat::Raw => Self::Raw,
            WireFormat::Message => Self::Message,
        }
    }
}

impl Wire {
    /// The framing under its limit, once framing and format go together.
    pub(crate) fn framing(&self) -> Result<AnyFraming, Failure> {
        let framing = match self.max_message_len {
            Some(Size(max)) => self.framing.clone().with_max_message_len(max),
            None => self.framing.clone(),
        };
        if self.format == WireFormat::Raw {
            return Ok(framing);
        }
        match framing {
            // An id may hold any byte, the delimiter among them.
            AnyFraming::Delimiter(_) | AnyFraming::Raw(_) => {
                let what = format!("--format message does not go with --framing {}", self.framing);
                Err(Failure::usage(what).hint("its ids are binary: use --framing length, tlv or fixed:N"))
            }
            framing if framing.max_message_len() < Message::HEAD_LEN => {
                let what = "a message in the message format has 9 bytes at least";
                Err(Failure::usage(what).hint("raise --max-message-len, or N of fixed:N"))
            }
            framing => Ok(framing),
        }
    }

    /// Tells whether heartbeats fit into its frames, which all have one length in `fixed:N`.
    pub(crate) fn carries_heartbeats(&self) -> bool {
        self.format == WireFormat::Message && !matches!(self.framing, AnyFraming::FixedSize(_))
    }

    /// The length that every payload must have, where the framing says so.
    pub(crate) fn fixed_payload_len(&self) -> Option<usize> {
        match &self.framing {
            AnyFraming::FixedSize(fixed) => Some(fixed.size().saturating_sub(self.format.head_len())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::parsed;

    fn wire(flags: &str) -> Wire {
        parsed(flags).expect(flags)
    }

    #[test]
    fn the_limit_is_that_of_the_framing_unless_set() {
        let max = |flags: &str| wire(flags).framing().expect(flags).max_message_len();
        assert_eq!(max(""), 1 << 20);
        assert_eq!(max("--max-message-len 64MiB"), 64 << 20);
        assert_eq!(max("--framing lines"), 4096);
        assert_eq!(max("--framing fixed:100 --max-message-len 64MiB"), 100);
    }

    #[test]
    fn the_message_format_is_refused_where_it_cannot_work() {
        for flags in ["--framing lines", "--framing none", "--framing fixed:8", "--framing delimiter:00"] {
            assert!(wire(flags).framing().is_ok(), "{flags}");
            assert!(wire(&format!("{flags} --format message")).framing().is_err(), "{flags}");
        }
        assert_eq!(wire("--framing fixed:64 --format message").fixed_payload_len(), Some(55));
        assert!(!wire("--framing fixed:64 --format message").carries_heartbeats());
    }
}
