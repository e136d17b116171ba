//! How datagrams are sent and received, and how many sessions a listener keeps.

use std::{net::SocketAddr, time::Duration};

use net_core::{Error, ErrorKind, Result};

/// The longest payload over IPv4: what the length field of the IP header leaves, less its 20 bytes and 8 for UDP.
pub(crate) const MAX_V4_LEN: usize = 65_507;
/// The longest payload over IPv6, whose length field does not count the IP header.
pub(crate) const MAX_V6_LEN: usize = 65_527;
/// The highest code point: it has six bits.
pub(crate) const MAX_DSCP: u8 = 63;

/// How datagrams are sent and received, and how many sessions a listener keeps.
///
/// A setting that means nothing is [`ErrorKind::InvalidConfig`] from the first use, with the name of the field: a code point
/// above 63, no time at all, no session at all.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_udp::UdpConfig;
///
/// let config = UdpConfig {
///     // What every path carries in one piece.
///     max_message_len: 1_200,
///     dont_fragment: true,
///     idle_timeout: Duration::from_secs(300),
///     ..UdpConfig::default()
/// };
/// assert_eq!(config.max_amplification, Some(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent options, each named")]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct UdpConfig {
    /// The longest message, in bytes, up to 65 527; longer datagrams that arrive are dropped and counted.
    /// Default: 65 507, the longest that IPv4 carries; IPv6 carries 20 more.
    ///
    /// A datagram that is longer than the path's unit travels in fragments and is lost with each one of them. Up to 1 232
    /// bytes travel in one piece over every IPv6 path, up to 1 472 over Ethernet with IPv4.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_message_len: usize,
    /// Forbids fragments: a datagram that is too long for the path is dropped and counted. Default: false.
    pub dont_fragment: bool,
    /// How datagrams are to be treated on their way, from 0 to 63 (DSCP, RFC 2474). Default: 0, best effort.
    pub dscp: u8,
    /// The kernel's send buffer, in bytes (`SO_SNDBUF`). Default: the system's.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub send_buffer_len: Option<usize>,
    /// The kernel's receive buffer, in bytes (`SO_RCVBUF`), of which the system gives as much as it allows
    /// (`net.core.rmem_max`). Default: 4 MiB, since one socket receives for every session of a listener.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub recv_buffer_len: Option<usize>,
    /// The address that clients send from; port 0 lets the system choose one. Default: the system's choice.
    pub bind: Option<SocketAddr>,
    /// Serves IPv6 alone at the IPv6 wildcard address, which serves IPv4, too, unless set. Default: false.
    pub only_v6: bool,
    /// Lets other sockets listen at the same address and port (`SO_REUSEADDR`), each of which receives every multicast
    /// datagram. Default: false.
    pub reuse_address: bool,
    /// Lets other sockets of this user listen at the same address (`SO_REUSEPORT`): the system spreads peers over
    /// them. Default: false.
    ///
    /// Several listeners of one process need no setting: `listen_many` shares the address among them.
    pub reuse_port: bool,
    /// How long connecting and listening may take: the resolution of a name. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub connect_timeout: Duration,
    /// Bytes that a sender, and a listener for all of its sessions together, accepts before the system takes them; one
    /// message always fits. Default: 256 KiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_buffered: usize,
    /// Sessions that a listener keeps at once. Default: 10 000.
    ///
    /// Where all are taken, a new one displaces the oldest of those that were heard once alone, as forged sources are;
    /// where there is none, its datagrams are dropped and counted. So it is where [`Limits::max_connections`], which all listeners
    /// of a server share, is reached before.
    ///
    /// Whoever holds the halves of a session that has ended keeps its memory: while 1 024 such are held, no other one is displaced.
    ///
    /// [`Limits::max_connections`]: net_core::Limits::max_connections
    pub max_sessions: usize,
    /// New sessions that wait to be accepted; datagrams of further new peers are dropped and counted. Default: 1024.
    pub backlog: usize,
    /// A session of which nothing arrived for this long ends, since UDP does not tell when a peer leaves.
    /// Default: 2 min.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub idle_timeout: Duration,
    /// Datagrams that wait for a session to take them; more are dropped and counted. Default: 256.
    ///
    /// A receiver takes all that wait, so that as many again may be in it.
    pub max_queued: usize,
    /// Bytes that wait for a session to take them; one datagram always fits. Default: 256 KiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_queued_len: usize,
    /// Bytes that wait for all sessions of a listener together; what a receiver has taken waits until it has given the last of
    /// what it took with it. Default: 64 MiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_queued_total_len: usize,
    /// How many times as much as came from a peer a listener sends to it, headers counted, until the peer has proved its
    /// address; more is dropped and counted. Default: 1.
    ///
    /// The source address of a datagram can be forged, and a server that answers with more than it was sent is a weapon
    /// against whoever has that address. When a peer has answered what only its address could have heard, tell so by
    /// [`UdpPeer::prove`](crate::UdpPeer::prove). `None` lifts the bound: for networks in which nobody can forge an
    /// address.
    pub max_amplification: Option<u32>,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            max_message_len: MAX_V4_LEN,
            dont_fragment: false,
            dscp: 0,
            send_buffer_len: None,
            recv_buffer_len: Some(4 << 20),
            bind: None,
            only_v6: false,
            reuse_address: false,
            reuse_port: false,
            connect_timeout: Duration::from_secs(10),
            max_buffered: 256 * 1024,
            max_sessions: 10_000,
            backlog: 1024,
            idle_timeout: Duration::from_mins(2),
            max_queued: 256,
            max_queued_len: 256 * 1024,
            max_queued_total_len: 64 << 20,
            max_amplification: Some(1),
        }
    }
}

impl UdpConfig {
    /// Checks what its types do not exclude.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        let fault = if self.dscp > MAX_DSCP {
            "dscp is more than 63"
        } else if self.connect_timeout.is_zero() {
            "connect_timeout is no time"
        } else if self.idle_timeout.is_zero() {
            "idle_timeout is no time"
        } else if self.max_sessions == 0 {
            "max_sessions is none"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidConfig, operation).because(fault))
    }

    /// Returns the longest message that the protocol allows.
    pub(crate) fn max_message_len(&self) -> usize {
        self.max_message_len.min(MAX_V6_LEN)
    }
}
