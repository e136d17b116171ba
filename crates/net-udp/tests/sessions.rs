//! Sessions of a listener: how they begin, go silent and end.

use std::{collections::HashSet, time::Duration};

use net_core::{ErrorKind, Listener, Receiver, Sender, Transport};
use net_udp::{Udp, UdpConfig};

mod rig;

use rig::{at, bound, counted, listen, received, session, socket, soon};

#[tokio::test]
async fn each_peer_has_a_session_of_its_own() {
    let (mut listener, to) = listen(UdpConfig::default()).await;
    let peers: Vec<_> = (0..50).map(|_| bound().connect(to).expect("a route")).collect();
    for (number, near) in peers.iter().enumerate() {
        for turn in 0..3 {
            near.send(format!("{number} {turn}").as_bytes()).await.expect("sent");
        }
    }
    let (mut seen, mut sessions) = (HashSet::new(), Vec::new());
    for _ in 0..peers.len() {
        let mut far = soon("a session", listener.accept()).await.expect("a session");
        let near =
            peers.iter().position(|near| near.local() == socket(&far.info.remote)).expect("one of them");
        for turn in 0..3 {
            let text = soon("a message", far.recv()).await.expect("received").expect("a message");
            assert_eq!(text, format!("{near} {turn}"));
            far.send(text).await.expect("sent");
        }
        assert!(seen.insert(near), "two sessions of one peer");
        sessions.push(far);
    }
    for (number, near) in peers.iter().enumerate() {
        assert_eq!(received(near).await.0, format!("{number} 0").as_bytes());
    }
    assert_eq!(listener.stats().sessions, 50);
}

#[tokio::test]
async fn a_session_of_which_nothing_arrives_ends() {
    let config = UdpConfig { idle_timeout: Duration::from_millis(40), ..UdpConfig::default() };
    let (near, mut listener, mut far) = session(config, b"one").await;
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"one"[..]));
    for _ in 0..2 {
        let error = soon("the end of the session", far.recv()).await.expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    assert_eq!(far.send("late").await.expect_err("over").kind(), ErrorKind::TimedOut);
    let stats = listener.stats();
    assert_eq!((stats.expired, stats.sessions), (1, 0));
    // The peer is as new as any other.
    near.send(b"two").await.expect("sent");
    let mut again = soon("a session", listener.accept()).await.expect("a session");
    assert_eq!(again.recv().await.expect("received").as_deref(), Some(&b"two"[..]));
    assert_ne!(again.info.id, far.info.id);
}

#[tokio::test]
async fn a_session_that_nobody_receives_from_tells_its_sender_why_it_ended() {
    let config = UdpConfig { idle_timeout: Duration::from_millis(40), ..UdpConfig::default() };
    let (_near, mut listener, far) = session(config, b"one").await;
    let net_core::Connection { mut tx, rx, .. } = far;
    drop(rx);
    counted(&mut listener, "silence", |stats| stats.expired == 1).await;
    assert_eq!(tx.send("late").await.expect_err("over").kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn what_had_arrived_is_given_before_the_end() {
    let config = UdpConfig { idle_timeout: Duration::from_millis(40), ..UdpConfig::default() };
    let (near, mut listener, mut far) = session(config, b"one").await;
    near.send(b"two").await.expect("sent");
    counted(&mut listener, "silence", |stats| stats.expired == 1).await;
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"one"[..]));
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"two"[..]));
    assert!(far.recv().await.is_err());
}

#[tokio::test]
async fn a_backlog_may_be_as_long_as_a_number_can_tell() {
    for backlog in [0, usize::MAX] {
        let config = UdpConfig { backlog, ..UdpConfig::default() };
        let (_near, _listener, mut far) = session(config, b"one").await;
        assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"one"[..]));
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_is_forgotten() {
    let (near, mut listener, far) = session(UdpConfig::default(), b"one").await;
    let id = far.info.id;
    drop(far);
    counted(&mut listener, "its place", |stats| stats.sessions == 0).await;
    near.send(b"two").await.expect("sent");
    let mut again = soon("a session", listener.accept()).await.expect("a session");
    assert_eq!(again.recv().await.expect("received").as_deref(), Some(&b"two"[..]));
    assert_ne!(again.info.id, id);
}

#[tokio::test]
async fn a_sender_lives_without_its_receiver() {
    let (near, mut listener, far) = session(UdpConfig::default(), &[0; 1_000]).await;
    let net_core::Connection { mut tx, rx, .. } = far;
    drop(rx);
    near.send(b"nobody takes this").await.expect("sent");
    counted(&mut listener, "its arrival", |stats| stats.received == 2).await;
    tx.send("but this goes out").await.expect("sent");
    assert_eq!(received(&near).await.0, b"but this goes out");
}

#[tokio::test]
async fn finishing_ends_both_directions_of_this_side() {
    let (near, _listener, mut far) = session(UdpConfig::default(), b"one").await;
    far.tx.feed("end").await.expect("accepted");
    far.tx.finish().await.expect("finished");
    assert_eq!(received(&near).await.0, b"end", "what was accepted is sent");
    assert_eq!(
        far.recv().await.expect("received").as_deref(),
        Some(&b"one"[..]),
        "what had arrived is given"
    );
    for _ in 0..2 {
        assert_eq!(far.recv().await.expect("the end"), None);
    }
    assert_eq!(far.send("late").await.expect_err("finished").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn finishing_wakes_who_receives() {
    let sink = bound();
    let near = Udp::default().connect(&at(&format!("udp://{}", sink.local()))).await.expect("a route");
    let net_core::Connection { mut tx, mut rx, .. } = near;
    let receiving = tokio::spawn(async move { rx.recv().await });
    tokio::task::yield_now().await;
    tx.finish().await.expect("finished");
    assert_eq!(soon("the end", receiving).await.expect("no panic").expect("the end"), None);

    let (_near, _listener, far) = session(UdpConfig::default(), b"one").await;
    let net_core::Connection { mut tx, mut rx, .. } = far;
    rx.recv().await.expect("received");
    let receiving = tokio::spawn(async move { rx.recv().await });
    tokio::task::yield_now().await;
    tx.finish().await.expect("finished");
    assert_eq!(soon("the end", receiving).await.expect("no panic").expect("the end"), None);
}

#[tokio::test]
async fn closing_takes_no_time() {
    let (_near, _listener, far) = session(UdpConfig::default(), b"one").await;
    far.close(Duration::from_hours(1)).await.expect("nothing to wait for");
}

#[tokio::test]
async fn a_closed_listener_serves_its_sessions_and_takes_no_new_one() {
    let (near, mut listener, mut far) = session(UdpConfig::default(), b"one").await;
    let to = socket(listener.local());
    // One waits as the listener closes, and is given.
    let waiting = bound();
    waiting.send_to(b"waiting", to).await.expect("sent");
    counted(&mut listener, "its arrival", |stats| stats.sessions == 2).await;
    listener.close();
    let mut rest = listener.accept().await.expect("the one that waited");
    assert_eq!(rest.recv().await.expect("received").as_deref(), Some(&b"waiting"[..]));
    for _ in 0..2 {
        assert_eq!(listener.accept().await.expect_err("closed").kind(), ErrorKind::Closed);
    }
    bound().send_to(b"too late", to).await.expect("sent");
    counted(&mut listener, "its refusal", |stats| stats.rejected == 1).await;

    near.send(b"two").await.expect("sent");
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"one"[..]));
    assert_eq!(soon("a message", far.recv()).await.expect("received").as_deref(), Some(&b"two"[..]));
    far.send("yes").await.expect("sent");
    assert_eq!(received(&near).await.0, b"yes");

    // With the last of them the address is free again: whoever listens there next waits for that.
    drop((listener, far, rest));
    let again = soon("the address", Udp::default().listen(&at(&format!("udp://{to}")))).await;
    assert_eq!(socket(again.expect("it is free").local()), to);
}

#[tokio::test]
async fn what_was_flushed_leaves_although_everything_is_dropped() {
    let config = UdpConfig { max_amplification: None, ..UdpConfig::default() };
    let (near, listener, mut far) = session(config, b"one").await;
    for number in 0..200_u8 {
        far.tx.feed(vec![number; 1_000]).await.expect("accepted");
    }
    far.tx.flush().await.expect("flushed");
    drop((far, listener));
    for number in 0..200_u8 {
        assert_eq!(received(&near).await.0, vec![number; 1_000]);
    }
}

#[tokio::test]
async fn sessions_end_with_the_runtime_that_serves_them() {
    let (mut listener, to) = listen(UdpConfig::default()).await;
    bound().send_to(b"one", to).await.expect("sent");
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(listener.accept()).expect("a session")
    });
    let mut far =
        tokio::task::spawn_blocking(move || serving.join()).await.expect("no panic").expect("no panic");
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"one"[..]));
    assert_eq!(far.recv().await.expect_err("nobody serves").kind(), ErrorKind::Closed);
    assert_eq!(far.send("late").await.expect_err("nobody serves").kind(), ErrorKind::Closed);
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_needs_no_timers_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let config = UdpConfig { idle_timeout: Duration::from_millis(100), ..UdpConfig::default() };
        let mut listener = Udp::new(config).listen(&at("udp://127.0.0.1:0")).await.expect("listening");
        let near = bound();
        near.send_to(b"one", socket(listener.local())).await.expect("sent");
        let mut far = listener.accept().await.expect("a session");
        assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"one"[..]));
        assert_eq!(far.recv().await.expect_err("it is silent").kind(), ErrorKind::TimedOut);
        let left = listener.local().clone();
        drop((listener, far));
        Udp::new(config).listen(&left).await.expect("listening again");
    });
}

#[tokio::test]
async fn a_wildcard_answers_from_the_address_that_was_asked() {
    for (listens, from, to) in [
        ("udp://0.0.0.0:0", "127.0.0.1:0", "127.0.0.5"),
        ("udp://:0", "127.0.0.1:0", "127.0.0.6"),
        ("udp://:0", "[::1]:0", "[::1]"),
    ] {
        let mut listener = Udp::default().listen(&at(listens)).await.expect("listening");
        let to = format!("{to}:{}", listener.local().port().expect("a port"));
        let near = net_udp::UdpSocket::bind(from.parse().expect("an address")).expect("a socket");
        // Connected, it hears nothing that comes from another address.
        let near = near.connect(to.parse().expect("an address")).expect("a route");
        near.send(b"who is asked?").await.expect("sent");
        let mut far = soon("a session", listener.accept()).await.expect("a session");
        assert_eq!(far.info.local.to_string(), format!("udp://{to}"));
        let message = far.recv().await.expect("received").expect("a message");
        far.send(message).await.expect("sent");
        assert_eq!(received(&near).await.0, b"who is asked?");
    }
}

#[tokio::test]
async fn listeners_that_share_a_port_share_the_peers() {
    let mut listeners = Udp::default().listen_many(&at("udp://127.0.0.1:0"), 2).await.expect("listening");
    let (mut second, mut first) = (listeners.pop().expect("two"), listeners.pop().expect("two"));
    if !cfg!(target_os = "linux") {
        return;
    }
    assert_eq!(first.local(), second.local());
    let to = socket(first.local());
    let peers: Vec<_> = (0..64).map(|_| bound()).collect();
    let (mut at_first, mut at_second) = (Vec::new(), Vec::new());
    for near in &peers {
        near.send_to(b"hello", to).await.expect("sent");
        tokio::select! {
            far = first.accept() => at_first.push(far.expect("a session")),
            far = second.accept() => at_second.push(far.expect("a session")),
        }
    }
    assert!(!at_first.is_empty() && !at_second.is_empty(), "{} and {}", at_first.len(), at_second.len());
    // Each peer stays where it is.
    for far in at_first.iter_mut().chain(&mut at_second) {
        let near = peers.iter().find(|near| near.local() == socket(&far.info.remote)).expect("one of them");
        assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"hello"[..]));
        near.send_to(b"again", to).await.expect("sent");
        assert_eq!(soon("a message", far.recv()).await.expect("received").as_deref(), Some(&b"again"[..]));
    }
    let port = at(&format!("udp://{to}"));
    let error = Udp::default().listen_many(&port, 2).await.map(drop).expect_err("another server is there");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
}

#[tokio::test]
async fn what_is_no_address_of_this_transport_is_refused() {
    let udp = Udp::default();
    for text in ["tcp://127.0.0.1:9", "unix:///tmp/x"] {
        assert_eq!(
            udp.connect(&at(text)).await.err().map(|error| error.kind()),
            Some(ErrorKind::InvalidAddress)
        );
        assert_eq!(
            udp.listen(&at(text)).await.err().map(|error| error.kind()),
            Some(ErrorKind::InvalidAddress)
        );
    }
    let nobody = udp.connect(&at("udp://127.0.0.1:0")).await.err().map(|error| error.kind());
    assert_eq!(nobody, Some(ErrorKind::InvalidAddress));
    let (listener, to) = listen(UdpConfig::default()).await;
    let error = udp.listen(&at(&format!("udp://{to}"))).await.map(drop).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    assert!(error.to_string().contains(&to.to_string()), "{error}");
    drop(listener);
}

#[tokio::test]
async fn a_name_is_resolved() {
    let mut listener = Udp::default().listen(&at("udp://:0")).await.expect("listening");
    let to = at(&format!("udp://localhost:{}", listener.local().port().expect("a port")));
    let mut near = Udp::default().connect(&to).await.expect("a route");
    near.send("hello").await.expect("sent");
    let mut far = soon("a session", listener.accept()).await.expect("a session");
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"hello"[..]));
    let unknown = Udp::default()
        .connect(&at("udp://no-such-name.invalid:9"))
        .await
        .map(drop)
        .expect_err("no such name");
    assert_eq!(unknown.kind(), ErrorKind::Unresolved);
}

#[tokio::test]
async fn u6_a_failure_names_every_address_and_why() {
    // Both families of the wildcard are taken, each by a socket of its own.
    let v4 = net_udp::UdpSocket::bind(([0, 0, 0, 0], 0).into()).expect("a socket");
    let at = at(&format!("udp://:{}", v4.local().port()));
    let error = Udp::default().listen(&at).await.map(drop).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    let told = error.report();
    for address in [format!("[::]:{}", v4.local().port()), v4.local().to_string()] {
        assert!(told.contains(&address), "{address} in {told}");
    }
}
