//! QUIC of the command: every byte of every stream comes back, to its own clients and to a foreign one.

mod rig;

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use net_core::{
    Listener as _, Transport as _, last_turns,
    tls::{ClientTls, Pem, ServerTls},
};
use net_quic::{Quic, QuicConfig, QuicSession};

use rig::{PATIENCE, Process, Server, built, net, released};
use tempfile::TempDir;

/// Certificates as `net certs` makes them.
fn certs() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    net(["certs", directory.path().to_str().expect("is text")]).expect(0);
    directory
}

fn file(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().expect("is text").to_owned()
}

fn server(directory: &TempDir, flags: &str) -> Server {
    let (cert, key) = (file(directory, "server.pem"), file(directory, "server.key"));
    Server::start(released(), "quic://127.0.0.1:0", &format!("--cert {cert} --key {key} {flags}"))
}

#[test]
fn q1_the_commands_of_the_command_speak_quic() {
    let certs = certs();
    let ca = file(&certs, "ca.pem");
    let bytes = server(&certs, "");
    assert!(bytes.url.starts_with("quic://127.0.0.1:"), "{}", bytes.url);
    for framing in ["length", "lines", "none"] {
        let flags = ["--framing", framing, "--ca", &ca];
        let ended = net([&["echo", "client", &bytes.url, "hello"], &flags[..]].concat()).expect(0);
        assert_eq!(ended.stdout, ["hello"], "{framing}");
    }
    net(["echo", "client", &bytes.url, "hello"]).expect(1).tells("certificate");
    net(["echo", "client", &bytes.url, "hello", "--ca", &ca, "--alpn", "other"]).expect(1);
    let texts = file(&certs, "texts");
    fs::write(&texts, "one\ntwo\nthree\n").expect("written");
    net(["send", &bytes.url, "--file", &texts, "--ca", &ca]).expect(0);
    let load = ["bench", "client", &bytes.url, "--ca", &ca, "--connections", "4", "--duration", "1s"];
    net(load).expect(0);

    let messages = server(&certs, "--format message");
    let ended = net(["echo", "client", &messages.url, "hello", "--ca", &ca, "--format", "message"]).expect(0);
    assert_eq!(ended.stdout, ["hello"]);
}

#[test]
fn secrets_are_written_on_request_alone() {
    let certs = certs();
    let server = server(&certs, "");
    let secrets = file(&certs, "secrets");
    for (flags, written) in [(&[][..], false), (&["--key-log"], true)] {
        let mut command = Command::new(released());
        command.args(["echo", "client", &server.url, "hello", "--ca", &file(&certs, "ca.pem")]).args(flags);
        let output = command.env("SSLKEYLOGFILE", &secrets).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(&secrets).unwrap_or_default();
        assert_eq!(text.contains("CLIENT_TRAFFIC_SECRET_0"), written, "{flags:?}: {text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn q3_several_threads_over_quic_are_as_many_sockets_and_there_on_request_alone() {
    let certs = certs();
    let (cert, key) = (file(&certs, "server.pem"), file(&certs, "server.key"));
    for (flags, told, sockets) in [
        ("", "1 I/O thread by", 1),
        ("--io-threads 0", "1 I/O thread by", 1),
        ("--io-threads 3", "3 I/O threads by", 3),
    ] {
        let flags = format!("--cert {cert} --key {key} {flags}");
        let mut server = Server::start(built(), "quic://127.0.0.1:0", &flags);
        server.process.told(told);
        let port: u16 = server.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        // proc(5): `sl local_address rem_address ...`, in hexadecimal.
        let bound = fs::read_to_string("/proc/net/udp").expect("Linux");
        let at_port = format!(":{port:04X}");
        let at_port =
            |line: &&str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&at_port));
        assert_eq!(bound.lines().filter(at_port).count(), sockets, "{flags}");
        let ca = file(&certs, "ca.pem");
        let ended = net(["echo", "client", &server.url, "hello", "--ca", &ca]).expect(0);
        assert_eq!(ended.stdout, ["hello"], "{flags}");
    }
}

#[test]
fn each_run_of_the_echo_client_gives_its_place_back() {
    let certs = certs();
    let ca = file(&certs, "ca.pem");
    let server = server(&certs, "--max-connections 3");
    for run in 0..9 {
        let ended = net(["echo", "client", &server.url, "hello", "--ca", &ca]).expect(0);
        assert_eq!(ended.stdout, ["hello"], "run {run}");
    }
}

#[test]
fn the_end_of_a_text_is_waited_for_no_longer_than_the_time_out() {
    let certs = certs();
    let ca = file(&certs, "ca.pem");
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let (cert, key) = (file(&certs, "server.pem"), file(&certs, "server.key"));
    // Answers, and then does nothing any more: what the client ends is acknowledged by nobody.
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let tls =
                ServerTls::builder().certificate(Pem::file(cert), Pem::file(key)).build().expect("settings");
            let config = QuicConfig { alpn: vec!["echo".to_owned()], ..QuicConfig::default() };
            let quic = Quic::new(config).with_server_tls(tls);
            let mut listener =
                quic.listen(&"quic://127.0.0.1:0".parse().expect("an address")).await.expect("listening");
            tell.send(listener.local().to_string()).expect("the test waits");
            let mut far = listener.accept().await.expect("accepted");
            let text = far.recv().await.expect("received").expect("a text");
            let session = QuicSession::of(&far.tx);
            let sent = session.stats().udp_sent;
            far.send(text).await.expect("sent");
            // Some turns later it has left, however many datagrams of QUIC's own are before it.
            while session.stats().udp_sent == sent {
                tokio::task::yield_now().await;
            }
            last_turns().await;
            let _ = ended.recv();
        });
    });
    let url = told.recv_timeout(PATIENCE).expect("the server's address");
    net(["echo", "client", &url, "hello", "--ca", &ca, "--timeout", "1s"])
        .expect(2)
        .tells("not taken within 1s");
    drop(end);
    server.join().expect("it has ended");
}

#[cfg(unix)]
#[test]
fn a36_a_server_of_several_threads_tells_its_clients_of_its_end() {
    let certs = certs();
    let server = server(&certs, "--io-threads 2");
    let tls = ClientTls::builder().ca(Pem::file(file(&certs, "ca.pem"))).build().expect("settings");
    let config = QuicConfig { alpn: vec!["echo".to_owned()], ..QuicConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let quic = Quic::new(config).with_client_tls(tls);
        let near = quic.open(&server.url.parse().expect("an address")).await.expect("connected");
        server.terminate();
        let ended = tokio::time::timeout(PATIENCE, near.ended()).await.expect("to be told");
        assert_ne!(ended.kind(), net_core::ErrorKind::TimedOut, "{ended:?}");
    });
    server.process.ended().expect(0);
}

#[test]
fn a20_where_few_handshakes_may_run_an_address_must_be_shown_the_sooner() {
    let certs = certs();
    let ca = file(&certs, "ca.pem");
    for (flags, retries) in [("", false), ("--max-handshakes 1", true)] {
        let server = server(&certs, flags);
        let to = server.url.strip_prefix("quic://").expect("is QUIC");
        let between = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let url = format!("quic://{}", between.local_addr().expect("is bound"));
        let _client =
            Process::start(Command::new(built()).args(["echo", "client", &url, "hello", "--ca", &ca]));
        between.set_read_timeout(Some(PATIENCE)).expect("an option");
        let mut packet = [0; 2048];
        let len = between.recv(&mut packet).expect("a first packet");
        between.send_to(&packet[..len], to).expect("sent");
        // The client may have asked whether the port is closed, and sends its first packet again.
        let first = loop {
            let (_, from) = between.recv_from(&mut packet).expect("an answer");
            if from.to_string() == to {
                break packet[0];
            }
        };
        // RFC 9000 §17.2: a long header of the type Retry.
        assert_eq!(first & 0xf0 == 0xf0, retries, "{flags}");
    }
}

#[test]
fn q1_flags_of_quic_and_scheme_must_go_together() {
    net(["echo", "server", "quic://127.0.0.1:0"]).expect(1).tells("0 of --cert");
    net(["echo", "server", "tcp://127.0.0.1:0", "--alpn", "echo"]).expect(1).tells("--alpn");
}

#[test]
fn real_d14_a_foreign_client_gets_every_byte_of_every_stream_back() {
    let certs = certs();
    let server = server(&certs, "");
    let python = std::env::var_os("AIOQUIC_PYTHON")
        .expect("AIOQUIC_PYTHON names a Python with aioquic: run `cargo xtask test`, which makes one");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../net-quic/tests/peers/client.py");
    for action in ["streams", "frames", "abort", "migrate", "resume"] {
        let mut command = Command::new(&python);
        command.arg(&client).arg(server.url.trim_start_matches("quic://")).arg(action);
        command.args(["--alpn", "echo", "--ca", &file(&certs, "ca.pem")]).stdin(Stdio::null());
        let output = command.output().expect("it starts");
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("ok "), "{action}: {text}");
    }
}
