//! The laws on every transport of this crate, concrete and boxed.

use net_core::{
    Address, Scheme, Transport,
    frame::{AnyFraming, ByteOrder, Delimiter, LengthPrefix, Raw},
    testing::laws::conformance,
};
use net_tcp::{Tcp, TcpConfig, Unix, UnixConfig};

fn at(text: &str) -> Address {
    text.parse().expect("an address")
}

/// Returns TCP with buffers that fill soon; the system's own grow to several MiB, which one form below waits for.
fn tcp() -> Tcp {
    let config = TcpConfig {
        send_buffer_len: Some(64 * 1024),
        recv_buffer_len: Some(64 * 1024),
        ..TcpConfig::default()
    };
    Tcp::new(config)
}

/// Returns an address in a directory that is removed with the guard.
fn unix() -> (tempfile::TempDir, Address) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("laws.sock");
    let at = Address::from_path(Scheme::Unix, path.to_str().expect("Unicode"));
    (directory, at)
}

#[tokio::test]
async fn tcp_obeys_over_ipv4() {
    conformance(Tcp::default(), at("tcp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn tcp_obeys_over_ipv6() {
    conformance(tcp(), at("tcp://[::1]:0")).await;
}

#[tokio::test]
async fn tcp_obeys_on_a_dual_stack_socket() {
    conformance(tcp(), at("tcp://:0")).await;
}

#[tokio::test]
async fn tcp_obeys_boxed() {
    conformance(tcp().boxed(), at("tcp://127.0.0.1:0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_obeys_on_several_threads() {
    conformance(tcp(), at("tcp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn tcp_obeys_with_small_buffers() {
    let config = TcpConfig {
        send_buffer_len: Some(8 * 1024),
        recv_buffer_len: Some(8 * 1024),
        max_buffered: 4096,
        ..TcpConfig::default()
    };
    conformance(
        Tcp::with_framing(config, LengthPrefix::default().with_max_message_len(64 * 1024)),
        at("tcp://127.0.0.1:0"),
    )
    .await;
}

#[tokio::test]
async fn tcp_obeys_with_lines() {
    conformance(Tcp::with_framing(*tcp().config(), Delimiter::lines()), at("tcp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn tcp_obeys_with_other_lengths() {
    for (width, order) in [(2, ByteOrder::LittleEndian), (8, ByteOrder::BigEndian)] {
        let framing = LengthPrefix::new(width, order).with_max_message_len(60_000);
        conformance(Tcp::with_framing(*tcp().config(), framing), at("tcp://127.0.0.1:0")).await;
    }
}

#[tokio::test]
async fn tcp_obeys_without_boundaries() {
    conformance(Tcp::with_framing(*tcp().config(), Raw::default()), at("tcp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn tcp_obeys_with_a_framing_chosen_at_run_time() {
    conformance(Tcp::with_framing(*tcp().config(), AnyFraming::default()).boxed(), at("tcp://127.0.0.1:0"))
        .await;
}

#[tokio::test]
async fn unix_obeys() {
    let (_directory, at) = unix();
    conformance(Unix::default(), at).await;
}

#[tokio::test]
async fn unix_obeys_boxed() {
    let (_directory, at) = unix();
    conformance(Unix::default().boxed(), at).await;
}

#[tokio::test]
async fn unix_obeys_with_small_buffers() {
    let (_directory, at) = unix();
    let config = UnixConfig { send_buffer_len: Some(8 * 1024), max_buffered: 4096, ..UnixConfig::default() };
    conformance(Unix::new(config), at).await;
}
