//! The limits that a server can reach.

use std::fmt;

/// A limit that was reached, as it is told to observers.
///
/// # Examples
///
/// ```
/// use net_core::Limit;
///
/// /// Whether a person should look at it at once.
/// fn is_urgent(limit: Limit) -> bool {
///     matches!(limit, Limit::Descriptors | Limit::MemoryBudget)
/// }
///
/// assert!(is_urgent(Limit::Descriptors) && !is_urgent(Limit::IdleTimeout));
/// assert_eq!(Limit::IdleTimeout.to_string(), "idle_timeout"); // as in `Limits`
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Connections in all.
    Connections,
    /// Connections from one prefix of addresses.
    ConnectionsPerPrefix,
    /// Descriptors that the process or the system may have open; this one is the system's.
    Descriptors,
    /// Handshakes that run at once.
    Handshakes,
    /// Handshakes of one prefix, or of an IPv6 /48, that run at once.
    HandshakesPerPrefix,
    /// The time for the first message.
    FirstMessageTimeout,
    /// The time for a message that has begun.
    MessageTimeout,
    /// The speed at which a message must arrive.
    MinDataRate,
    /// The time without anything from the peer.
    IdleTimeout,
    /// The time in which a peer takes nothing.
    StallTimeout,
    /// The time of a handler.
    HandlerTimeout,
    /// The life of a connection.
    Lifetime,
    /// The length of a message.
    MessageLen,
    /// Messages that wait to be sent to one peer.
    OutboxMessages,
    /// Bytes that wait to be sent to one peer.
    OutboxBytes,
    /// Requests of one connection that wait for their answers.
    InFlight,
    /// What all sessions of a server hold.
    MemoryBudget,
    /// Messages in a time: see the rate limits of a server.
    Rate,
    /// Attempts of one session to authenticate.
    AuthenticationAttempts,
    /// Messages or bytes of a session that has not authenticated.
    Unauthenticated,
    /// Failed authentications from one prefix of addresses, or from an IPv6 /48, which has ten times as many.
    AuthenticationFailures,
}

impl Limit {
    /// Returns the name of the limit's field in [`Limits`](crate::Limits), where it has one, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::ConnectionsPerPrefix => "max_connections_per_prefix",
            Self::Descriptors => "descriptors",
            Self::Handshakes => "max_handshakes",
            Self::HandshakesPerPrefix => "max_handshakes_per_prefix",
            Self::FirstMessageTimeout => "first_message_timeout",
            Self::MessageTimeout => "message_timeout",
            Self::MinDataRate => "min_data_rate",
            Self::IdleTimeout => "idle_timeout",
            Self::StallTimeout => "stall_timeout",
            Self::HandlerTimeout => "handler_timeout",
            Self::Lifetime => "lifetime",
            Self::MessageLen => "max_message_len",
            Self::OutboxMessages => "outbox.max_messages",
            Self::OutboxBytes => "outbox.max_bytes",
            Self::InFlight => "max_in_flight",
            Self::MemoryBudget => "memory_budget",
            Self::Rate => "rate_limits",
            Self::AuthenticationAttempts => "authentication.max_attempts",
            Self::Unauthenticated => "authentication.max_bytes",
            Self::AuthenticationFailures => "authentication.lockout.max_failures_per_prefix",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
