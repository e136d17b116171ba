//! Settings as they stand in a file.

#![cfg(feature = "serde")]

use std::time::Duration;

use net_udp::UdpConfig;

#[test]
fn settings_are_read_with_human_times_and_sizes() {
    let text = r#"{ "max_message_len": "1200", "idle_timeout": "5m", "recv_buffer_len": "8MiB", "max_amplification": 3 }"#;
    let config: UdpConfig = serde_json::from_str(text).expect("settings");
    let expected = UdpConfig {
        max_message_len: 1_200,
        idle_timeout: Duration::from_mins(5),
        recv_buffer_len: Some(8 << 20),
        max_amplification: Some(3),
        ..UdpConfig::default()
    };
    assert_eq!(config, expected);
    let written = serde_json::to_string(&config).expect("text");
    assert_eq!(serde_json::from_str::<UdpConfig>(&written).expect("settings"), config);
    assert!(serde_json::from_str::<UdpConfig>(r#"{ "max_message_length": 1 }"#).is_err(), "misspelt");
}
