//! What is compared with what: `bench tcp`, `bench tls`, `bench ws` and `bench udp`.

use crate::plan::{self, Case};
use crate::report::Report;
use crate::servers::{self, Server};
use crate::targets::{self, Verdict};

/// Servers side by side under the same loads.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// Its name on the command line, and the beginning of its files' names.
    pub name: &'static str,
    /// The servers; ours first.
    pub servers: &'static [Server],
    /// The server that every ratio is taken against.
    pub baseline: &'static str,
    /// That server in headings, as in `CPU ÷ bare`.
    pub base: &'static str,
    /// Whether the servers speak TLS.
    pub secure: bool,
    /// The loads.
    pub cases: fn() -> Vec<Case>,
    /// Compares a report with what ours is to reach.
    pub verdicts: fn(&Report) -> Vec<Verdict>,
}

/// Echo over TCP, beside the bare loop and the frameworks.
pub const TCP: Comparison = Comparison {
    name: "tcp",
    servers: &servers::TCP,
    baseline: "epoll",
    base: "bare",
    secure: false,
    cases: plan::tcp,
    verdicts: targets::tcp,
};

/// Echo and handshakes over TLS, beside `Framed` over tokio-rustls.
pub const TLS: Comparison = Comparison {
    name: "tls",
    servers: &servers::TLS,
    baseline: "framed-batch",
    base: "Framed",
    secure: true,
    cases: plan::tls,
    verdicts: targets::tls,
};

/// Echo over WebSocket, beside uWebSockets and the libraries for tokio.
pub const WS: Comparison = Comparison {
    name: "ws",
    servers: &servers::WS,
    baseline: "uws",
    base: "uWS",
    secure: false,
    cases: plan::ws,
    verdicts: targets::ws,
};

/// Echo over UDP, beside the loops that users would write.
pub const UDP: Comparison = Comparison {
    name: "udp",
    servers: &servers::UDP,
    baseline: "batched",
    base: "batched",
    secure: false,
    cases: plan::udp,
    verdicts: targets::udp,
};

/// Every comparison.
pub const ALL: [&Comparison; 4] = [&TCP, &TLS, &WS, &UDP];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_is_among_the_servers_and_names_are_unique() {
        for comparison in ALL {
            let mut ids: Vec<_> = comparison.servers.iter().map(|server| server.id).collect();
            assert!(ids.contains(&comparison.baseline));
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), comparison.servers.len(), "{}", comparison.name);
        }
    }

    #[test]
    fn no_two_cases_share_a_name() {
        for comparison in ALL {
            let mut ids: Vec<_> = (comparison.cases)().into_iter().map(|case| case.id).collect();
            let count = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), count, "{}", comparison.name);
        }
    }
}
