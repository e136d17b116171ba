//! What transports and applications are tested with: the laws as checks of any transport.

pub mod laws;
