//! Batches that each thread lends to the driver that runs, so that one that sleeps holds none.

use std::cell::RefCell;

use net_core::Batch;

use super::{MAX_BYTES_PER_WAKE, MAX_MESSAGES_PER_WAKE};

/// How many batches a thread keeps at the most; more than one is in use only while drivers sleep on full ones.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Batch>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn lend() -> Batch {
    let free = FREE.with_borrow_mut(Vec::pop);
    free.unwrap_or_else(|| Batch::new(MAX_MESSAGES_PER_WAKE, MAX_BYTES_PER_WAKE))
}

pub(super) fn take_back(batch: Batch) {
    FREE.with_borrow_mut(|free| {
        if free.len() < KEPT {
            free.push(batch);
        }
    });
}
