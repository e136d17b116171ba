//! The laws on QUIC, concrete and boxed, in both modes.

mod rig;

use net_core::{
    Transport,
    frame::{AnyFraming, Delimiter, LengthPrefix, Raw},
    testing::laws::conformance,
};
use net_quic::{Congestion, QuicConfig, QuicStreams};
use rig::{at, datagrams, quic, quic_with};

#[tokio::test]
async fn quic_obeys_over_ipv4() {
    conformance(quic(), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn quic_obeys_over_ipv6() {
    conformance(quic(), at("quic://[::1]:0")).await;
}

#[tokio::test]
async fn quic_obeys_on_a_dual_stack_socket() {
    conformance(quic(), at("quic://:0")).await;
}

#[tokio::test]
async fn quic_obeys_boxed() {
    conformance(quic().boxed(), at("quic://127.0.0.1:0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_obeys_on_several_threads() {
    conformance(quic(), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn quic_obeys_with_small_windows() {
    let config = QuicConfig {
        stream_window: 16 * 1024,
        connection_window: 32 * 1024,
        send_window: 32 * 1024,
        max_buffered: 4096,
        ..QuicConfig::default()
    };
    let framing = LengthPrefix::default().with_max_message_len(64 * 1024);
    conformance(quic_with(config, framing), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn quic_obeys_under_each_congestion_control() {
    for congestion in [Congestion::NewReno, Congestion::Bbr] {
        let config = QuicConfig { congestion, ..QuicConfig::default() };
        conformance(quic_with(config, LengthPrefix::default()), at("quic://127.0.0.1:0")).await;
    }
}

#[tokio::test]
async fn quic_obeys_with_lines() {
    conformance(quic_with(QuicConfig::default(), Delimiter::lines()), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn quic_obeys_without_boundaries() {
    conformance(quic_with(QuicConfig::default(), Raw::default()), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn quic_obeys_with_a_framing_chosen_at_run_time() {
    conformance(quic_with(QuicConfig::default(), AnyFraming::default()).boxed(), at("quic://127.0.0.1:0"))
        .await;
}

#[tokio::test]
async fn quic_obeys_where_every_client_must_show_its_address() {
    let config = QuicConfig { retry_threshold: 0, ..QuicConfig::default() };
    conformance(quic_with(config, LengthPrefix::default()), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn streams_of_sessions_obey() {
    conformance(QuicStreams::new(quic()), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn datagrams_obey() {
    conformance(datagrams(), at("quic://127.0.0.1:0")).await;
}

#[tokio::test]
async fn datagrams_obey_boxed() {
    conformance(datagrams().boxed(), at("quic://[::1]:0")).await;
}
