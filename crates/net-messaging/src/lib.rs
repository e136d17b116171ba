//! Servers and clients that exchange messages over any transport.
//!
//! A [`Server`] hands the messages of each [`Session`] to a [`Handler`]; a [`Client`] sends requests and comes back
//! when its connection is lost. Both know `net-core` only, never a socket: any [`Transport`](net_core::Transport)
//! carries them.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod auth;
pub mod blocking;
mod bucket;
mod client;
mod close_reason;
mod config;
mod delivery;
mod driver;
mod handler;
mod pool;
mod rate_limit;
mod reconnect;
mod server;
mod session;
mod sessions;

pub use auth::{AuthenticationConfig, Authenticator, Identity, Lockout, Proof, Refusal};
pub use client::{Client, ClientBuilder, ClientState};
pub use close_reason::CloseReason;
pub use config::{Format, Heartbeat, ServerConfig, SessionConfig};
pub use delivery::{BroadcastReport, Delivery};
pub use handler::{Answer, Callbacks, Handler, HandlerError, HandlerResult, OnMessage};
pub use net_core::{DataRate, GoAway, GoAwayReason, Lifetime, Limits, OutboxConfig, Overflow};
pub use pool::{HealthCheck, Pool, PoolConfig, PoolStatus, PooledClient};
pub use rate_limit::{RateKey, RateLimit};
pub use reconnect::Reconnect;
pub use server::{DrainReport, Server, ServerBuilder};
pub use session::{Session, SessionState, SessionStats};
pub use sessions::Sessions;
