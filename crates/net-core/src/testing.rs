//! What transports and applications are tested with: the laws as checks of any transport, links with faults, a relay of UDP.

pub mod laws;
pub mod link;
mod relay;

pub use link::{Faults, Link, LinkConfig};
pub use relay::{Relay, RelayConfig};
