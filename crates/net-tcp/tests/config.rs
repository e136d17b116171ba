//! Settings as they stand in a file.
#![cfg(feature = "serde")]

use std::time::Duration;

use net_tcp::{Family, Keepalive, TcpConfig, UnixConfig};

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(serde_json::from_str::<TcpConfig>("{}").expect("settings"), TcpConfig::default());
    assert_eq!(serde_json::from_str::<UnixConfig>("{}").expect("settings"), UnixConfig::default());
}

#[test]
fn durations_are_written_as_people_do() {
    let text = r#"{
        "nodelay": false,
        "keepalive": { "idle": "2m" },
        "user_timeout": "30s",
        "bind": "127.0.0.1:0",
        "connect_timeout": "1500ms",
        "first_family": "v4",
        "backlog": 16
    }"#;
    let config: TcpConfig = serde_json::from_str(text).expect("settings");
    let expected = TcpConfig {
        nodelay: false,
        keepalive: Some(Keepalive { idle: Duration::from_mins(2), ..Keepalive::default() }),
        user_timeout: Some(Duration::from_secs(30)),
        bind: Some(([127, 0, 0, 1], 0).into()),
        connect_timeout: Duration::from_millis(1500),
        first_family: Family::V4,
        backlog: 16,
        ..TcpConfig::default()
    };
    assert_eq!(config, expected);
    let written = serde_json::to_string(&config).expect("text");
    assert_eq!(serde_json::from_str::<TcpConfig>(&written).expect("settings"), expected);
}

#[test]
fn a_misspelt_setting_is_an_error() {
    let error = serde_json::from_str::<TcpConfig>(r#"{ "no_delay": true }"#).expect_err("unknown");
    assert!(error.to_string().contains("no_delay"), "{error}");
    assert!(serde_json::from_str::<UnixConfig>(r#"{ "mod": 384 }"#).is_err());
}
