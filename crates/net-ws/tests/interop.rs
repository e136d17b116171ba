//! WebSocket against others: Python's `websockets` and Node's `ws` as clients and as servers, and tokio-tungstenite.
#![cfg(feature = "tls")]

#[path = "rig/conversation.rs"]
mod conversation;
#[path = "rig/peers.rs"]
mod peers;
mod rig;
#[path = "rig/tungstenite.rs"]
mod tungstenite;

use std::process::Command;

use conversation::{ACTIONS, Served, TOLD, converse, limit, ours, saw, serve, serve_at, served};
use net_core::{Address, Listener, Transport};
use net_ws::{DeflateConfig, DeflateMemory, Ws, WsConfig};
use peers::{Files, Peer, Talk, run, text};
use rig::{at, soon};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

const MEMORIES: [DeflateMemory; 3] =
    [DeflateMemory::Dedicated, DeflateMemory::Shared, DeflateMemory::NoTakeover];

/// How one connection compresses.
#[derive(Debug)]
struct Compression {
    /// What we are set to.
    ours: Option<DeflateConfig>,
    /// What the peer's library is told; nothing where it does not compress.
    theirs: Value,
    /// What comes of it, seen from the peer.
    agreed: Value,
}

const NONE: Compression = Compression { ours: None, theirs: Value::Null, agreed: Value::Null };

fn agreed(send_takeover: bool, recv_takeover: bool, send_bits: u8, recv_bits: u8) -> Value {
    json!({
        "send_takeover": send_takeover,
        "recv_takeover": recv_takeover,
        "send_bits": send_bits,
        "recv_bits": recv_bits,
    })
}

fn every(memory: DeflateMemory, send_window_bits: u8, recv_window_bits: u8) -> DeflateConfig {
    DeflateConfig { memory, min_len: 1, send_window_bits, recv_window_bits, ..DeflateConfig::default() }
}

/// Compression as our settings alone have it: with every kind of memory and these windows.
fn wanted(send_bits: &[u8], recv_bits: &[u8], theirs: &Value) -> Vec<Compression> {
    let mut wanted = Vec::new();
    for memory in MEMORIES {
        for &send in send_bits {
            for &recv in recv_bits {
                let (keeps, lets) = (memory == DeflateMemory::Dedicated, memory != DeflateMemory::NoTakeover);
                wanted.push(Compression {
                    ours: Some(every(memory, send, recv)),
                    theirs: theirs.clone(),
                    agreed: agreed(lets, keeps, recv, send),
                });
            }
        }
    }
    wanted
}

/// A peer, and what both sides trust where they meet over TLS.
struct Meeting {
    peer: Peer,
    files: Option<Files>,
}

impl Meeting {
    fn plain(peer: Peer) -> Self {
        Self { peer, files: None }
    }

    fn over_tls(peer: Peer) -> Self {
        Self { peer, files: Some(Files::new()) }
    }

    /// Returns a command that runs the peer's client or server.
    fn program(&self, name: &str, plans: &[Value]) -> Command {
        let mut command = self.peer.program(name, &json!(plans));
        if let Some(files) = &self.files {
            // What Python trusts, and what Node trusts.
            let authority = files.path("ca.pem");
            command.env("SSL_CERT_FILE", &authority).env("NODE_EXTRA_CA_CERTS", authority);
            command.env("PEER_CERT", files.path("server.pem")).env("PEER_KEY", files.path("server.key"));
        }
        command
    }

    /// Returns our side as a server of it.
    async fn serve(
        &self,
        deflate: Option<DeflateConfig>,
        generous: bool,
    ) -> (Address, UnboundedReceiver<Served>) {
        match &self.files {
            Some(files) => {
                let tls = files.authority.server().build().expect("settings");
                serve_at(ours(deflate, generous).with_server_tls(tls), &at("wss://127.0.0.1:0")).await
            }
            None => serve(ours(deflate, generous)).await,
        }
    }

    /// Returns our side as a client of it.
    fn ours(&self, deflate: Option<DeflateConfig>, generous: bool) -> Ws {
        match &self.files {
            Some(files) => {
                ours(deflate, generous).with_client_tls(files.authority.client().build().expect("settings"))
            }
            None => ours(deflate, generous),
        }
    }

    /// Starts servers of the peer, one for each of these; gives where they are.
    async fn start(&self, compressions: &[Compression]) -> (Talk, Vec<Address>) {
        let plans: Vec<_> = compressions.iter().map(|compression| compression.theirs.clone()).collect();
        let mut server = Talk::start(self.program("server", &plans));
        let ports: Vec<u16> = serde_json::from_str(&server.line().await).expect("ports");
        assert_eq!(ports.len(), compressions.len());
        let scheme = if self.files.is_some() { "wss" } else { "ws" };
        (server, ports.into_iter().map(|port| at(&format!("{scheme}://127.0.0.1:{port}"))).collect())
    }
}

/// Has a peer's client take every action with servers of ours, one for each of these.
async fn a_client_is_served(peer: Peer, compressions: &[Compression]) {
    a_client_takes(&Meeting::plain(peer), compressions, &EVERYTHING).await;
}

/// What a client takes: actions, some of them with servers whose limit is above what they send.
type Round = (bool, &'static [&'static str]);

const EVERYTHING: [Round; 2] = [(false, &ACTIONS), (true, &["flood"])];

async fn a_client_takes(meeting: &Meeting, compressions: &[Compression], rounds: &[Round]) {
    let (mut plans, mut expected) = (Vec::new(), Vec::new());
    for compression in compressions {
        for &(generous, actions) in rounds {
            let (to, told) = meeting.serve(compression.ours, generous).await;
            plans.push(json!({"to": to.to_string(), "deflate": compression.theirs, "actions": actions}));
            expected.push((told, actions, &compression.agreed));
        }
    }
    let output = run(meeting.program("client", &plans)).await;
    assert!(output.status.success(), "{}", text(&output));
    let output = text(&output);
    let mut lines = output.lines();
    for (mut told, actions, agreed) in expected {
        for action in actions {
            served(&mut told, action, agreed).await;
            let line = lines.next().unwrap_or_default();
            assert_eq!(serde_json::from_str::<Value>(line).ok().as_ref(), Some(agreed), "{line}");
        }
    }
}

/// Takes every action with servers of a peer, one for each of these.
async fn a_server_serves_us(peer: Peer, compressions: &[Compression]) {
    a_server_serves(&Meeting::plain(peer), compressions).await;
}

async fn a_server_serves(meeting: &Meeting, compressions: &[Compression]) {
    let (mut server, addresses) = meeting.start(compressions).await;
    for (to, compression) in addresses.iter().zip(compressions) {
        converse(|generous| meeting.ours(compression.ours, generous), to, &compression.agreed).await;
        let mut lines = Vec::new();
        while lines.len() < TOLD.len() {
            lines.push(server.line().await);
        }
        for told in TOLD {
            // A connection that ends while another begins may be told of behind it.
            let of_path = format!("{:?}", told.0);
            let line = lines.iter().position(|line| line.contains(&of_path)).expect("a line of each");
            saw(&lines.remove(line), told, &compression.agreed);
        }
    }
}

/// Meets both sides of a peer over TLS, without compression and with it, which its client asks for by `offer`.
async fn both_sides_meet_over_tls(peer: Peer, offer: Value) {
    let meeting = Meeting::over_tls(peer);
    let compressing = |theirs| Compression {
        ours: Some(every(DeflateMemory::Dedicated, 15, 15)),
        theirs,
        agreed: agreed(true, true, 15, 15),
    };
    a_client_takes(&meeting, &[NONE, compressing(offer)], &EVERYTHING).await;
    a_server_serves(&meeting, &[NONE, compressing(json!({}))]).await;
}

#[tokio::test]
async fn w1_python_is_met_over_tls() {
    both_sides_meet_over_tls(Peer::Python, json!({"client_max_window_bits": true})).await;
}

#[tokio::test]
async fn w1_node_is_met_over_tls() {
    both_sides_meet_over_tls(Peer::Node, json!({})).await;
}

#[tokio::test]
async fn w1_a_client_of_python_is_served() {
    a_client_is_served(Peer::Python, &[NONE]).await;
}

#[tokio::test]
async fn w1_a_server_of_python_serves_us() {
    a_server_serves_us(Peer::Python, &[NONE]).await;
}

#[tokio::test]
async fn w1_a_client_of_node_is_served() {
    a_client_is_served(Peer::Node, &[NONE]).await;
}

#[tokio::test]
async fn w1_a_server_of_node_serves_us() {
    a_server_serves_us(Peer::Node, &[NONE]).await;
}

#[tokio::test]
async fn w1_a_client_of_tungstenite_is_served() {
    // It knows no compression, and offers none.
    let (to, mut told) = serve(ours(Some(DeflateConfig::default()), false)).await;
    for action in ["echo", "fragments", "closed", "beyond"] {
        tungstenite::take(&to, action).await;
        served(&mut told, action, &Value::Null).await;
    }
}

#[tokio::test]
async fn w1_a_server_of_tungstenite_serves_us() {
    let (port, mut told) = tungstenite::serve().await;
    let to = at(&format!("ws://127.0.0.1:{port}"));
    // What we offer it does not know, and leaves unanswered.
    converse(|generous| ours(Some(DeflateConfig::default()), generous), &to, &Value::Null).await;
    for expected in TOLD {
        let line = soon("what it saw", told.recv()).await.expect("it serves");
        saw(&line, expected, &Value::Null);
    }
}

/// Its compressor has no window of 8 bits, its decompressor has.
#[tokio::test]
async fn w3_a_client_of_python_compresses_with_us_as_we_wish() {
    let any = json!({"client_max_window_bits": true});
    a_client_is_served(Peer::Python, &wanted(&[8, 9, 15], &[9, 15], &any)).await;
}

#[tokio::test]
async fn w3_a_client_of_python_compresses_with_us_as_it_wishes() {
    let ours = Some(every(DeflateMemory::Dedicated, 15, 15));
    let wishes = [
        (json!({"client_max_window_bits": null}), agreed(true, true, 15, 15)),
        (json!({"server_max_window_bits": 8, "client_max_window_bits": 9}), agreed(true, true, 9, 8)),
        (
            json!({"server_max_window_bits": 12, "server_no_context_takeover": true}),
            agreed(true, false, 15, 12),
        ),
        (json!({"client_no_context_takeover": true}), agreed(false, true, 15, 15)),
    ];
    let compressions = wishes.map(|(theirs, agreed)| Compression { ours, theirs, agreed });
    a_client_is_served(Peer::Python, &compressions).await;
}

#[tokio::test]
async fn w3_a_server_of_python_compresses_with_us_as_we_wish() {
    a_server_serves_us(Peer::Python, &wanted(&[8, 9, 15], &[9, 15], &json!({}))).await;
}

#[tokio::test]
async fn w3_a_server_of_python_compresses_with_us_as_it_wishes() {
    let wide = every(DeflateMemory::Dedicated, 15, 15);
    let narrow = every(DeflateMemory::Dedicated, 15, 8);
    let compressions = [
        (wide, json!({"server_max_window_bits": 9, "client_max_window_bits": 8}), agreed(true, true, 9, 8)),
        (wide, json!({"server_no_context_takeover": true}), agreed(false, true, 15, 15)),
        (wide, json!({"client_no_context_takeover": true}), agreed(true, false, 15, 15)),
        // A window of 8 bits is beyond its compressor: it declines that offer and takes the one behind it.
        (narrow, json!({}), agreed(true, true, 15, 15)),
    ];
    let compressions =
        compressions.map(|(ours, theirs, agreed)| Compression { ours: Some(ours), theirs, agreed });
    a_server_serves_us(Peer::Python, &compressions).await;
}

#[tokio::test]
async fn w3_a_client_of_node_compresses_with_us() {
    let mut compressions = wanted(&[8, 15], &[8, 15], &json!({}));
    let theirs = json!({"server_max_window_bits": 9, "client_max_window_bits": 10, "server_no_context_takeover": true});
    let ours = Some(every(DeflateMemory::Dedicated, 15, 15));
    compressions.push(Compression { ours, theirs, agreed: agreed(true, false, 10, 9) });
    a_client_is_served(Peer::Node, &compressions).await;
}

#[tokio::test]
async fn w3_a_server_of_node_compresses_with_us() {
    let mut compressions = wanted(&[8, 15], &[8, 15], &json!({}));
    let theirs = json!({"server_max_window_bits": 9, "client_max_window_bits": 10, "server_no_context_takeover": true});
    let ours = Some(every(DeflateMemory::Dedicated, 15, 15));
    compressions.push(Compression { ours, theirs, agreed: agreed(false, true, 9, 10) });
    a_server_serves_us(Peer::Node, &compressions).await;
}

/// One side that does not compress is enough for none of both to do so.
#[tokio::test]
async fn w3_nothing_is_compressed_unless_both_sides_will() {
    let ours = [(Some(DeflateConfig::default()), Value::Null), (None, json!({}))];
    for peer in [Peer::Python, Peer::Node] {
        let compressions =
            ours.clone().map(|(ours, theirs)| Compression { ours, theirs, agreed: Value::Null });
        a_client_is_served(peer, &compressions).await;
        a_server_serves_us(peer, &compressions).await;
    }
}

#[tokio::test]
async fn w3_a_message_as_long_as_may_be_passes_though_it_cannot_be_compressed() {
    // With little memory, zlib writes what it cannot compress with 4 % of overhead.
    let theirs = json!({"compress_settings": {"memLevel": 1}});
    let compressions = wanted(&[15], &[9, 15], &theirs);
    let meeting = Meeting::plain(Peer::Python);
    a_client_takes(&meeting, &compressions, &[(false, &["limit"])]).await;
    let (mut server, addresses) = meeting.start(&compressions).await;
    for (to, compression) in addresses.iter().zip(&compressions) {
        limit(compression.ours, to, &compression.agreed).await;
        saw(&server.line().await, ("/echo", Some(1000)), &compression.agreed);
    }
}

/// zlib has no compressor of 8 bits; one of 9 bits must therefore never point further back than 256 bytes.
async fn a_window_of_8_bits_is_never_exceeded(memory: DeflateMemory) {
    let mut servers = Vec::new();
    for level in 1..=9 {
        let deflate = DeflateConfig { level, ..every(memory, 15, 15) };
        let ws = Ws::new(WsConfig { deflate: Some(deflate), ..WsConfig::default() });
        let listener = ws.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
        servers.push(json!([format!("level {level}"), listener.local().port()]));
        rig::echo(listener);
    }
    let output = run(Peer::Python.program("window", &json!(servers))).await;
    let output = (output.status.success(), text(&output));
    assert!(output.0, "{}", output.1);
    assert_eq!(output.1.lines().count(), servers.len());
    for line in output.1.lines() {
        let told: Value = serde_json::from_str(line).expect("what was seen");
        assert_eq!(told.get("takeover"), Some(&json!(memory == DeflateMemory::Dedicated)), "{line}");
        assert!(
            told.get("saved").and_then(Value::as_i64) > Some(10_000),
            "hardly anything repeated itself: {line}"
        );
    }
}

#[tokio::test]
async fn w3_a_window_of_8_bits_is_never_exceeded_with_what_came_before() {
    a_window_of_8_bits_is_never_exceeded(DeflateMemory::Dedicated).await;
}

#[tokio::test]
async fn w3_a_window_of_8_bits_is_never_exceeded_inside_a_message() {
    a_window_of_8_bits_is_never_exceeded(DeflateMemory::Shared).await;
}
