//! The command over UDP: echo, send and loads, also where datagrams are lost, come twice and out of order.

use std::{
    net::UdpSocket,
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

mod rig;

use rig::{Server, net};

/// Returns an echo server of datagrams.
fn server(flags: &str) -> Server {
    let mut command = Command::new(rig::built());
    let server =
        Server::of(command.args(["echo", "server", "udp://127.0.0.1:0"]).args(flags.split_whitespace()));
    assert!(server.url.starts_with("udp://"), "{}", server.url);
    server
}

/// Answers datagrams by `answer`, which is given the socket, what came and from whom; returns where.
fn peer(answer: impl Fn(&UdpSocket, &[u8], std::net::SocketAddr) + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let url = format!("udp://{}", socket.local_addr().expect("an address"));
    // Ends with the test's process.
    thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            answer(&socket, buffer.get(..len).unwrap_or_default(), from);
        }
    });
    url
}

fn load(url: &str, flags: &str) -> serde_json::Value {
    let flags: Vec<_> = flags.split_whitespace().collect();
    let ended = net([&["bench", "client", url, "--json", "--warm-up", "0s"], &flags[..]].concat()).expect(0);
    serde_json::from_str(ended.stdout.first().expect("a line")).expect("a report")
}

#[test]
fn a_text_comes_back() {
    for format in ["raw", "message"] {
        let server = server(&format!("--format {format}"));
        for text in ["hello", "", &"x".repeat(20_000)] {
            let ended = net(["echo", "client", &server.url, text, "--format", format]).expect(0);
            assert_eq!(ended.stdout, [text]);
        }
    }
}

#[test]
fn nobody_there_is_3_in_time() {
    let gone = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let url = format!("udp://{}", gone.local_addr().expect("an address"));
    drop(gone);
    let ended = net(["echo", "client", &url, "hello", "--timeout", "50ms"]).expect(3);
    let _ = ended.tells("no answer within");
}

#[test]
fn lines_are_sent_and_nothing_is_waited_for() {
    let (tx, rx): (_, Receiver<Vec<u8>>) = channel();
    let url = peer(move |_, bytes, _| tx.send(bytes.to_vec()).expect("heard"));
    let began = std::time::Instant::now();
    net(["send", &url, "one", "two", "three"]).expect(0);
    assert!(began.elapsed() < Duration::from_secs(10), "it waits for an end that nobody tells");
    for text in ["one", "two", "three"] {
        let got = rx.recv_timeout(Duration::from_secs(10)).expect("a datagram");
        assert_eq!(got, text.as_bytes());
    }
    let answers = server("--format message");
    let ended = net(["send", &answers.url, "--format", "message", "--request", "a", "b"]).expect(0);
    assert_eq!(ended.stdout, ["a", "b"]);
}

#[test]
fn what_no_datagram_carries_is_2() {
    let server = server("");
    let long = "x".repeat(65_508);
    let ended = net(["echo", "client", &server.url, &long]).expect(2);
    let _ = ended.tells("too long");
}

#[test]
fn a_load_is_answered_and_verified() {
    for format in ["raw", "message"] {
        let server = server(&format!("--format {format}"));
        let report =
            load(&server.url, &format!("--count 2000 --connections 2 --in-flight 16 --format {format}"));
        let (messages, lost) = (report["messages"].as_u64(), report["lost"].as_u64());
        assert_eq!(messages.zip(lost).map(|(messages, lost)| messages + lost), Some(2_000), "{report}");
        assert!(messages.is_some_and(|messages| messages > 1_500), "{report}");
        assert_eq!(report["framing"], "datagram");
    }
}

#[test]
fn what_is_lost_is_counted_and_makes_room() {
    let every_fourth = std::sync::atomic::AtomicU64::new(0);
    let url = peer(move |socket, bytes, from| {
        let number = every_fourth.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if number % 4 != 3 {
            socket.send_to(bytes, from).expect("sent");
        }
    });
    let report = load(&url, "--count 40 --connections 1 --in-flight 8 --loss-timeout 200ms");
    assert_eq!((&report["messages"], &report["lost"]), (&30.into(), &10.into()), "{report}");
}

#[test]
fn answers_that_come_twice_and_out_of_order_are_taken_once() {
    let held = std::sync::Mutex::new(None::<Vec<u8>>);
    let url = peer(move |socket, bytes, from| {
        let mut held = held.lock().expect("no panic");
        match held.take() {
            None => *held = Some(bytes.to_vec()),
            Some(first) => {
                for answer in [bytes, &first, bytes] {
                    socket.send_to(answer, from).expect("sent");
                }
            }
        }
    });
    let report = load(&url, "--count 100 --connections 1 --in-flight 2");
    assert_eq!((&report["messages"], &report["lost"]), (&100.into(), &0.into()), "{report}");
}

#[test]
fn a_server_that_says_nothing_is_3() {
    let url = peer(|_, _, _| {});
    let flags = ["--connections", "1", "--timeout", "100ms", "--loss-timeout", "20ms"];
    let ended = net([&["bench", "client", &url], &flags[..]].concat()).expect(3);
    let _ = ended.tells("no answer for 100ms");
}

#[cfg(unix)]
#[test]
fn a_drain_waits_for_nobody() {
    let server = server("");
    net(["echo", "client", &server.url, "hello"]).expect(0);
    server.process.signal(rustix::process::Signal::TERM);
    let ended = server.process.ended().expect(0);
    let _ = ended.tells("drained");
}
