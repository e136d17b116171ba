//! Sessions by the hundred thousand: servers and load as several processes, driven by one that measures.
//!
//! A process may hold fewer descriptors than that, so the server is several processes on one port (`SO_REUSEPORT`, as
//! `examples/processes.rs` shows), and so is the load, each part of it at loopback addresses of its own. Every process is the
//! binary `crowd`; it takes commands as lines on its standard input, answers each by a line of JSON, and ends with that
//! input.

pub mod child;
pub mod churn;
pub mod connections;
pub mod hold;
pub mod memory;
pub mod plot;
pub mod report;
pub mod serve;
pub mod slope;
pub mod soak;
