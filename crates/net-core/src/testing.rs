//! What transports and applications are tested with: the laws as checks of any transport, and links with faults.

pub mod laws;
pub mod link;

pub use link::{Faults, Link, LinkConfig};
