//! How a pool behaves, and how it is used.

use std::time::Duration;

use bytes::Bytes;

/// How a pool behaves.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_messaging::{HealthCheck, PoolConfig};
///
/// let check = HealthCheck::Ping { payload: "ping".into(), timeout: Duration::from_millis(500) };
/// let config = PoolConfig { max_size: 32, check, ..PoolConfig::default() };
/// assert_eq!(config.max_waiting, 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct PoolConfig {
    /// Connections at the most, from 1 to 65 536. Default: 8.
    pub max_size: usize,
    /// Tasks that may wait for a connection; one more fails at once. Default: 1024.
    pub max_waiting: usize,
    /// How long acquiring may take: waiting, checking and connecting together. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub acquire_timeout: Duration,
    /// How long connecting to one address may take before the next one is tried. Default: 3 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub connect_timeout: Duration,
    /// How a connection that has waited is looked at before it is used again. Default: [`HealthCheck::Connected`].
    pub check: HealthCheck,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_size: 8,
            max_waiting: 1024,
            acquire_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            check: HealthCheck::default(),
        }
    }
}

impl PoolConfig {
    /// Returns what is wrong with the settings.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self { max_size: 0, .. } => Err("max_size is 0, so no connection could ever be acquired"),
            Self { max_size, .. } if *max_size > MAX_SIZE => Err("max_size is above 65 536"),
            Self { max_waiting, .. } if *max_waiting > MAX_WAITING => Err("max_waiting is above 16 777 216"),
            _ => Ok(()),
        }
    }
}

/// A place for each connection is reserved from the start.
const MAX_SIZE: usize = 1 << 16;
/// Far below what a semaphore counts.
const MAX_WAITING: usize = 1 << 24;

/// How a connection that has waited in a pool is looked at before it is used again.
///
/// # Examples
///
/// ```
/// use std::{sync::{Arc, atomic::{AtomicUsize, Ordering}}, time::Duration};
/// use net_core::memory::Memory;
/// use net_messaging::{Client, HealthCheck, Pool, PoolConfig, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let pings = Arc::new(AtomicUsize::new(0));
/// # let counted = pings.clone();
/// # let server = Server::builder(memory.clone())
/// #     .on_message(move |_, message| {
/// #         counted.fetch_add(1, Ordering::Relaxed);
/// #         async move { Ok(message.into_reply()) }
/// #     })
/// #     .listen("mem://health-check")
/// #     .await?;
/// let check = HealthCheck::Ping { payload: "ping".into(), timeout: Duration::from_secs(5) };
/// let config = PoolConfig { check, ..PoolConfig::default() };
/// let pool = Pool::new([server.local()], config, move || Client::builder(memory.clone()))?;
/// drop(pool.acquire().await?); // a new one, which now waits
/// assert_eq!(pings.load(Ordering::Relaxed), 0);
/// let client = pool.acquire().await?; // the same one, which has answered
/// assert_eq!((pings.load(Ordering::Relaxed), pool.status().open), (1, 1));
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum HealthCheck {
    /// It is connected as far as this side knows: heartbeats and the peer's end are noticed while it waits.
    #[default]
    Connected,
    /// It is connected, and its server answers a request in time; an error message is an answer, too.
    Ping {
        /// What is asked.
        payload: Bytes,
        /// How long the answer may take; after that the connection is replaced.
        #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
        timeout: Duration,
    },
}

/// How the connections of a pool are used at one moment.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Pool, PoolConfig, PoolStatus, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone()).listen("mem://pool-status").await?;
/// let pool = Pool::new([server.local()], PoolConfig::default(), move || Client::builder(memory.clone()))?;
/// let (first, second) = (pool.acquire().await?, pool.acquire().await?);
/// drop(first);
/// let PoolStatus { max_size, open, idle, in_use, .. } = pool.status();
/// assert_eq!((max_size, open, idle, in_use), (8, 2, 1, 1));
/// # drop(second);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Connections at the most; 0 once the pool is closed.
    pub max_size: usize,
    /// Connections that there are.
    pub open: usize,
    /// Connections that wait to be used.
    pub idle: usize,
    /// Connections that are used.
    pub in_use: usize,
    /// Tasks that wait for a connection, or for one to be made.
    pub waiting: usize,
}
