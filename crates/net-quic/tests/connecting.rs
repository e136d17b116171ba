//! Connecting and listening where something is amiss: deadlines, runtimes that are gone or were never there.

mod rig;

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt as _;
use net_core::{Address, ErrorKind, Listener, Scheme, Transport, frame::LengthPrefix};
use net_quic::{Quic, QuicConfig};
use rig::{at, echo, quic, quic_with, soon};
use tokio::{net::UdpSocket, runtime::Runtime};

#[tokio::test]
async fn a_server_that_lets_no_stream_in_is_given_up_in_time() {
    let connect_timeout = Duration::from_secs(1);
    let config = QuicConfig { max_bidi_streams: 0, connect_timeout, ..QuicConfig::default() };
    let quic = quic_with(config, LengthPrefix::default());
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = sessions.local().clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(session) = sessions.accept().await {
            held.push(session);
        }
    });
    let error = soon("the deadline", quic.connect(&to)).await.expect_err("no stream");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.report());
}

#[tokio::test]
async fn from_an_address_of_one_family_the_other_is_not_reached() {
    let authority = rig::authority::Authority::new("families");
    let from = |text: &str| {
        let config = QuicConfig { bind: Some(text.parse().expect("an address")), ..QuicConfig::default() };
        Quic::new(config).with_client_tls(authority.client().build().expect("settings"))
    };
    let server = Quic::default().with_server_tls(authority.server().build().expect("settings"));
    let listener = server.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    echo(listener);
    let error = soon("an error", from("[::1]:0").connect(&to)).await.expect_err("another family");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", error.report());
    assert!(error.report().contains("another family"), "{}", error.report());
    let near = soon("a connection", from("127.0.0.5:0").connect(&to)).await.expect("the same family");
    assert_eq!(near.info.local.ip(), Some([127, 0, 0, 5].into()));
    // Of the addresses of both families the others are not even tried.
    let both = at(&format!("quic://:{}", to.port().expect("a port")));
    soon("a connection", from("127.0.0.5:0").connect(&both)).await.expect("the same family");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_arrives_where_a_runtime_ends_after_a_close_that_waits() {
    let quic = quic();
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut near = quic.connect(&to).await.expect("connected");
            near.send("hello").await.expect("sent");
            near.close(Duration::from_secs(5)).await.expect("it is there");
        });
    });
    let mut far = soon("a connection", listener.accept()).await.expect("accepted");
    assert_eq!(soon("a message", far.recv()).await.expect("received").as_deref(), Some(&b"hello"[..]));
    assert_eq!(soon("the end", far.recv()).await.expect("a clean end"), None);
    drop(far);
    client.join().expect("no panic");
}

#[test]
fn a_session_whose_socket_is_gone_with_its_runtime_is_closed() {
    let quic = quic();
    let [first, second] = [(); 2].map(|()| Runtime::new().expect("a runtime"));
    let mut sessions = first.block_on(async {
        let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
        // Known to this runtime from now on.
        assert!(sessions.accept().now_or_never().is_none(), "nobody has come");
        sessions
    });
    let to = sessions.local().clone();
    let connecting = async { tokio::join!(quic.open(&to), sessions.accept()) };
    let (_near, far) = second.block_on(soon("a session", connecting));
    let far = far.expect("accepted");
    let _tx = second.block_on(far.open_uni()).expect("a stream");
    drop(first);
    let error = second.block_on(soon("the end", far.ended()));
    assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
}

/// Whoever answers the question whether anybody is there is not asked all the faster.
#[tokio::test]
async fn nobody_is_asked_more_than_once_a_second_whether_it_is_there() {
    let connect_timeout = Duration::from_secs(2);
    let quic = quic_with(QuicConfig { connect_timeout, ..QuicConfig::default() }, LengthPrefix::default());
    let chatty = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let to = Address::from_socket(Scheme::Quic, chatty.local_addr().expect("an address"));
    let answering = async {
        let mut asked = 0;
        let mut datagram = vec![0; 2000];
        loop {
            let (len, from) = chatty.recv_from(&mut datagram).await.expect("received");
            if len == 1 {
                asked += 1;
                assert!(asked <= 3, "asked {asked} times in 2 s");
                chatty.send_to(&[1], from).await.expect("sent");
            }
        }
    };
    let error = soon("the deadline", async {
        tokio::select! {
            connected = quic.connect(&to) => connected.expect_err("nobody speaks QUIC there"),
            () = answering => unreachable!("it answers for ever"),
        }
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.report());
}

#[tokio::test]
async fn nobody_is_asked_whether_it_is_there_where_that_is_off() {
    let connect_timeout = Duration::from_millis(500);
    let config = QuicConfig { connect_timeout, ask_closed_ports: false, ..QuicConfig::default() };
    let quic = quic_with(config, LengthPrefix::default());
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = silent.local_addr().expect("an address");
    let to = Address::from_socket(Scheme::Quic, address);
    let error = soon("the deadline", quic.connect(&to)).await.expect_err("nobody speaks QUIC there");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.report());
    // All that came waits in the socket: long headers of version 1, from one socket.
    let (mut datagram, mut client) = ([0; 2000], None);
    while let Ok((len, from)) = silent.try_recv_from(&mut datagram) {
        assert_eq!(*client.get_or_insert(from), from, "from another socket");
        assert!(len >= 1200 && datagram[0] & 0x80 != 0 && datagram[1..5] == [0, 0, 0, 1], "{len} bytes");
    }
    assert!(client.is_some(), "the client has tried");
}

#[test]
fn outside_a_runtime_there_are_errors_instead_of_panics() {
    let runtime = Runtime::new().expect("a runtime");
    let quic = quic();
    let anywhere = at("quic://127.0.0.1:0");
    let (mut listener, mut sessions, mut streams) = runtime.block_on(async {
        let listener = quic.listen(&anywhere).await.expect("listening");
        let sessions = quic.listen_sessions(&anywhere).await.expect("listening");
        (listener, sessions, quic.listen_sessions(&anywhere).await.expect("listening").into_streams())
    });
    let error = quic.rebind().expect_err("outside");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
    let mut cx = Context::from_waker(Waker::noop());
    let outside = |polled: Poll<net_core::Error>| match polled {
        Poll::Ready(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report()),
        Poll::Pending => panic!("it waits for what cannot come"),
    };
    outside(listener.poll_accept(&mut cx).map(|accepted| accepted.expect_err("outside")));
    outside(listener.poll_incoming(&mut cx).map(|accepted| accepted.expect_err("outside")));
    outside(sessions.poll_accept(&mut cx).map(|accepted| accepted.expect_err("outside")));
    outside(streams.poll_accept(&mut cx).map(|accepted| accepted.expect_err("outside")));
    // Inside it serves.
    runtime.block_on(async {
        let to = listener.local().clone();
        echo(listener);
        let mut near = soon("a connection", quic.connect(&to)).await.expect("connected");
        near.send("hello").await.expect("sent");
        assert!(soon("the echo", near.recv()).await.expect("received").is_some());
    });
    sessions.close();
}

#[test]
fn a_listener_goes_on_in_another_runtime_where_the_one_it_began_in_is_gone() {
    let first = Runtime::new().expect("a runtime");
    let quic = quic();
    let (listener, to) = first.block_on(async {
        let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
        let to = listener.local().clone();
        let (near, far) =
            soon("a connection", async { tokio::join!(quic.connect(&to), listener.accept()) }).await;
        let (mut near, mut far) = (near.expect("connected"), far.expect("accepted"));
        near.send("hello").await.expect("sent");
        assert!(soon("a message", far.recv()).await.expect("received").is_some());
        (listener, to)
    });
    drop(first);
    Runtime::new().expect("a runtime").block_on(async {
        echo(listener);
        let mut near = soon("a connection", quic.connect(&to)).await.expect("connected");
        near.send("and again").await.expect("sent");
        assert!(soon("the echo", near.recv()).await.expect("received").is_some());
    });
}
