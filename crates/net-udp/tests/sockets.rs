//! Sockets for direct use: single datagrams, options, broadcast, multicast, traffic classes, both families.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use net_core::ErrorKind;
use net_udp::{Ecn, RecvBatch, SendBatch, TrafficClass, UdpConfig, UdpSocket};
#[cfg(unix)]
use socket2::SockRef;

mod rig;

use rig::{bound, received, soon};

fn any(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[tokio::test]
async fn connected_sockets_hear_their_peer_alone() {
    let (near, far, other) = (bound(), bound(), bound());
    let near = near.connect(far.local()).expect("a route");
    assert_eq!(near.peer(), Some(far.local()));
    near.send(b"to the peer").await.expect("sent");
    assert_eq!(received(&far).await, (b"to the peer".to_vec(), near.local()));
    other.send_to(b"from elsewhere", near.local()).await.expect("sent");
    far.send_to(b"from the peer", near.local()).await.expect("sent");
    let mut buffer = [0; 100];
    let len = soon("a datagram", near.recv(&mut buffer)).await.expect("received");
    assert_eq!(&buffer[..len], b"from the peer");
}

/// A way to receive one datagram.
async fn received_by(way: usize, socket: &UdpSocket) -> Vec<u8> {
    let (mut buffer, mut batch) = ([0; 100], RecvBatch::new());
    let len = match way {
        0 => soon("a datagram", socket.recv(&mut buffer)).await.expect("received"),
        1 => {
            soon("a datagram", socket.recv_batch(&mut batch)).await.expect("received");
            return batch.next().expect("one at the least").payload.to_vec();
        }
        _ => loop {
            soon("a datagram", socket.readable()).await.expect("it is there");
            if let Some(meta) = socket.try_recv_meta(&mut buffer).expect("received") {
                break meta.len;
            }
        },
    };
    buffer.get(..len).expect("no more than there is room for").to_vec()
}

#[tokio::test]
async fn what_others_sent_before_a_socket_was_connected_is_not_received() {
    for (at, from, name) in [
        ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"),
        ("[::1]:0", "[::1]:0", "[::1]"),
        ("[::]:0", "127.0.0.1:0", "[::ffff:127.0.0.1]"),
        // Nobody in particular is this machine.
        #[cfg(target_os = "linux")]
        ("127.0.0.1:0", "127.0.0.1:0", "0.0.0.0"),
        #[cfg(target_os = "linux")]
        ("[::]:0", "127.0.0.1:0", "127.0.0.1"),
    ] {
        for way in 0..3 {
            let near = UdpSocket::bind(any(at)).expect("a socket");
            let (far, other) = (
                UdpSocket::bind(any(from)).expect("a socket"),
                UdpSocket::bind(any(from)).expect("a socket"),
            );
            let to = SocketAddr::new(far.local().ip(), near.local().port());
            for _ in 0..3 {
                // Longer than there is room for: it is nobody's error.
                other.send_to(&[1; 101], to).await.expect("sent");
                other.send_to(b"from elsewhere", to).await.expect("sent");
            }
            far.send_to(b"early", to).await.expect("sent");
            let near = near.connect(any(&format!("{name}:{}", far.local().port()))).expect("a route");
            far.send_to(b"late", to).await.expect("sent");
            assert_eq!(received_by(way, &near).await, b"early", "{at} {name} {way}");
            if way != 1 {
                assert_eq!(received_by(way, &near).await, b"late", "{at} {name} {way}");
            }
            assert_eq!((near.stats().received, near.stats().oversize), (2, 0), "{at} {name} {way}");
        }
    }
}

#[tokio::test]
async fn t2_a_datagram_longer_than_the_buffer_is_an_error_and_the_next_one_is_whole() {
    let (near, far) = (bound(), bound());
    near.send_to(&[1; 101], far.local()).await.expect("sent");
    near.send_to(&[2; 100], far.local()).await.expect("sent");
    let mut buffer = [0; 100];
    let error = soon("a datagram", far.recv_from(&mut buffer)).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);
    let (len, peer) = soon("a datagram", far.recv_from(&mut buffer)).await.expect("received");
    assert_eq!((&buffer[..len], peer), (&[2; 100][..], near.local()));
    assert_eq!(far.stats().oversize, 1);
}

#[tokio::test]
async fn t2_what_no_datagram_carries_is_refused() {
    let (near, far) = (bound(), bound());
    near.send_to(&vec![1; 65_507], far.local()).await.expect("the longest");
    let error = near.send_to(&vec![1; 65_508], far.local()).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);
    assert!(error.to_string().contains(&far.local().to_string()), "{error}");
    assert_eq!(received(&far).await.0.len(), 65_507);

    let mut batch = SendBatch::new();
    batch.push(far.local(), "before");
    batch.push(far.local(), vec![1; 65_508]);
    batch.push(far.local(), "behind");
    let error = near.send_batch(&mut batch).await.expect_err("too long");
    assert_eq!((error.kind(), batch.len()), (ErrorKind::MessageTooLong, 2));
    batch.skip();
    near.send_batch(&mut batch).await.expect("sent");
    assert!(batch.is_empty());
    assert_eq!(received(&far).await.0, b"before");
    assert_eq!(received(&far).await.0, b"behind");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn t2_without_fragments_what_is_longer_than_the_path_is_refused() {
    let config = UdpConfig { dont_fragment: true, ..UdpConfig::default() };
    let far = UdpSocket::bind(any("[::1]:0")).expect("a socket");
    let near = UdpSocket::bind_with(any("[::1]:0"), &config)
        .expect("a socket")
        .connect(far.local())
        .expect("a route");
    // Loopback carries 65 536 bytes in one piece, headers among them.
    let most = near.path_payload_len().expect("it is known");
    assert_eq!(most, 65_536 - 48);
    let error = near.send(&vec![1; most + 1]).await.expect_err("too long for one piece");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);
    near.send(&vec![1; most]).await.expect("sent");
    assert_eq!(received(&far).await.0.len(), most);
    near.set_dont_fragment(false).expect("an option");
    near.send(&vec![1; most + 1]).await.expect("sent in pieces");
    assert_eq!(received(&far).await.0.len(), most + 1);
}

#[tokio::test]
async fn one_socket_serves_both_families_unless_told_otherwise() {
    let far = UdpSocket::bind(any("[::]:0")).expect("a socket");
    let port = far.local().port();
    for (from, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")] {
        let near = UdpSocket::bind(any(from)).expect("a socket");
        near.send_to(b"hello", any(&format!("{to}:{port}"))).await.expect("sent");
        let mut buffer = [0; 10];
        let meta = soon("a datagram", far.recv_meta(&mut buffer)).await.expect("received");
        assert_eq!(meta.peer.ip().to_canonical(), near.local().ip());
        assert_eq!(
            meta.local.map(|ip| ip.to_canonical()),
            Some(near.local().ip()),
            "loopback talks to itself"
        );
        far.send_to(b"and back", meta.peer).await.expect("sent");
        assert_eq!(received(&near).await.0, b"and back");
    }
    let config = UdpConfig { only_v6: true, ..UdpConfig::default() };
    let far = UdpSocket::bind_with(any("[::]:0"), &config).expect("a socket");
    // The port of the other family is free.
    UdpSocket::bind(any(&format!("0.0.0.0:{}", far.local().port()))).expect("a socket of its own");
}

#[tokio::test]
async fn an_address_is_shared_where_both_want_it() {
    let config = UdpConfig { reuse_address: true, ..UdpConfig::default() };
    let one = UdpSocket::bind_with(any("127.0.0.1:0"), &config).expect("a socket");
    UdpSocket::bind_with(one.local(), &config).expect("another one");
    let error = UdpSocket::bind(one.local()).expect_err("one that does not want to share");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    assert!(error.to_string().contains(&one.local().to_string()), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn options_are_those_of_the_system() {
    let socket = bound();
    let system = SockRef::from(&socket);
    socket.set_recv_buffer_len(100_000).expect("an option");
    socket.set_send_buffer_len(50_000).expect("an option");
    assert_eq!(socket.recv_buffer_len().expect("an option"), system.recv_buffer_size().expect("an option"));
    assert!(socket.recv_buffer_len().expect("an option") >= 100_000);
    assert!(socket.send_buffer_len().expect("an option") >= 50_000);
    socket.set_hops(7).expect("an option");
    assert_eq!(system.ttl_v4().expect("an option"), 7);
    socket.set_multicast_hops(9).expect("an option");
    socket.set_multicast_loop(false).expect("an option");
    socket.set_multicast_interface_v4(Ipv4Addr::LOCALHOST).expect("an option");
    assert_eq!(system.multicast_ttl_v4().expect("an option"), 9);
    assert!(!system.multicast_loop_v4().expect("an option"));
    assert_eq!(system.multicast_if_v4().expect("an option"), Ipv4Addr::LOCALHOST);
    socket.set_broadcast(true).expect("an option");
    assert!(system.broadcast().expect("an option"));
    assert!(socket.set_hops(0).is_err());

    let socket = UdpSocket::bind(any("[::1]:0")).expect("a socket");
    let system = SockRef::from(&socket);
    socket.set_hops(7).expect("an option");
    socket.set_multicast_hops(9).expect("an option");
    socket.set_multicast_loop(false).expect("an option");
    assert_eq!(system.unicast_hops_v6().expect("an option"), 7);
    assert_eq!(system.multicast_hops_v6().expect("an option"), 9);
    assert!(!system.multicast_loop_v6().expect("an option"));
}

#[tokio::test]
async fn a_broadcast_needs_permission_and_reaches_the_network() {
    let far = UdpSocket::bind(any("0.0.0.0:0")).expect("a socket");
    let everyone = SocketAddr::from(([127, 255, 255, 255], far.local().port()));
    let near = bound();
    let error = near.send_to(b"hear, hear", everyone).await.expect_err("not permitted");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    near.set_broadcast(true).expect("an option");
    near.send_to(b"hear, hear", everyone).await.expect("sent");
    let mut buffer = [0; 100];
    let meta = soon("a datagram", far.recv_meta(&mut buffer)).await.expect("received");
    assert_eq!(&buffer[..meta.len], b"hear, hear");
    assert_eq!((meta.peer, meta.local), (near.local(), Some(everyone.ip())));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn traffic_classes_travel_with_each_datagram() {
    for at in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let far = UdpSocket::bind(any(at)).expect("a socket");
        let near = UdpSocket::bind(any(at)).expect("a socket");
        let to = match far.local().ip() {
            IpAddr::V6(ip) if ip.is_unspecified() => {
                any(&format!("[::ffff:127.0.0.1]:{}", far.local().port()))
            }
            _ => far.local(),
        };
        let mut buffer = [0; 100];
        let mut class =
            async || soon("a datagram", far.recv_meta(&mut buffer)).await.expect("received").class;
        near.send_to(b"x", to).await.expect("sent");
        assert_eq!(class().await, TrafficClass::default(), "{at}");
        let mut batch = SendBatch::new();
        batch.push_marked(to, Ecn::Ect0, "x");
        near.send_batch(&mut batch).await.expect("sent");
        assert_eq!(class().await, TrafficClass { dscp: 0, ecn: Some(Ecn::Ect0) }, "{at}");

        near.set_dscp(46).expect("an option");
        near.send_to(b"x", to).await.expect("sent");
        assert_eq!(class().await, TrafficClass { dscp: 46, ecn: None }, "{at}");
        for ecn in [Ecn::Ect1, Ecn::Ce] {
            batch.push_marked(to, ecn, "x");
            near.send_batch(&mut batch).await.expect("sent");
            assert_eq!(class().await, TrafficClass { dscp: 46, ecn: Some(ecn) }, "{at}");
        }
        // A run that the kernel cuts has it, too.
        for _ in 0..3 {
            batch.push(to, "x");
        }
        near.send_batch(&mut batch).await.expect("sent");
        for _ in 0..3 {
            assert_eq!(class().await, TrafficClass { dscp: 46, ecn: None }, "{at}");
        }
    }
}

#[tokio::test]
async fn a_socket_that_was_made_elsewhere_is_taken_over_as_it_is() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let far = UdpSocket::bind(any(at)).expect("a socket");
        let made = std::net::UdpSocket::bind(at).expect("a socket");
        made.connect(far.local()).expect("a route");
        #[cfg(unix)]
        if far.local().is_ipv6() {
            SockRef::from(&made).set_tclass_v6(46 << 2).expect("an option");
        } else {
            SockRef::from(&made).set_tos_v4(46 << 2).expect("an option");
        }
        let local = made.local_addr().expect("an address");
        let near = UdpSocket::from_std(made).expect("taken over");
        assert_eq!((near.local(), near.peer()), (local, Some(far.local())));
        near.send(b"single").await.expect("sent");
        let mut batch = SendBatch::new();
        for payload in ["run", "run", "alone in its length"] {
            batch.push_connected(payload);
        }
        batch.push_marked(far.local(), Ecn::Ect0, "marked");
        near.send_batch(&mut batch).await.expect("sent");
        let mut buffer = [0; 100];
        for (payload, ecn) in [
            ("single", None),
            ("run", None),
            ("run", None),
            ("alone in its length", None),
            ("marked", Some(Ecn::Ect0)),
        ] {
            let meta = soon("a datagram", far.recv_meta(&mut buffer)).await.expect("received");
            assert_eq!((&buffer[..meta.len], meta.peer), (payload.as_bytes(), local));
            if cfg!(target_os = "linux") {
                assert_eq!(meta.class, TrafficClass { dscp: 46, ecn });
            }
        }
        far.send_to(b"and back", local).await.expect("sent");
        assert_eq!(received(&near).await, (b"and back".to_vec(), far.local()));
    }
}

#[tokio::test]
async fn what_is_only_tried_does_not_wait() {
    let far = bound();
    let near = bound().connect(far.local()).expect("a route");
    let (mut buffer, mut arrived, mut batch) = ([0; 100], RecvBatch::new(), SendBatch::new());
    assert_eq!(far.try_recv_meta(&mut buffer).expect("nothing"), None);
    assert_eq!(far.try_recv_batch(&mut arrived).expect("nothing"), 0);
    near.writable().await.expect("room");
    assert!(near.try_send(b"one").expect("sent") && near.try_send_to(b"two", far.local()).expect("sent"));
    batch.push_connected("three");
    batch.push_connected("four");
    near.try_send_batch(&mut batch).expect("sent");
    assert!(batch.is_empty());
    soon("a datagram", far.readable()).await.expect("it is there");
    for text in ["one", "two"] {
        let meta = far.try_recv_meta(&mut buffer).expect("received").expect("it is there");
        assert_eq!((&buffer[..meta.len], meta.peer), (text.as_bytes(), near.local()));
    }
    assert_eq!(far.try_recv_batch(&mut arrived).expect("received"), 2);
    let texts: Vec<_> = arrived.by_ref().map(|datagram| datagram.payload).collect();
    assert_eq!(texts, ["three", "four"]);
    assert_eq!(far.try_recv_batch(&mut arrived).expect("nothing more"), 0);
    near.try_send(&[1; 101]).expect("sent");
    soon("a datagram", far.readable()).await.expect("it is there");
    assert_eq!(far.try_recv_meta(&mut buffer).expect_err("cut").kind(), ErrorKind::MessageTooLong);
    batch.push_connected(vec![1; 65_508]);
    assert_eq!(near.try_send_batch(&mut batch).expect_err("too long").kind(), ErrorKind::MessageTooLong);
    assert_eq!(batch.len(), 1);
}

#[test]
fn without_a_runtime_there_is_no_socket_and_no_panic() {
    let error = UdpSocket::bind(any("127.0.0.1:0")).expect_err("no runtime");
    assert_eq!(error.kind(), ErrorKind::Io);
    let made = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    assert_eq!(UdpSocket::from_std(made).expect_err("no runtime").kind(), ErrorKind::Io);
}
