//! The servers and the loads of `bench quic`.

use std::ffi::OsString;
use std::time::Duration;

use super::settings::{RECV_BUFFER, TASK_EACH};

/// A server to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// Name on the command line and in JSON.
    pub id: &'static str,
    /// Name in tables.
    pub title: &'static str,
    /// Its executable, beside the orchestrator's.
    pub program: &'static str,
    argument: Option<Argument>,
}

/// What a server is told.
#[derive(Debug, Clone, Copy)]
enum Argument {
    /// What its socket receives into, in bytes, where it does not ask for that by itself.
    RecvBuffer(usize),
    /// To serve each stream in a task of its own.
    TaskEach,
}

const fn quinn(id: &'static str, title: &'static str, argument: Option<Argument>) -> Server {
    Server { id, title, program: "peer_quinn", argument }
}

/// Ours, once more as one writes a server on quinn, then what it stands on, against which it is held, twice, since what one process
/// of it costs beside another one tells how far the other ratios go; then with what the system gives a socket, and another one.
pub const SERVERS: [Server; 6] = [
    Server { id: OURS, title: "net-quic", program: OUR_PROGRAM, argument: None },
    Server {
        id: "net-tasks",
        title: "net-quic, a task for each stream",
        program: OUR_PROGRAM,
        argument: Some(Argument::TaskEach),
    },
    quinn(BASELINE, "quinn", Some(Argument::RecvBuffer(RECV_BUFFER))),
    quinn("quinn-again", "quinn, another process", Some(Argument::RecvBuffer(RECV_BUFFER))),
    quinn("quinn-system", "quinn, the system's receive buffer", None),
    Server {
        id: "s2n",
        title: "s2n-quic",
        program: "peer_s2n_quic",
        argument: Some(Argument::RecvBuffer(RECV_BUFFER)),
    },
];

/// What our servers are.
const OUR_PROGRAM: &str = "quic_sessions";
/// Our server, whose ratios are held.
pub const OURS: &str = "net";
/// How much dearer than bare quinn ours may be.
pub const MAX_RATIO: f64 = 1.03;
/// How much longer than quinn's own a transfer of ours over a path that loses may take.
pub const MAX_LOSS_RATIO: f64 = 1.05;

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
    Loss,
    Idle,
}

/// All loads.
pub const CASES: [Case; 7] = [
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
        id: "loss",
        title: "1 MiB echoed where 1 % is lost in each direction, 50 ms there and back, many transfers at once; both ends are \
                the server's own, of s2n-quic the client is quinn's",
        unit: "transfer",
        kind: Kind::Loss,
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
    /// Turns that every server has in a round, where a load has any.
    pub turns: u32,
    /// Measured window, or that of one turn.
    pub duration: Duration,
    /// Load before it.
    pub warm_up: Duration,
    /// Connections that are held idle.
    pub idle: u32,
    /// Transfers at once over a path that loses.
    pub transfers: u32,
}

impl Effort {
    /// What figures to keep are taken with.
    pub const FULL: Self = Self {
        rounds: 5,
        turns: 1,
        duration: Duration::from_secs(3),
        warm_up: Duration::from_millis(500),
        idle: 1_000,
        transfers: 24,
    };
    /// What shows that everything works.
    pub const QUICK: Self = Self {
        rounds: 1,
        turns: 1,
        duration: Duration::from_millis(300),
        warm_up: Duration::from_millis(100),
        idle: 100,
        transfers: 4,
    };
}

impl Server {
    /// Its arguments.
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let argument = self.argument.map(|argument| match argument {
            Argument::RecvBuffer(len) => len.to_string(),
            Argument::TaskEach => TASK_EACH.to_owned(),
        });
        argument.into_iter().map(OsString::from).collect()
    }
}

impl Case {
    /// What is compared.
    #[must_use]
    pub const fn cost(&self) -> &'static str {
        match self.kind {
            Kind::Idle => "KiB",
            Kind::Loss => "mean ms",
            Kind::Streams { .. } | Kind::Bulk { .. } | Kind::Handshakes { .. } => "server CPU µs",
        }
    }

    /// Whether something is done under it, so many times a second.
    #[must_use]
    pub const fn has_rate(&self) -> bool {
        !matches!(self.kind, Kind::Idle)
    }

    /// Whether servers can take turns under it.
    #[must_use]
    pub const fn has_turns(&self) -> bool {
        !matches!(self.kind, Kind::Idle | Kind::Loss)
    }

    /// How much dearer than bare quinn ours may be.
    #[must_use]
    pub const fn max_ratio(&self) -> f64 {
        if matches!(self.kind, Kind::Loss) { MAX_LOSS_RATIO } else { MAX_RATIO }
    }

    /// Arguments of the load against `server` in a round, but for the address and the process to watch.
    #[must_use]
    pub fn args(&self, server: &Server, effort: &Effort, round: u32) -> Vec<OsString> {
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
            Kind::Loss => {
                // In one round all servers meet the same losses.
                let mut args = vec![
                    "loss".into(),
                    format!("--transfers={}", effort.transfers).into(),
                    format!("--seed={round}").into(),
                ];
                args.extend((server.program == OUR_PROGRAM).then(|| OsString::from("--ours")));
                return args;
            }
            Kind::Idle => return vec!["idle".into(), format!("--connections={}", effort.idle).into()],
        };
        args.into_iter().chain(timed).map(OsString::from).collect()
    }
}
