//! What must not go wrong with datagrams: reflection, forged sources, oversize, empty ones, errors that others report.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use net_core::{ErrorKind, Listener, Receiver, Sender, Transport};
use net_udp::{Udp, UdpConfig, UdpSocket};
#[cfg(target_os = "linux")]
use socket2::{Domain, Protocol, Socket, Type};

#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

use namespace::is_inside;
use rig::{at, bound, counted, echo, flood, listen, peer, received, session, socket, soon};

#[tokio::test]
async fn a23_no_answer_is_larger_than_the_request_before_proof() {
    let (near, listener, mut far) = session(UdpConfig::default(), &[1; 100]).await;
    far.tx.send(vec![2; 101]).await.expect("accepted, and withheld");
    far.tx.send(vec![3; 100]).await.expect("sent");
    far.tx.send("").await.expect("accepted, and withheld: its headers are too much");
    assert_eq!((peer(&far).withheld(), listener.stats().withheld), (2, 2));
    assert_eq!(received(&near).await.0, vec![3; 100], "the first that arrives");

    peer(&far).prove();
    far.tx.send(vec![4; 60_000]).await.expect("sent");
    assert_eq!(received(&near).await.0, vec![4; 60_000]);
    assert_eq!(peer(&far).withheld(), 2);
}

#[tokio::test]
async fn a23_many_small_answers_to_one_request_are_withheld_together() {
    let (near, _listener, mut far) = session(UdpConfig::default(), &[1; 100]).await;
    for _ in 0..100 {
        far.tx.feed("10 bytes  ").await.expect("accepted");
    }
    far.tx.flush().await.expect("flushed");
    // 128 bytes came, headers counted, and each answer has 38.
    assert_eq!(peer(&far).withheld(), 97);
    for _ in 0..3 {
        assert_eq!(received(&near).await.0, b"10 bytes  ");
    }
}

#[tokio::test]
async fn a23_headers_of_ipv6_are_counted_as_long_as_they_are() {
    for (listens, host, headers) in
        [("udp://[::1]:0", "[::1]", 48), ("udp://:0", "[::1]", 48), ("udp://:0", "127.0.0.1", 28)]
    {
        let mut listener = Udp::default().listen(&at(listens)).await.expect("listening");
        let to = format!("{host}:{}", listener.local().port().expect("a port")).parse().expect("an address");
        let near = UdpSocket::bind(format!("{host}:0").parse().expect("an address")).expect("a socket");
        near.send_to(&[1; 1_000], to).await.expect("sent");
        let mut far = soon("a session", listener.accept()).await.expect("a session");
        for _ in 0..100 {
            far.tx.send("").await.expect("accepted");
        }
        // An empty answer is as long as its headers.
        assert_eq!(peer(&far).withheld(), 100 - (1_000 + headers) / headers, "{listens} {host}");
    }
}

#[tokio::test]
async fn a23_a_larger_factor_and_none_are_a_matter_of_configuration() {
    let three = UdpConfig { max_amplification: Some(3), ..UdpConfig::default() };
    let (near, _listener, mut far) = session(three, &[1; 100]).await;
    far.tx.send(vec![2; 356]).await.expect("sent");
    assert_eq!(received(&near).await.0.len(), 356, "with 28 bytes of headers thrice the 128 that came");
    far.tx.send("").await.expect("accepted, and withheld");
    assert_eq!(peer(&far).withheld(), 1);

    let unbounded = UdpConfig { max_amplification: None, ..UdpConfig::default() };
    let (near, _listener, mut far) = session(unbounded, b"").await;
    assert!(peer(&far).is_proved());
    far.tx.send(vec![2; 1_000]).await.expect("sent");
    assert_eq!(received(&near).await.0.len(), 1_000);
}

#[tokio::test]
async fn a23_an_echo_is_no_amplification() {
    let (listener, to) = listen(UdpConfig::default()).await;
    let serving = echo(listener);
    let near = bound().connect(to).expect("a route");
    for len in [0, 1, 1_200, 20_000, 65_507] {
        near.send(&vec![7; len]).await.expect("sent");
        assert_eq!(received(&near).await.0, vec![7; len]);
    }
    serving.abort();
}

#[tokio::test]
async fn a23_forged_sources_take_no_more_places_than_there_are() {
    let config = UdpConfig { max_sessions: 100, ..UdpConfig::default() };
    let (mut listener, to) = listen(config).await;
    let near = bound().connect(to).expect("a route");
    near.send(b"first").await.expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    near.send(b"second").await.expect("sent");
    flood(to, 1_000).await;
    let stats = counted(&mut listener, "all to be looked at", |stats| stats.received == 1_002).await;
    assert_eq!((stats.sessions, stats.displaced + stats.rejected), (100, 901));
    // Who was there before, and has been heard twice, is served all the same.
    for text in ["first", "second"] {
        assert_eq!(far.recv().await.expect("received").as_deref(), Some(text.as_bytes()));
    }
    near.send(b"third").await.expect("sent");
    assert_eq!(soon("a message", far.recv()).await.expect("received").as_deref(), Some(&b"third"[..]));
}

#[tokio::test]
async fn a23_forged_sources_keep_nobody_out() {
    let config = UdpConfig { max_sessions: 10, ..UdpConfig::default() };
    let (mut listener, to) = listen(config).await;
    flood(to, 10).await;
    let mut strangers = Vec::new();
    for _ in 0..10 {
        strangers.push(soon("a session", listener.accept()).await.expect("a session"));
    }
    let near = bound().connect(to).expect("a route");
    near.send(b"I am here").await.expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"I am here"[..]));
    assert_eq!((listener.stats().displaced, listener.stats().sessions), (1, 10));
    // The oldest has ended, and the next one has not.
    let [oldest, next, ..] = &mut strangers[..] else { unreachable!("there are ten") };
    oldest.rx.recv().await.expect("received").expect("what it had sent");
    assert_eq!(oldest.rx.recv().await.expect_err("displaced").kind(), ErrorKind::LimitReached);
    next.tx.send("still here").await.expect("accepted");
}

#[tokio::test]
async fn a23_sessions_that_are_held_after_their_end_are_bounded() {
    const PLACES: usize = 10;
    const MAX_HELD: usize = 1_024;
    let config = UdpConfig { max_sessions: PLACES, ..UdpConfig::default() };
    let (mut listener, to) = listen(config).await;
    let source = |number: u16| {
        let [high, low] = number.to_be_bytes();
        UdpSocket::bind(([127, 2, high, low], 0).into()).expect("an address of loopback")
    };
    let mut held = Vec::new();
    for number in (1..).take(PLACES + MAX_HELD) {
        source(number).send_to(b"whose is this?", to).await.expect("sent");
        held.push(soon("a session", listener.accept()).await.expect("a session"));
    }
    source(0).send_to(b"one more", to).await.expect("sent");
    let stats = counted(&mut listener, "its refusal", |stats| stats.rejected == 1).await;
    assert_eq!((stats.displaced, stats.sessions), (MAX_HELD as u64, PLACES as u64));
    // The first one has ended long ago. Once it is let go, another one may be displaced.
    drop(held.remove(0));
    source(0).send_to(b"once more", to).await.expect("sent");
    soon("a session", listener.accept()).await.expect("a session");
}

#[tokio::test]
async fn a23_who_was_heard_twice_is_not_displaced() {
    let config = UdpConfig { max_sessions: 3, ..UdpConfig::default() };
    let (mut listener, to) = listen(config).await;
    let peers = [(); 3].map(|()| bound().connect(to).expect("a route"));
    let mut sessions = Vec::new();
    for near in &peers {
        near.send(b"one").await.expect("sent");
        near.send(b"two").await.expect("sent");
        sessions.push(soon("a session", listener.accept()).await.expect("a session"));
    }
    counted(&mut listener, "all to be heard twice", |stats| stats.received == 6).await;
    bound().send_to(b"one more", to).await.expect("sent");
    let stats = counted(&mut listener, "its refusal", |stats| stats.received == 7).await;
    assert_eq!((stats.rejected, stats.displaced, stats.sessions), (1, 0, 3));
}

#[tokio::test]
async fn a23_new_sessions_that_nobody_accepts_are_bounded() {
    let config = UdpConfig { backlog: 10, ..UdpConfig::default() };
    let (mut listener, to) = listen(config).await;
    bound().send_to(b"first", to).await.expect("sent");
    let far = soon("a session", listener.accept()).await.expect("a session");
    flood(to, 100).await;
    let stats = counted(&mut listener, "all to be looked at", |stats| stats.received == 101).await;
    assert_eq!((stats.sessions, stats.rejected), (11, 90));
    drop(far);
    counted(&mut listener, "the place of who left", |stats| stats.sessions == 10).await;
}

#[tokio::test]
async fn a23_what_waits_for_a_session_is_bounded_in_number() {
    let config = UdpConfig { max_queued: 4, ..UdpConfig::default() };
    let (near, mut listener, mut far) = session(config, b"0").await;
    for number in 1..=10_u8 {
        near.send(&[b'0' + number]).await.expect("sent");
    }
    let stats = counted(&mut listener, "all to be looked at", |stats| stats.received == 11).await;
    assert_eq!((stats.overflowed, peer(&far).overflowed()), (7, 7));
    for number in 0..4_u8 {
        assert_eq!(
            far.recv().await.expect("received").as_deref(),
            Some(&[b'0' + number][..]),
            "the oldest stay"
        );
    }
    near.send(b"again").await.expect("sent");
    assert_eq!(soon("room again", far.recv()).await.expect("received").as_deref(), Some(&b"again"[..]));
}

#[tokio::test]
async fn a23_what_waits_for_all_sessions_is_bounded_in_bytes() {
    let config = UdpConfig { max_queued_total_len: 100_000, max_queued_len: 60_000, ..UdpConfig::default() };
    let (mut listener, to) = listen(config).await;
    // Kept, so that none gets the port of one before, and so its session.
    let (mut near_ends, mut far) = (Vec::new(), Vec::new());
    for session in 1..=10 {
        let near = bound().connect(to).expect("a route");
        for _ in 0..5 {
            near.send(&vec![1; 20_000]).await.expect("sent");
        }
        far.push(soon("a session", listener.accept()).await.expect("a session"));
        // How much the kernel keeps is not what is asked here.
        counted(&mut listener, "all to be looked at", |stats| stats.received == 5 * session).await;
        near_ends.push(near);
    }
    let stats = listener.stats();
    // Two fit for the first two sessions each, and no fifth for all.
    assert_eq!(stats.overflowed, 46);
    far.clear();
    counted(&mut listener, "their end", |stats| stats.sessions == 0).await;
    let near = bound().connect(to).expect("a route");
    near.send(&vec![1; 20_000]).await.expect("sent");
    let mut far = soon("room again", listener.accept()).await.expect("a session");
    assert_eq!(far.recv().await.expect("received").map(|message| message.len()), Some(20_000));
}

#[tokio::test]
async fn a23_what_was_taken_and_not_given_yet_counts_as_waiting() {
    let config = UdpConfig { max_queued_total_len: 100_000, ..UdpConfig::default() };
    let (slow, mut listener, mut far) = session(config, &vec![1; 20_000]).await;
    let to = socket(listener.local());
    for _ in 0..3 {
        slow.send(&vec![1; 20_000]).await.expect("sent");
    }
    counted(&mut listener, "all to be looked at", |stats| stats.received == 4).await;
    // The receiver has all four now, and has given one of them.
    far.recv().await.expect("received").expect("a message");
    assert!(far.rx.held_len() >= 60_000);
    let other = bound().connect(to).expect("a route");
    for _ in 0..4 {
        other.send(&vec![2; 20_000]).await.expect("sent");
    }
    counted(&mut listener, "all to be looked at", |stats| stats.received == 8).await;
    assert_eq!(
        listener.stats().overflowed,
        4,
        "80 000 bytes are held, and 20 000 with what they cost are too many"
    );
    // With the last of them the room is there again; the new session begins with what has room.
    for _ in 0..3 {
        far.recv().await.expect("received").expect("a message");
    }
    for _ in 0..4 {
        other.send(&vec![3; 20_000]).await.expect("sent");
    }
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    for _ in 0..4 {
        let message = soon("a message", far.recv()).await.expect("received");
        assert_eq!(message.expect("a message"), vec![3; 20_000]);
    }
    assert_eq!(listener.stats().overflowed, 4);
    // What a receiver had taken is given back with it.
    for _ in 0..4 {
        other.send(&vec![4; 20_000]).await.expect("sent");
    }
    soon("a message", far.recv()).await.expect("received").expect("a message");
    drop(far);
    counted(&mut listener, "its end", |stats| stats.sessions == 1).await;
    for _ in 0..4 {
        slow.send(&vec![5; 20_000]).await.expect("sent");
    }
    counted(&mut listener, "all to be looked at", |stats| stats.received == 20).await;
    assert_eq!(listener.stats().overflowed, 4);
}

#[tokio::test]
async fn a23_what_is_too_long_is_dropped_alone() {
    let config = UdpConfig { max_message_len: 100, ..UdpConfig::default() };
    let (mut listener, to) = listen(config).await;
    let near = bound().connect(to).expect("a route");
    near.send(&[1; 101]).await.expect("sent");
    near.send(&[2; 100]).await.expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&[2; 100][..]));
    assert_eq!(listener.stats().oversize, 1);
    let error = far.send(vec![0; 101]).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);

    // The same on the side of a client.
    let client = Udp::new(config);
    let sink = bound();
    let mut near = client.connect(&at(&format!("udp://{}", sink.local()))).await.expect("a route");
    sink.send_to(&[1; 101], socket(&near.info.local)).await.expect("sent");
    sink.send_to(&[2; 100], socket(&near.info.local)).await.expect("sent");
    assert_eq!(soon("a message", near.recv()).await.expect("received").as_deref(), Some(&[2; 100][..]));
}

#[tokio::test]
async fn a23_an_empty_datagram_is_a_message() {
    let (near, _listener, mut far) = session(UdpConfig::default(), b"").await;
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b""[..]));
    far.send("").await.expect("sent");
    assert_eq!(received(&near).await.0, b"");
    for _ in 0..3 {
        near.send(b"").await.expect("sent");
        assert_eq!(soon("a message", far.recv()).await.expect("received").as_deref(), Some(&b""[..]));
    }
}

#[tokio::test]
async fn what_strangers_sent_while_a_client_connected_is_no_message() {
    // Nobody else takes the port meanwhile.
    if !is_inside("what_strangers_sent_while_a_client_connected_is_no_message", "ip link set lo up") {
        return;
    }
    let (far, free) = (bound(), bound());
    let own = free.local();
    drop(free);
    let udp = Udp::new(UdpConfig { bind: Some(own), ..UdpConfig::default() });
    let is_over = Arc::new(AtomicBool::new(false));
    let stranger = std::thread::spawn({
        let is_over = is_over.clone();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        move || {
            while !is_over.load(Ordering::Relaxed) {
                // An error where nobody has the port.
                let _ = socket.send_to(b"from elsewhere", own);
            }
        }
    });
    for _ in 0..100 {
        let mut near = udp.connect(&at(&format!("udp://{}", far.local()))).await.expect("a route");
        far.send_to(b"from the peer", own).await.expect("sent");
        let message = soon("a message", near.recv()).await.expect("received");
        assert_eq!(message.as_deref(), Some(&b"from the peer"[..]));
    }
    is_over.store(true, Ordering::Relaxed);
    stranger.join().expect("it has ended");
}

#[tokio::test]
async fn a23_errors_that_others_report_end_no_client() {
    // Nobody else takes the port meanwhile.
    if !is_inside("a23_errors_that_others_report_end_no_client", "ip link set lo up") {
        return;
    }
    let gone = bound();
    let to = gone.local();
    drop(gone);
    let mut near = Udp::default().connect(&at(&format!("udp://{to}"))).await.expect("a route");
    let own = near.info.details::<Arc<UdpSocket>>().expect("the socket of a client").clone();
    // Nobody is there, and the system says so.
    soon("a report", async {
        while own.stats().icmp_errors < 3 {
            near.tx.send("anybody?").await.expect("reports end nothing");
            tokio::select! {
                biased;
                told = near.rx.recv() => panic!("nothing comes, and no error: {told:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await;
    let back = UdpSocket::bind(to).expect("free again");
    near.send("now?").await.expect("sent");
    let (text, from) = received(&back).await;
    assert_eq!(text, b"now?");
    back.send_to(b"yes", from).await.expect("sent");
    assert_eq!(soon("an answer", near.recv()).await.expect("received").as_deref(), Some(&b"yes"[..]));
}

#[tokio::test]
async fn nobody_tells_a_listener_of_peers_that_are_gone() {
    let config = UdpConfig { max_amplification: None, ..UdpConfig::default() };
    let (near, mut listener, mut far) = session(config, b"hello").await;
    let to = socket(listener.local());
    drop(near);
    for _ in 0..100 {
        far.send("are you there?").await.expect("nobody tells");
    }
    let near = bound().connect(to).expect("a route");
    near.send(b"another").await.expect("sent");
    let mut other = soon("a session", listener.accept()).await.expect("a session");
    assert_eq!(other.recv().await.expect("received").as_deref(), Some(&b"another"[..]));
    other.send("served").await.expect("sent");
    assert_eq!(received(&near).await.0, b"served");
    if cfg!(target_os = "linux") {
        assert_eq!(listener.stats().icmp_errors, 0, "a socket that is not connected is not told");
    }
}

/// Whoever reports of datagrams from `from` to `to`: a router on the way, or somebody who feigns one.
#[cfg(target_os = "linux")]
struct Reporter {
    socket: Socket,
    from: SocketAddr,
    to: SocketAddr,
}

#[cfg(target_os = "linux")]
impl Reporter {
    fn new(from: SocketAddr, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("a raw socket");
        Self { socket, from, to }
    }

    fn report(&self, kind: u8, code: u8) {
        // RFC 792: a head of 8 bytes, then what it is about: the IP header, and that of UDP.
        let mut packet = vec![kind, code, 0, 0, 0, 0, 5, 0];
        let sum_at = 2..4;
        packet.extend([0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0]);
        for address in [self.from, self.to] {
            let SocketAddr::V4(address) = address else { panic!("reports are of IPv4") };
            packet.extend(address.ip().octets());
        }
        packet
            .extend([self.from.port().to_be_bytes(), self.to.port().to_be_bytes(), [0, 9], [0, 0]].concat());
        let sum: u32 = packet.as_chunks().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("16 bits");
        packet.splice(sum_at, sum.to_be_bytes());
        let at = SocketAddr::new(self.from.ip(), 0);
        self.socket.send_to(&packet, &at.into()).expect("sent");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a23_no_kind_of_report_ends_receiving() {
    if !is_inside("a23_no_kind_of_report_ends_receiving", "ip link set lo up") {
        return;
    }
    let far = bound();
    let near = bound().connect(far.local()).expect("a route");
    let reporter = Reporter::new(near.local(), far.local());
    for (kind, code) in (0..16).map(|code| (3, code)).chain([(11, 0), (11, 1), (12, 0)]) {
        reporter.report(kind, code);
        far.send_to(&[kind, code], near.local()).await.expect("sent");
        assert_eq!(received(&near).await.0, [kind, code]);
        reporter.report(kind, code);
        far.send_to(&[kind, code], near.local()).await.expect("sent");
        let mut batch = net_udp::RecvBatch::new();
        soon("a datagram", near.recv_batch(&mut batch)).await.expect("received");
        assert_eq!(batch.next().expect("one").payload, [kind, code][..]);
    }
    // The system itself passes over some that are nothing final.
    assert!((20..=38).contains(&near.stats().icmp_errors), "{:?}", near.stats());
}

#[tokio::test]
async fn a23_errors_that_others_report_end_no_socket() {
    // Nobody else takes the port meanwhile.
    if !is_inside("a23_errors_that_others_report_end_no_socket", "ip link set lo up") {
        return;
    }
    let gone = bound();
    let to = gone.local();
    drop(gone);
    let near = bound().connect(to).expect("a route");
    for _ in 0..10 {
        near.send(b"anybody?").await.expect("reports end nothing");
    }
    let mut batch = net_udp::SendBatch::new();
    for number in 0..10 {
        batch.push_connected(vec![7; 100 * number]);
    }
    near.send_batch(&mut batch).await.expect("reports end nothing");
    let back = UdpSocket::bind(to).expect("free again");
    back.send_to(b"yes", near.local()).await.expect("sent");
    assert_eq!(received(&near).await.0, b"yes");
    assert!(near.stats().icmp_errors > 0);
}

/// A wire on which nobody answers for its addresses, so that what is sent waits, and fills the kernel's buffer.
#[cfg(target_os = "linux")]
const SILENT: &str = "ip link set lo up
ip link add wire type veth peer name end
ip link set end up
ip address add 10.9.0.1/24 dev wire
ip link set wire up";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a23_a_report_while_there_is_no_room_keeps_no_core_busy() {
    if !is_inside("a23_a_report_while_there_is_no_room_keeps_no_core_busy", SILENT) {
        return;
    }
    let near = UdpSocket::bind(([10, 9, 0, 1], 0).into()).expect("a socket");
    let to = ([10, 9, 0, 2], 9).into();
    let near = Arc::new(near.connect(to).expect("a route"));
    near.set_send_buffer_len(1).expect("an option");
    let polls = Arc::new(AtomicUsize::new(0));
    let (socket, counted) = (near.clone(), polls.clone());
    let sending = tokio::spawn(async move {
        let mut batch = net_udp::SendBatch::new();
        for len in 0..100 {
            batch.push_connected(vec![0; 1_000 + len]);
        }
        let mut sending = Box::pin(async { socket.send_batch(&mut batch).await });
        std::future::poll_fn(|cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            sending.as_mut().poll(cx)
        })
        .await
    });
    while near.stats().sent == 0 {
        tokio::task::yield_now().await;
    }
    Reporter::new(near.local(), to).report(3, 3);
    soon("a report", async {
        while near.stats().icmp_errors == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let before = polls.load(Ordering::Relaxed);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let more = polls.load(Ordering::Relaxed) - before;
    assert!(more <= 3, "polled {more} times");
    assert!(!sending.is_finished(), "nobody has told where the address is");
    sending.abort();
}
