//! The laws on WebSocket, concrete and boxed, with and without compression.

mod rig;

use net_core::{Transport, testing::laws::conformance};
use net_tcp::stream::TcpConfig;
use net_ws::{DeflateConfig, DeflateMemory, SendAs, Ws, WsConfig};
use rig::at;

/// Returns settings with buffers that fill soon.
fn small() -> WsConfig {
    let tcp = TcpConfig {
        send_buffer_len: Some(8 * 1024),
        recv_buffer_len: Some(8 * 1024),
        max_buffered: 4096,
        ..TcpConfig::default()
    };
    WsConfig { tcp, max_message_len: 64 * 1024, ..WsConfig::default() }
}

fn deflating(memory: DeflateMemory) -> Ws {
    let deflate = DeflateConfig { memory, min_len: 1, ..DeflateConfig::default() };
    Ws::new(WsConfig { deflate: Some(deflate), ..small() })
}

#[tokio::test]
async fn ws_obeys() {
    conformance(Ws::default(), at("ws://127.0.0.1:0")).await;
}

#[tokio::test]
async fn ws_obeys_boxed() {
    conformance(Ws::new(small()).boxed(), at("ws://127.0.0.1:0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ws_obeys_on_several_threads() {
    conformance(Ws::new(small()), at("ws://[::1]:0")).await;
}

#[tokio::test]
async fn ws_obeys_without_compression() {
    conformance(Ws::new(WsConfig { deflate: None, ..small() }), at("ws://127.0.0.1:0")).await;
}

#[tokio::test]
async fn ws_obeys_where_every_message_is_compressed() {
    for memory in [DeflateMemory::Dedicated, DeflateMemory::Shared, DeflateMemory::NoTakeover] {
        conformance(deflating(memory), at("ws://127.0.0.1:0")).await;
    }
}

#[tokio::test]
async fn ws_obeys_as_text() {
    conformance(Ws::new(WsConfig { send_as: SendAs::Text, ..small() }), at("ws://127.0.0.1:0")).await;
}
