//! Benchmarks of this workspace against the peers that users would pick instead.
//!
//! The binary `bench` starts each server as a process of its own, drives it with the binary `load`, and writes a
//! table, JSON and a plot; the binaries of `peers/` are the servers compared with. `README.md` tells the method.

pub mod certificates;
pub mod cli;
pub mod comparison;
pub mod crowd;
pub mod load;
pub mod machine;
pub mod measure;
pub mod outcome;
pub mod peer;
pub mod plan;
mod plot;
pub mod process;
pub mod quic;
pub mod report;
pub mod servers;
pub mod suite;
pub mod targets;
