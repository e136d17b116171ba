//! A session of a listener, for as long as one of its halves lives.

use net_core::Permit;

use crate::demux::{Hub, Line, Newcomer};

/// A session of a listener, for as long as one of its halves lives.
#[derive(Debug)]
pub(crate) struct Session {
    newcomer: Newcomer,
    /// Gives the place free that it takes among the connections of the server.
    _permit: Permit,
}

impl Session {
    pub(crate) fn new(newcomer: Newcomer, permit: Permit) -> Self {
        Self { newcomer, _permit: permit }
    }

    pub(crate) fn line(&self) -> &Line {
        &self.newcomer.line
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.newcomer.hub
    }
}
