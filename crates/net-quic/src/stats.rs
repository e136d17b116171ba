//! What happened on a session so far, as QUIC counts it.

use std::time::Duration;

use quinn::ConnectionStats;

/// What happened on a session so far.
///
/// # Examples
///
/// ```no_run
/// # fn example(session: net_quic::QuicSession) {
/// let stats = session.stats();
/// println!("{:?}, {} of {} packets lost", stats.round_trip, stats.lost_packets, stats.sent_packets);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuicStats {
    /// Smoothed RTT (RFC 9002 §5.3) of the present path.
    pub round_trip: Duration,
    /// The shortest round-trip time on the present path, without the peer's delay in acknowledging.
    pub min_round_trip: Duration,
    /// Congestion window (RFC 9002 §7), in bytes, on the present path.
    pub congestion_window: u64,
    /// How often congestion was found, on all paths of the connection.
    pub congestion_events: u64,
    /// Packets sent on all paths of the connection.
    pub sent_packets: u64,
    /// Packets lost on all paths of the connection, probes of a path's maximum not counted.
    pub lost_packets: u64,
    /// Bytes of the packets that were lost, on all paths of the connection.
    pub lost_bytes: u64,
    /// The longest datagram that the present path carries, in bytes, UDP's head not counted (RFC 8899).
    pub mtu: u16,
    /// How often a path had come to carry less than before, on all paths of the connection.
    pub black_holes: u64,
    /// UDP datagrams sent.
    pub udp_sent: u64,
    /// Bytes of UDP datagrams sent.
    pub bytes_sent: u64,
    /// UDP datagrams received.
    pub udp_received: u64,
    /// Bytes of UDP datagrams received.
    pub bytes_received: u64,
    /// The longest datagram (RFC 9221) that can be sent now, in bytes; `None` where one of the sides takes none.
    pub max_datagram_len: Option<usize>,
    /// Datagrams that were given to the network.
    pub datagrams_sent: u64,
    /// Datagrams that arrived.
    pub datagrams_received: u64,
    /// Datagrams that were not sent, for want of room.
    pub datagrams_refused: u64,
    /// Datagrams that arrived and had to make room before they were read; known whenever all others have been read.
    pub datagrams_unread: u64,
}

impl QuicStats {
    pub(crate) fn new(
        stats: &ConnectionStats,
        datagrams_refused: u64,
        datagrams_unread: u64,
        max_datagram_len: Option<usize>,
    ) -> Self {
        Self {
            round_trip: stats.path.rtt,
            min_round_trip: stats.path.min_rtt,
            congestion_window: stats.path.cwnd,
            congestion_events: stats.path.congestion_events,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            lost_bytes: stats.path.lost_bytes,
            mtu: stats.path.current_mtu,
            black_holes: stats.path.black_holes_detected,
            udp_sent: stats.udp_tx.datagrams,
            bytes_sent: stats.udp_tx.bytes,
            udp_received: stats.udp_rx.datagrams,
            bytes_received: stats.udp_rx.bytes,
            max_datagram_len,
            datagrams_sent: stats.frame_tx.datagram,
            datagrams_received: stats.frame_rx.datagram,
            datagrams_refused,
            datagrams_unread,
        }
    }
}
