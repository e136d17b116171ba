//! How messages are compressed.

/// How messages are compressed, and how much memory that may take.
///
/// # Examples
///
/// ```
/// use net_ws::{DeflateConfig, DeflateMemory, WsConfig};
///
/// // A server of a hundred thousand: nothing is held for compression between messages.
/// let deflate = DeflateConfig { memory: DeflateMemory::NoTakeover, ..DeflateConfig::default() };
/// let config = WsConfig { deflate: Some(deflate), ..WsConfig::default() };
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct DeflateConfig {
    /// How hard it tries, from 1 (fast) to 9 (small). Default: 3.
    pub level: u8,
    /// Messages below this length are sent as they are, in bytes; at least 1. Default: 256 bytes.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub min_len: usize,
    /// What is kept between messages. Default: [`DeflateMemory::Shared`].
    pub memory: DeflateMemory,
    /// How far back what this side sends may point, as a power of two, from 8 (256 bytes) to 15 (32 KiB). Default: 15.
    ///
    /// `server_max_window_bits` of a server, `client_max_window_bits` of a client. The peer may ask for less.
    pub send_window_bits: u8,
    /// How far back what the peer sends may point, from 8 to 15. Default: 15. It spares the peer memory: to read takes the same for each.
    ///
    /// A peer that knows nothing of `client_max_window_bits` cannot be held to it.
    pub recv_window_bits: u8,
}

/// What is kept between messages, to compress the next one the better.
///
/// The figures are for windows of 15 bits, measured by `tests/deflate_memory.rs`; a connection that has neither sent nor
/// received anything compressed holds nothing.
///
/// # Examples
///
/// ```
/// use net_ws::{DeflateConfig, DeflateMemory};
///
/// assert_eq!(DeflateConfig::default().memory, DeflateMemory::Shared);
/// // A few clients that send much of the same.
/// let dedicated = DeflateConfig { memory: DeflateMemory::Dedicated, ..DeflateConfig::default() };
/// # let _ = dedicated;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum DeflateMemory {
    /// Each connection keeps what it sent and what it received: smallest messages, most memory, 418 KiB a connection.
    Dedicated,
    /// What is sent is compressed by a compressor that all connections of a thread share, each message by itself
    /// (`no_context_takeover` of this side); what the peer sends may build on what it sent before, for
    /// which a connection keeps 47 KiB.
    #[default]
    Shared,
    /// Each message is by itself in both directions: nothing is held between messages, and 47 KiB inside one that comes in fragments.
    NoTakeover,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            level: 3,
            min_len: 256,
            memory: DeflateMemory::default(),
            send_window_bits: 15,
            recv_window_bits: 15,
        }
    }
}

impl DeflateConfig {
    /// Returns what is wrong with it.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if !(1..=9).contains(&self.level) {
            return Some("the level of compression is from 1 to 9");
        }
        if self.min_len == 0 {
            return Some("an empty message cannot be compressed: `min_len` is at least 1");
        }
        let bits = [self.send_window_bits, self.recv_window_bits];
        bits.iter().any(|bits| !(8..=15).contains(bits)).then_some("windows have from 8 to 15 bits")
    }
}
