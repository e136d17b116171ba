//! The load generator against the WebSocket peers, as `bench ws` runs them: each a process of its own.

use std::time::Duration;

use net_benches::load::{self, Common, Format, Load, Shape};
use net_benches::process::{Invocation, ServerProcess};

/// Starts a peer, which ends with the handle.
fn start(program: &str, args: &[&str]) -> ServerProcess {
    let invocation = Invocation { program: program.into(), args: args.iter().map(Into::into).collect() };
    let log = std::env::temp_dir().join(format!(
        "net-bench-peers-{}-{:?}.log",
        std::process::id(),
        std::thread::current().id()
    ));
    let server = ServerProcess::start(&invocation, &log).expect("a peer that starts");
    std::fs::remove_file(log).expect("its log");
    server
}

/// Every shape without an error, and sessions that are opened, held and closed.
fn echoes(server: &ServerProcess) {
    let common = |payload| Common {
        to: server.address(),
        payload,
        format: Format::Ws,
        ca: None,
        any_suite: false,
        watch: Some(server.pid()),
    };
    for (payload, connections, in_flight) in
        [(0, 1, 1), (64, 1, 256), (64, 8, 16), (16_384, 4, 16), (70_000, 2, 2)]
    {
        let outcome = load::run(&Load::Echo {
            common: common(payload),
            shape: Shape { connections, in_flight },
            duration: Duration::from_millis(50),
            warm_up: Duration::from_millis(5),
        })
        .expect("a load that runs");
        assert_eq!((outcome.errors, &outcome.first_error), (0, &None), "{payload} {connections}x{in_flight}");
        assert!(outcome.messages > 0 && outcome.latency.p50 > 0.0, "{outcome:?}");
    }
    let idle = load::run(&Load::Idle { common: common(64), sessions: 20, hold: Duration::from_millis(1) })
        .expect("a load that runs");
    assert_eq!(idle.idle.map(|idle| idle.sessions), Some(20));
    let churn =
        load::run(&Load::Churn { common: common(64), count: 20, resume: false }).expect("a load that runs");
    assert_eq!(churn.messages, 20);
}

#[test]
fn tungstenite_echoes_with_either_flush() {
    echoes(&start(env!("CARGO_BIN_EXE_peer_tungstenite"), &[]));
    echoes(&start(env!("CARGO_BIN_EXE_peer_tungstenite"), &["--batch"]));
}

#[test]
fn fastwebsockets_echoes() {
    echoes(&start(env!("CARGO_BIN_EXE_peer_fastwebsockets"), &[]));
}

#[test]
fn tokio_websockets_echoes() {
    echoes(&start(env!("CARGO_BIN_EXE_peer_tokio_websockets"), &[]));
}

#[test]
fn what_does_not_compress_is_not_taken_for_what_does() {
    let server = start(env!("CARGO_BIN_EXE_peer_tungstenite"), &[]);
    let error = load::run(&Load::Compressed {
        common: Common {
            to: server.address(),
            payload: 1_024,
            format: Format::Ws,
            ca: None,
            any_suite: false,
            watch: None,
        },
        shape: Shape { connections: 1, in_flight: 1 },
        duration: Duration::from_millis(50),
        warm_up: Duration::from_millis(5),
    })
    .unwrap_err();
    assert!(error.to_string().contains("extensions"), "{error}");
}
