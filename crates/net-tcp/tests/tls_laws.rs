//! The laws on TLS, concrete and boxed, of both versions.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;

use authority::Authority;
use net_core::{
    Transport,
    frame::{Delimiter, Framing, LengthPrefix, Raw},
    testing::laws::conformance,
    tls::TlsVersion,
};
use net_tcp::{Tcp, TcpConfig};

/// Returns TLS with buffers that fill soon.
fn tcps<F: Framing>(framing: F) -> Tcp<F> {
    let config = TcpConfig {
        send_buffer_len: Some(64 * 1024),
        recv_buffer_len: Some(64 * 1024),
        ..TcpConfig::default()
    };
    let authority = Authority::new("laws");
    Tcp::with_framing(config, framing)
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"))
}

async fn obeys(transport: impl Transport, at: &str) {
    conformance(transport, at.parse().expect("an address")).await;
}

#[tokio::test]
async fn tcps_obeys_over_ipv4() {
    obeys(tcps(LengthPrefix::default()), "tcps://127.0.0.1:0").await;
}

#[tokio::test]
async fn tcps_obeys_over_ipv6() {
    obeys(tcps(LengthPrefix::default()), "tcps://[::1]:0").await;
}

#[tokio::test]
async fn tcps_obeys_boxed() {
    obeys(tcps(LengthPrefix::default()).boxed(), "tcps://127.0.0.1:0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcps_obeys_on_several_threads() {
    obeys(tcps(LengthPrefix::default()), "tcps://127.0.0.1:0").await;
}

#[tokio::test]
async fn tcps_obeys_with_small_buffers() {
    let authority = Authority::new("laws");
    let config = TcpConfig {
        send_buffer_len: Some(8 * 1024),
        recv_buffer_len: Some(8 * 1024),
        max_buffered: 4096,
        ..TcpConfig::default()
    };
    let tcps = Tcp::with_framing(config, LengthPrefix::default().with_max_message_len(64 * 1024))
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"));
    obeys(tcps, "tcps://127.0.0.1:0").await;
}

#[tokio::test]
async fn tcps_obeys_with_lines() {
    obeys(tcps(Delimiter::lines()), "tcps://127.0.0.1:0").await;
}

#[tokio::test]
async fn tcps_obeys_without_boundaries() {
    obeys(tcps(Raw::default()), "tcps://127.0.0.1:0").await;
}

#[tokio::test]
async fn tcps_obeys_with_the_systems_buffers() {
    let authority = Authority::new("laws");
    let tcps = Tcp::default()
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"));
    obeys(tcps, "tcps://127.0.0.1:0").await;
}

#[tokio::test]
async fn tcps_obeys_with_tls_1_2() {
    let authority = Authority::new("laws");
    let server = authority.server().cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
    let client = authority.client().min_version(TlsVersion::V1_2);
    let tcps = Tcp::default()
        .with_server_tls(server.build().expect("settings"))
        .with_client_tls(client.build().expect("settings"));
    obeys(tcps, "tcps://127.0.0.1:0").await;
}
