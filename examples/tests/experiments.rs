//! Runs every experiment, which checks its own claims, and looks at what it prints.

mod example;

use example::run;

/// Runs an experiment and returns its lines.
fn lines(name: &str) -> Vec<String> {
    run(name).lines().map(str::to_owned).collect()
}

#[test]
fn s11_partial_reads() {
    let lines = lines("partial_reads");
    assert_eq!(lines[0], "24 bytes in one write, 6 reads of at most 4");
    assert_eq!(lines[1], "asked for 8 bytes, got 4: the rest is not there yet");
    assert_eq!(lines[3], "framed: Some(\"a stream has no messages\")");
}

#[test]
fn s11_coalesced_and_split_messages() {
    let lines = lines("coalescing");
    assert_eq!(lines[0], "two writes, one read: \"HELLOWORLD\"");
    assert_eq!(lines[1], "split on its way, three reads: [\"HEL\", \"LOWO\", \"RLD\"]");
    assert!(lines[2].contains("HELLO\"") && lines[2].contains("\"WORLD"), "{}", lines[2]);
}

#[test]
fn s11_short_writes_against_a_slow_reader() {
    let lines = lines("short_writes");
    assert!(lines[0].contains(" of 16777216 bytes were taken, ") && lines[0].ends_with("WouldBlock"));
    assert!(lines[2].contains("all 16777216 bytes"));
    assert_eq!(lines.len(), 4);
}

#[cfg(unix)]
#[test]
fn s11_interrupted_system_calls() {
    let lines = lines("interrupted");
    assert!(lines[0].contains("Interrupted"), "{}", lines[0]);
    assert!(lines[1].starts_with("recv_exact tries again") && lines[1].ends_with("HELLO"), "{}", lines[1]);
    assert_eq!(lines[2], "with SA_RESTART, 20 signals later: 5 bytes, interrupted 0 times");
}

#[test]
fn s11_half_close_and_shut_rd() {
    let lines = lines("half_close");
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[1], "sending after one's own FIN is an error value: Err(BrokenPipe)");
    assert_eq!(lines[4], "closing with unread input resets the connection: Err(ConnectionReset)");
}

#[cfg(target_os = "linux")]
#[test]
fn s11_close_wait_and_time_wait() {
    let lines = lines("socket_states");
    assert!(lines[1].ends_with("FIN_WAIT2 at the client, CLOSE_WAIT at the server"), "{}", lines[1]);
    assert!(lines[2].ends_with("TIME_WAIT at the client, none at the server"), "{}", lines[2]);
    assert_eq!(lines[4], "5 peers have left, nobody closed: 5 in CLOSE_WAIT");
    assert!(lines[6].contains("Err(AddrInUse) without SO_REUSEADDR, Ok(()) with it"), "{}", lines[6]);
}

#[test]
fn m18_new_connections_against_one_reused() {
    let lines = lines("connection_reuse");
    assert!(lines[0].ends_with("300 connections") && lines[1].ends_with("1 connection"), "{lines:?}");
    assert!(lines[2].starts_with("ratio: "));
}

#[test]
fn m18_nagle_against_delayed_acknowledgements() {
    assert!(lines("nagle")[4].starts_with("waiting costs a factor of "));
}

#[test]
fn m18_batches() {
    assert_eq!(lines("batching").len(), 4);
}

#[test]
fn m18_sizes_of_buffers() {
    assert_eq!(lines("buffer_sizes").len(), 7);
}

#[test]
fn s11_bandwidth_delay_product() {
    let lines = lines("bandwidth_delay");
    assert_eq!(lines[0], "10 Mbit/s × 100 ms = 1000000 bit = 125000 bytes = 125 segments of 1000 bytes");
    assert_eq!(lines[1], "125 segments on their way: 1s, 10000000 bit/s");
    assert_eq!(lines[3], "stop and wait uses 1/125 of the path");
}

#[test]
fn s11_loss_formula() {
    let lines = lines("loss");
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[6], "100 times the loss: a rate 10 times lower");
}

#[test]
fn m9_large_payloads_are_not_copied() {
    let lines = lines("zero_copy");
    assert!(lines[0].ends_with("× the payload was allocated, what it was read into"), "{}", lines[0]);
    assert_eq!(lines[2], "a mapped region was sent and unmapped: true");
    if cfg!(target_os = "linux") {
        assert_eq!(lines.len(), 6);
    }
}
