//! WebSocket of the command: everything comes back as what it came, with and without TLS, compressed or not.

mod rig;

use std::fs;

use rig::{Server, net, released};

#[test]
fn w1_the_commands_of_the_command_speak_websocket() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name).to_str().expect("is text").to_owned();
    net(["certs", directory.path().to_str().expect("is text")]).expect(0);
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let plain = Server::start(released(), "ws://127.0.0.1:0", "");
    assert!(plain.url.starts_with("ws://127.0.0.1:"), "{}", plain.url);
    let secure = Server::start(released(), "wss://127.0.0.1:0", &format!("--cert {cert} --key {key}"));
    let texts = file("texts");
    fs::write(&texts, "one\ntwo\nthree\n").expect("written");
    for (url, flags) in [(&plain.url, &[][..]), (&secure.url, &["--ca", &ca])] {
        for more in [&[][..], &["--text"], &["--compression", "off"], &["--compression-min", "1B"]] {
            let to = format!("{url}/any/path?and=query");
            let ended = net([&["echo", "client", &to, "hello"], flags, more].concat()).expect(0);
            assert_eq!(ended.stdout, ["hello"]);
        }
        net([&["send", url, "--file", &texts][..], flags].concat()).expect(0);
        net([&["bench", "client", url, "--connections", "4", "--duration", "1s"][..], flags].concat())
            .expect(0);
    }
    net(["echo", "client", &secure.url, "hello"]).expect(1).tells("certificate");

    let messages = Server::start(released(), "ws://127.0.0.1:0", "--format message");
    let ended = net(["echo", "client", &messages.url, "hello", "--format", "message"]).expect(0);
    assert_eq!(ended.stdout, ["hello"]);
}

#[test]
fn w2_the_flags_of_the_handshake_reach_it() {
    let server = Server::start(
        released(),
        "ws://127.0.0.1:0",
        "--origin https://good.example --subprotocol chat,feed --max-message-len 64MiB",
    );
    let ask = |flags: &[&str]| net([&["echo", "client", &server.url, "hello"], flags].concat());
    ask(&["--header", "Origin: https://good.example", "--subprotocol", "feed"]).expect(0);
    ask(&["--header", "Origin: https://evil.example"]).expect(1).tells("403");
    ask(&["--subprotocol", "other"]).expect(1);
    ask(&["--header", "no colon"]).expect(1).tells("NAME: VALUE");
    ask(&["--proxy", "tcp://127.0.0.1:1"]).expect(1).tells("http://");
}
