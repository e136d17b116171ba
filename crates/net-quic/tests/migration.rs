//! Clients whose address changes: the connection goes on, and both sides are told.

#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use std::{
    collections::hash_map::DefaultHasher, hash::Hasher, net::SocketAddr, process::Command, sync::mpsc,
    thread, time::Duration,
};

use bytes::Bytes;
use net_core::{ErrorKind, frame::LengthPrefix, testing::RelayConfig};
use net_quic::{Quic, QuicConfig, QuicSession};
use rig::{at, connect, quic, quic_with, session, session_over, soon, within};
use tokio::sync::oneshot;

/// How much a transfer over a change of address carries.
const MANY: usize = 100 << 20;

/// The bytes of a transfer from `offset` on; none of them is like another place's.
fn chunk(offset: usize, len: usize) -> Bytes {
    (offset..offset + len).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[2]).collect()
}

/// Sends `len` bytes, and returns their hash; `half_way` is done in the middle of it.
async fn send(session: &QuicSession, len: usize, half_way: impl Future<Output = ()>) -> u64 {
    let mut tx = session.open_uni().await.expect("a stream");
    let mut hash = DefaultHasher::new();
    let mut half_way = Some(half_way);
    let mut offset = 0;
    while offset < len {
        let bytes = chunk(offset, (len - offset).min(1 << 18));
        hash.write(&bytes);
        offset += bytes.len();
        tx.write_chunk(bytes).await.expect("written");
        if offset >= len / 2
            && let Some(half_way) = half_way.take()
        {
            half_way.await;
        }
    }
    tx.finish().await.expect("acknowledged");
    hash.finish()
}

/// Receives a stream, and returns its length and hash.
async fn receive(session: &QuicSession) -> (usize, u64) {
    let mut rx = session.accept_uni().await.expect("a stream");
    let mut hash = DefaultHasher::new();
    let mut len = 0;
    let mut held = Vec::new();
    while let Some(bytes) = rx.read_chunk(1 << 20).await.expect("read") {
        len += bytes.len();
        held.extend_from_slice(&bytes);
        // As they were sent: a hash of the same pieces.
        while held.len() >= 1 << 18 {
            let rest = held.split_off(1 << 18);
            hash.write(&held);
            held = rest;
        }
    }
    if !held.is_empty() {
        hash.write(&held);
    }
    (len, hash.finish())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_q3_a_transfer_goes_on_from_another_address() {
    let quic = quic();
    let (near, far, _sessions) = session(&quic).await;
    let before = (near.path(), far.path());
    let receiving = tokio::spawn(async move { (receive(&far).await, far) });
    let mover = near.clone();
    let sending = send(&near, MANY, async { mover.rebind().expect("another socket") });
    let hash = within(Duration::from_mins(2), "the transfer", sending).await;
    let (received, far) = soon("the end", receiving).await.expect("no panic");
    assert_eq!(received, (MANY, hash));
    assert_ne!(near.path().local.port(), before.0.local.port(), "it is another socket");
    assert_eq!(far.path().remote, near.path().local, "and the server knows of it");
    assert_eq!(near.info().remote, far.info().local);
}

#[tokio::test]
async fn q3_both_sides_are_told_of_another_path() {
    let quic = quic();
    let (near, far, mut sessions) = session(&quic).await;
    let (other, _other_far) = connect(&quic, &mut sessions).await;
    let (mut here, mut there) = (near.watch_path(), far.watch_path());
    let old = near.path();
    assert_eq!(old.local, far.path().remote);
    quic.rebind().expect("another socket");
    let new = soon("the change here", here.changed()).await.expect("connected");
    assert_ne!(new.local, old.local);
    assert_eq!(new.remote, old.remote);
    let told = soon("the change there", there.changed()).await.expect("connected");
    assert_eq!(told.remote, new.local);
    // All clients of the value share the socket.
    assert_eq!(other.path().local, new.local);
    let error = far.rebind().expect_err("a server stays");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // The same is not told again: what comes next is the next change.
    quic.rebind().expect("another socket");
    let next = soon("the next change", here.changed()).await.expect("connected");
    assert_eq!(next, near.path());
    assert_ne!(next, new);
    near.close(0, "");
    assert_eq!(soon("the end", here.changed()).await.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn q3_a_server_that_does_not_follow_loses_the_client() {
    let config = QuicConfig {
        migration: false,
        idle_timeout: Some(Duration::from_millis(500)),
        keepalive_interval: Some(Duration::from_millis(100)),
        ..QuicConfig::default()
    };
    let (near, _far, _sessions) = session(&quic_with(config, LengthPrefix::default())).await;
    near.rebind().expect("another socket");
    // The server may have given it up first, and says so.
    let why = soon("the end", near.ended()).await.kind();
    assert!(matches!(why, ErrorKind::TimedOut | ErrorKind::Reset), "{why:?}");
}

#[tokio::test]
async fn a22_an_address_that_a_nat_changed_is_followed() {
    let (near, far, relay, _sessions) = session_over(&quic(), RelayConfig::default()).await;
    let before = far.path().remote;
    let receiving = tokio::spawn(async move { (receive(&far).await, far) });
    let hash =
        within(Duration::from_mins(1), "the transfer", send(&near, 4 << 20, async { relay.hop() })).await;
    let (received, far) = soon("the end", receiving).await.expect("no panic");
    assert_eq!(received, (4 << 20, hash));
    assert_ne!(far.path().remote, before, "the server has followed");
}

#[tokio::test]
async fn a22_a_forged_address_is_probed_and_gets_nothing_in_bulk() {
    let (near, far, relay, _sessions) = session_over(&quic(), RelayConfig::default()).await;
    relay.forge(true);
    // The server sends in bulk, and somebody between repeats what the client acknowledges from an address of his own.
    let sending = tokio::spawn(async move { (send(&far, 8 << 20, async {}).await, far) });
    let received = within(Duration::from_mins(1), "the transfer", receive(&near)).await;
    relay.forge(false);
    let (hash, _far) = soon("the end", sending).await.expect("no panic");
    assert_eq!(received, (8 << 20, hash));
    let (sent, answered) = relay.forged();
    assert!(sent > 0, "somebody forged");
    // quinn lets a whole datagram go wherever any of the three times is left: of acknowledgements of some 30 bytes each, that
    // is two or three datagrams for one. It is no bulk: each forged datagram begins anew, and most of the transfer goes where
    // it belongs.
    assert!(answered <= sent * 3 * 1452, "{answered} bytes for {sent} datagrams");
    assert!(answered < (8 << 20) / 10, "{answered} bytes for {sent} datagrams");
}

/// Two network namespaces with a link between them, deleted when dropped.
struct Namespaces {
    names: [String; 2],
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Namespaces {
    fn new() -> Result<Self, String> {
        let names = ["a", "b"].map(|side| format!("quic-{}-{side}", std::process::id()));
        let made = Self { names };
        let [a, b] = &made.names;
        ip(&format!("netns add {a}"))?;
        ip(&format!("netns add {b}"))?;
        ip(&format!("link add name veth0 netns {a} type veth peer name veth0 netns {b}"))?;
        for (name, last) in [(a, 1), (b, 2)] {
            ip(&format!("-n {name} addr add 10.99.0.{last}/24 dev veth0"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set veth0 up"))?;
        }
        Ok(made)
    }

    /// Runs `work` on a runtime of its own in the namespace `name`.
    fn run<T: Send + 'static>(
        name: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let file = std::fs::File::open(format!("/var/run/netns/{name}")).expect("a namespace");
        thread::spawn(move || {
            let network = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), network)
                .expect("moved");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work)
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

#[test]
fn real_q3_a_transfer_goes_on_between_namespaces_whose_address_changes() {
    let namespaces = match Namespaces::new() {
        Ok(namespaces) => namespaces,
        Err(why) => {
            let test = "real_q3_a_transfer_goes_on_between_namespaces_whose_address_changes";
            return namespace::do_without(test, &why);
        }
    };
    let authority = rig::authority::Authority::new("namespaces");
    let names = ["10.99.0.1"];
    let pair = authority.leaf(&names);
    let server = rig::authority::WithPair::pair(net_core::tls::ServerTls::builder(), &pair);
    let server = Quic::default().with_server_tls(server.build().expect("settings"));
    let client = Quic::default().with_client_tls(authority.client().build().expect("settings"));
    let (tell, listening) = mpsc::channel();
    let (reached, half_way) = mpsc::channel::<()>();
    let (moved, has_moved) = oneshot::channel::<()>();
    let serving = Namespaces::run(&namespaces.names[0], async move {
        let mut sessions = server.listen_sessions(&at("quic://10.99.0.1:0")).await.expect("listening");
        tell.send(sessions.local().clone()).expect("the test waits");
        let far = sessions.accept().await.expect("a session");
        let first: SocketAddr = far.path().remote;
        let received = receive(&far).await;
        let last = far.path().remote;
        // Not gone before the client knows that all has arrived.
        soon("the client's end", far.ended()).await;
        (received, first, last)
    });
    let to = listening.recv_timeout(Duration::from_secs(10)).expect("listening");
    let sending = Namespaces::run(&namespaces.names[1], async move {
        let near = client.open(&to).await.expect("connected");
        let hash = send(&near, MANY, async {
            reached.send(()).expect("the test waits");
            // What was written is on its way meanwhile, and as much again is to come.
            within(Duration::from_mins(1), "the other address", has_moved).await.expect("moved");
        })
        .await;
        near.finish_and_wait(Duration::from_secs(10)).await.expect("finished");
        hash
    });
    half_way.recv_timeout(Duration::from_mins(2)).expect("half of it");
    // As a telephone that leaves a network for another: the old address is gone.
    let client = &namespaces.names[1];
    ip(&format!("-n {client} addr add 10.99.0.77/24 dev veth0")).expect("an address");
    ip(&format!("-n {client} addr del 10.99.0.2/24 dev veth0")).expect("an address less");
    ip(&format!("-n {client} addr add 10.99.0.77/24 dev veth0")).unwrap_or_default();
    moved.send(()).expect("the client waits");
    let hash = sending.join().expect("the client ends well");
    let (received, first, last) = serving.join().expect("the server ends well");
    assert_eq!(received, (MANY, hash));
    assert_eq!(first.ip().to_string(), "10.99.0.2");
    assert_eq!(last.ip().to_string(), "10.99.0.77");
}
