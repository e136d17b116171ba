//! A listener on a network: what is asked of everyone is answered, and addresses that go away harm their peers alone.
#![cfg(target_os = "linux")]

use std::{net::SocketAddr, process::Command};

use net_core::{Listener, Sender, Transport};
use net_udp::{Ecn, RecvBatch, SendBatch, Udp, UdpConfig, UdpSocket};
use socket2::{Domain, Protocol, Socket, Type};

#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use namespace::is_inside;
use rig::{at, counted, received, soon};

/// Two networks, as this machine sees them: what it sends to its own addresses comes back.
const SETUP: &str = "ip link set lo up
ip link add wire type veth peer name end
ip link set end up
ip address add 10.9.0.1/24 broadcast 10.9.0.255 dev wire
ip address add 10.9.1.1/24 broadcast 10.9.1.255 dev wire
ip link set wire up";

fn ip(arguments: &str) {
    let told = Command::new("ip").args(arguments.split(' ')).output().expect("ip is there");
    assert!(told.status.success(), "ip {arguments}: {told:?}");
}

fn bind(at: &str) -> UdpSocket {
    UdpSocket::bind(at.parse().expect("an address")).expect("a socket")
}

fn asked(host: &str, listener: &impl Listener) -> SocketAddr {
    format!("{host}:{}", listener.local().port().expect("a port")).parse().expect("an address")
}

/// Sees that a run of datagrams of one length still leaves in one piece, which the kernel cuts.
async fn is_cut_by_the_kernel(listener: &mut net_udp::UdpListener, host: &str) {
    let near = bind("10.9.0.1:0");
    near.set_joins(true).expect("an option");
    near.send_to(b"how many?", asked(host, listener)).await.expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    for _ in 0..40 {
        far.tx.feed(vec![7; 1_000]).await.expect("accepted");
    }
    far.tx.flush().await.expect("flushed");
    let mut batch = RecvBatch::new();
    let count = soon("datagrams", near.recv_batch(&mut batch)).await.expect("received");
    // One by one, the first call would give four.
    assert_eq!(count, 40);
}

#[tokio::test]
async fn a_question_to_everyone_is_answered() {
    if !is_inside("a_question_to_everyone_is_answered", SETUP) {
        return;
    }
    let config = UdpConfig { max_amplification: None, ..UdpConfig::default() };
    for listens in ["udp://0.0.0.0:0", "udp://:0"] {
        for everyone in ["10.9.0.255", "255.255.255.255"] {
            let mut listener = Udp::new(config).listen(&at(listens)).await.expect("listening");
            let to = asked(everyone, &listener);
            let near = bind("10.9.0.1:0");
            near.set_broadcast(true).expect("an option");
            near.send_to(b"who is there?", to).await.expect("sent");
            let mut far = soon("a session", listener.accept()).await.expect("a session");
            // At once as many as are joined, and alone.
            for len in [10, 10, 10, 2_000, 10] {
                far.tx.feed(vec![1; len]).await.expect("accepted");
            }
            far.tx.flush().await.expect("flushed");
            for len in [10, 10, 10, 2_000, 10] {
                assert_eq!(received(&near).await.0, vec![1; len], "{listens} {everyone}");
            }
            // The same session goes on.
            near.send_to(b"who else?", to).await.expect("sent");
            for text in ["who is there?", "who else?"] {
                assert_eq!(
                    soon("a message", far.recv()).await.expect("received").as_deref(),
                    Some(text.as_bytes())
                );
            }
            far.send("nobody").await.expect("sent");
            assert_eq!(received(&near).await.0, b"nobody");
            assert_eq!((listener.stats().sessions, listener.stats().refused), (1, 0));
            is_cut_by_the_kernel(&mut listener, "10.9.0.1").await;
        }
    }
}

#[tokio::test]
async fn a23_an_address_that_is_gone_ends_no_listener() {
    if !is_inside("a23_an_address_that_is_gone_ends_no_listener", SETUP) {
        return;
    }
    let config = UdpConfig { max_amplification: None, ..UdpConfig::default() };
    let mut listener = Udp::new(config).listen(&at("udp://0.0.0.0:0")).await.expect("listening");
    let near = bind("10.9.0.1:0");
    near.send_to(b"hello", asked("10.9.1.1", &listener)).await.expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    far.send("from the address that was asked").await.expect("sent");
    assert_eq!(received(&near).await.1, asked("10.9.1.1", &listener));
    ip("address del 10.9.1.1/24 dev wire");
    far.send("from another one").await.expect("sent");
    assert_eq!(received(&near).await, (b"from another one".to_vec(), asked("10.9.0.1", &listener)));
    is_cut_by_the_kernel(&mut listener, "10.9.0.1").await;
}

#[tokio::test]
async fn a23_peers_whose_network_is_gone_end_no_listener() {
    if !is_inside("a23_peers_whose_network_is_gone_end_no_listener", SETUP) {
        return;
    }
    let config = UdpConfig { max_amplification: None, ..UdpConfig::default() };
    for listens in ["udp://10.9.0.1:0", "udp://0.0.0.0:0"] {
        ip("address replace 10.9.1.1/24 dev wire");
        let mut listener = Udp::new(config).listen(&at(listens)).await.expect("listening");
        let to = asked("10.9.0.1", &listener);
        let near = bind("10.9.1.1:0").connect(to).expect("a route");
        near.send(b"hello").await.expect("sent");
        let mut far = soon("a session", listener.accept()).await.expect("a session");
        let at_home = near.local();
        drop(near);
        ip("address del 10.9.1.1/24 dev wire");
        // The system has no route any more, and says so for each of them.
        for number in 0..100 {
            far.tx.feed(vec![1; number]).await.expect("accepted");
        }
        far.tx.flush().await.expect("nobody tells");
        counted(&mut listener, "the refusals", |stats| stats.refused == 100).await;
        // It is back: whoever hears its one peer alone is answered from where it asked.
        ip("address replace 10.9.1.1/24 dev wire");
        let near = UdpSocket::bind(at_home).expect("a socket").connect(to).expect("a route");
        far.send("here I am").await.expect("sent");
        assert_eq!(received(&near).await.0, b"here I am");
        let near = bind("10.9.0.1:0");
        near.send_to(b"another", to).await.expect("sent");
        let mut other = soon("a session", listener.accept()).await.expect("a session");
        other.send("served").await.expect("sent");
        assert_eq!(received(&near).await.0, b"served");
        is_cut_by_the_kernel(&mut listener, "10.9.0.1").await;
    }
}

#[tokio::test]
async fn t2_a_socket_for_all_addresses_answers_from_the_one_that_was_asked() {
    if !is_inside("t2_a_socket_for_all_addresses_answers_from_the_one_that_was_asked", SETUP) {
        return;
    }
    for at in ["0.0.0.0:0", "[::]:0"] {
        let far = bind(at);
        let port = far.local().port();
        for asked in ["10.9.0.1", "10.9.1.1"] {
            // Connected, it hears nothing that comes from another address.
            let near = bind("10.9.0.1:0").connect(format!("{asked}:{port}").parse().expect("an address"));
            let near = near.expect("a route");
            near.send(b"who is asked?").await.expect("sent");
            let mut arrived = RecvBatch::new();
            soon("a datagram", far.recv_batch(&mut arrived)).await.expect("received");
            let question = arrived.next().expect("one");
            let mut batch = SendBatch::new();
            for len in [10, 10, 10, 20, 2_000] {
                batch.push_from(question.local.expect("it is told"), question.peer, vec![1; len]);
            }
            far.send_batch(&mut batch).await.expect("sent");
            for len in [10, 10, 10, 20, 2_000] {
                assert_eq!(received(&near).await.0, vec![1; len], "{at} {asked}");
            }
        }
        // An address of somebody else, or of everyone, is none to send from, and costs the others nothing.
        let near = bind("10.9.0.1:0");
        for none in ["10.9.0.2", "10.9.0.255", "239.255.7.7"] {
            let mut batch = SendBatch::new();
            for _ in 0..2 {
                batch.push_from(none.parse().expect("an address"), near.local(), "x");
            }
            for left in [2, 1] {
                far.send_batch(&mut batch).await.expect_err("it is not of this machine");
                assert_eq!(batch.len(), left);
                batch.skip();
            }
        }
        near.set_joins(true).expect("an option");
        let mut batch = SendBatch::new();
        for _ in 0..40 {
            batch.push_marked(near.local(), Ecn::Ect1, vec![2; 1_000]);
        }
        batch.push_marked(near.local(), Ecn::Ect0, "alone");
        far.send_batch(&mut batch).await.expect("sent");
        let mut arrived = RecvBatch::new();
        assert_eq!(soon("datagrams", near.recv_batch(&mut arrived)).await.expect("received"), 41);
        let marks: Vec<_> = arrived.map(|datagram| datagram.ecn).collect();
        assert_eq!((marks.first(), marks.last()), (Some(&Some(Ecn::Ect1)), Some(&Some(Ecn::Ect0))), "{at}");
    }
}

/// Nobody can be answered at port 0, which anybody may write into a datagram: the system calls it invalid.
#[tokio::test]
async fn a23_a_peer_without_a_port_costs_others_nothing() {
    if !is_inside("a23_a_peer_without_a_port_costs_others_nothing", SETUP) {
        return;
    }
    let config = UdpConfig { max_amplification: None, ..UdpConfig::default() };
    let mut listener = Udp::new(config).listen(&at("udp://0.0.0.0:0")).await.expect("listening");
    let to = asked("10.9.0.1", &listener);
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).expect("a raw socket");
    // RFC 768: the ports, the length, no checksum.
    let mut datagram = [[0, 0], to.port().to_be_bytes(), [0, 13], [0, 0]].concat();
    datagram.extend(b"hello");
    raw.send_to(&datagram, &to.into()).expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    assert_eq!(far.info.remote.port(), Some(0));
    for len in [100, 100, 2_000] {
        far.tx.feed(vec![1; len]).await.expect("accepted");
    }
    far.tx.flush().await.expect("nobody tells");
    counted(&mut listener, "the refusals", |stats| stats.refused == 3).await;
    is_cut_by_the_kernel(&mut listener, "10.9.0.1").await;
}

/// What a path takes in one piece is shorter than what is to be cut: it goes one by one, and that is all.
#[tokio::test]
async fn marks_and_runs_outlive_a_path_that_takes_less() {
    if !is_inside("marks_and_runs_outlive_a_path_that_takes_less", SETUP) {
        return;
    }
    ip("link set lo mtu 1300");
    let (near, far) = (bind("10.9.0.1:0"), bind("10.9.0.1:0"));
    let mut batch = SendBatch::new();
    for _ in 0..3 {
        batch.push_marked(far.local(), Ecn::Ect0, vec![1; 1_400]);
    }
    near.send_batch(&mut batch).await.expect("sent in pieces");
    for len in [1_400, 1_400, 1_400] {
        assert_eq!(received(&far).await.0.len(), len);
    }
    far.set_joins(true).expect("an option");
    for _ in 0..40 {
        batch.push_marked(far.local(), Ecn::Ect0, vec![2; 1_000]);
    }
    near.send_batch(&mut batch).await.expect("sent");
    let mut arrived = RecvBatch::new();
    assert_eq!(soon("datagrams", far.recv_batch(&mut arrived)).await.expect("received"), 40);
    assert!(arrived.all(|datagram| datagram.ecn == Some(Ecn::Ect0)));
    batch.push_marked(far.local(), Ecn::Ect0, "alone");
    near.send_batch(&mut batch).await.expect("sent");
    soon("datagrams", far.recv_batch(&mut arrived)).await.expect("received");
    assert_eq!(arrived.next().expect("one").ecn, Some(Ecn::Ect0));
}

#[test]
fn a_test_that_gets_no_namespace_fails_unless_it_is_left_out_on_purpose() {
    let run = |set: bool| {
        let mut test = Command::new(std::env::current_exe().expect("this program"));
        // Nothing that makes a namespace is found.
        test.args(["--exact", "a_question_to_everyone_is_answered", "--nocapture"]).env("PATH", "");
        test.env_remove("NET_WITHOUT_NAMESPACES").envs(set.then_some(("NET_WITHOUT_NAMESPACES", "1")));
        let told = test.output().expect("it runs");
        (told.status.success(), String::from_utf8(told.stderr).expect("text"))
    };
    let (passed, told) = run(false);
    assert!(!passed && told.contains("NET_WITHOUT_NAMESPACES"), "{told}");
    let (passed, told) = run(true);
    assert!(passed && told.contains("left out"), "{told}");
}
