//! The load generator and the demo: what they measure, and that they believe no answer.

use std::io::{Read as _, Write as _};

mod rig;

use rig::{Server, frame, net, peer, read_frame};

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_demo_shows_every_transport_in_every_format() {
    let shown = net(["demo", "--quick"]).expect(0).stdout.join("\n");
    let transports = if cfg!(unix) {
        &["memory", "unix", "tcp", "tcps", "udp", "quic", "ws", "wss"][..]
    } else {
        &["memory", "tcp", "tcps", "udp", "quic", "ws", "wss"]
    };
    for transport in transports {
        for format in ["raw", "message"] {
            let row = |line: &&str| line.contains(&format!(" {transport} ")) && line.contains(format);
            assert!(shown.lines().any(|line| row(&line)), "{transport} {format}: {shown}");
        }
    }
    assert!(shown.contains("every one verified"), "{shown}");

    let rows = net(["demo", "--quick", "--json"]).expect(0).stdout;
    assert_eq!(rows.len(), transports.len() * 2);
    for row in rows.iter().map(|row| json(row)) {
        for figure in ["round_trips_per_second", "messages_per_second", "megabytes_per_second"] {
            assert!(row[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {row}");
        }
    }
}

#[test]
fn a_load_tells_throughput_and_latency() {
    let server = Server::tcp("");
    let flags =
        ["--duration", "100ms", "--warm-up", "10ms", "--connections", "3", "--threads", "2", "--json"];
    let report = json(&net([&["bench", "client", &server.url], &flags[..]].concat()).expect(0).stdout[0]);
    let latency = &report["latency_us"];
    let figures: Vec<_> = ["p50", "p90", "p99", "p99.9", "max"]
        .iter()
        .map(|name| latency[name].as_f64().expect("a figure"))
        .collect();
    assert!(figures[0] > 0.0 && figures.is_sorted(), "{report}");
    assert!(report["messages"].as_u64() <= report["verified"].as_u64(), "{report}");
    assert_eq!(report["threads"], 2);
    assert_eq!(report["latency_counts_from"], "sent");
}

#[test]
fn a_rate_is_kept_and_latency_counts_from_when_a_message_was_due() {
    let server = Server::tcp("--format message");
    let flags = ["--rate", "2000", "--count", "400", "--warm-up", "50ms", "--format", "message", "--json"];
    let report = json(&net([&["bench", "client", &server.url], &flags[..]].concat()).expect(0).stdout[0]);
    assert_eq!(report["latency_counts_from"], "due");
    assert_eq!(report["messages"], 400);
    // Due within 200 ms: no earlier, whatever the machine does.
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.19), "{report}");
}

#[test]
fn what_waits_behind_a_slow_answer_counts_as_late() {
    // One message in flight, due every 5 ms; the first answer takes as long as fifteen of them.
    let at = peer(|mut stream| {
        let mut waited = false;
        while let Some(message) = read_frame(&mut stream) {
            if !waited {
                // Nothing waits for this: how slow the peer is, at the least, is what is measured.
                std::thread::sleep(std::time::Duration::from_millis(75));
                waited = true;
            }
            stream.write_all(&frame(&message)).expect("takes it");
        }
    });
    let flags = [
        "--connections",
        "1",
        "--in-flight",
        "1",
        "--rate",
        "200",
        "--count",
        "20",
        "--warm-up",
        "0s",
        "--json",
    ];
    let report = json(&net([&["bench", "client", &at], &flags[..]].concat()).expect(0).stdout[0]);
    // Most of the twenty were held up, though one answer alone was slow.
    assert!(report["latency_us"]["p50"].as_f64().is_some_and(|p50| p50 > 1000.0), "{report}");
}

#[test]
fn what_was_due_and_never_sent_counts_as_late_too() {
    let server = Server::tcp("");
    // No round trip takes a microsecond: most of what is due finds no room.
    let flags = "--connections 1 --in-flight 1 --rate 1000000 --duration 50ms --warm-up 0s --json";
    let arguments = [&["bench", "client", &server.url], &flags.split(' ').collect::<Vec<_>>()[..]].concat();
    let report = json(&net(arguments).expect(0).stdout[0]);
    assert!(report["unsent"].as_u64().is_some_and(|unsent| unsent > 0), "{report}");
    let rate = report["messages_per_second"].as_f64().expect("a figure");
    let behind = 50_000.0 * (1.0 - rate / 1e6);
    assert!(report["latency_us"]["max"].as_f64().is_some_and(|max| max > 0.9 * behind), "{report}");
}

#[test]
fn a_load_ends_in_time_though_its_next_message_is_due_much_later() {
    let server = Server::tcp("");
    let flags = "--connections 2 --rate 0.001 --duration 50ms --warm-up 0s --json";
    let arguments = [&["bench", "client", &server.url], &flags.split(' ').collect::<Vec<_>>()[..]].concat();
    let report = json(&net(arguments).expect(0).stdout[0]);
    assert_eq!((&report["messages"], &report["unsent"]), (&1.into(), &0.into()), "{report}");
}

#[test]
fn a_wrong_answer_is_3() {
    let at = peer(|mut stream| {
        let mut number = 0;
        while let Some(mut message) = read_frame(&mut stream) {
            number += 1;
            if number == 100 {
                message[10] ^= 1;
            }
            if stream.write_all(&frame(&message)).is_err() {
                break;
            }
        }
    });
    let ended = net(["bench", "client", &at, "--connections", "1", "--in-flight", "1"]).expect(3);
    let _ = ended.tells("answer 99 came back changed");
}

#[test]
fn answers_out_of_order_are_3() {
    let at = peer(|mut stream| {
        let first = read_frame(&mut stream).expect("a frame");
        let second = read_frame(&mut stream).expect("a frame");
        let _ = stream.write_all(&[frame(&second), frame(&first)].concat());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let ended = net(["bench", "client", &at, "--connections", "1", "--in-flight", "2"]).expect(3);
    let _ = ended.tells("answer 0 came back changed");
}

#[test]
fn a_server_that_goes_away_or_says_nothing_is_3() {
    let at = peer(|mut stream| {
        read_frame(&mut stream);
    });
    let flags = ["--connections", "1", "--in-flight", "1"];
    net([&["bench", "client", &at], &flags[..]].concat()).expect(3).tells("answers outstanding");
    let at = peer(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let ended = net([&["bench", "client", &at, "--timeout", "50ms"], &flags[..]].concat()).expect(3);
    let _ = ended.tells("no answer for 50ms");
}

#[test]
fn the_server_of_a_load_is_an_echo_server() {
    let mut command = std::process::Command::new(rig::built());
    let server = Server::of(command.args(["bench", "server", "tcp://127.0.0.1:0", "--framing", "tlv"]));
    net(["echo", "client", &server.url, "hello", "--framing", "tlv"]).expect(0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_load_early_and_tells_what_was_measured() {
    // With such a rate the next message would be due in a quarter of an hour.
    for rate in ["", "--rate 0.001"] {
        let mut server = Server::tcp("");
        let flags = format!("--duration 1h --warm-up 0s --connections 1 {rate}");
        let mut command = std::process::Command::new(rig::built());
        command.args(["bench", "client", &server.url]).args(flags.split_whitespace());
        let client = rig::Process::start(&mut command);
        server.process.told("accepted");
        client.signal(rustix::process::Signal::INT);
        let shown = client.ended().expect(0).stdout.join("\n");
        assert!(shown.contains("messages/s"), "{shown}");
    }
}
