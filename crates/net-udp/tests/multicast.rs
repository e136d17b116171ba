//! Groups: joined, left, by source; over loopback, and in a network namespace where loopback is not enough.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
};

use net_udp::{RecvBatch, UdpSocket};

#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use namespace::is_inside;
use rig::{received, soon};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 7, 7);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x7, 0x7);

/// Two ends of a wire, of which one has addresses of both families. No address is probed for: that takes a second. That one
/// comes up last, so that it is ready at once and not when the system gets to it; addresses of IPv6 are waited for.
const SETUP: &str = "ip link set lo up
ip link add wire type veth peer name end
ip link set end up
ip address add 10.9.0.1/24 dev wire
ip link set wire up
ip -6 address add fd00::1/64 dev wire nodad
ip -6 address add fd00::2/64 dev wire nodad
own() { n=0; until ip -6 route get $1 | grep -q ^local; do n=$((n + 1)); test $n -lt 5000; done; }
own fd00::1
own fd00::2";
/// A second wire, for the other interface.
const TWO: &str = "ip link add second type veth peer name its_end
ip link set its_end up
ip link set second up
ip -6 address add fd01::1/64 dev second nodad
own fd01::1";

fn any(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Returns a socket that sends to groups from the interface that has its address.
fn speaker(from: &str) -> UdpSocket {
    let socket = UdpSocket::bind(any(from)).expect("a socket");
    match socket.local().ip() {
        IpAddr::V4(ip) => socket.set_multicast_interface_v4(ip),
        IpAddr::V6(_) => socket.set_multicast_interface_v6(wire()),
    }
    .expect("an option");
    socket
}

/// Returns the index of the interface `wire`.
fn wire() -> u32 {
    index_of("wire")
}

fn index_of(name: &str) -> u32 {
    let index = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    // The directory is that of the namespace in which it was mounted.
    let listed =
        || Command::new("ip").args(["-o", "link", "show", name]).output().expect("ip is there").stdout;
    let text = index.unwrap_or_else(|_| String::from_utf8(listed()).expect("text"));
    text.split([':', '\n']).next().and_then(|index| index.trim().parse().ok()).expect("an index")
}

/// Tells whether `far` hears what `near` sends to `to`, by what comes first: that, or what is sent to it alone.
async fn hears(far: &UdpSocket, near: &UdpSocket, to: SocketAddr, alone: SocketAddr) -> bool {
    near.send_to(b"for the group", to).await.expect("sent");
    near.send_to(b"for you alone", alone).await.expect("sent");
    let first = received(far).await.0;
    if first == b"for the group" {
        assert_eq!(received(far).await.0, b"for you alone");
        return true;
    }
    assert_eq!(first, b"for you alone");
    false
}

#[tokio::test]
async fn groups_of_ipv4_are_joined_and_left() {
    let near = speaker("127.0.0.1:0");
    let far = UdpSocket::bind(any("0.0.0.0:0")).expect("a socket");
    let (to, alone) =
        (SocketAddr::from((GROUP, far.local().port())), ([127, 0, 0, 1], far.local().port()).into());
    assert!(!hears(&far, &near, to, alone).await, "it has not joined");
    far.join_multicast_v4(GROUP, Ipv4Addr::LOCALHOST).expect("joined");
    assert!(hears(&far, &near, to, alone).await);
    assert!(far.join_multicast_v4(GROUP, Ipv4Addr::LOCALHOST).is_err(), "once is enough");
    far.leave_multicast_v4(GROUP, Ipv4Addr::LOCALHOST).expect("left");
    assert!(!hears(&far, &near, to, alone).await, "it has left");
    assert!(far.leave_multicast_v4(GROUP, Ipv4Addr::LOCALHOST).is_err(), "it is not there");
    assert!(far.join_multicast_v4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST).is_err(), "that is no group");
}

#[tokio::test]
async fn sources_of_ipv4_are_joined_one_by_one() {
    let (one, other) = (speaker("127.0.0.1:0"), speaker("127.0.0.2:0"));
    let far = UdpSocket::bind(any("0.0.0.0:0")).expect("a socket");
    let (to, alone) =
        (SocketAddr::from((GROUP, far.local().port())), ([127, 0, 0, 1], far.local().port()).into());
    far.join_source_v4([127, 0, 0, 1].into(), GROUP, Ipv4Addr::LOCALHOST).expect("joined");
    assert!(hears(&far, &one, to, alone).await);
    assert!(!hears(&far, &other, to, alone).await, "another source");
    far.join_source_v4([127, 0, 0, 2].into(), GROUP, Ipv4Addr::LOCALHOST).expect("joined");
    assert!(hears(&far, &other, to, alone).await);
    far.leave_source_v4([127, 0, 0, 1].into(), GROUP, Ipv4Addr::LOCALHOST).expect("left");
    assert!(!hears(&far, &one, to, alone).await, "no source any more");
}

#[tokio::test]
async fn what_is_sent_to_a_group_may_be_kept_from_this_machine() {
    if !is_inside("what_is_sent_to_a_group_may_be_kept_from_this_machine", SETUP) {
        return;
    }
    let near = speaker("10.9.0.1:0");
    let far = UdpSocket::bind(any("0.0.0.0:0")).expect("a socket");
    let port = far.local().port();
    let (to, alone) = (SocketAddr::from((GROUP, port)), ([10, 9, 0, 1], port).into());
    far.join_multicast_v4(GROUP, [10, 9, 0, 1].into()).expect("joined");
    assert!(hears(&far, &near, to, alone).await);
    near.set_multicast_loop(false).expect("an option");
    assert!(!hears(&far, &near, to, alone).await);
}

#[tokio::test]
async fn a_broadcast_reaches_who_is_on_the_network() {
    if !is_inside("a_broadcast_reaches_who_is_on_the_network", SETUP) {
        return;
    }
    let near = UdpSocket::bind(any("10.9.0.1:0")).expect("a socket");
    let far = UdpSocket::bind(any("0.0.0.0:0")).expect("a socket");
    near.set_broadcast(true).expect("an option");
    for everyone in [[10, 9, 0, 255], [255, 255, 255, 255]] {
        near.send_to(b"hear, hear", (everyone, far.local().port()).into()).await.expect("sent");
        assert_eq!(received(&far).await, (b"hear, hear".to_vec(), near.local()));
    }
}

#[tokio::test]
async fn groups_of_ipv6_are_joined_and_left() {
    if !is_inside("groups_of_ipv6_are_joined_and_left", SETUP) {
        return;
    }
    let near = speaker("[fd00::1]:0");
    let far = UdpSocket::bind(any("[::]:0")).expect("a socket");
    let port = far.local().port();
    let (to, alone) = (SocketAddr::from((GROUP_V6, port)), any(&format!("[fd00::1]:{port}")));
    assert!(!hears(&far, &near, to, alone).await, "it has not joined");
    far.join_multicast_v6(GROUP_V6, wire()).expect("joined");
    assert!(hears(&far, &near, to, alone).await);
    near.set_multicast_loop(false).expect("an option");
    assert!(!hears(&far, &near, to, alone).await, "it is not for this machine");
    near.set_multicast_loop(true).expect("an option");
    far.leave_multicast_v6(GROUP_V6, wire()).expect("left");
    assert!(!hears(&far, &near, to, alone).await, "it has left");
    assert!(far.join_multicast_v6(Ipv6Addr::LOCALHOST, wire()).is_err(), "that is no group");
}

#[tokio::test]
async fn sources_of_ipv6_are_joined_one_by_one() {
    if !is_inside("sources_of_ipv6_are_joined_one_by_one", SETUP) {
        return;
    }
    let (one, other) = (speaker("[fd00::1]:0"), speaker("[fd00::2]:0"));
    let far = UdpSocket::bind(any("[::]:0")).expect("a socket");
    let port = far.local().port();
    let (to, alone) = (SocketAddr::from((GROUP_V6, port)), any(&format!("[fd00::1]:{port}")));
    let (first, second) = ("fd00::1".parse().expect("an address"), "fd00::2".parse().expect("an address"));
    far.join_source_v6(first, GROUP_V6, wire()).expect("joined");
    assert_eq!(asked_for(first), (1, 0), "the network is asked for this source, and for no other");
    assert_eq!(asked_for(second), (0, 0));
    assert!(hears(&far, &one, to, alone).await);
    assert!(!hears(&far, &other, to, alone).await, "another source");
    // The same in batches.
    let mut batch = RecvBatch::new();
    other.send_to(b"not for you", to).await.expect("sent");
    one.send_to(b"for the group", to).await.expect("sent");
    soon("a datagram", far.recv_batch(&mut batch)).await.expect("received");
    let datagram = batch.next().expect("a datagram");
    assert_eq!((&datagram.payload[..], datagram.local), (&b"for the group"[..], Some(GROUP_V6.into())));
    assert!(batch.is_empty());

    far.join_source_v6(second, GROUP_V6, wire()).expect("joined");
    assert!(hears(&far, &other, to, alone).await);
    far.leave_source_v6(first, GROUP_V6, wire()).expect("left");
    assert!(!hears(&far, &one, to, alone).await, "it is left");
    far.leave_source_v6(second, GROUP_V6, wire()).expect("left");
    assert!(!hears(&far, &other, to, alone).await, "no source any more");
    assert!(far.leave_source_v6(second, GROUP_V6, wire()).is_err(), "the group is left");
}

/// How many sockets of this machine have the network asked for `source` in the group, and for all but it.
fn asked_for(source: Ipv6Addr) -> (u32, u32) {
    let hex = |address: Ipv6Addr| address.octets().map(|byte| format!("{byte:02x}")).concat();
    let filters = std::fs::read_to_string("/proc/net/mcfilter6").expect("a table");
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let (mut to, mut but) = (0, 0);
    for line in filters.lines() {
        // Index and name of an interface, group, source, sockets that ask for it, sockets that ask for all but it.
        if let [_, _, group, from, include, exclude] = line.split_ascii_whitespace().collect::<Vec<_>>()[..]
            && (group, from) == (&hex(GROUP_V6), &hex(source))
        {
            to += number(include);
            but += number(exclude);
        }
    }
    (to, but)
}

#[tokio::test]
async fn a23_any_number_of_datagrams_that_are_not_heard_ends_no_receiving() {
    if !is_inside("a23_any_number_of_datagrams_that_are_not_heard_ends_no_receiving", SETUP) {
        return;
    }
    let (one, other) = (speaker("[fd00::1]:0"), speaker("[fd00::2]:0"));
    let far = UdpSocket::bind(any("[::]:0")).expect("a socket");
    let to = SocketAddr::from((GROUP_V6, far.local().port()));
    far.join_source_v6("fd00::1".parse().expect("an address"), GROUP_V6, wire()).expect("joined");
    for _ in 0..200 {
        other.send_to(b"not for you", to).await.expect("sent");
    }
    one.send_to(b"for the group", to).await.expect("sent");
    assert_eq!(received(&far).await, (b"for the group".to_vec(), one.local()));
}

#[tokio::test]
async fn a_source_of_ipv6_is_left_where_it_was_joined() {
    if !is_inside("a_source_of_ipv6_is_left_where_it_was_joined", &format!("{SETUP}\n{TWO}")) {
        return;
    }
    let second = index_of("second");
    let other = UdpSocket::bind(any("[fd01::1]:0")).expect("a socket");
    other.set_multicast_interface_v6(second).expect("an option");
    let far = UdpSocket::bind(any("[::]:0")).expect("a socket");
    let port = far.local().port();
    let (to, alone) = (SocketAddr::from((GROUP_V6, port)), any(&format!("[fd00::1]:{port}")));
    let (first, source) = ("fd00::1".parse().expect("an address"), "fd01::1".parse().expect("an address"));
    far.join_source_v6(first, GROUP_V6, wire()).expect("joined");
    assert!(!hears(&far, &other, to, alone).await, "another network");
    far.join_source_v6(source, GROUP_V6, second).expect("joined");
    assert!(hears(&far, &other, to, alone).await);
    assert!(far.leave_source_v6(source, GROUP_V6, wire()).is_err(), "it was joined on the other one");
    assert!(hears(&far, &other, to, alone).await);
    far.leave_source_v6(source, GROUP_V6, second).expect("left");
    assert!(!hears(&far, &other, to, alone).await, "it is left");
    assert!(hears(&far, &speaker("[fd00::1]:0"), to, alone).await, "this one is not");
}

#[tokio::test]
async fn a_source_of_ipv6_that_was_not_joined_is_not_left() {
    if !is_inside("a_source_of_ipv6_that_was_not_joined_is_not_left", SETUP) {
        return;
    }
    let (one, other) = (speaker("[fd00::1]:0"), speaker("[fd00::2]:0"));
    let far = UdpSocket::bind(any("[::]:0")).expect("a socket");
    let port = far.local().port();
    let (to, alone) = (SocketAddr::from((GROUP_V6, port)), any(&format!("[fd00::1]:{port}")));
    let (first, second) = ("fd00::1".parse().expect("an address"), "fd00::2".parse().expect("an address"));
    assert!(far.leave_source_v6(first, GROUP_V6, wire()).is_err(), "nothing is joined");
    far.join_multicast_v6(GROUP_V6, wire()).expect("joined");
    assert!(hears(&far, &one, to, alone).await && hears(&far, &other, to, alone).await);
    far.join_source_v6(first, GROUP_V6, wire()).expect("joined");
    assert!(!hears(&far, &other, to, alone).await, "no longer all sources");
    assert!(far.leave_source_v6(second, GROUP_V6, wire()).is_err(), "another source");
    assert!(hears(&far, &one, to, alone).await, "the source stays joined");
}
