//! Compression of messages, permessage-deflate. Source: RFC 7692.

mod compress;
mod config;
mod inflate;
mod lent;
mod negotiate;

pub(crate) use compress::Compressor;
pub use config::{DeflateConfig, DeflateMemory};
pub(crate) use inflate::Inflater;
pub use negotiate::DeflateInfo;
pub(crate) use negotiate::{NAME, Offered, accept};

/// What a compressor writes at the end of a message and what is not sent.
///
/// "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end." Source: RFC 7692 §7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// The smallest window of which zlib's compressor knows.
///
/// Of a window it leaves 262 bytes unused (`MIN_LOOKAHEAD`), so that with one of 512 bytes nothing points further back than
/// 250 bytes, and who has agreed on a window of 256 can read it.
const MIN_ZLIB_BITS: u8 = 9;
