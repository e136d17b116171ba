//! A session of a listener, for as long as one of its halves lives.

use crate::demux::{Hub, Line, Newcomer};

/// A session of a listener, for as long as one of its halves lives.
#[derive(Debug)]
pub(crate) struct Session {
    newcomer: Newcomer,
}

impl Session {
    pub(crate) fn new(newcomer: Newcomer) -> Self {
        Self { newcomer }
    }

    pub(crate) fn line(&self) -> &Line {
        &self.newcomer.line
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.newcomer.hub
    }
}
