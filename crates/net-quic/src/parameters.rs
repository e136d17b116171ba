//! The configuration as quinn takes it, checked.

use std::{sync::Arc, time::Duration};

use net_core::{Error, ErrorKind, Result};
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, Side, TransportConfig, VarInt, congestion};

use crate::{Congestion, QuicConfig};

/// The version that is spoken: 1 (RFC 9000).
pub(crate) const VERSION: u32 = 1;
/// The least that a datagram of QUIC is long enough for (RFC 9000 §14).
const MIN_MTU: u16 = 1200;
/// The least room for datagrams that wait.
const MIN_DATAGRAM_BUFFER: usize = 2048;
/// What quinn counts for a datagram besides its bytes.
const DATAGRAM_OVERHEAD: usize = 32;
/// What every endpoint takes: what Ethernet carries in an IPv4 packet.
const ETHERNET_MTU: u16 = 1472;

/// What the streams of a session are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Whatever the peer opens within the limits.
    Streams,
    /// Messages on every bidirectional stream that the client opens.
    MessageStreams,
    /// Messages: one stream, which the client opens.
    Messages,
    /// Datagrams alone.
    Datagrams,
}

/// Refuses what contradicts itself.
pub(crate) fn check(config: &QuicConfig) -> Result<()> {
    if config.migration && config.reuse_port {
        return Err(mistake(
            "reuse_port and migration exclude each other: the kernel chooses among sockets of one port by the client's \
             address",
        ));
    }
    if config.alpn.is_empty() || config.alpn.iter().any(|name| name.is_empty() || name.len() > 255) {
        return Err(mistake("alpn: QUIC needs a protocol (RFC 9001 §8.1), each of 1 to 255 bytes"));
    }
    if config.initial_mtu < MIN_MTU || config.max_mtu.is_some_and(|max| max < config.initial_mtu) {
        return Err(mistake("initial_mtu is at least 1200, and max_mtu at least initial_mtu"));
    }
    if config.stream_window == 0 || config.connection_window == 0 || config.send_window == 0 {
        return Err(mistake("a window of 0 lets nothing through"));
    }
    // A peer is told of room for the bytes alone: one that uses it all would break the protocol, in quinn's eyes.
    let longest = usize::from(config.max_mtu.unwrap_or(config.initial_mtu)) + DATAGRAM_OVERHEAD;
    if let Some(len) = config.datagram_recv_buffer_len
        && len.min(config.datagram_send_buffer_len) < longest.max(MIN_DATAGRAM_BUFFER)
    {
        return Err(mistake(
            "datagram_recv_buffer_len and datagram_send_buffer_len are at least 2048, and 32 more than max_mtu",
        ));
    }
    // Less would be never to quinn, or all the time.
    let is_too_short = |time: Option<Duration>| time.is_some_and(|time| time < Duration::from_millis(1));
    if is_too_short(config.idle_timeout) || is_too_short(config.keepalive_interval) {
        return Err(mistake("idle_timeout and keepalive_interval are at least 1 ms"));
    }
    if config.connect_timeout.is_zero() || config.max_incoming == 0 {
        return Err(mistake("connect_timeout and max_incoming are above 0, or nobody ever connects"));
    }
    if let (Some(idle), Some(interval)) = (config.idle_timeout, config.keepalive_interval)
        && interval >= idle
    {
        return Err(mistake("keepalive_interval is shorter than idle_timeout, or it is of no use"));
    }
    Ok(())
}

/// Returns the parameters of a connection.
///
/// # Errors
///
/// As [`check`].
pub(crate) fn transport(config: &QuicConfig, side: Side, purpose: Purpose) -> Result<Arc<TransportConfig>> {
    check(config)?;
    let (bidi, uni) = match (purpose, side) {
        (Purpose::Streams, _) => (config.max_bidi_streams, config.max_uni_streams),
        (Purpose::MessageStreams, Side::Server) => (config.max_bidi_streams, 0),
        (Purpose::Messages, Side::Server) => (1, 0),
        (Purpose::Messages | Purpose::MessageStreams, Side::Client) | (Purpose::Datagrams, _) => (0, 0),
    };
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(bidi.into())
        .max_concurrent_uni_streams(uni.into())
        .max_idle_timeout(config.idle_timeout.map(idle).transpose()?)
        // One side is enough; a server would pay for all its clients.
        .keep_alive_interval(config.keepalive_interval.filter(|_| side.is_client()))
        .stream_receive_window(window(config.stream_window))
        .receive_window(window(config.connection_window))
        .send_window(config.send_window as u64)
        .datagram_receive_buffer_size(config.datagram_recv_buffer_len)
        .datagram_send_buffer_size(config.datagram_send_buffer_len)
        .initial_mtu(config.initial_mtu)
        .mtu_discovery_config(config.max_mtu.map(|max| {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery.upper_bound(max);
            discovery
        }))
        .enable_segmentation_offload(config.segmentation_offload)
        .congestion_controller_factory(match config.congestion {
            Congestion::Cubic => Arc::new(congestion::CubicConfig::default()),
            Congestion::NewReno => Arc::new(congestion::NewRenoConfig::default()),
            Congestion::Bbr => Arc::new(congestion::BbrConfig::default()),
        });
    Ok(Arc::new(transport))
}

/// Returns the parameters of a socket.
///
/// # Errors
///
/// [`ErrorKind::InvalidConfig`] where a datagram would be longer than UDP can say.
pub(crate) fn endpoint(config: &QuicConfig) -> Result<EndpointConfig> {
    // A peer sends no more than it is told. quinn reads into up to 2048 times as much, so it is no more than is asked for.
    let longest = config.max_mtu.unwrap_or(0).max(config.initial_mtu).max(ETHERNET_MTU);
    let mut endpoint = EndpointConfig::default();
    let taken = endpoint.max_udp_payload_size(longest).map(drop);
    taken.map_err(|_| mistake("initial_mtu and max_mtu are 65527 at the most"))?;
    // quinn speaks drafts, too, unless told.
    endpoint.supported_versions(vec![VERSION]);
    Ok(endpoint)
}

fn idle(timeout: Duration) -> Result<IdleTimeout> {
    IdleTimeout::try_from(timeout).map_err(|_| mistake("idle_timeout is longer than QUIC can say"))
}

fn window(bytes: usize) -> VarInt {
    VarInt::try_from(bytes).unwrap_or(VarInt::MAX)
}

fn mistake(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig, "configure QUIC").because(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &QuicConfig) -> String {
        let error = transport(config, Side::Server, Purpose::Streams).expect_err("a contradiction");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.report()
    }

    #[test]
    fn q3_several_sockets_on_one_port_exclude_migration() {
        let both = QuicConfig { migration: true, reuse_port: true, ..QuicConfig::default() };
        assert!(refused(&both).contains("exclude each other"));
        assert!(check(&QuicConfig { migration: false, ..both }).is_ok());
    }

    #[test]
    fn an_endpoint_takes_what_its_settings_say_and_ethernet_at_the_least() {
        for (initial_mtu, max_mtu, taken) in [
            (1200, Some(1452), 1472),
            (1200, None, 1472),
            (1200, Some(9000), 9000),
            (4000, None, 4000),
            (1200, Some(65_527), 65_527),
        ] {
            let config = QuicConfig { initial_mtu, max_mtu, ..QuicConfig::default() };
            assert_eq!(endpoint(&config).expect("settings").get_max_udp_payload_size(), taken);
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let config = QuicConfig::default;
        assert!(check(&config()).is_ok());
        assert!(refused(&QuicConfig { alpn: Vec::new(), ..config() }).contains("alpn"));
        assert!(refused(&QuicConfig { alpn: vec!["x".repeat(256)], ..config() }).contains("alpn"));
        assert!(refused(&QuicConfig { initial_mtu: 1199, ..config() }).contains("1200"));
        assert!(
            refused(&QuicConfig { initial_mtu: 1400, max_mtu: Some(1300), ..config() }).contains("max_mtu")
        );
        for mtus in [(1200, Some(65_528)), (65_528, None)] {
            let (initial_mtu, max_mtu) = mtus;
            let error = endpoint(&QuicConfig { initial_mtu, max_mtu, ..config() }).expect_err("too long");
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        }
        assert!(refused(&QuicConfig { stream_window: 0, ..config() }).contains("window"));
        for (len, mtu, is_enough) in
            [(2047, 1452, false), (2048, 1452, true), (9031, 9000, false), (9032, 9000, true)]
        {
            let config = || QuicConfig { max_mtu: Some(mtu), ..config() };
            let receiving = QuicConfig { datagram_recv_buffer_len: Some(len), ..config() };
            let sending = QuicConfig { datagram_send_buffer_len: len, ..config() };
            for config in [receiving, sending] {
                assert_eq!(check(&config).is_ok(), is_enough, "{config:?}");
            }
        }
        let off = QuicConfig { datagram_recv_buffer_len: None, datagram_send_buffer_len: 0, ..config() };
        assert!(check(&off).is_ok());
        assert!(
            refused(&QuicConfig { connect_timeout: Duration::ZERO, ..config() }).contains("connect_timeout")
        );
        assert!(refused(&QuicConfig { max_incoming: 0, ..config() }).contains("max_incoming"));
        let interval = Some(Duration::from_mins(1));
        assert!(
            refused(&QuicConfig { keepalive_interval: interval, ..config() }).contains("keepalive_interval")
        );
        for short in [Duration::ZERO, Duration::from_micros(900)] {
            let asks = QuicConfig { keepalive_interval: Some(short), ..config() };
            assert!(refused(&asks).contains("1 ms"));
            assert!(refused(&QuicConfig { idle_timeout: None, ..asks }).contains("1 ms"));
            let idle = QuicConfig { idle_timeout: Some(short), keepalive_interval: None, ..config() };
            assert!(refused(&idle).contains("1 ms"));
        }
        assert!(
            refused(&QuicConfig { idle_timeout: Some(Duration::MAX), ..config() }).contains("idle_timeout")
        );
    }
}
