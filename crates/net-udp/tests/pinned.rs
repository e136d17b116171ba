//! What the datagrams hold that wait for a session.
#![cfg(target_os = "linux")]

use std::alloc::System;

use net_udp::{SendBatch, UdpConfig, UdpSocket};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod rig;

use rig::{counted, session, socket};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[tokio::test]
async fn a23_what_is_kept_of_a_run_does_not_hold_the_rest_of_it() {
    const SOURCES: u8 = 250;
    /// The kernel joins as many to one run.
    const RUN: u64 = 45;
    let config = UdpConfig { max_queued: 1, ..UdpConfig::default() };
    let (_near, mut listener, _far) = session(config, b"first").await;
    let to = socket(net_core::Listener::local(&listener));
    let region = Region::new(ALLOCATOR);
    for source in 1..=SOURCES {
        let one = UdpSocket::bind(([127, 1, 0, source], 0).into()).expect("an address of loopback");
        let mut batch = SendBatch::new();
        for _ in 0..RUN {
            batch.push(to, &[7; 1_400][..]);
        }
        one.send_batch(&mut batch).await.expect("sent");
        let all = 1 + RUN * u64::from(source);
        counted(&mut listener, "all to be looked at", |stats| stats.received == all).await;
    }
    let stats = region.change();
    let held = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
    let listener = listener.stats();
    assert_eq!(
        (listener.sessions, listener.overflowed),
        (1 + u64::from(SOURCES), (RUN - 1) * u64::from(SOURCES))
    );
    // They are 350 000 bytes, and the runs that they are of 16 million.
    assert!(held < 3_000_000, "{held} bytes");
}
