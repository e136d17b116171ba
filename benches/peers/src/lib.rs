//! What several of the peers share: serving over TCP and over tokio-rustls, and tokio-util's `Framed`.
//!
//! Each binary is a server with which the benches compare.

pub mod framed;
pub mod plain;
pub mod secure;
