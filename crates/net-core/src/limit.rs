//! The limits that a server can reach.

use std::fmt;

/// A limit that was reached, as it is told to observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Connections in all.
    Connections,
    /// Connections from one prefix of addresses.
    ConnectionsPerPrefix,
    /// Handshakes that run at once.
    Handshakes,
    /// Handshakes of one prefix that run at once.
    HandshakesPerPrefix,
}

impl Limit {
    /// Returns the name of the limit's field in the configuration, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::ConnectionsPerPrefix => "max_connections_per_prefix",
            Self::Handshakes => "max_handshakes",
            Self::HandshakesPerPrefix => "max_handshakes_per_prefix",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
