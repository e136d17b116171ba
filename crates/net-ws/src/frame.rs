//! Frames: their heads, and the mask over what clients send. No I/O, no state.
//!
//! ```text
//!  0               1               2               3
//!  7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| length (7)  | length, 16 bits where 126     |
//! |I|S|S|S|       |A|             | 64 bits where 127             |
//! |N|V|V|V|       |S|             |                               |
//! | |1|2|3|       |K|             | then the key of 4 bytes       |
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! ```

use bytes::{BufMut, BytesMut};

use crate::{Kind, error::ProtocolError};

mod mask;

pub(crate) use mask::{Key, apply};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV: u8 = 0x70;
const MASK: u8 = 0x80;
/// The length stands in two bytes of its own.
const MEDIUM: u8 = 126;
/// The length stands in eight bytes of its own.
const LONG: u8 = 127;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
/// The longest payload of a control frame.
///
/// "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented." Source: RFC 6455 §5.5.
pub(crate) const MAX_CONTROL_LEN: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Data(Kind),
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            TEXT => Self::Data(Kind::Text),
            BINARY => Self::Data(Kind::Binary),
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            // "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
            // Source: RFC 6455 §5.2.
            unknown => return Err(ProtocolError::Opcode(unknown)),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Data(Kind::Text) => TEXT,
            Self::Data(Kind::Binary) => BINARY,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last frame of its message.
    pub(crate) last: bool,
    /// The first frame of a compressed message (RFC 7692 §6).
    pub(crate) compressed: bool,
    pub(crate) opcode: Opcode,
    /// What the payload is masked with.
    pub(crate) key: Option<Key>,
    pub(crate) payload_len: u64,
}

/// What is known of the head that a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The head, and how long it is.
    Whole(Head, usize),
    /// So many bytes more are needed at least.
    Missing(usize),
}

impl Head {
    /// Reads the head that `input` begins with. What is wrong is told as soon as the byte is there that is wrong.
    pub(crate) fn parse(input: &[u8], deflates: bool) -> Result<Parsed, ProtocolError> {
        let Some(&first) = input.first() else { return Ok(Parsed::Missing(2)) };
        // "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values." Source: RFC 6455 §5.2.
        if first & RSV & !(if deflates { RSV1 } else { 0 }) != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0F)?;
        let (last, compressed) = (first & FIN != 0, first & RSV1 != 0);
        if opcode.is_control() && !last {
            return Err(ProtocolError::FragmentedControl);
        }
        // "An endpoint MUST NOT set the 'Per-Message Compressed' bit of control frames and non-first fragments of a data
        // message." Source: RFC 7692 §6.1.
        if compressed && !matches!(opcode, Opcode::Data(_)) {
            return Err(ProtocolError::ReservedBits);
        }
        let Some(&second) = input.get(1) else { return Ok(Parsed::Missing(1)) };
        let masked = second & MASK != 0;
        let short = second & !MASK;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_LEN {
            return Err(ProtocolError::LongControl);
        }
        let key_at = 2 + match short {
            MEDIUM => 2,
            LONG => 8,
            _ => 0,
        };
        let len = key_at + if masked { 4 } else { 0 };
        let Some(rest) = input.get(2..len) else { return Ok(Parsed::Missing(len - input.len())) };
        // "The minimal number of bytes MUST be used to encode the length." Source: RFC 6455 §5.2.
        let long = || Some((u64::from_be_bytes(*rest.first_chunk()?), rest.get(8..)?));
        let medium = || Some((u64::from(u16::from_be_bytes(*rest.first_chunk()?)), rest.get(2..)?));
        let (payload_len, rest) = match short {
            MEDIUM => medium(),
            LONG => long(),
            _ => None,
        }
        .unwrap_or_else(|| (short.into(), rest));
        let minimal = match short {
            MEDIUM => payload_len > 125,
            // "the most significant bit MUST be 0".
            LONG => payload_len > u64::from(u16::MAX) && payload_len >> 63 == 0,
            _ => true,
        };
        if !minimal {
            return Err(ProtocolError::Length(payload_len));
        }
        let key = rest.first_chunk().filter(|_| masked).map(|key| Key::new(*key));
        Ok(Parsed::Whole(Self { last, compressed, opcode, key, payload_len }, len))
    }

    /// Appends this head to `out`.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    #[allow(clippy::cast_possible_truncation, reason = "each arm has looked at the length")]
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let first =
            self.opcode.bits() | if self.last { FIN } else { 0 } | if self.compressed { RSV1 } else { 0 };
        let mask = if self.key.is_some() { MASK } else { 0 };
        match self.payload_len {
            len @ ..=125 => out.put_slice(&[first, mask | len as u8]),
            len @ 126..=0xFFFF => {
                let [a, b] = (len as u16).to_be_bytes();
                out.put_slice(&[first, mask | MEDIUM, a, b]);
            }
            len => {
                out.put_slice(&[first, mask | LONG]);
                out.put_u64(len);
            }
        }
        if let Some(key) = self.key {
            out.put_slice(&key.bytes());
        }
    }
}

/// A data frame that stands whole at the start of `input` and needs nothing but its mask taken off: not compressed, no
/// fragment, its length in at most two bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    pub(crate) kind: Kind,
    pub(crate) head_len: usize,
    pub(crate) payload_len: usize,
    pub(crate) key: Option<Key>,
}

impl Plain {
    /// Finds one; `None` says that somebody else has to look.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is part of the path of every message")]
    pub(crate) fn find(input: &[u8], masked: bool) -> Option<Self> {
        let (&[first, second], rest) = input.split_first_chunk()?;
        let kind = match first {
            first if first == FIN | BINARY => Kind::Binary,
            first if first == FIN | TEXT => Kind::Text,
            _ => return None,
        };
        if (second & MASK != 0) != masked {
            return None;
        }
        let (payload_len, rest) = match second & !MASK {
            LONG => return None,
            MEDIUM => {
                let (&len, rest) = rest.split_first_chunk()?;
                let len = u16::from_be_bytes(len);
                if len < 126 {
                    return None;
                }
                (usize::from(len), rest)
            }
            len => (usize::from(len), rest),
        };
        let (key, rest) = if masked {
            let (&key, rest) = rest.split_first_chunk()?;
            (Some(Key::new(key)), rest)
        } else {
            (None, rest)
        };
        let head_len = input.len() - rest.len();
        (payload_len <= rest.len()).then_some(Self { kind, head_len, payload_len, key })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heads() -> impl Strategy<Value = Head> {
        let opcode = prop_oneof![
            Just(Opcode::Continuation),
            Just(Opcode::Data(Kind::Text)),
            Just(Opcode::Data(Kind::Binary)),
            Just(Opcode::Close),
            Just(Opcode::Ping),
            Just(Opcode::Pong),
        ];
        let len = prop_oneof![0..=125_u64, 126..=65_535_u64, 65_536..=u64::MAX >> 1];
        (any::<bool>(), any::<bool>(), opcode, any::<Option<[u8; 4]>>(), len).prop_map(
            |(last, compressed, opcode, key, len)| Head {
                last: last || opcode.is_control(),
                compressed: compressed && matches!(opcode, Opcode::Data(_)),
                opcode,
                key: key.map(Key::new),
                payload_len: if opcode.is_control() { len % 126 } else { len },
            },
        )
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written_and_never_before_it_is_whole(head in heads()) {
            let mut wire = BytesMut::new();
            head.encode(&mut wire);
            prop_assert!(wire.len() <= 14);
            prop_assert_eq!(Head::parse(&wire, true), Ok(Parsed::Whole(head, wire.len())));
            for end in 0..wire.len() {
                let Ok(Parsed::Missing(missing)) = Head::parse(&wire[..end], true) else {
                    panic!("{end} bytes of {} are no head", wire.len());
                };
                prop_assert!(missing > 0 && end + missing <= wire.len());
            }
        }

        #[test]
        fn what_is_plain_is_what_the_head_says(head in heads(), masked: bool) {
            let mut wire = BytesMut::new();
            head.encode(&mut wire);
            let head_len = wire.len();
            wire.resize(head_len + usize::try_from(head.payload_len).unwrap_or(0).min(70_000), 0);
            if let Some(plain) = Plain::find(&wire, masked) {
                prop_assert!(head.last && !head.compressed);
                prop_assert_eq!(head.opcode, Opcode::Data(plain.kind));
                prop_assert_eq!((plain.head_len, plain.payload_len as u64), (head_len, head.payload_len));
                prop_assert_eq!(plain.key, head.key);
            }
        }

        #[test]
        fn garbage_is_no_panic(input: Vec<u8>, deflates: bool, masked: bool) {
            let _ = Head::parse(&input, deflates);
            let _ = Plain::find(&input, masked);
        }
    }

    #[test]
    fn a16_what_the_rfc_forbids_is_refused() {
        let parse = |bytes: &[u8]| Head::parse(bytes, false).expect_err("forbidden");
        assert_eq!(parse(&[0xC1, 0x00]), ProtocolError::ReservedBits);
        assert_eq!(parse(&[0x91, 0x00]), ProtocolError::ReservedBits);
        assert_eq!(parse(&[0x83]), ProtocolError::Opcode(3));
        assert_eq!(parse(&[0x8B]), ProtocolError::Opcode(0xB));
        assert_eq!(parse(&[0x09]), ProtocolError::FragmentedControl);
        assert_eq!(parse(&[0x89, 126]), ProtocolError::LongControl);
        assert_eq!(parse(&[0x82, 126, 0, 125]), ProtocolError::Length(125));
        assert_eq!(parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), ProtocolError::Length(0xFFFF));
        let compressed = |bytes: &[u8]| Head::parse(bytes, true).expect_err("forbidden");
        assert_eq!(compressed(&[0xC9, 0x00]), ProtocolError::ReservedBits);
        assert_eq!(compressed(&[0xC0, 0x00]), ProtocolError::ReservedBits);
    }

    #[test]
    fn d10_a_length_of_2_to_the_64_less_1_is_an_error() {
        let frame = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
        assert_eq!(Head::parse(&frame, false), Err(ProtocolError::Length(u64::MAX)));
    }
}
