//! The laws on UDP, concrete and boxed, as far as its guarantees promise.

use net_core::{Address, Transport, testing::laws::conformance};
use net_udp::{Udp, UdpConfig};

fn at(text: &str) -> Address {
    text.parse().expect("an address")
}

#[tokio::test]
async fn udp_obeys_over_ipv4() {
    conformance(Udp::default(), at("udp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn udp_obeys_over_ipv6() {
    conformance(Udp::default(), at("udp://[::1]:0")).await;
}

#[tokio::test]
async fn udp_obeys_boxed() {
    conformance(Udp::default().boxed(), at("udp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn udp_obeys_at_every_interface() {
    conformance(Udp::default(), at("udp://:0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_obeys_on_many_threads() {
    conformance(Udp::default(), at("udp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn udp_with_small_bounds_obeys() {
    let config = UdpConfig {
        max_message_len: 1_200,
        dont_fragment: true,
        max_buffered: 1,
        max_queued: 1,
        max_queued_len: 1,
        max_queued_total_len: 1,
        ..UdpConfig::default()
    };
    conformance(Udp::new(config), at("udp://127.0.0.1:0")).await;
}
