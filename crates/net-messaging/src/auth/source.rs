//! Where a client takes its credentials from.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use net_core::{Credentials, Result};

type Fetching = Pin<Box<dyn Future<Output = Result<Credentials>> + Send>>;

/// Where a client takes its credentials from, anew for each connection.
pub(crate) struct Source {
    fetch: Box<dyn Fn() -> Fetching + Send + Sync>,
    /// How long fetching and the server's answer may take together.
    timeout: Duration,
}

impl Source {
    pub(crate) fn new<F, Fut>(fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials>> + Send + 'static,
    {
        Self { fetch: Box::new(move || Box::pin(fetch())), timeout: Duration::from_secs(30) }
    }

    pub(crate) fn fixed(credentials: Credentials) -> Self {
        Self::new(move || std::future::ready(Ok(credentials.clone())))
    }

    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub(crate) fn fetch(&self) -> Fetching {
        (self.fetch)()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
