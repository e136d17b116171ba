//! What an idle connection holds in memory, with compression in each of its modes and without.

mod rig;

use std::{alloc::System, future::poll_fn, task::Poll};

use net_core::{Listener, Receiver, Transport};
use net_ws::{DeflateConfig, DeflateMemory, Ws, WsConfig};
use rig::{WsConnection, at};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COUNT: usize = 20;

/// Returns the bytes that the server's side of one connection holds, after a compressible message each way, and those that it
/// tells of.
async fn held_by_one(deflate: Option<DeflateConfig>) -> (usize, usize) {
    // A client that keeps what it may, as browsers do.
    let keeps = DeflateConfig { memory: DeflateMemory::Dedicated, ..DeflateConfig::default() };
    let client = Ws::new(WsConfig { deflate: Some(keeps), ..WsConfig::default() });
    let ws = Ws::new(WsConfig { deflate, ..WsConfig::default() });
    let mut listener = ws.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let message = r#"{"name":"value","list":[1,2,3,4,5,6,7,8,9]}"#.repeat(40);
    let (mut per_connection, mut told) = (0, 0);
    // The first ones pay for what all share.
    for _ in 0..2 {
        let mut near: Vec<WsConnection> = Vec::with_capacity(COUNT);
        let mut far: Vec<WsConnection> = Vec::with_capacity(COUNT);
        for _ in 0..COUNT {
            let (one, other) = tokio::join!(client.connect(&to), listener.accept());
            let (mut one, mut other) = (one.expect("connected"), other.expect("accepted"));
            for _ in 0..2 {
                one.tx.send_message(message.as_str()).await.expect("sent");
                let got = other.rx.recv_message().await.expect("received").expect("a message");
                other.tx.send_message(got).await.expect("sent");
                one.rx.recv_message().await.expect("received").expect("a message");
            }
            // Going to sleep is what gives buffers back.
            for side in [&mut one.rx, &mut other.rx] {
                assert!(poll_fn(|cx| Poll::Ready(side.poll_recv(cx).is_pending())).await);
            }
            near.push(one);
            far.push(other);
        }
        told = far.iter().map(|one| one.rx.held_len()).sum::<usize>() / COUNT;
        let before = Region::new(ALLOCATOR);
        drop(far);
        let freed = before.change();
        per_connection = freed.bytes_deallocated.saturating_sub(freed.bytes_allocated) / COUNT;
    }
    (per_connection, told)
}

// One test, since the allocator counts for the whole process.
#[tokio::test]
async fn w3_each_mode_holds_what_it_says() {
    let mode = |memory| Some(DeflateConfig { memory, ..DeflateConfig::default() });
    let mut before = 1 << 20;
    for (what, deflate, most_kib) in [
        ("dedicated", mode(DeflateMemory::Dedicated), 440),
        ("shared", mode(DeflateMemory::Shared), 64),
        ("no takeover", mode(DeflateMemory::NoTakeover), 3),
        ("no compression", None, 3),
    ] {
        let (bytes, told) = held_by_one(deflate).await;
        println!("{what}: {bytes} bytes a connection, {told} told");
        // What a server counts into its memory budget is what compression holds.
        assert!(told <= bytes && bytes - told < 8 * 1024, "{what}: {told} of {bytes}");
        assert!(bytes <= most_kib * 1024, "{what}: {bytes}");
        // The last two differ by what the handshake has told.
        assert!(bytes <= before + 200, "{what} holds more than the mode before it");
        before = bytes;
    }
}
