//! What a TLS connection holds in memory: an idle one, and one whose peer does not read.
//!
//! The tests count what the process allocates, so they run one at a time.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::alloc::System;

use authority::{Authority, WithPair};
use futures_util::FutureExt;
use net_core::{Listener, Transport, tls::Pem};
use net_tcp::{Tcp, TcpConfig};
use rig::waits_are_told;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Held by each test: under `cargo test` they share one process.
static ALONE: Mutex<()> = Mutex::const_new(());

const COUNT: usize = 100;

/// Returns the bytes that one connection holds after a message of `len` each way: the client's side, the server's.
async fn held(tcp: &Tcp, at: &str, len: usize) -> (usize, usize) {
    let mut listener = tcp.listen(&at.parse().expect("an address")).await.expect("listening");
    let to = listener.local().clone();
    let mut region = Region::new(ALLOCATOR);
    let mut held = (Vec::with_capacity(COUNT), Vec::with_capacity(COUNT));
    // The first ones pay for what all share.
    for warm in [true, false] {
        held.0.clear();
        held.1.clear();
        if !warm {
            region = Region::new(ALLOCATOR);
        }
        for _ in 0..COUNT {
            let (near, far) = tokio::join!(tcp.connect(&to), listener.accept());
            let (mut near, mut far) = (near.expect("connected"), far.expect("accepted"));
            for _ in 0..2 {
                let sent = tokio::join!(near.send(vec![7; len]), far.recv());
                assert_eq!(sent.1.expect("received").expect("a message").len(), len);
                let sent = tokio::join!(far.send(vec![7; len]), near.recv());
                assert_eq!(sent.1.expect("received").expect("a message").len(), len);
            }
            // Going to sleep is what gives buffers back.
            for connection in [&mut near, &mut far] {
                assert!(connection.recv().now_or_never().is_none());
            }
            held.0.push(near);
            held.1.push(far);
        }
    }
    let bytes = |region: &Region<'_, System>| {
        let change = region.change();
        change.bytes_allocated.saturating_sub(change.bytes_deallocated)
    };
    let both = bytes(&region) / COUNT;
    let before = Region::new(ALLOCATOR);
    held.0.clear();
    let freed = before.change();
    let client = freed.bytes_deallocated.saturating_sub(freed.bytes_allocated) / COUNT;
    (client, both.saturating_sub(client))
}

#[tokio::test]
async fn measured_an_idle_session_holds_no_buffer_but_that_of_rustls() {
    let _alone = ALONE.lock().await;
    let authority = Authority::new("memory");
    let server = authority.server().max_sessions(1);
    let server = server.build().expect("settings");
    let client = authority.client().max_sessions(1).build().expect("settings");
    let tls = Tcp::default().with_server_tls(server).with_client_tls(client);
    let ca = Pem::bytes(authority.pem.clone());
    let mutual = authority.server().max_sessions(1).client_ca(ca).build().expect("settings");
    let client =
        authority.client().max_sessions(1).pair(&authority.leaf(&["client"])).build().expect("settings");
    let mutual = Tcp::default().with_server_tls(mutual).with_client_tls(client);
    let plain = held(&Tcp::default(), "tcp://127.0.0.1:0", 64).await;
    println!("plain: {plain:?}");
    for (name, tcp, len) in [("small", &tls, 64), ("large", &tls, 200_000), ("mutual", &mutual, 64)] {
        let held = held(tcp, "tcps://127.0.0.1:0", len).await;
        println!("{name}: {held:?}");
        assert!(held.0 < 8 * 1024 && held.1 < 8 * 1024, "{name}: {held:?}");
    }
}

#[tokio::test]
async fn a9_what_is_encrypted_and_waits_is_told() {
    let _alone = ALONE.lock().await;
    let authority = Authority::new("a9");
    let config = TcpConfig {
        send_buffer_len: Some(16 * 1024),
        recv_buffer_len: Some(16 * 1024),
        ..TcpConfig::default()
    };
    let tcp = Tcp::new(config)
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"));
    let mut listener =
        tcp.listen(&"tcps://127.0.0.1:0".parse().expect("an address")).await.expect("listening");
    let to = listener.local().clone();
    let (near, far) = tokio::join!(tcp.connect(&to), listener.accept());
    waits_are_told(far.expect("accepted").tx, near.expect("connected").rx).await;
}
