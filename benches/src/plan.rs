//! The loads of a suite.

use std::ffi::OsString;
use std::time::Duration;

/// One load, under a name that stays the same from run to run.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name, as in `64B/1x256` (payload, connections, in flight on each), `churn`, `idle-1000`.
    pub id: String,
    /// What is done, for the heading of its table.
    pub title: String,
    /// What is done, for the load generator.
    pub kind: Kind,
}

/// What a load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages echoed, so many in flight.
    Echo {
        /// Bytes.
        payload: usize,
        /// Connections.
        connections: usize,
        /// Messages in flight on each connection.
        in_flight: usize,
    },
    /// JSON documents echoed over WebSocket with compression, so many in flight.
    Compressed {
        /// Bytes, before they are compressed.
        payload: usize,
        /// Connections.
        connections: usize,
        /// Documents in flight on each connection.
        in_flight: usize,
    },
    /// Datagrams echoed, so many in flight.
    Datagrams {
        /// Bytes.
        payload: usize,
        /// Sockets.
        connections: usize,
        /// Datagrams in flight on each socket.
        in_flight: usize,
    },
    /// Connect, one echo, close.
    Churn,
    /// The same over TLS, so that the handshake is what costs.
    Handshake {
        /// Whether each resumes a session.
        resumed: bool,
        /// Whether each server takes the cipher suite that it prefers, as it does when users come.
        any_suite: bool,
    },
    /// Sessions that are held and left alone.
    Idle {
        /// How many.
        sessions: usize,
    },
}

/// How long and how often each load runs.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Times that every server meets every load.
    pub rounds: u32,
    /// Measured window of an echo load.
    pub duration: Duration,
    /// Load before it.
    pub warm_up: Duration,
    /// Connections of a churn load.
    pub churn: u64,
    /// How long idle sessions are held.
    pub hold: Duration,
    /// How long each sample may wait for the machine to be quiet, or be repeated since it was not.
    pub patience: Duration,
    /// How often every server has its turn in a round, where a load can be put on it again and again.
    pub turns: u32,
}

impl Effort {
    /// What figures to keep are taken with: three rounds of 2 s.
    pub const FULL: Self = Self {
        rounds: 3,
        duration: Duration::from_secs(2),
        warm_up: Duration::from_millis(300),
        churn: 4_000,
        hold: Duration::from_secs(1),
        patience: Duration::ZERO,
        turns: 1,
    };

    /// What shows that everything works: one round of 0.2 s.
    pub const QUICK: Self = Self {
        rounds: 1,
        duration: Duration::from_millis(200),
        warm_up: Duration::from_millis(50),
        churn: 300,
        hold: Duration::from_millis(100),
        patience: Duration::ZERO,
        turns: 1,
    };
}

impl Case {
    fn echo(payload: usize, connections: usize, in_flight: usize) -> Self {
        let size = match payload {
            1_024 | 16_384 | 65_536 => format!("{}KiB", payload / 1_024),
            _ => format!("{payload}B"),
        };
        Self {
            id: format!("{size}/{connections}x{in_flight}"),
            title: format!("{size} messages, {connections} × {in_flight} in flight"),
            kind: Kind::Echo { payload, connections, in_flight },
        }
    }

    fn datagrams(payload: usize, connections: usize, in_flight: usize) -> Self {
        Self {
            id: format!("{payload}B/{connections}x{in_flight}"),
            title: format!("{payload}B datagrams, {connections} × {in_flight} in flight"),
            kind: Kind::Datagrams { payload, connections, in_flight },
        }
    }

    fn idle(sessions: usize) -> Self {
        Self {
            id: format!("idle-{sessions}"),
            title: format!("{sessions} idle sessions, one message exchanged on each"),
            kind: Kind::Idle { sessions },
        }
    }

    /// Arguments of the load generator, but for the address, the format and the process to watch.
    #[must_use]
    pub fn args(&self, effort: &Effort) -> Vec<OsString> {
        let echo = match self.kind {
            Kind::Datagrams { .. } => "datagrams",
            Kind::Compressed { .. } => "compressed",
            _ => "echo",
        };
        let args: Vec<String> = match self.kind {
            Kind::Echo { payload, connections, in_flight }
            | Kind::Compressed { payload, connections, in_flight }
            | Kind::Datagrams { payload, connections, in_flight } => vec![
                echo.to_owned(),
                format!("--payload={payload}"),
                format!("--connections={connections}"),
                format!("--in-flight={in_flight}"),
                format!("--duration={}ms", effort.duration.as_millis()),
                format!("--warm-up={}ms", effort.warm_up.as_millis()),
            ],
            Kind::Churn => vec!["churn".to_owned(), format!("--count={}", effort.churn)],
            Kind::Handshake { resumed, any_suite } => {
                let resume = resumed.then(|| "--resume".to_owned());
                let any_suite = any_suite.then(|| "--any-suite".to_owned());
                let churn = ["churn".to_owned(), format!("--count={}", effort.churn)];
                churn.into_iter().chain(resume).chain(any_suite).collect()
            }
            Kind::Idle { sessions } => vec![
                "idle".to_owned(),
                format!("--sessions={sessions}"),
                format!("--hold={}ms", effort.hold.as_millis()),
            ],
        };
        args.into_iter().map(OsString::from).collect()
    }

    /// Whether servers can take turns under it.
    #[must_use]
    pub const fn has_turns(&self) -> bool {
        !matches!(self.kind, Kind::Idle { .. })
    }

    /// The time after which a run of it is given up.
    #[must_use]
    pub fn bound(&self, effort: &Effort) -> Duration {
        Duration::from_mins(1) + effort.duration + effort.warm_up + effort.hold
    }
}

/// The loads of `bench tcp`.
#[must_use]
pub fn tcp() -> Vec<Case> {
    let mut cases = Vec::new();
    for payload in [64, 1_024, 65_536] {
        for (connections, in_flight) in [(1, 1), (1, 256), (64, 16)] {
            cases.push(Case::echo(payload, connections, in_flight));
        }
    }
    cases.push(Case::echo(5_000, 1, 1));
    cases.push(Case::echo(16_384, 1, 1));
    cases.push(Case {
        id: "churn".to_owned(),
        title: "connect, one 64B echo, close".to_owned(),
        kind: Kind::Churn,
    });
    cases.push(Case::idle(1_000));
    cases.push(Case::idle(10_000));
    cases
}

/// The loads of `bench tls`.
#[must_use]
pub fn tls() -> Vec<Case> {
    let handshake = |resumed: bool, any_suite: bool| {
        let what = if resumed { "resumed" } else { "full" };
        let (id, suite) =
            if any_suite { ("-any-suite", "each server's own suite") } else { ("", "the same suite") };
        Case {
            id: format!("handshake-{what}{id}"),
            title: format!("connect, {what} TLS 1.3 handshake, {suite}, one 64B echo, close"),
            kind: Kind::Handshake { resumed, any_suite },
        }
    };
    vec![
        Case::echo(64, 1, 1),
        Case::echo(64, 1, 256),
        Case::echo(64, 64, 16),
        Case::echo(1_024, 64, 16),
        Case::echo(65_536, 1, 16),
        Case::echo(65_536, 64, 16),
        handshake(false, false),
        handshake(true, false),
        handshake(false, true),
        handshake(true, true),
        Case::idle(1_000),
    ]
}

/// The loads of `bench ws`.
#[must_use]
pub fn ws() -> Vec<Case> {
    let mut cases: Vec<_> = [(64, 1, 1), (64, 1, 256), (64, 64, 16), (16_384, 1, 1), (16_384, 64, 16)]
        .into_iter()
        .map(|(payload, connections, in_flight)| Case::echo(payload, connections, in_flight))
        .collect();
    cases.push(Case {
        id: "json-1KiB/64x16".to_owned(),
        title: "1KiB JSON messages, compressed, 64 × 16 in flight".to_owned(),
        kind: Kind::Compressed { payload: 1_024, connections: 64, in_flight: 16 },
    });
    cases.push(Case::idle(10_000));
    cases
}

/// The loads of `bench udp`.
#[must_use]
pub fn udp() -> Vec<Case> {
    let shapes = [(1, 1), (1, 64), (64, 1), (16, 16)];
    [64, 1_200]
        .into_iter()
        .flat_map(|payload| shapes.map(|(sockets, in_flight)| Case::datagrams(payload, sockets, in_flight)))
        .collect()
}

/// Those of `cases` whose name begins with one of `names`, or all when there are none.
///
/// # Errors
/// The first name that no case begins with.
pub fn select(cases: Vec<Case>, names: &[String]) -> Result<Vec<Case>, String> {
    if names.is_empty() {
        return Ok(cases);
    }
    if let Some(name) = names.iter().find(|name| !cases.iter().any(|case| case.id.starts_with(*name))) {
        return Err(name.clone());
    }
    Ok(cases.into_iter().filter(|case| names.iter().any(|name| case.id.starts_with(name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Ok(select(tcp(), &names)?.into_iter().map(|case| case.id).collect())
    }

    #[test]
    fn a_name_selects_what_begins_with_it() {
        assert_eq!(ids(&["64B/"]).unwrap(), ["64B/1x1", "64B/1x256", "64B/64x16"]);
        assert_eq!(ids(&["idle", "churn"]).unwrap(), ["churn", "idle-1000", "idle-10000"]);
        assert_eq!(ids(&["64B", "nonsense"]), Err("nonsense".to_owned()));
    }
}
