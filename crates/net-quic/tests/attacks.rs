//! Clients that break the rules of QUIC, row A21: what they make a server hold is bounded, and they are shown out.

#[path = "rig/python.rs"]
mod python;
mod rig;

use std::{alloc::System, process::Command};

use net_core::{Address, frame::LengthPrefix};
use net_quic::{Quic, QuicConfig};
use python::{Files, Talk, python};
use rig::{at, echo_streams, soon};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a server may hold for one attacker: less than the windows that it was given, 8 MiB.
const MAX_HELD: usize = 8 << 20;

/// A server, and what it holds more than it held at first.
struct Target {
    files: Files,
    quic: Quic,
    to: Address,
    region: Region<'static, System>,
}

impl Target {
    async fn new() -> Self {
        let files = Files::new();
        let quic = Quic::with_framing(QuicConfig::default(), LengthPrefix::default())
            .with_server_tls(files.authority.server().build().expect("settings"))
            .with_client_tls(files.authority.client().build().expect("settings"));
        let sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
        let to = sessions.local().clone();
        echo_streams(sessions);
        let target = Self { files, quic, to, region: Region::new(ALLOCATOR) };
        // What all connections share is there from the first one on.
        target.is_served().await;
        Self { region: Region::new(ALLOCATOR), ..target }
    }

    /// Attacks, and returns how that ended and what is held while the attacker is still there, in bytes.
    async fn attack(&self, action: &str, count: usize) -> (String, usize) {
        let mut command = self.command(action);
        command.args(["--count", &count.to_string()]);
        let mut attacker = Talk::start(command);
        assert_eq!(attacker.line().await, "sent", "{action}");
        let held = self.held();
        let end = attacker.line().await;
        attacker.go();
        let held = held.max(self.held());
        self.is_served().await;
        (end, held)
    }

    fn command(&self, action: &str) -> Command {
        let mut command = python("attack.py");
        command.arg(rig::socket(&self.to).to_string()).arg(action).arg("--ca").arg(self.files.path("ca.pem"));
        command
    }

    fn held(&self) -> usize {
        let change = self.region.change();
        change.bytes_allocated.saturating_sub(change.bytes_deallocated)
    }

    /// Somebody else is served as before.
    async fn is_served(&self) {
        let session = soon("a session", self.quic.open(&self.to)).await.expect("connected");
        let (mut tx, mut rx) = session.open_bi().await.expect("a stream");
        tx.write_all(b"and me").await.expect("written");
        tx.end();
        assert_eq!(soon("the echo", rx.read_to_end(100)).await.expect("all"), b"and me");
    }
}

/// RUSTSEC-2026-0185: each byte that is not in order kept the whole packet that it came in.
#[tokio::test]
async fn measured_a21_gaps_in_a_stream_hold_no_more_than_its_window() {
    let target = Target::new().await;
    let (end, held) = target.attack("gaps", 20_000).await;
    assert!(end.contains("too many gaps"), "{end}");
    assert!(held < MAX_HELD, "{held} bytes held for 20 000: {end}");
}

#[tokio::test]
async fn measured_a21_many_tiny_streams_hold_nothing_when_they_have_ended() {
    let target = Target::new().await;
    let (end, held) = target.attack("tiny", 5_000).await;
    assert!(end.starts_with("open"), "they are allowed: {end}");
    assert!(held < 1 << 20, "{held} bytes held");
}

#[tokio::test]
async fn measured_a21_handshake_bytes_without_end_are_an_error() {
    let target = Target::new().await;
    let (end, held) = target.attack("crypto", 2_000).await;
    // CRYPTO_BUFFER_EXCEEDED, or what it is at all: no handshake runs (RFC 9000 §7.5).
    assert!(end.starts_with("ended 0xd") || end.starts_with("ended 0xa"), "{end}");
    assert!(held < MAX_HELD, "{held} bytes held");
}

#[tokio::test]
async fn measured_a21_more_identifiers_than_asked_for_are_an_error() {
    let target = Target::new().await;
    let (end, held) = target.attack("identifiers", 2_000).await;
    // CONNECTION_ID_LIMIT_ERROR
    assert!(end.starts_with("ended 0x9"), "{end}");
    assert!(held < MAX_HELD, "{held} bytes held");
}

#[tokio::test]
async fn measured_a21_questions_for_the_path_are_answered_within_bounds() {
    let target = Target::new().await;
    let (end, held) = target.attack("challenges", 1_000).await;
    assert!(held < MAX_HELD, "{held} bytes held");
    let answered: usize = end.strip_prefix("open ").and_then(|bytes| bytes.parse().ok()).expect("it goes on");
    // 50 000 questions in 1 000 datagrams of 500 bytes: an answer for each datagram, not for each question.
    assert!(answered < 2 * 500 * 1_000, "{answered} bytes for 1 000 datagrams");
}

#[tokio::test]
async fn measured_a21_what_is_not_allowed_ends_the_connection() {
    let target = Target::new().await;
    for (action, code) in [
        // STREAM_LIMIT_ERROR, FLOW_CONTROL_ERROR, PROTOCOL_VIOLATION
        ("exhaust", "0x4"),
        ("beyond", "0x3"),
        ("acknowledge", "0xa"),
    ] {
        let (end, held) = target.attack(action, 1).await;
        assert!(end.split(' ').nth(1) == Some(code), "{action}: {end}");
        assert!(held < 1 << 20, "{action}: {held} bytes held");
    }
}

/// RUSTSEC-2026-0037: a number that was cut short was a panic, in the first packet and by anybody.
#[tokio::test]
async fn a21_transport_parameters_that_make_no_sense_end_the_handshake() {
    let target = Target::new().await;
    let mut attacker = Talk::start(target.command("parameters"));
    let mut ended = 0;
    loop {
        let line = attacker.line().await;
        if line == "all" {
            break;
        }
        // TRANSPORT_PARAMETER_ERROR
        assert!(line.starts_with("ended 0x8 "), "{line}");
        ended += 1;
    }
    assert!(ended > 20, "{ended} connections");
    target.is_served().await;
}
