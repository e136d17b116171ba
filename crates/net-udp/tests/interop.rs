//! Datagrams against Python's socket module, as a client and as a server.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use net_core::{Listener, Transport};
use net_udp::{Udp, UdpConfig};

mod rig;

use rig::{at, echo, soon};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/datagrams.py");
const LENGTHS: [usize; 8] = [0, 1, 100, 1_200, 1_472, 1_473, 9_000, 65_507];

fn python(args: &[&str]) -> Child {
    let mut python = Command::new("python3");
    python.arg(SCRIPT).args(args).stdin(Stdio::null()).stdout(Stdio::piped());
    python.spawn().expect("python3 is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_is_served() {
    for (listens, host) in
        [("udp://127.0.0.1:0", "127.0.0.1"), ("udp://[::1]:0", "::1"), ("udp://:0", "127.0.0.1")]
    {
        let listener = Udp::default().listen(&at(listens)).await.expect("listening");
        let port = listener.local().port().expect("a port").to_string();
        let serving = echo(listener);
        let client = python(&["client", host, &port]);
        let ended = tokio::task::spawn_blocking(|| client.wait_with_output());
        let output = soon("its end", ended).await.expect("no panic").expect("an end");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, format!("ok {}\n", LENGTHS.len()).as_bytes());
        serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_server_answers() {
    let mut server = python(&["server"]);
    let mut first = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
    let to = at(&format!("udp://127.0.0.1:{}", first.trim()));
    let mut near = Udp::new(UdpConfig::default()).connect(&to).await.expect("a route");
    for len in LENGTHS {
        let payload: Vec<u8> = (0..len).map(|index| (31 * index + len).to_le_bytes()[0]).collect();
        near.send(payload.clone()).await.expect("sent");
        let answer = soon("an answer", near.recv()).await.expect("received").expect("a message");
        assert_eq!(answer, payload);
    }
    let ended = tokio::task::spawn_blocking(move || server.wait());
    assert!(soon("its end", ended).await.expect("no panic").expect("an end").success());
}
