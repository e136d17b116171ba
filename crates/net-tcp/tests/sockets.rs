//! What the sockets are set to, what they listen at, and how they end.
#![cfg(unix)]

mod rig;

use std::{collections::HashSet, io, net::Shutdown, time::Duration};

use net_core::{ErrorKind, Host, Listener, Receiver, Sender, Transport};
use net_tcp::{Keepalive, Tcp, TcpConfig, stream};
use rig::{TcpConnection, at, echo, loopback, pair, round_trip, socket, soon};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn d6_no_delay_is_set_on_both_sides() {
    let (near, far) = pair().await;
    for side in [&near, &far] {
        assert!(SockRef::from(side.rx.get_ref()).tcp_nodelay().expect("the option is read"));
    }
}

#[tokio::test]
async fn settings_hold_on_both_sides() {
    let keepalive = Keepalive { idle: Duration::from_secs(33), interval: Duration::from_secs(7), retries: 3 };
    let config = TcpConfig {
        nodelay: false,
        keepalive: Some(keepalive),
        user_timeout: Some(Duration::from_secs(21)),
        send_buffer_len: Some(20_000),
        recv_buffer_len: Some(30_000),
        ..TcpConfig::default()
    };
    let tcp = Tcp::new(config);
    let mut listener = tcp.listen(&at("tcp://127.0.0.1:0")).await.expect("listening");
    let near = tcp.connect(listener.local()).await.expect("connecting");
    let far = listener.accept().await.expect("a connection");
    for side in [&near, &far] {
        let socket = SockRef::from(side.rx.get_ref());
        assert!(!socket.tcp_nodelay().expect("read"));
        assert!(socket.keepalive().expect("read"));
        assert_eq!(socket.tcp_keepalive_time().expect("read"), keepalive.idle);
        assert_eq!(socket.tcp_keepalive_interval().expect("read"), keepalive.interval);
        assert_eq!(socket.tcp_keepalive_retries().expect("read"), keepalive.retries);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("read"), config.user_timeout);
        // Linux doubles what it is asked for, for its own needs.
        let (send, recv) =
            (socket.send_buffer_size().expect("read"), socket.recv_buffer_size().expect("read"));
        assert!((20_000..=40_000).contains(&send), "{send}");
        assert!((30_000..=60_000).contains(&recv), "{recv}");
    }
}

#[tokio::test]
async fn settings_beyond_what_the_system_takes_are_cut_to_it() {
    let keepalive = Keepalive { idle: Duration::MAX, interval: Duration::ZERO, retries: u32::MAX };
    let config = TcpConfig {
        keepalive: Some(keepalive),
        user_timeout: Some(Duration::MAX),
        send_buffer_len: Some(0),
        recv_buffer_len: Some(usize::MAX),
        connect_timeout: Duration::MAX,
        attempt_delay: Duration::MAX,
        backlog: u32::MAX,
        max_buffered: 0,
        ..TcpConfig::default()
    };
    let tcp = Tcp::new(config);
    let mut listener = tcp.listen(&at("tcp://127.0.0.1:0")).await.expect("listening");
    let mut near = tcp.connect(listener.local()).await.expect("connecting");
    let mut far = listener.accept().await.expect("a connection");
    assert_eq!(SockRef::from(far.rx.get_ref()).tcp_keepalive_interval().expect("read").as_secs(), 1);
    near.send("hello").await.expect("sent");
    assert!(far.recv().await.expect("received").is_some());
}

#[tokio::test]
async fn keep_alive_is_on_unless_it_is_switched_off() {
    let (near, far) = pair().await;
    for side in [&near, &far] {
        let socket = SockRef::from(side.rx.get_ref());
        assert!(socket.keepalive().expect("read"));
        assert_eq!(socket.tcp_keepalive_time().expect("read"), Duration::from_mins(1));
    }
    let tcp = Tcp::new(TcpConfig { keepalive: None, ..TcpConfig::default() });
    let mut listener = tcp.listen(&at("tcp://127.0.0.1:0")).await.expect("listening");
    let near = tcp.connect(listener.local()).await.expect("connecting");
    let far = listener.accept().await.expect("a connection");
    for side in [&near, &far] {
        assert!(!SockRef::from(side.rx.get_ref()).keepalive().expect("read"));
    }
}

#[tokio::test]
async fn s8_a_dual_stack_listener_serves_both_families() {
    for wildcard in ["tcp://:0", "tcp://[::]:0"] {
        let tcp = Tcp::default();
        let mut listener = tcp.listen(&at(wildcard)).await.expect("listening");
        let port = listener.local().port().expect("a port");
        assert_ne!(port, 0);
        for (to, ip) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("", "[::1]"), ("[::]", "[::1]")] {
            let to = at(&format!("tcp://{to}:{port}"));
            let mut near = tcp.connect(&to).await.expect("connecting");
            let mut far = listener.accept().await.expect("a connection");
            // A v4 peer is shown as the v4 host that it is, and our own address as the one it chose.
            assert_eq!(near.info.remote, at(&format!("tcp://{ip}:{port}")));
            assert_eq!(far.info.local, near.info.remote);
            assert_eq!(far.info.remote, near.info.local);
            near.send("hello").await.expect("sent");
            assert!(far.recv().await.expect("received").is_some());
        }
    }
}

#[tokio::test]
async fn s8_the_v4_wildcard_stays_v4() {
    let tcp = Tcp::default();
    let listener = tcp.listen(&at("tcp://0.0.0.0:0")).await.expect("listening");
    let port = listener.local().port().expect("a port");
    assert!(tcp.connect(&at(&format!("tcp://127.0.0.1:{port}"))).await.is_ok());
    let error = tcp.connect(&at(&format!("tcp://[::1]:{port}"))).await.expect_err("IPv4 only");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(tcp.connect(listener.local()).await.is_ok(), "its own address leads to it");
}

#[tokio::test]
async fn s8_a_name_is_resolved_and_each_of_its_addresses_tried() {
    let tcp = Tcp::default();
    let listener = tcp.listen(&at("tcp://localhost:0")).await.expect("listening");
    let port = listener.local().port().expect("a port");
    assert!(!matches!(listener.local().host(), Host::Name(_)), "the address is the socket's");
    // Whichever family it listens at, a client that tries them all finds it.
    assert!(tcp.connect(&at(&format!("tcp://localhost:{port}"))).await.is_ok());
}

#[tokio::test]
async fn u6_a_bind_that_fails_names_every_address_and_why() {
    let (listener, taken) = loopback().await;
    let error = Tcp::default().listen(&taken).await.expect_err("the address is taken");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    let report = error.report();
    assert!(report.starts_with(&format!("listen {taken}: address in use: ")), "{report}");
    assert!(report.contains(&format!("{}: Address already in use", socket(&taken))), "{report}");
    drop(listener);

    let error = Tcp::default().listen(&at("tcp://192.0.2.1:0")).await.expect_err("not this machine's");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn what_needs_tls_or_is_no_stream_is_refused() {
    for (text, kind) in [
        ("tcps://127.0.0.1:1", ErrorKind::Unsupported),
        ("ws://127.0.0.1:1", ErrorKind::InvalidAddress),
        ("udp://127.0.0.1:1", ErrorKind::InvalidAddress),
        ("unix:///tmp/x", ErrorKind::InvalidAddress),
    ] {
        let tcp = Tcp::default();
        assert_eq!(tcp.connect(&at(text)).await.expect_err(text).kind(), kind, "{text}");
        assert_eq!(tcp.listen(&at(text)).await.expect_err(text).kind(), kind, "{text}");
        assert_eq!(tcp.listen_many(&at(text), 2).await.expect_err(text).kind(), kind, "{text}");
    }
    // A secure scheme must never go out in clear text, whatever stands on the byte stream.
    for text in ["wss://127.0.0.1:1", "https://127.0.0.1:1", "grpcs://127.0.0.1:1"] {
        let config = TcpConfig::default();
        let error = stream::connect(&at(text), &config).await.expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = stream::listen(&at(text), &config).await.expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn a_client_connects_from_the_address_it_is_bound_to() {
    let (mut listener, to) = loopback().await;
    let from = "127.0.0.5:0".parse().expect("an address");
    let tcp = Tcp::new(TcpConfig { bind: Some(from), ..TcpConfig::default() });
    let near = tcp.connect(&to).await.expect("connecting");
    let far = listener.accept().await.expect("a connection");
    assert_eq!(far.info.remote.ip(), Some(from.ip()));
    assert_eq!(near.info.local, far.info.remote);

    let other_family =
        TcpConfig { bind: Some("[::1]:0".parse().expect("an address")), ..TcpConfig::default() };
    assert!(Tcp::new(other_family).connect(&to).await.is_err());
}

#[tokio::test]
async fn from_an_address_of_one_family_the_other_is_not_tried() {
    let (to, _taken) = rig::nobody();
    let from = "127.0.0.1:0".parse().expect("an address");
    let resolver =
        rig::Answer(|port| Ok(vec![([0, 0, 0, 0, 0, 0, 0, 1], port).into(), ([127, 0, 0, 1], port).into()]));
    let tcp = Tcp::new(TcpConfig { bind: Some(from), ..TcpConfig::default() })
        .with_resolver(std::sync::Arc::new(resolver));
    let name = at(&format!("tcp://both.test:{}", to.port().expect("a port")));
    let error = tcp.connect(&name).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.report());
    assert!(!error.report().contains("[::1]"), "{}", error.report());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn many_listeners_share_one_port_and_every_connection_is_served() {
    let tcp = Tcp::default();
    let listeners = tcp.listen_many(&at("tcp://127.0.0.1:0"), 4).await.expect("listening");
    assert_eq!(listeners.len(), 4);
    let locals: HashSet<_> = listeners.iter().map(|listener| listener.local().clone()).collect();
    assert_eq!(locals.len(), 1, "port 0 is chosen once");
    let to = locals.into_iter().next().expect("one");

    let error = tcp.listen(&to).await.expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    let error = tcp.listen_many(&to, 2).await.expect_err("another server is no silent partner");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);

    for listener in listeners {
        echo(listener);
    }
    for _ in 0..64 {
        let mut near = tcp.connect(&to).await.expect("connecting");
        round_trip(&mut near, "hello").await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_port_that_another_server_has_in_one_family_is_not_shared_with_it() {
    use socket2::{Domain, Socket, Type};

    let foreign = |port: u16| {
        let foreign = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
        foreign.set_only_v6(true).expect("set");
        foreign.set_reuse_address(true).expect("set");
        foreign.set_reuse_port(true).expect("set");
        let at = std::net::SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        foreign.bind(&at.into()).and_then(|()| foreign.listen(16)).map(|()| foreign)
    };
    // Ports that the system gives to nobody by itself: those that it gives may be busy in IPv4, where tests have left
    // thousands of connections in TIME_WAIT. A port that somebody has is passed over.
    let first = 10_000 + std::process::id() % 10_000;
    let mut ports = (first..first + 10_000).filter_map(|port| u16::try_from(port).ok());
    let (_foreign, port, listeners) = loop {
        let port = ports.next().expect("a port that is free in both families");
        let Ok(foreign) = foreign(port) else { continue };
        match Tcp::default().listen_many(&at(&format!("tcp://:{port}")), 2).await {
            Ok(listeners) => break (foreign, port, listeners),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddressInUse, "{}", error.report()),
        }
    };
    let ours = at(&format!("tcp://0.0.0.0:{port}"));
    assert!(listeners.iter().all(|listener| *listener.local() == ours), "{listeners:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_port_is_shared_with_others_on_request() {
    let tcp = Tcp::new(TcpConfig { reuse_port: true, ..TcpConfig::default() });
    let first = tcp.listen(&at("tcp://127.0.0.1:0")).await.expect("listening");
    let more = tcp.listen_many(first.local(), 2).await.expect("sharing");
    assert!(more.iter().all(|one| one.local() == first.local()));
}

#[tokio::test]
async fn s9_half_close_leaves_the_other_direction() {
    let (mut near, mut far) = pair().await;
    near.send("request").await.expect("sent");
    near.tx.finish().await.expect("finished");
    assert_eq!(near.tx.send("more").await.expect_err("finished").kind(), ErrorKind::Closed);
    assert!(far.recv().await.expect("received").is_some());
    assert_eq!(far.recv().await.expect("the end"), None);
    for _ in 0..100 {
        far.send("the rest").await.expect("the other direction is open");
        assert!(near.recv().await.expect("received").is_some());
    }
    far.tx.finish().await.expect("finished");
    assert_eq!(near.recv().await.expect("the end"), None);
}

#[tokio::test]
async fn s9_the_read_side_and_both_sides_can_be_shut() {
    let (mut near, mut far) = pair().await;
    near.rx.get_ref().shutdown(Shutdown::Read).expect("shut");
    assert_eq!(near.recv().await.expect("the end"), None);
    near.send("the write side is open").await.expect("sent");
    assert!(far.recv().await.expect("received").is_some());

    let (mut near, mut far) = pair().await;
    near.rx.get_ref().shutdown(Shutdown::Both).expect("shut");
    assert_eq!(near.recv().await.expect("the end"), None);
    assert_eq!(near.send("x").await.expect_err("shut").kind(), ErrorKind::Closed);
    assert_eq!(far.recv().await.expect("the end"), None);
}

#[tokio::test]
async fn s9_sending_to_a_peer_that_is_gone_is_an_error() {
    let (mut near, far) = pair().await;
    drop(far);
    assert_eq!(near.recv().await.expect("the end"), None);
    let error = soon("the error", async {
        // The first one is what makes the peer's system say that nobody is there; 16 KiB go out as they are.
        loop {
            if let Err(error) = near.send(vec![0; 16 * 1024]).await {
                return error;
            }
        }
    })
    .await;
    assert!(error.is_closed(), "{error}");
    assert!(near.send("x").await.expect_err("an error is final").is_closed());
}

#[tokio::test]
async fn what_was_flushed_arrives_when_all_is_dropped() {
    let (mut near, mut far) = pair().await;
    for _ in 0..10 {
        near.send(vec![5; 10_000]).await.expect("sent");
    }
    drop(near);
    for _ in 0..10 {
        assert_eq!(far.recv().await.expect("received").map(|message| message.len()), Some(10_000));
    }
    assert_eq!(far.recv().await.expect("the end"), None);
}

#[tokio::test]
async fn dropping_the_sender_alone_ends_it_and_the_receiver_goes_on() {
    let (mut near, mut far) = pair().await;
    near.send("last").await.expect("sent");
    drop(near.tx);
    assert!(far.recv().await.expect("received").is_some());
    assert_eq!(far.recv().await.expect("the end"), None);
    far.send("answer").await.expect("sent");
    assert!(near.rx.recv().await.expect("received").is_some());
}

/// Expects that `peer` reads `before` and then a reset.
async fn expect_reset(mut peer: TcpStream, before: &[u8]) {
    let mut got = Vec::new();
    let error = soon("the reset", peer.read_to_end(&mut got)).await.expect_err("a reset, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(got, before);
}

#[tokio::test]
async fn an_abort_is_a_reset_at_once_in_whatever_state() {
    for (flushed, peer_ended) in [(false, false), (true, false), (true, true)] {
        let (mut listener, to) = loopback().await;
        let mut peer = TcpStream::connect(socket(&to)).await.expect("connecting");
        let mut far: TcpConnection = listener.accept().await.expect("a connection");
        let mut before = Vec::new();
        if flushed {
            far.send("flushed").await.expect("sent");
            before.extend_from_slice(b"\0\0\0\x07flushed");
        }
        if peer_ended {
            peer.shutdown().await.expect("ended");
            assert_eq!(far.recv().await.expect("the end"), None);
        }
        far.tx.feed("not flushed").await.expect("accepted");
        drop(far.tx);
        expect_reset(peer, &before).await;
        drop(far.rx);
    }
}

#[tokio::test]
async fn an_abort_while_the_peer_does_not_read_cuts_what_is_on_its_way() {
    let (mut listener, to) = loopback().await;
    let mut peer = TcpStream::connect(socket(&to)).await.expect("connecting");
    let mut far = listener.accept().await.expect("a connection");
    let mut sent = 0;
    while futures_util::FutureExt::now_or_never(far.tx.feed(vec![1; 60_000])).is_some() {
        sent += 1;
    }
    drop(far);
    let mut got = Vec::new();
    let error = soon("the reset", peer.read_to_end(&mut got)).await.expect_err("a reset, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(got.len() < sent * 60_004);
}

#[tokio::test]
async fn a_byte_stream_can_be_cut_too() {
    let config = TcpConfig::default();
    let mut listener = stream::listen(&at("http://127.0.0.1:0"), &config).await.expect("listening");
    let peer = TcpStream::connect(socket(listener.local())).await.expect("connecting");
    let mut far = listener.accept().await.expect("a stream");
    far.write_all(b"HTTP/1.1 200 OK").await.expect("written");
    far.abort();
    expect_reset(peer, b"HTTP/1.1 200 OK").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_when_writes_are_partial() {
    let config = TcpConfig {
        send_buffer_len: Some(4 * 1024),
        recv_buffer_len: Some(4 * 1024),
        max_buffered: 64 * 1024,
        ..TcpConfig::default()
    };
    let tcp = Tcp::new(config);
    let mut listener = tcp.listen(&at("tcp://127.0.0.1:0")).await.expect("listening");
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut near = tcp.connect(listener.local()).await.expect("connecting");
        let mut far = listener.accept().await.expect("a connection");
        running.spawn(async move {
            for index in 0..400_usize {
                // Large ones leave by vectored writes, small ones do not.
                let len = [100, 20_000, 8 * 1024, 50_000][index % 4];
                near.tx.feed(vec![7; len]).await.expect("accepted");
            }
            near.tx.finish().await.expect("finished");
        });
        running.spawn(async move {
            let mut received = 0;
            while let Some(message) = far.rx.recv().await.expect("a message") {
                received += message.len();
            }
            assert_eq!(received, 100 * (100 + 20_000 + 8 * 1024 + 50_000));
        });
    }
    tokio::time::timeout(Duration::from_secs(30), running.join_all()).await.expect("nobody waits for ever");
}

#[test]
fn a_listener_belongs_to_the_runtime_that_polls_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let maker = runtime();
    let tcp = Tcp::default();
    let listeners = maker.block_on(tcp.listen_many(&at("tcp://127.0.0.1:0"), 2)).expect("listening");
    let to = listeners[0].local().clone();
    // Who made them is gone, and with it whatever waited for its events.
    drop(maker);
    let servers: Vec<_> = listeners
        .into_iter()
        .map(|mut listener| {
            std::thread::spawn(move || {
                let server = tokio::runtime::Builder::new_current_thread().enable_all().build();
                server.expect("a runtime").block_on(async move {
                    loop {
                        let mut far = listener.accept().await.expect("a connection");
                        let Some(message) = far.recv().await.expect("received") else { return };
                        far.send(message).await.expect("sent");
                        if far.recv().await.expect("received").is_some() {
                            return;
                        }
                    }
                });
            })
        })
        .collect();
    runtime().block_on(async {
        // The system chooses who serves; each ends when it is told so by a second message.
        while !servers.iter().all(std::thread::JoinHandle::is_finished) {
            let Ok(mut near) = tcp.connect(&to).await else { continue };
            if near.send("hello").await.is_ok()
                && soon("an answer", near.recv()).await.is_ok_and(|got| got.is_some())
            {
                near.send("enough").await.expect("sent");
                let _ = near.recv().await;
            }
        }
    });
    for server in servers {
        server.join().expect("served without a panic");
    }
}

#[tokio::test]
async fn what_waits_in_the_queue_is_taken_although_no_event_has_told_of_it() {
    let (mut listener, to) = loopback().await;
    // Nothing has been polled yet, and nothing runs between the connections and the end.
    let peers: Vec<_> =
        (0..5).map(|_| std::net::TcpStream::connect(socket(&to)).expect("connecting")).collect();
    listener.close();
    for peer in peers {
        let far = listener.accept().await.expect("one that waited");
        assert_eq!(far.info.remote.socket(), peer.local_addr().ok());
    }
    assert_eq!(listener.accept().await.expect_err("closed").kind(), ErrorKind::Closed);
}
