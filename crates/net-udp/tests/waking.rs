//! Tasks that wait for one socket: each of them is woken, whoever else waits, gives up or has an end.

#[cfg(target_os = "linux")]
use std::task::{Context, Waker};
use std::{process::Command, sync::Arc, time::Duration};

use net_core::{ErrorKind, Transport};
use net_udp::{RecvBatch, SendBatch, Udp, UdpConfig, UdpSocket};

#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use namespace::is_inside;
use rig::{at, bound, received, socket, soon};

/// A wire on which nobody answers for its addresses, so that what is sent waits, and fills the kernel's buffer.
const SETUP: &str = "ip link set lo up
ip link add wire type veth peer name end
ip link set end up
ip address add 10.9.0.1/24 dev wire
ip link set wire up";

async fn recv_one(socket: Arc<UdpSocket>) -> Vec<u8> {
    let mut batch = RecvBatch::new();
    socket.recv_batch(&mut batch).await.expect("received");
    batch.next().expect("one at the least").payload.to_vec()
}

/// Lets every other task run until it waits.
async fn all_wait() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_waits_for_datagrams_is_woken_though_another_one_gave_up() {
    let far = Arc::new(bound());
    let first = tokio::spawn(recv_one(far.clone()));
    all_wait().await;
    let second = tokio::spawn(recv_one(far.clone()));
    all_wait().await;
    second.abort();
    assert!(second.await.expect_err("it gave up").is_cancelled());
    bound().send_to(b"for the first", far.local()).await.expect("sent");
    assert_eq!(soon("a datagram", first).await.expect("no panic"), b"for the first");
}

#[tokio::test]
async fn every_task_that_waits_for_datagrams_gets_one() {
    let far = Arc::new(bound());
    let mut waiting: tokio::task::JoinSet<_> = (0..20).map(|_| recv_one(far.clone())).collect();
    all_wait().await;
    let near = bound();
    for number in 0..20_u8 {
        // Whichever task takes it, the others go on waiting.
        near.send_to(&[number], far.local()).await.expect("sent");
        let got = soon("a datagram", waiting.join_next()).await.expect("one more");
        assert_eq!(got.expect("no panic"), [number]);
    }
}

/// Tells where the address is: what waits leaves.
fn make_room() {
    let told = Command::new("ip")
        .args(["neighbour", "replace", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "wire"])
        .status();
    assert!(told.expect("ip is there").success());
}

#[tokio::test]
async fn who_waits_to_send_is_woken_though_another_one_gave_up() {
    if !is_inside("who_waits_to_send_is_woken_though_another_one_gave_up", SETUP) {
        return;
    }
    let near = narrow();
    let send = |near: Arc<UdpSocket>| async move { fill(&near).await };
    let first = tokio::spawn(send(near.clone()));
    all_wait().await;
    let second = tokio::spawn(send(near.clone()));
    all_wait().await;
    second.abort();
    assert!(second.await.expect_err("it gave up").is_cancelled());
    assert!(!first.is_finished(), "nobody has told yet where the address is");
    let mut batch = SendBatch::new();
    batch.push(([10, 9, 0, 2], 9).into(), "there is no room for this");
    near.try_send_batch(&mut batch).expect("no error");
    assert_eq!(batch.len(), 1);
    assert!(!near.try_send_to(b"and none for this", ([10, 9, 0, 2], 9).into()).expect("no error"));
    let room = tokio::spawn(async move { near.writable().await });
    all_wait().await;
    assert!(!room.is_finished(), "there is none");
    make_room();
    soon("room", first).await.expect("no panic").expect("sent");
    soon("room", room).await.expect("no panic").expect("told");
}

#[tokio::test]
async fn a_client_waits_for_room() {
    if !is_inside("a_client_waits_for_room", SETUP) {
        return;
    }
    let config = UdpConfig { send_buffer_len: Some(1), max_buffered: 10_000, ..UdpConfig::default() };
    let mut near = Udp::new(config).connect(&at("udp://10.9.0.2:9")).await.expect("a route");
    let stats = near.info.details::<Arc<UdpSocket>>().expect("the socket of a client").clone();
    let sent = tokio::spawn(async move {
        for len in 0..100 {
            near.send(vec![0; 1_000 + len]).await.expect("sent");
        }
        net_core::Sender::flush(&mut near.tx).await
    });
    all_wait().await;
    assert!(!sent.is_finished() && stats.stats().sent < 100, "nobody has told yet where the address is");
    make_room();
    soon("room", sent).await.expect("no panic").expect("sent");
    assert_eq!(stats.stats().sent, 100);
}

/// Returns a socket at the wire that has room for little.
fn narrow() -> Arc<UdpSocket> {
    let socket = UdpSocket::bind(([10, 9, 0, 1], 0).into()).expect("a socket");
    socket.set_send_buffer_len(1).expect("an option");
    Arc::new(socket)
}

/// Sends more than there is room for.
async fn fill(near: &UdpSocket) -> net_core::Result<()> {
    let mut batch = SendBatch::new();
    for len in 0..100 {
        batch.push(([10, 9, 0, 2], 9).into(), vec![0; 1_000 + len]);
    }
    near.send_batch(&mut batch).await
}

#[tokio::test]
async fn who_waits_for_room_needs_no_descriptor_where_none_is_left() {
    if !is_inside("who_waits_for_room_needs_no_descriptor_where_none_is_left", SETUP) {
        return;
    }
    let near = narrow();
    let mut taken = Vec::new();
    let socket = near.clone();
    let first = tokio::spawn(async move { fill(&socket).await });
    // A command needs some, so that room is made beforehand and told of once none is left.
    let mut making = Command::new("sh")
        .args(["-c", "read go; ip neighbour replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev wire"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("sh is there");
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    all_wait().await;
    assert!(!first.is_finished(), "nobody has told yet where the address is");
    drop(making.stdin.take());
    soon("room", first).await.expect("no panic").expect("sent");
    making.wait().expect("it ends");
}

/// Returns how many descriptors this process has open.
#[cfg(target_os = "linux")]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("they are listed").count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_finds_room_before_it_is_told_of_it_watches_for_it_no_longer() {
    if !is_inside("who_finds_room_before_it_is_told_of_it_watches_for_it_no_longer", SETUP) {
        return;
    }
    let config = UdpConfig { send_buffer_len: Some(1), ..UdpConfig::default() };
    let mut near = Udp::new(config).connect(&at("udp://10.9.0.2:9")).await.expect("a route");
    let own = near.info.details::<Arc<UdpSocket>>().expect("the socket of a client").clone();
    let before = descriptors();
    let cx = &mut Context::from_waker(Waker::noop());
    let mut flush = |near: &mut net_core::Connection<net_udp::UdpSender, _>| {
        net_core::Sender::poll_flush(&mut near.tx, cx)
    };
    while flush(&mut near).is_ready() {
        net_core::Sender::feed(&mut near.tx, vec![0; 1_000]).await.expect("accepted");
    }
    assert_eq!(descriptors(), before + 1, "one to watch for room");
    make_room();
    soon("room", own.writable()).await.expect("told");
    // Whatever wakes it first: it sends before it asks whether there is room.
    assert!(flush(&mut near).is_ready(), "there is room");
    assert_eq!(descriptors(), before);
}

#[tokio::test]
async fn who_waits_for_room_may_be_in_another_runtime() {
    if !is_inside("who_waits_for_room_may_be_in_another_runtime", SETUP) {
        return;
    }
    let near = narrow();
    let socket = near.clone();
    let elsewhere = tokio::task::spawn_blocking(move || {
        // It has neither I/O nor timers.
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(fill(&socket))
    });
    while near.stats().sent == 0 {
        tokio::task::yield_now().await;
    }
    all_wait().await;
    assert!(!elsewhere.is_finished(), "nobody has told yet where the address is");
    make_room();
    soon("room", elsewhere).await.expect("no panic").expect("sent");
}

#[tokio::test]
async fn who_receives_by_the_socket_of_a_connection_leaves_its_halves_their_wake_up() {
    let far = bound();
    let near = Udp::default().connect(&at(&format!("udp://{}", far.local()))).await.expect("a route");
    let own = near.info.details::<Arc<UdpSocket>>().expect("the socket of a client").clone();
    let to = socket(&near.info.local);
    let net_core::Connection { mut rx, tx: _tx, .. } = near;
    let half = tokio::spawn(async move { net_core::Receiver::recv(&mut rx).await });
    all_wait().await;
    let other = tokio::spawn(recv_one(own));
    all_wait().await;
    other.abort();
    assert!(other.await.expect_err("it gave up").is_cancelled());
    far.send_to(b"for the half", to).await.expect("sent");
    let told = soon("a message", half).await.expect("no panic").expect("received");
    assert_eq!(told.as_deref(), Some(&b"for the half"[..]));
}

/// Connects in a runtime that is gone afterwards.
fn stranded(to: std::net::SocketAddr) -> net_core::Connection<net_udp::UdpSender, net_udp::UdpReceiver> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let near = runtime.block_on(Udp::default().connect(&at(&format!("udp://{to}"))));
    runtime.shutdown_timeout(Duration::from_secs(10));
    near.expect("a route")
}

#[tokio::test]
async fn a_client_whose_runtime_is_gone_is_told() {
    let far = bound();
    let to = far.local();
    let mut near = tokio::task::spawn_blocking(move || stranded(to)).await.expect("no panic");
    for _ in 0..2 {
        let error = soon("an error", near.recv()).await.expect_err("nobody tells of datagrams");
        assert_eq!(error.kind(), ErrorKind::Io);
        // What needs no waiting needs no runtime.
        soon("room", near.send("hello")).await.expect("sent");
        assert_eq!(received(&far).await.0, b"hello");
    }
}
