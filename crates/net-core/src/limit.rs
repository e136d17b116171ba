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
    /// Messages in a time: see the rate limits of a server.
    Rate,
    /// Attempts of one session to authenticate.
    AuthenticationAttempts,
    /// Messages or bytes of a session that has not authenticated.
    Unauthenticated,
    /// Failed authentications from one prefix of addresses.
    AuthenticationFailures,
}

impl Limit {
    /// Returns the name of the limit's field in the configuration, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::ConnectionsPerPrefix => "max_connections_per_prefix",
            Self::Handshakes => "max_handshakes",
            Self::HandshakesPerPrefix => "max_handshakes_per_prefix",
            Self::Rate => "rate_limits",
            Self::AuthenticationAttempts => "max_attempts",
            Self::Unauthenticated => "max_bytes",
            Self::AuthenticationFailures => "max_failures_per_prefix",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
