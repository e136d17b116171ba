//! What a transport over QUIC is set up with, whatever its messages are.

use std::sync::Arc;

use net_core::{
    Acceptor, Address, Error, ErrorKind, Result,
    tls::{ClientTls, ServerTls},
};

use crate::{
    QuicConfig,
    connect::Connector,
    parameters::Purpose,
    session::Shared,
    source::{self, Prepare, Source},
};

/// Settings, and what connects clients by them; clones share the clients' sockets.
#[derive(Clone)]
pub(crate) struct Setup {
    config: Arc<QuicConfig>,
    connector: Arc<Connector>,
    server_tls: Option<ServerTls>,
}

impl Setup {
    pub(crate) fn new(config: QuicConfig) -> Self {
        let config = Arc::new(config);
        let connector = Arc::new(Connector::new(config.clone(), None));
        Self { config, connector, server_tls: None }
    }

    pub(crate) fn with_client_tls(mut self, tls: ClientTls) -> Self {
        self.connector = Arc::new(Connector::new(self.config.clone(), Some(tls)));
        self
    }

    pub(crate) fn with_server_tls(mut self, tls: ServerTls) -> Self {
        self.server_tls = Some(tls);
        self
    }

    pub(crate) fn config(&self) -> &QuicConfig {
        &self.config
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Listens at `at` with `n` sockets; `prepare` makes what is accepted of sessions.
    pub(crate) async fn listen<T: Send + 'static>(
        &self,
        at: &Address,
        n: usize,
        purpose: Purpose,
        prepare: Prepare<T>,
    ) -> Result<Vec<Acceptor<Source<T>>>> {
        let tls = self.server_tls.as_ref();
        let sources = source::bind(at, n, &self.config, tls, purpose, prepare).await?;
        let acceptor = |source: Source<T>| {
            let local = source.local().clone();
            Acceptor::new(source, local)
        };
        Ok(sources.into_iter().map(acceptor).collect())
    }
}

/// Accepts a session as it is.
pub(crate) const UNCHANGED: Prepare<Shared> = |shared| Box::pin(async { Ok(shared) });

/// Returns the listener of `listeners`, which listen at `at`.
pub(crate) fn only<L>(mut listeners: Vec<L>, at: &Address) -> Result<L> {
    listeners.pop().ok_or_else(|| Error::new(ErrorKind::Io, "listen").at(at))
}
