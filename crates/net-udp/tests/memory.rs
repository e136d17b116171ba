//! What a batch holds that is filled again before it is empty.

use std::alloc::System;

use net_udp::SendBatch;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_batch_that_is_never_empty_holds_what_waits() {
    let to = ([127, 0, 0, 1], 9).into();
    let other = ([127, 0, 0, 1], 10).into();
    let mut batch = SendBatch::new();
    let turn = |batch: &mut SendBatch| {
        while batch.len() < 256 {
            batch.push(to, &[7; 1_000][..]);
            batch.push(other, &[8; 1_300][..]);
        }
        for _ in 0..100 {
            batch.skip();
        }
    };
    turn(&mut batch);
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        turn(&mut batch);
    }
    let stats = region.change();
    let held = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
    assert!(held < 2_000_000, "{held} bytes for {} datagrams", batch.len());
}
