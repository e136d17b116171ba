//! The configuration as people write it in files.
#![cfg(feature = "serde")]

use std::time::Duration;

use net_quic::{Congestion, QuicConfig};

#[test]
fn a_configuration_is_written_in_units_that_people_use() {
    let text = r#"{
        "alpn": ["echo"], "idle_timeout": "2m", "keepalive_interval": "15s", "stream_window": "16MiB",
        "congestion": "bbr", "datagram_recv_buffer_len": null, "max_mtu": 9000, "early_data": true
    }"#;
    let config: QuicConfig = serde_json::from_str(text).expect("well-formed");
    assert_eq!(config.idle_timeout, Some(Duration::from_mins(2)));
    assert_eq!((config.stream_window, config.congestion), (16 << 20, Congestion::Bbr));
    assert_eq!((config.datagram_recv_buffer_len, config.max_mtu), (None, Some(9000)));
    assert_eq!(
        config.retry_threshold,
        QuicConfig::default().retry_threshold,
        "what is not written is the default"
    );
    let written = serde_json::to_string(&config).expect("it can be written");
    assert_eq!(serde_json::from_str::<QuicConfig>(&written).expect("well-formed"), config);
}

#[test]
fn a_name_that_does_not_exist_is_an_error() {
    let error = serde_json::from_str::<QuicConfig>(r#"{ "idle": "1s" }"#).expect_err("no such field");
    assert!(error.to_string().contains("idle"), "{error}");
}
