//! What several of the peers share: tokio-util's `Framed`, and tokio-rustls.
//!
//! Each binary is a server with which the benches compare.

pub mod framed;
pub mod secure;
