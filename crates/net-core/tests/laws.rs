//! The laws on every transport of this crate, concrete and boxed; and that each broken law is found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use net_core::{
    Address, Transport,
    frame::{Delimiter, LengthPrefix, Raw},
    memory::{Memory, MemoryConfig},
    testing::{Link, LinkConfig, laws},
};

#[path = "laws/broken.rs"]
mod broken;
#[path = "laws/duplex.rs"]
mod duplex;

use broken::{Broken, Fault};
use duplex::Duplex;

fn at() -> Address {
    "mem://x".parse().expect("an address")
}

#[tokio::test]
async fn memory_obeys() {
    laws::conformance(Memory::default(), at()).await;
}

#[tokio::test]
async fn memory_obeys_boxed() {
    laws::conformance(Memory::default().boxed(), at()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_with_small_bounds_obeys() {
    laws::conformance(Memory::new(MemoryConfig { max_buffered: 1, max_message_len: 300 }), at()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_obeys_on_many_threads() {
    laws::conformance(Memory::default(), at()).await;
}

#[tokio::test(start_paused = true)]
async fn length_prefixed_frames_obey() {
    laws::conformance(Duplex::new(LengthPrefix::default()), at()).await;
}

#[tokio::test(start_paused = true)]
async fn length_prefixed_frames_obey_boxed() {
    laws::conformance(Duplex::new(LengthPrefix::default()).boxed(), at()).await;
}

#[tokio::test(start_paused = true)]
async fn lines_obey() {
    laws::conformance(Duplex::new(Delimiter::lines()), at()).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_without_frames_obey() {
    laws::conformance(Duplex::new(Raw::default()), at()).await;
}

#[tokio::test(start_paused = true)]
async fn the_wrapper_of_the_broken_transports_obeys_without_a_fault() {
    laws::conformance(Broken::new(Fault::None), at()).await;
}

/// Runs a check that must panic and returns what it says.
fn breach(check: impl Future<Output = ()>) -> String {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let checked = catch_unwind(AssertUnwindSafe(|| runtime.block_on(check)));
    *checked.expect_err("the check passed").downcast::<String>().expect("a formatted message")
}

#[test]
fn every_broken_law_is_found() {
    for (fault, _) in Fault::ALL {
        let found = breach(laws::conformance(Broken::new(fault), at()));
        assert!(found.starts_with("law "), "{fault:?}: {found}");
    }
}

#[test]
fn every_broken_law_is_found_by_its_own_check() {
    for (fault, law) in Fault::ALL {
        let found = breach(fault.check(&Broken::new(fault), &at()));
        assert!(
            found.starts_with(&format!("law {law} is broken")),
            "{fault:?} breaks law {law}, found: {found}"
        );
    }
}

#[test]
fn a_link_hides_no_broken_law() {
    let link = Link::new(Broken::new(Fault::CleanEndOnAbort), LinkConfig::default());
    let found = breach(laws::conformance(link, at()));
    assert!(found.contains("an abort came as a clean end"), "{found}");
}
