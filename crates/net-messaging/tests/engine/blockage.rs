//! Peers that do not take what waits for them.
