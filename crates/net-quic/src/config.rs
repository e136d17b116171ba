//! How QUIC connections are made and accepted, and what they may take.

use std::{net::SocketAddr, time::Duration};

/// How QUIC connections are made and accepted, and what they may take.
///
/// A setting that contradicts another one, or is out of its range, is [`ErrorKind::InvalidConfig`] from the first use.
///
/// [`ErrorKind::InvalidConfig`]: net_core::ErrorKind::InvalidConfig
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_quic::{Congestion, QuicConfig};
///
/// let config = QuicConfig { congestion: Congestion::Bbr, ..QuicConfig::default() };
/// assert_eq!(config.retry_threshold, 128);
///
/// // A path of 1 Gbit/s and 80 ms: 10 MB are on their way at once, also while no more than 7/8 of the window are known.
/// let long = QuicConfig::default().for_path(125_000_000, Duration::from_millis(80));
/// assert!(long.stream_window - long.stream_window / 8 >= 10_000_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct QuicConfig {
    /// The protocols that ALPN (RFC 7301) offers and chooses from, the preferred first. Default: `net`.
    ///
    /// QUIC needs one (RFC 9001 §8.1); a list in the TLS settings is for TLS over TCP.
    pub alpn: Vec<String>,
    /// The address that clients send from; port 0 lets the system choose one. Default: the system's choice.
    ///
    /// A server of which every address is of the other family is [`ErrorKind::Unreachable`](net_core::ErrorKind::Unreachable).
    ///
    /// With any other port there is one socket: [`rebind`](crate::Quic::rebind), clients of a second runtime and of another
    /// [`Quic`](crate::Quic) get [`ErrorKind::AddressInUse`](net_core::ErrorKind::AddressInUse).
    pub bind: Option<SocketAddr>,
    /// How long connecting may take, name resolution, every address, the handshake (one with early data, too) and the stream
    /// of a message connection included; a listener's name resolution, too. Above 0. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub connect_timeout: Duration,
    /// How long one address is tried alone before the next one is tried beside it. Default: 250 ms.
    ///
    /// Source: RFC 8305 §5, "Connection Attempt Delay".
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub attempt_delay: Duration,
    /// After 50 ms without an answer, and then once a second, the host is asked by a datagram of one byte from another socket
    /// whether anybody listens: a closed port is told at once, not by the time-out. `false`: nothing but QUIC is sent.
    /// Default: true.
    pub ask_closed_ports: bool,
    /// Max idle timeout (RFC 9000 §10.1): how long a connection may be silent before it is broken; the shorter of both sides'
    /// counts. From 1 ms on. `None`: this side sets no limit; with none on either side a peer that vanishes is never noticed.
    /// Default: 60 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde::option"))]
    pub idle_timeout: Option<Duration>,
    /// After what silence a client asks its server for a sign of life by a PING (RFC 9000 §19.2); from 1 ms on, and shorter
    /// than the idle time-out, or it is of no use. `None`: no PING is sent. Default: 20 s, less than most NATs forget a
    /// mapping in.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde::option"))]
    pub keepalive_interval: Option<Duration>,
    /// How long a connection that was dropped goes on to deliver what was flushed, while its runtime runs. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub close_timeout: Duration,
    /// The kernel's send buffer, in bytes (`SO_SNDBUF`). Default: the system's.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub send_buffer_len: Option<usize>,
    /// The kernel's receive buffer, in bytes (`SO_RCVBUF`), of which the system gives as much as it allows
    /// (`net.core.rmem_max`). Default: 1 MiB, since one socket receives for every connection of a listener, or of a client.
    ///
    /// What a busy thread has yet to take waits here: in too little of it packets are lost, in too much they have left the
    /// caches when they are taken. Of 208 KiB to 4 MiB, this took the least CPU a byte.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub recv_buffer_len: Option<usize>,
    /// Bytes that a sender of messages gathers before a message waits; one message always fits. Default: 256 KiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub max_buffered: usize,
    /// What a peer may send on one stream before it is read, in bytes. Default: 4 MiB: 290 Mbit/s at a round trip of
    /// 100 ms; see [`for_path`](Self::for_path).
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub stream_window: usize,
    /// What a peer may send on all streams of a connection before it is read, in bytes. Default: 8 MiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub connection_window: usize,
    /// What is kept of a connection's sent bytes until they are acknowledged; more than that waits. Default: 8 MiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub send_window: usize,
    /// How many bidirectional streams a peer may have open at once; 0: none. Default: 128.
    pub max_bidi_streams: u32,
    /// How many unidirectional streams a peer may have open at once; 0: none. Default: 128.
    pub max_uni_streams: u32,
    /// Datagrams (RFC 9221) that wait to be read, in bytes; the oldest make room. `None`: none are received, and none
    /// can be sent. From 2 KiB and from 32 bytes more than `max_mtu` on, so that the longest datagram fits. Default: 256 KiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub datagram_recv_buffer_len: Option<usize>,
    /// Datagrams that wait to be sent, in bytes. From 2 KiB and from 32 bytes more than `max_mtu` on, unless datagrams are off.
    /// Default: 256 KiB.
    #[cfg_attr(feature = "serde", serde(with = "net_core::size"))]
    pub datagram_send_buffer_len: usize,
    /// The congestion control algorithm. Default: CUBIC.
    pub congestion: Congestion,
    /// The longest datagram that is sent before the path is known, in bytes, UDP's head not counted. From 1200 to 65527; a
    /// path that does not carry as much loses the handshake. Default: 1200.
    pub initial_mtu: u16,
    /// Upper bound of path MTU discovery (DPLPMTUD, RFC 8899), in bytes, UDP's head not counted; `None`: no discovery. From
    /// `initial_mtu` to 65527. Default: 1452, which Ethernet carries.
    ///
    /// It is what this side takes, too, 1472 at the least. A peer that takes less is sent less, so both sides set it. Above
    /// 1472 the buffer of a socket grows by 2048 times the difference where the system joins datagrams (UDP GRO).
    pub max_mtu: Option<u16>,
    /// Several datagrams leave by one system call where the system can (UDP GSO). Default: true.
    pub segmentation_offload: bool,
    /// A server goes on with clients whose address changes (RFC 9000 §9). Default: true.
    pub migration: bool,
    /// Lets other sockets of this user listen at the same address (`SO_REUSEPORT`). The kernel chooses among them by the
    /// client's address, so a client whose address changes would reach another one: not with `migration`. Default: false.
    pub reuse_port: bool,
    /// From this many handshakes with unvalidated addresses on, a client must validate its address by Retry (RFC 9000 §8.1.2):
    /// show that it receives there; 0: each must. Default: 128.
    ///
    /// It is half of [`Limits::max_handshakes`](net_core::Limits::max_handshakes), above which the oldest handshake gives way:
    /// the other half is for clients that have shown their address, whom a flood from spoofed ones then does not displace.
    /// Who sets one of them sets both.
    pub retry_threshold: usize,
    /// How many clients may wait for a listener to look at them, before they are among its handshakes; more are not heard, and
    /// try again. Above 0. Default: 1024.
    pub max_incoming: usize,
    /// Data may travel in the first flight of a resumed session (0-RTT), where an attacker can repeat it. Default: false.
    ///
    /// A client sends it by [`Quic::connect_early`](crate::Quic::connect_early) alone. A server's
    /// [`QuicSessions`](crate::QuicSessions) give the session of a client that resumes with it while the handshake runs, and
    /// tell of each stream whether it [is early](crate::RecvStream::is_early).
    pub early_data: bool,
}

/// The congestion control algorithm.
///
/// # Examples
///
/// ```
/// use net_quic::{Congestion, QuicConfig};
///
/// let config = QuicConfig { congestion: Congestion::NewReno, ..QuicConfig::default() };
/// assert_ne!(config.congestion, Congestion::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Congestion {
    /// CUBIC (RFC 9438): losses are signs of congestion; quick to use long paths.
    #[default]
    Cubic,
    /// `NewReno` (RFC 9002 §7): losses are signs of congestion; slow on long paths.
    NewReno,
    /// BBR: sends as fast as what arrives says, whatever is lost. Experimental.
    Bbr,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self {
            alpn: vec!["net".to_owned()],
            bind: None,
            connect_timeout: Duration::from_secs(10),
            attempt_delay: Duration::from_millis(250),
            ask_closed_ports: true,
            idle_timeout: Some(Duration::from_mins(1)),
            keepalive_interval: Some(Duration::from_secs(20)),
            close_timeout: Duration::from_secs(10),
            send_buffer_len: None,
            recv_buffer_len: Some(1 << 20),
            max_buffered: 256 * 1024,
            stream_window: 4 << 20,
            connection_window: 8 << 20,
            send_window: 8 << 20,
            max_bidi_streams: 128,
            max_uni_streams: 128,
            datagram_recv_buffer_len: Some(256 * 1024),
            datagram_send_buffer_len: 256 * 1024,
            congestion: Congestion::default(),
            initial_mtu: 1200,
            max_mtu: Some(1452),
            segmentation_offload: true,
            migration: true,
            reuse_port: false,
            retry_threshold: 128,
            max_incoming: 1024,
            early_data: false,
        }
    }
}

impl QuicConfig {
    /// Sizes the windows for a path that carries `bytes_per_second` and takes `round_trip`, so that they do not keep one stream
    /// from filling it where what arrives is read at once; congestion control and losses may.
    ///
    /// Room is told an eighth of a window at a time, so a window is 8/7 of what is on its way.
    #[must_use]
    pub fn for_path(self, bytes_per_second: u64, round_trip: Duration) -> Self {
        let on_its_way = u128::from(bytes_per_second).saturating_mul(round_trip.as_micros()) / 1_000_000;
        let window = (on_its_way.saturating_mul(8) / 7).saturating_add(1);
        let stream_window = usize::try_from(window).unwrap_or(usize::MAX).max(64 * 1024);
        let connection_window = stream_window.saturating_mul(2);
        Self { stream_window, connection_window, send_window: connection_window, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_that_is_known_at_the_least_is_what_is_on_its_way() {
        for (rate, round_trip) in
            [(125_000_000, 80), (1_250_000_000, 3), (1_000_003, 777), (10_000_000_000, 300)]
        {
            let config = QuicConfig::default().for_path(rate, Duration::from_millis(round_trip));
            let on_its_way = usize::try_from(rate * round_trip / 1000).expect("64 bits");
            assert!(config.stream_window - config.stream_window / 8 >= on_its_way, "{config:?}");
            assert!(config.connection_window >= config.stream_window);
            assert!(config.send_window >= config.stream_window);
        }
        let longest = QuicConfig::default().for_path(u64::MAX, Duration::MAX);
        assert_eq!(longest.stream_window, usize::MAX);
        assert!(QuicConfig::default().for_path(1, Duration::ZERO).stream_window >= 64 * 1024);
    }
}
