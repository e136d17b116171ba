//! What datagrams allocate on their way: something for a batch, nothing for each.

use std::alloc::System;

use bytes::Bytes;
use net_core::{Batch, Listener, Receiver, Sender, Transport};
use net_udp::{Udp, UdpConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod rig;

use rig::{at, soon};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Datagrams that are sent together.
const TOGETHER: usize = 32;
const TURNS: usize = 200;

#[tokio::test]
async fn a_datagram_there_and_back_allocates_nothing_by_itself() {
    let udp = Udp::new(UdpConfig::default());
    let mut listener = udp.listen(&at("udp://127.0.0.1:0")).await.expect("listening");
    let mut near = udp.connect(listener.local()).await.expect("a route");
    near.send("hello").await.expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    far.recv().await.expect("received");

    for len in [64, 1_200] {
        let payload = Bytes::from(vec![7; len]);
        let mut batch = Batch::new(TOGETHER, usize::MAX);
        let mut turn = async || {
            for _ in 0..TOGETHER {
                near.tx.feed(payload.clone()).await.expect("accepted");
            }
            near.tx.flush().await.expect("sent");
            let mut back = 0;
            while back < TOGETHER {
                back += soon("datagrams", std::future::poll_fn(|cx| far.rx.poll_recv_many(cx, &mut batch)))
                    .await
                    .expect("received");
                while let Some(message) = batch.pop() {
                    far.tx.feed(message).await.expect("accepted");
                }
                far.tx.flush().await.expect("sent");
            }
            let mut answers = 0;
            while answers < TOGETHER {
                let answer = soon("an answer", near.rx.recv()).await.expect("received").expect("an answer");
                assert_eq!(answer, payload);
                answers += 1;
            }
        };
        // Buffers grow to what is needed.
        for _ in 0..20 {
            turn().await;
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..TURNS {
            turn().await;
        }
        let stats = region.change();
        let count = stats.allocations + stats.reallocations;
        let datagrams = 2 * TOGETHER * TURNS;
        assert!(count < datagrams / 4, "{count} allocations for {datagrams} datagrams of {len} bytes");
    }
}
