//! How WebSocket connections are made, and what they may take.

use std::time::Duration;

use net_tcp::stream::TcpConfig;

use crate::{DeflateConfig, SendAs};

/// How WebSocket connections are made, and what they may take.
///
/// # Examples
///
/// ```
/// use net_ws::WsConfig;
///
/// let config = WsConfig { max_message_len: 64 << 20, ..WsConfig::default() };
/// assert_eq!(config.frame_limit(), 64 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct WsConfig {
    /// The TCP connections below.
    pub tcp: TcpConfig,
    /// The longest message in either direction, in bytes, and the longest that comes out of a compressed one; of one that is sent or
    /// received fragment by fragment it is the longest fragment. Default: 1 MiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_message_len: usize,
    /// The longest frame that is received, in bytes. Default: that of a message.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_frame_len: Option<usize>,
    /// Into how many fragments a message may be cut that is received whole. Default: one for each 16 bytes of the longest
    /// message, and at least 1 024.
    pub max_fragments: Option<usize>,
    /// The longest head of a handshake, request or response, in bytes. Default: 32 KiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_head_len: usize,
    /// Offers compression as a client, and accepts it as a server. Default: on.
    pub deflate: Option<DeflateConfig>,
    /// What messages are sent as that come without a kind. Default: binary.
    pub send_as: SendAs,
    /// How often it is looked at whether anything has come from the peer, which is asked by a ping whether it is still there
    /// where nothing has: after a silence of one to two intervals. Default: 60 s; half of `idle_timeout` where that is shorter.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde::option"))]
    pub ping_interval: Option<Duration>,
    /// After how long a silence the peer is given up, rounded up to whole intervals of pings, and at most one interval later.
    /// Default: 120 s, so that it is given up after 120 to 180 s, asked at least once. Without pings it is looked at once in this time.
    ///
    /// It is looked at while somebody receives.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde::option"))]
    pub idle_timeout: Option<Duration>,
    /// How many pings of the peer a second are answered; a peer that sends more is closed with code 1008. Default: 100.
    pub max_pings_per_second: u32,
    /// How long a client waits for its handshake, beside the [`connect_timeout`](TcpConfig::connect_timeout): both together are the
    /// deadline of connecting, proxy, TLS and redirects included. Default: 10 s.
    ///
    /// A server's handshakes have the deadline of [`Limits`](net_core::Limits).
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub handshake_timeout: Duration,
    /// How long a peer that broke the protocol, or whose handshake was refused, has to end the connection, once it was told why; and
    /// how long a client waits for the body of a [`Refusal`](crate::Refusal). Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub close_timeout: Duration,
    /// How many redirects a client follows; one more is a [`Refusal`](crate::Refusal). Default: 0.
    ///
    /// Sub-protocols are asked for wherever they lead, also where one holds a secret.
    pub max_redirects: u32,
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            tcp: TcpConfig::default(),
            max_message_len: 1 << 20,
            max_frame_len: None,
            max_fragments: None,
            max_head_len: 32 * 1024,
            deflate: Some(DeflateConfig::default()),
            send_as: SendAs::default(),
            ping_interval: Some(Duration::from_mins(1)),
            idle_timeout: Some(Duration::from_mins(2)),
            max_pings_per_second: 100,
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(1),
            max_redirects: 0,
        }
    }
}

impl WsConfig {
    /// Returns the longest frame that is received, in bytes.
    pub fn frame_limit(&self) -> usize {
        self.max_frame_len.unwrap_or(self.max_message_len)
    }

    /// Returns into how many fragments a message may be cut that is received.
    pub fn fragment_limit(&self) -> usize {
        self.max_fragments.unwrap_or_else(|| (self.max_message_len / 16).max(1024))
    }

    /// Looks for what its types do not exclude: intervals of no time, and settings of compression that there are not.
    ///
    /// # Errors
    ///
    /// What is wrong. [`connect`](net_core::Transport::connect) and [`listen`](net_core::Transport::listen) give it as
    /// [`ErrorKind::InvalidConfig`](net_core::ErrorKind::InvalidConfig).
    pub fn check(&self) -> Result<(), &'static str> {
        let zero = |duration: Option<Duration>| duration.is_some_and(|duration| duration.is_zero());
        if zero(self.ping_interval) || zero(self.idle_timeout) {
            return Err("an interval of no time");
        }
        if self.max_pings_per_second == 0 {
            return Err("a peer must be allowed to ping");
        }
        self.deflate.as_ref().and_then(DeflateConfig::fault).map_or(Ok(()), Err)
    }
}
