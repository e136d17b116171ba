//! What a server tells while it runs, for people and as JSON.

use std::fmt;

use serde::Serialize;

/// What a server tells while it runs.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    Bound {
        address: &'a str,
        framing: &'a str,
        format: &'a str,
        io_threads: usize,
        io_model: &'a str,
    },
    Accepted {
        peer: &'a str,
    },
    Rejected {
        peer: &'a str,
        limit: &'a str,
    },
    AcceptFailed {
        error: &'a str,
    },
    ListenerFailed {
        address: &'a str,
        error: &'a str,
    },
    HandshakeFailed {
        peer: &'a str,
        error: &'a str,
    },
    Echoed {
        peer: &'a str,
        bytes: usize,
    },
    Closed {
        peer: &'a str,
        messages: u64,
        bytes: u64,
        clean: bool,
        reason: &'a str,
    },
    Blocked {
        milliseconds: u128,
    },
    Reloaded,
    NotReloaded {
        error: &'a str,
    },
    Draining {
        sessions: usize,
        seconds: f64,
    },
    Limited {
        peer: &'a str,
        limit: &'a str,
    },
    Drained {
        sessions: usize,
        cut: usize,
        requests_cut: usize,
        messages_unsent: usize,
        handshakes_cut: usize,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound { address, framing, format, io_threads, io_model } => write!(
                f,
                "bound {address}: framing {framing}, format {format}, {} by {io_model}; Ctrl-C drains",
                Count(*io_threads as u64, "I/O thread")
            ),
            Self::Accepted { peer } => write!(f, "accepted {peer}"),
            Self::Rejected { peer, limit } => {
                write!(f, "rejected {peer}: {limit} is reached")?;
                // The system's has no flag.
                if limit.starts_with("max_connections") {
                    write!(f, "; raise --{}", limit.replace('_', "-"))?;
                } else if *limit == "max_handshakes_per_prefix" {
                    // Of which it is a share.
                    f.write_str("; raise --max-handshakes")?;
                }
                Ok(())
            }
            Self::AcceptFailed { error } => write!(f, "could not accept: {error}; going on"),
            Self::ListenerFailed { address, error } => {
                write!(f, "error: accepting no more at {address}: {error}")
            }
            Self::HandshakeFailed { peer, error } => write!(f, "handshake of {peer} failed: {error}"),
            Self::Echoed { peer, bytes } => write!(f, "{peer}: echoed {}", Count(*bytes as u64, "byte")),
            Self::Closed { peer, messages, bytes, reason, .. } => {
                write!(
                    f,
                    "{peer}: echoed {}, {}; {reason}",
                    Count(*messages, "message"),
                    Count(*bytes, "byte")
                )
            }
            Self::Blocked { milliseconds } => write!(f, "a handler blocked its thread for {milliseconds} ms"),
            Self::Reloaded => f.write_str("certificates changed; new connections have the new ones"),
            Self::NotReloaded { error } => write!(f, "new certificates refused, the old ones stay: {error}"),
            Self::Draining { sessions, seconds } => write!(
                f,
                "draining {} for at most {seconds} s; Ctrl-C again cuts",
                Count(*sessions as u64, "session")
            ),
            Self::Limited { peer, limit } => write!(f, "{peer}: {limit} is reached"),
            Self::Drained { sessions, cut, requests_cut, messages_unsent, handshakes_cut } => {
                write!(f, "drained {}", Count(*sessions as u64, "session"))?;
                match cut {
                    0 => f.write_str(", none cut")?,
                    cut => write!(
                        f,
                        ", {cut} of them cut, with {} and {} unsent",
                        Count(*requests_cut as u64, "request"),
                        Count(*messages_unsent as u64, "message")
                    )?,
                }
                match handshakes_cut {
                    0 => Ok(()),
                    cut => write!(f, "; cut {}", Count(*cut as u64, "handshake")),
                }
            }
        }
    }
}

/// A number and what it counts, in the singular or the plural.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u64, pub(crate) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_rejected_is_told_with_the_flag_that_lets_it_in() {
        let told = |limit| Event::Rejected { peer: "tcp://192.0.2.1:1", limit }.to_string();
        assert!(told("max_connections").ends_with("raise --max-connections"));
        assert!(told("max_connections_per_prefix").ends_with("raise --max-connections-per-prefix"));
        assert!(told("max_handshakes_per_prefix").ends_with("raise --max-handshakes"));
        assert!(told("descriptors").ends_with("descriptors is reached"));
    }
}
