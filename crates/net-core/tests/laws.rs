//! The laws on every transport of this crate, concrete and boxed.

use net_core::{Transport, memory::Memory, testing::laws};

#[tokio::test]
async fn memory_obeys() {
    laws::conformance(Memory::default(), "mem://x".parse().expect("an address")).await;
}

#[tokio::test]
async fn memory_obeys_boxed() {
    laws::conformance(Memory::default().boxed(), "mem://x".parse().expect("an address")).await;
}
