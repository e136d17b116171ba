//! Every framing in every format, by the command's own clients.

mod rig;

use rig::{Server, net};

const FRAMINGS: [&str; 12] = [
    "length",
    "length:1",
    "length:2",
    "length:2:le",
    "length:8",
    "length:8:le",
    "lines",
    "lines:crlf",
    "delimiter:00ff",
    "fixed:32",
    "tlv",
    "none",
];

/// Whether ids, which hold any byte, go with the framing.
fn carries_binary(framing: &str) -> bool {
    !["lines", "delimiter", "none"].iter().any(|name| framing.starts_with(name))
}

#[test]
fn s3_every_framing_echoes_in_every_format() {
    for framing in FRAMINGS {
        for format in ["raw", "message"] {
            let wire = ["--framing", framing, "--format", format];
            if format == "message" && !carries_binary(framing) {
                let refused = net([&["echo", "client", "127.0.0.1:1", "x"], &wire[..]].concat()).expect(1);
                let _ = refused.tells("does not go with");
                continue;
            }
            let mut server = Server::tcp(&wire.join(" "));
            server.process.told(&format!("framing {framing}, format {format}"));
            // What fixed:32 leaves for the payload.
            let text = if format == "raw" { "x".repeat(32) } else { "y".repeat(23) };
            let ended = net([&["echo", "client", &server.url, &text], &wire[..]].concat()).expect(0);
            assert_eq!(ended.stdout, [text], "{framing} {format}");

            let load = ["--count", "2000", "--warm-up", "0s", "--connections", "2", "--json"];
            let ended = net([&["bench", "client", &server.url], &wire[..], &load].concat()).expect(0);
            let report: serde_json::Value = serde_json::from_str(&ended.stdout[0]).expect("is JSON");
            assert_eq!(report["messages"], 2000, "{framing} {format}");
            assert_eq!(report["framing"], framing);
        }
    }
}

#[test]
fn s2_the_limit_of_messages_is_a_flag_on_both_sides() {
    let server = Server::tcp("--max-message-len 2MiB --format message");
    let load = |limit: &str| {
        let flags = ["--payload", "1500KiB", "--count", "20", "--in-flight", "2", "--format", "message"];
        net([&["bench", "client", &server.url, "--max-message-len", limit], &flags[..]].concat())
    };
    load("2MiB").expect(0);
    load("1MiB").expect(2).tells("--max-message-len");
    // What the server refuses ends the connection, not the server.
    let small = Server::tcp("--format message");
    let flags = ["--payload", "1500KiB", "--count", "2", "--in-flight", "1", "--format", "message"];
    let ended = net([&["bench", "client", &small.url, "--max-message-len", "2MiB"], &flags[..]].concat());
    assert!(matches!(ended.status, Some(2 | 3)), "{ended:?}");
    net(["echo", "client", &small.url, "still here", "--format", "message"]).expect(0);
}
