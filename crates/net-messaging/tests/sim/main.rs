//! Scenarios on a seeded bad network under paused time: whatever happens, the invariants hold for every seed.
//!
//! `cargo xtask sim` explores them, in CI for 200 seeds each; as tests they run for as many, the large ones for a few. A
//! failure prints the seed and the command that replays it. What each scenario checks besides its own law:
//!
//! - what was answered was handled, exactly once, and the answer is that of its request;
//! - what failed was handled at most once, and each request ends within its time-out;
//! - no answer arrives that nobody asked for, but for requests that timed out, and none arrives twice;
//! - what a session counts, its observer was told; no side receives more than the other sent;
//! - what waits for a peer stays within its bounds, which are tight, and in the end no session and no connection is left;
//! - the scenario ends, in bounded virtual time, and the same seed gives the same trace.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a run tells what it explored")]
#![allow(clippy::indexing_slicing, reason = "what is out of bounds fails the test")]

mod books;
mod crowd;
mod explore;
mod tap;
mod wire;
mod world;

mod authentication;
mod black_hole;
mod budget;
mod cut;
mod drain;
mod farewell;
mod partition;
mod push;
mod restart;
mod skew;
mod slow_handler;
mod stall;
