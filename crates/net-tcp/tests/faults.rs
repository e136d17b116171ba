//! What must not go wrong, each test named by the row of the threat table that it covers.

mod rig;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use net_core::{
    Admission, Attempts, ErrorKind, Limit, Limits, Listener, Receiver, Sender, Transport, frame::FrameError,
};
use net_tcp::{Tcp, TcpConfig};
use rig::{Answer, Seen, at, echo, loopback, nobody, pair, round_trip, socket, soon, watched};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a2_connections_over_the_limit_are_refused_and_others_unaffected() {
    let (mut listener, to) = loopback().await;
    let (admission, mut told) = watched(&Limits { max_connections: 3, ..Limits::default() });
    listener.set_admission(admission.clone());
    let _server = echo(listener);

    let tcp = Tcp::default();
    let mut first = tcp.connect(&to).await.expect("connecting");
    round_trip(&mut first, "one").await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = tcp.connect(&to).await.expect("connecting");
        round_trip(&mut other, "other").await;
        others.push(other);
    }
    for _ in 0..50 {
        let mut refused = tcp.connect(&to).await.expect("the system connects before we refuse");
        assert_eq!(told.recv().await, Some(Seen::Rejected(Limit::Connections)));
        assert!(!matches!(soon("the refusal", refused.recv()).await, Ok(Some(_))));
    }
    round_trip(&mut first, "still here").await;
    assert_eq!(admission.active(), 3);

    others.clear();
    // A place is free as soon as the server has seen the end.
    let mut next = loop {
        let mut next = tcp.connect(&to).await.expect("connecting");
        let _ = next.send("hello").await;
        if let Ok(Some(_)) = soon("an answer or a refusal", next.recv()).await {
            break next;
        }
    };
    round_trip(&mut next, "again").await;
}

#[tokio::test]
async fn a9_a_peer_that_does_not_read_wakes_nobody_and_is_served_when_it_reads() {
    let (mut near, mut far) = pair().await;
    let mut accepted = 0_usize;
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut message = Bytes::from(vec![7; 64 * 1024]);
    while near.tx.poll_send(&mut Context::from_waker(&waker), &mut message).is_ready() {
        accepted += 1;
        assert!(accepted < 1024, "64 MiB are accepted for a peer that does not read");
        message = Bytes::from(vec![7; 64 * 1024]);
    }
    bell.0.store(0, Ordering::Relaxed);

    let (listener, to) = loopback().await;
    let _server = echo(listener);
    let mut other = Tcp::default().connect(&to).await.expect("connecting");
    for _ in 0..1000 {
        round_trip(&mut other, "others are unaffected").await;
    }
    assert_eq!(bell.0.load(Ordering::Relaxed), 0, "woken although there is no room");

    let writing = async {
        near.tx.feed(message).await.expect("room at last");
        near.tx.finish().await.expect("all is written");
    };
    let reading = async {
        let mut received = 0;
        while let Some(message) = far.rx.recv().await.expect("a message") {
            assert_eq!(message.len(), 64 * 1024);
            received += 1;
        }
        received
    };
    let ((), received) = soon("all messages", async { tokio::join!(writing, reading) }).await;
    assert_eq!(received, accepted + 1);
}

#[tokio::test]
async fn a10_a_length_over_the_limit_is_an_error_before_its_bytes_come() {
    let (mut listener, to) = loopback().await;
    for announced in [1_048_577_u32, u32::MAX, 1 << 31] {
        let mut peer = TcpStream::connect(socket(&to)).await.expect("connecting");
        let mut far = listener.accept().await.expect("a connection");
        peer.write_all(&announced.to_be_bytes()).await.expect("written");
        let error = soon("the error", far.recv()).await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::MessageTooLong);
        assert!(far.recv().await.is_err(), "an error is final");
    }
}

#[tokio::test]
async fn a10_a_part_of_a_frame_and_the_end_is_no_message() {
    let (mut listener, to) = loopback().await;
    for part in [&[0][..], &[0, 0, 0, 5], &[0, 0, 0, 5, b'h', b'e', b'l', b'l']] {
        let mut peer = TcpStream::connect(socket(&to)).await.expect("connecting");
        let mut far = listener.accept().await.expect("a connection");
        peer.write_all(part).await.expect("written");
        peer.shutdown().await.expect("ended");
        let error = soon("the error", far.recv()).await.expect_err("a part of a frame");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEnd);
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
        assert_eq!(source, Some(&FrameError::UnexpectedEnd { got: part.len() }));
    }
}

#[tokio::test]
async fn a10_a_flood_of_empty_frames_ends_nothing() {
    const FRAMES: usize = 500_000;
    let (mut listener, to) = loopback().await;
    let mut peer = TcpStream::connect(socket(&to)).await.expect("connecting");
    let mut far = listener.accept().await.expect("a connection");
    let _server = echo(listener);
    let mut other = Tcp::default().connect(&to).await.expect("connecting");
    let flood = tokio::spawn(async move {
        peer.write_all(&vec![0; FRAMES * 4]).await.expect("written");
        peer.shutdown().await.expect("ended");
    });
    let taking = tokio::spawn(async move {
        let mut taken = 0;
        while let Some(message) = far.recv().await.expect("an empty message") {
            assert!(message.is_empty());
            taken += 1;
        }
        taken
    });
    // How long one task may take is the engine's to decide; the other connection is served beside it or after it.
    round_trip(&mut other, "served").await;
    assert_eq!(soon("the end", taking).await.expect("no panic"), FRAMES);
    round_trip(&mut other, "still served").await;
    flood.await.expect("no panic");
}

#[tokio::test]
async fn a34_a_name_without_an_address_is_unresolved() {
    for answer in [Err(io::ErrorKind::NotFound), Ok(Vec::new())] {
        let resolver = Answer(move |_| answer.clone().map_err(io::Error::from));
        let tcp = Tcp::default().with_resolver(Arc::new(resolver));
        let error = tcp.connect(&at("tcp://nowhere.test:1")).await.expect_err("no such name");
        assert_eq!(error.kind(), ErrorKind::Unresolved);
        assert!(error.to_string().starts_with("connect tcp://nowhere.test:1: "), "{error}");
    }
}

#[tokio::test]
async fn a34_resolution_counts_into_the_connect_timeout() {
    #[derive(Debug)]
    struct Silent;
    impl net_tcp::stream::Resolve for Silent {
        fn resolve<'a>(&'a self, _: &'a str, _: u16) -> net_tcp::stream::Resolving<'a> {
            Box::pin(std::future::pending())
        }
    }
    let config = TcpConfig { connect_timeout: Duration::from_millis(20), ..TcpConfig::default() };
    let tcp = Tcp::new(config).with_resolver(Arc::new(Silent));
    let error = soon("the deadline", tcp.connect(&at("tcp://slow.test:1"))).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a34_every_address_is_tried_and_the_last_good_ones_survive_the_name_server() {
    let (listener, to) = loopback().await;
    let _server = echo(listener);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    // The first answer has addresses at which nobody listens; afterwards the name server is broken.
    let resolver = Answer(move |port| match counter.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(vec![
            ([127, 0, 0, 9], port).into(),
            ([127, 0, 0, 8], port).into(),
            ([127, 0, 0, 1], port).into(),
        ]),
        1 => Ok(Vec::new()),
        _ => Err(io::ErrorKind::TimedOut.into()),
    });
    let tcp = Tcp::default().with_resolver(Arc::new(resolver));
    let name = at(&format!("tcp://server.test:{}", to.port().expect("a port")));
    for _ in 0..3 {
        let mut connection = soon("a connection", tcp.connect(&name)).await.expect("one address answers");
        assert_eq!(connection.info.remote, to);
        round_trip(&mut connection, "hello").await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a34_a_failure_names_every_address_and_why() {
    let (to, _taken) = nobody();
    let resolver = Answer(|port| Ok(vec![([127, 0, 0, 1], port).into(), ([127, 0, 0, 2], port).into()]));
    let tcp = Tcp::default().with_resolver(Arc::new(resolver));
    let port = to.port().expect("a port");
    let error = tcp.connect(&at(&format!("tcp://gone.test:{port}"))).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Refused);
    let report = error.report();
    assert!(report.starts_with(&format!("connect tcp://gone.test:{port}: connection refused: ")), "{report}");
    for host in ["127.0.0.1", "127.0.0.2"] {
        assert!(report.contains(&format!("{host}:{port}: Connection refused")), "{report}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a36_a_server_starts_again_at_its_address_at_once() {
    let (mut listener, to) = loopback().await;
    for _ in 0..3 {
        let mut near = Tcp::default().connect(&to).await.expect("connecting");
        let mut far = listener.accept().await.expect("a connection");
        // Who ends first keeps the address busy for a minute afterwards.
        far.tx.finish().await.expect("finished");
        assert_eq!(near.recv().await.expect("the end"), None);
        drop((near, far, listener));
        listener = Tcp::default().listen(&to).await.expect("the address is free again");
    }
}

#[tokio::test]
async fn a36_what_waits_in_the_queue_is_served_after_close() {
    let (mut listener, to) = loopback().await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut near = Tcp::default().connect(&to).await.expect("connecting");
        near.send("accepted by the system").await.expect("sent");
        waiting.push(near);
    }
    listener.close();
    for near in &mut waiting {
        let mut far = listener.accept().await.expect("one that waited");
        let message = far.recv().await.expect("received").expect("a message");
        far.send(message).await.expect("sent");
        drop(far);
        assert!(near.recv().await.is_ok());
    }
    assert_eq!(listener.accept().await.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a39_futures_dropped_at_every_await_lose_nothing() {
    let (mut listener, to) = loopback().await;
    let tcp = Tcp::default();
    let mut idle = Context::from_waker(Waker::noop());
    for _ in 0..20 {
        // Dropped before the first poll, and after it.
        drop(tcp.connect(&to));
        assert!(pin!(listener.accept()).poll(&mut idle).is_pending());
        let mut near = tcp.connect(&to).await.expect("connecting");
        drop(listener.accept());
        let mut far = soon("a connection", listener.accept()).await.expect("a connection");

        assert!(pin!(far.rx.recv()).poll(&mut idle).is_pending());
        drop(near.tx.send("never polled"));
        let mut sent = 1;
        assert!(pin!(near.tx.feed("one")).poll(&mut idle).is_ready());
        // Fills the connection: the last one is dropped while it waits for room.
        while pin!(near.tx.send(vec![7; 512 * 1024])).poll(&mut idle).is_ready() {
            sent += 1;
        }
        let writing = async {
            // The one that was dropped was accepted whole or not at all.
            near.tx.send("last").await.expect("sent");
            near.tx.finish().await.expect("finished");
        };
        let reading = async {
            let mut received = Vec::new();
            loop {
                // Each future is polled once and dropped; the one that is waited for is another.
                let polled = pin!(far.rx.recv()).poll(&mut idle);
                let message = if let Poll::Ready(message) = polled { message } else { far.rx.recv().await };
                match message.expect("a message") {
                    Some(message) => received.push(message),
                    None => return received,
                }
            }
        };
        let ((), received) = soon("all messages", async { tokio::join!(writing, reading) }).await;
        assert_eq!(received.first().map(|one| &one[..]), Some(&b"one"[..]));
        assert_eq!(received.last().map(|last| &last[..]), Some(&b"last"[..]));
        let large = received.iter().filter(|message| message.len() == 512 * 1024).count();
        assert_eq!(large + 2, received.len(), "a message arrived in part");
        assert!(large == sent - 1 || large == sent, "sent {sent}, received {large}");
    }
}

#[tokio::test]
async fn d1_connections_are_counted_exactly_and_numbered_once() {
    let (mut listener, to) = loopback().await;
    let admission = Arc::new(Admission::default());
    listener.set_admission(admission.clone());
    let tcp = Tcp::default();
    let mut ids = std::collections::HashSet::new();
    for round in 0..50 {
        let near = tcp.connect(&to).await.expect("connecting");
        let far = listener.accept().await.expect("a connection");
        assert!(ids.insert(near.info.id) && ids.insert(far.info.id), "a number was given twice");
        assert_eq!(admission.active(), 1);
        // The place is free when both halves are gone, whichever goes first.
        if round % 2 == 0 {
            drop(far.tx);
            assert_eq!(admission.active(), 1);
            drop(far.rx);
        } else {
            drop(far.rx);
            assert_eq!(admission.active(), 1);
            drop(far.tx);
        }
        assert_eq!(admission.active(), 0);
    }
}

#[tokio::test]
async fn d5_peers_that_vanish_before_they_are_accepted_end_nothing() {
    let (listener, to) = loopback().await;
    let mut vanished = Vec::new();
    for _ in 0..100 {
        let peer = TcpStream::connect(socket(&to)).await.expect("connecting");
        peer.set_zero_linger().expect("the option is set");
        vanished.push(peer);
    }
    drop(vanished);
    let _server = echo(listener);
    let mut near = Tcp::default().connect(&to).await.expect("connecting");
    round_trip(&mut near, "still accepting").await;
}

#[tokio::test]
async fn d7_a_closed_port_is_refused() {
    let (to, _taken) = nobody();
    let error = soon("the refusal", Tcp::default().connect(&to)).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.to_string(), format!("connect {to}: connection refused"));
    assert!(error.is_retryable());
    let attempts: &Attempts =
        std::error::Error::source(&error).and_then(|source| source.downcast_ref()).expect("the attempts");
    assert_eq!(attempts.iter().map(|attempt| attempt.address).collect::<Vec<_>>(), [socket(&to)]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn d7_a_socket_that_connects_to_itself_is_refused() {
    let (listener, to) = loopback().await;
    drop(listener);
    let itself: SocketAddr = socket(&to);
    let tcp = Tcp::new(TcpConfig { bind: Some(itself), ..TcpConfig::default() });
    let error = soon("the refusal", tcp.connect(&to)).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Refused);
    // It left no trace that keeps the address in use.
    tokio::net::TcpListener::bind(itself).await.expect("the address is free");
}

#[tokio::test]
async fn s9_a_stream_that_was_cut_is_told_from_one_that_ended() {
    let (mut listener, to) = loopback().await;
    let mut peer = TcpStream::connect(socket(&to)).await.expect("connecting");
    let mut far = listener.accept().await.expect("a connection");
    far.send("flushed").await.expect("sent");
    far.tx.feed("not flushed").await.expect("accepted");
    // The reading half lives on: the peer learns of the abort nevertheless.
    drop(far.tx);
    let mut got = Vec::new();
    let error = soon("the reset", peer.read_to_end(&mut got)).await.expect_err("a reset, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(got, b"\0\0\0\x07flushed");
    assert!(far.rx.recv().await.is_err(), "after an abort nothing is received");
}
