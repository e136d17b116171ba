//! What options do to the datagrams themselves, and what the system is asked: seen by who receives, and by strace.
#![cfg(target_os = "linux")]

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    process::Command,
    time::Duration,
};

use net_core::ErrorKind;
use net_udp::{RecvBatch, SendBatch, TrafficClass, UdpSocket};
use nix::{
    libc,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, recvmsg, setsockopt,
        sockopt::{Ipv4RecvTtl, Ipv6RecvHopLimit, ReceiveTimestampns, RxqOvfl, SetStruct, Timestamping},
    },
};

#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use namespace::is_inside;
use rig::{bound, received, soon};

/// Set where a test runs under strace.
const TRACED: &str = "NET_TRACED";

fn any(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A socket of the standard library that is told how many routers a datagram may still pass.
fn watching(at: &str) -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind(at).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
    let is_v6 = socket.local_addr().expect("an address").is_ipv6();
    if is_v6 {
        setsockopt(&socket, Ipv6RecvHopLimit, &true)
    } else {
        setsockopt(&socket, Ipv4RecvTtl, &true)
    }
    .expect("an option");
    socket
}

/// Receives one datagram, and returns the hops that its header still has.
fn hops(socket: &std::net::UdpSocket) -> i32 {
    let (mut buffer, mut space) = ([0; 100], nix::cmsg_space!(i32));
    let mut views = [IoSliceMut::new(&mut buffer)];
    let told =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut views, Some(&mut space), MsgFlags::empty());
    let told = told.expect("a datagram");
    let hops = told.cmsgs().expect("room enough").find_map(|control| match control {
        ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => Some(hops),
        _ => None,
    });
    hops.expect("it is told")
}

#[tokio::test]
async fn hops_are_in_the_header_of_each_datagram() {
    for (from, far, to) in [
        ("127.0.0.1:0", watching("127.0.0.1:0"), "127.0.0.1"),
        ("[::1]:0", watching("[::1]:0"), "[::1]"),
        // A socket for both families.
        ("[::]:0", watching("127.0.0.1:0"), "[::ffff:127.0.0.1]"),
        ("[::]:0", watching("[::1]:0"), "[::1]"),
    ] {
        let to = any(&format!("{to}:{}", far.local_addr().expect("an address").port()));
        let near = UdpSocket::bind(any(from)).expect("a socket");
        for number in [7, 255, 1] {
            near.set_hops(number).expect("an option");
            near.send_to(b"single", to).await.expect("sent");
            assert_eq!(hops(&far), number.into(), "{from} {to}");
            let mut batch = SendBatch::new();
            for payload in ["a", "run", "run", "run"] {
                batch.push(to, payload);
            }
            near.send_batch(&mut batch).await.expect("sent");
            for _ in 0..4 {
                assert_eq!(hops(&far), number.into(), "{from} {to}");
            }
        }
    }
}

#[tokio::test]
async fn a_socket_that_is_told_more_of_each_datagram_receives_it() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let made = watching(at);
        let stamps =
            TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE;
        setsockopt(&made, ReceiveTimestampns, &true).expect("an option");
        setsockopt(&made, Timestamping, &stamps).expect("an option");
        setsockopt(&made, RxqOvfl, &1).expect("an option");
        let far = UdpSocket::from_std(made).expect("taken over");
        let near = UdpSocket::bind(any(at)).expect("a socket");
        near.set_dscp(46).expect("an option");
        near.send_to(b"x", far.local()).await.expect("sent");
        let mut buffer = [0; 100];
        let meta = soon("a datagram", far.recv_meta(&mut buffer)).await.expect("received");
        assert_eq!((&buffer[..meta.len], meta.peer), (&b"x"[..], near.local()));
        let local = Some(far.local().ip());
        assert_eq!((meta.local, meta.class), (local, TrafficClass { dscp: 46, ecn: None }), "{at}");
    }
}

/// Options for the destination, in a header before that of UDP, none of which means anything.
#[repr(C)]
struct Unheard([u8; 600]);

#[derive(Clone, Copy, Debug)]
struct SetUnheard;
nix::setsockopt_impl!(SetUnheard, libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, Unheard, SetStruct<'_, Unheard>);

#[derive(Clone, Copy, Debug)]
struct RecvUnheard;
nix::setsockopt_impl!(RecvUnheard, libc::IPPROTO_IPV6, libc::IPV6_RECVDSTOPTS, i32, SetStruct<'_, i32>);

#[tokio::test]
async fn a_datagram_of_which_more_is_told_than_there_is_room_for_is_received() {
    // Such headers are for who may do anything with the network.
    if !is_inside("a_datagram_of_which_more_is_told_than_there_is_room_for_is_received", "ip link set lo up")
    {
        return;
    }
    let made = std::net::UdpSocket::bind("[::1]:0").expect("a socket");
    setsockopt(&made, RecvUnheard, &1).expect("an option");
    let far = UdpSocket::from_std(made).expect("taken over");
    let near = UdpSocket::bind(any("[::1]:0")).expect("a socket");
    let mut header = [0; 600];
    // The length of all in units of eight bytes, without the first; and of each option, which may be skipped by its type.
    for (place, byte) in [(1, 74), (2, 0x1e), (3, 255), (259, 0x1e), (260, 255), (516, 0x1e), (517, 82)] {
        header[place] = byte;
    }
    setsockopt(&near, SetUnheard, &Unheard(header)).expect("an option");
    near.send_to(b"x", far.local()).await.expect("sent");
    let mut buffer = [0; 100];
    let meta = soon("a datagram", far.recv_meta(&mut buffer)).await.expect("received");
    assert_eq!((&buffer[..meta.len], meta.peer), (&b"x"[..], near.local()));
    assert_eq!((meta.local, meta.class), (None, TrafficClass::default()));
}

#[tokio::test]
async fn hops_of_groups_are_their_own() {
    let group = Ipv4Addr::new(239, 255, 7, 8);
    let far = watching("0.0.0.0:0");
    far.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("joined");
    let port = far.local_addr().expect("an address").port();
    let near = bound();
    near.set_multicast_interface_v4(Ipv4Addr::LOCALHOST).expect("an option");
    near.set_hops(7).expect("an option");
    near.send_to(b"x", (group, port).into()).await.expect("sent");
    assert_eq!(hops(&far), 1, "the own network unless set");
    near.set_multicast_hops(9).expect("an option");
    near.send_to(b"x", (group, port).into()).await.expect("sent");
    assert_eq!(hops(&far), 9);
    near.send_to(b"x", (Ipv4Addr::LOCALHOST, port).into()).await.expect("sent");
    assert_eq!(hops(&far), 7);
}

#[tokio::test]
async fn t2_fragments_are_forbidden_in_both_families() {
    // In loopback of its usual length no datagram of IPv4 is too long.
    if !is_inside("t2_fragments_are_forbidden_in_both_families", "ip link set lo up mtu 1500") {
        return;
    }
    for (from, at) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:0", "[::1]:0"),
        ("[::]:0", "127.0.0.1:0"),
        ("[::]:0", "[::1]:0"),
    ] {
        let far = UdpSocket::bind(any(at)).expect("a socket");
        let near = UdpSocket::bind(any(from)).expect("a socket");
        let (to, most) = match (far.local().ip(), near.local().ip()) {
            (IpAddr::V4(ip), IpAddr::V6(_)) => ((ip.to_ipv6_mapped(), far.local().port()).into(), 1_500 - 28),
            (IpAddr::V4(_), IpAddr::V4(_)) => (far.local(), 1_500 - 28),
            (IpAddr::V6(_), _) => (far.local(), 1_500 - 48),
        };
        let near = near.connect(to).expect("a route");
        assert_eq!(near.path_payload_len(), Some(most), "{from} {at}");
        near.set_dont_fragment(true).expect("an option");
        let error = near.send(&vec![1; most + 1]).await.expect_err("too long for one piece");
        assert_eq!(error.kind(), ErrorKind::MessageTooLong, "{from} {at}");
        let mut batch = SendBatch::new();
        batch.push_connected(vec![1; most + 1]);
        let error = near.send_batch(&mut batch).await.expect_err("too long for one piece");
        assert_eq!(error.kind(), ErrorKind::MessageTooLong, "{from} {at}");
        near.send(&vec![2; most]).await.expect("sent");
        assert_eq!(received(&far).await.0, vec![2; most]);
        near.set_dont_fragment(false).expect("an option");
        near.send(&vec![3; most + 1]).await.expect("sent in pieces");
        assert_eq!(received(&far).await.0, vec![3; most + 1]);
    }
}

/// Returns the system calls of `test` that send and receive, as strace writes them; `None` where this is `test` under
/// strace.
fn calls(test: &str) -> Option<Vec<String>> {
    if std::env::var_os(TRACED).is_some() {
        return None;
    }
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=sendto,sendmsg,sendmmsg,recvfrom,recvmsg,recvmmsg"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(TRACED, "yes")
        .output()
        .expect("strace is missing: apt-get install strace (cargo xtask test does it)");
    assert!(traced.status.success(), "{traced:?}");
    let told = String::from_utf8(traced.stderr).expect("text");
    Some(
        told.lines()
            .filter(|line| line.contains("recv") || line.contains("send"))
            .map(str::to_owned)
            .collect(),
    )
}

/// Counts the calls that begin so and end so.
fn count(calls: &[String], name: &str, result: &str) -> usize {
    calls.iter().filter(|call| call.contains(name) && call.ends_with(result)).count()
}

#[tokio::test]
async fn t2_datagrams_of_unequal_lengths_to_several_peers_leave_in_one_call() {
    let Some(calls) = calls("t2_datagrams_of_unequal_lengths_to_several_peers_leave_in_one_call") else {
        let (near, far) = (bound(), [bound(), bound()]);
        let mut batch = SendBatch::new();
        // Each is longer than the one before to the same peer, so that none is joined with it.
        for len in 0..20 {
            for far in &far {
                batch.push(far.local(), vec![7; 10 + len]);
            }
        }
        near.send_batch(&mut batch).await.expect("sent");
        for far in &far {
            let mut arrived = RecvBatch::new();
            let mut lens = Vec::new();
            while lens.len() < 20 {
                soon("datagrams", far.recv_batch(&mut arrived)).await.expect("received");
                lens.extend(arrived.by_ref().map(|datagram| datagram.payload.len()));
            }
            assert_eq!(lens, (10..30).collect::<Vec<_>>());
        }
        return;
    };
    // 32 in a call at the most; what is asked for is little at first, and as much as can be once little was not all.
    assert_eq!((count(&calls, "sendmmsg(", "= 32"), count(&calls, "sendmmsg(", "= 8")), (1, 1), "{calls:#?}");
    assert_eq!(count(&calls, "send", ""), 2, "{calls:#?}");
    for received in ["= 4", "= 16", "= 20"] {
        assert_eq!(count(&calls, "recvmmsg(", received), 1, "{calls:#?}");
    }
    assert_eq!(count(&calls, "recv", ""), 3, "{calls:#?}");
}

#[tokio::test]
async fn t2_a_run_of_one_length_leaves_and_arrives_in_one_call() {
    let Some(calls) = calls("t2_a_run_of_one_length_leaves_and_arrives_in_one_call") else {
        let (near, far) = (bound(), bound());
        far.set_joins(true).expect("an option");
        let mut batch = SendBatch::new();
        for _ in 0..40 {
            batch.push(far.local(), vec![7; 1_000]);
        }
        near.send_batch(&mut batch).await.expect("sent");
        let mut arrived = RecvBatch::new();
        assert_eq!(soon("datagrams", far.recv_batch(&mut arrived)).await.expect("received"), 40);
        return;
    };
    assert_eq!((count(&calls, "send", ""), count(&calls, "sendmsg(", "= 40000")), (1, 1), "{calls:#?}");
    assert_eq!((count(&calls, "recv", ""), count(&calls, "recvmmsg(", "= 1")), (1, 1), "{calls:#?}");
}
