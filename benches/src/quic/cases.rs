//! The servers and the loads of `bench quic`.

use std::ffi::OsString;
use std::time::Duration;

/// A server to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Name on the command line and in JSON.
    pub id: &'static str,
    /// Name in tables.
    pub title: &'static str,
    /// Its executable, beside the orchestrator's.
    pub program: &'static str,
}

/// Ours, then what it stands on, against which it is held, then another one.
pub const SERVERS: [Server; 3] = [
    Server { id: "net", title: "net-quic", program: "quic_sessions" },
    Server { id: BASELINE, title: "quinn", program: "peer_quinn" },
    Server { id: "s2n", title: "s2n-quic", program: "peer_s2n_quic" },
];

/// The server that every ratio is taken against.
pub const BASELINE: &str = "quinn";

/// One load, under a name that stays the same from run to run.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Name.
    pub id: &'static str,
    /// What is done.
    pub title: &'static str,
    /// What one of the things is that are counted.
    pub unit: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Streams { payload: u32, connections: u32, in_flight: u32 },
    Bulk { connections: u32 },
    Handshakes { in_flight: u32 },
    Idle,
}

/// All loads.
pub const CASES: [Case; 6] = [
    Case {
        id: "streams-64B",
        title: "64 B echoed, each on a stream of its own, 8 connections × 16 in flight",
        unit: "request",
        kind: Kind::Streams { payload: 64, connections: 8, in_flight: 16 },
    },
    Case {
        id: "streams-64B-1",
        title: "64 B echoed, each on a stream of its own, 1 connection × 64 in flight",
        unit: "request",
        kind: Kind::Streams { payload: 64, connections: 1, in_flight: 64 },
    },
    Case {
        id: "streams-16KiB",
        title: "16 KiB echoed, each on a stream of its own, 8 connections × 4 in flight",
        unit: "request",
        kind: Kind::Streams { payload: 16 * 1024, connections: 8, in_flight: 4 },
    },
    Case {
        id: "bulk",
        title: "one-way bulk to the server, one stream",
        unit: "MiB",
        kind: Kind::Bulk { connections: 1 },
    },
    Case {
        id: "handshakes",
        title: "connections made, one byte echoed on each, 8 at once",
        unit: "handshake",
        kind: Kind::Handshakes { in_flight: 8 },
    },
    Case {
        id: "idle",
        title: "idle connections, one byte echoed on each before",
        unit: "connection",
        kind: Kind::Idle,
    },
];

/// How much of each load there is.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Times that every server meets every load.
    pub rounds: u32,
    /// Measured window.
    pub duration: Duration,
    /// Load before it.
    pub warm_up: Duration,
    /// Connections that are held idle.
    pub idle: u32,
}

impl Effort {
    /// What figures to keep are taken with.
    pub const FULL: Self = Self {
        rounds: 5,
        duration: Duration::from_secs(3),
        warm_up: Duration::from_millis(500),
        idle: 1_000,
    };
    /// What shows that everything works.
    pub const QUICK: Self = Self {
        rounds: 1,
        duration: Duration::from_millis(300),
        warm_up: Duration::from_millis(100),
        idle: 100,
    };
}

impl Case {
    /// Tells whether memory is what is measured, and not work.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.kind, Kind::Idle)
    }

    /// Arguments of the load, but for the address and the process to watch.
    #[must_use]
    pub fn args(&self, effort: &Effort) -> Vec<OsString> {
        let timed = [
            format!("--duration={}ms", effort.duration.as_millis()),
            format!("--warm-up={}ms", effort.warm_up.as_millis()),
        ];
        let args = match self.kind {
            Kind::Streams { payload, connections, in_flight } => vec![
                "streams".to_owned(),
                format!("--payload={payload}"),
                format!("--connections={connections}"),
                format!("--in-flight={in_flight}"),
            ],
            Kind::Bulk { connections } => vec!["bulk".to_owned(), format!("--connections={connections}")],
            Kind::Handshakes { in_flight } => {
                vec!["handshakes".to_owned(), format!("--in-flight={in_flight}")]
            }
            Kind::Idle => return vec!["idle".into(), format!("--connections={}", effort.idle).into()],
        };
        args.into_iter().chain(timed).map(OsString::from).collect()
    }
}
