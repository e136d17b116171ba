//! What must not go wrong, each test named by the row of the threat table that it covers.
#![allow(clippy::large_types_passed_by_value, reason = "a test may copy its settings")]

mod rig;

use std::{task::Poll, time::Duration};

use net_core::{Address, ErrorKind, Limits, Listener, Receiver, Transport};
use net_ws::{CloseCode, Fragment, Kind, OriginPolicy, ProtocolError, Ws, WsConfig};
use rig::{
    Seen, at, echo,
    gate::gated,
    pair,
    raw::{RawClient, masked, request},
    socket, soon, watched,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Starts an echo server.
async fn server(config: WsConfig) -> Address {
    serve(Ws::new(config)).await
}

async fn serve(ws: Ws) -> Address {
    let listener = ws.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    echo(listener);
    to
}

/// Sends `wire` behind a message, which is answered, and expects to be told `code`.
async fn refused(to: &Address, wire: &[u8], code: u16) {
    let mut client = RawClient::connect(to, "").await;
    let mut both = masked(0x82, b"before");
    both.extend_from_slice(wire);
    client.send(&both).await;
    assert_eq!(client.frame().await.expect("an answer").payload, b"before");
    client.expect_close(code).await;
}

#[tokio::test]
async fn a16_each_violation_has_its_close_code_and_what_came_before_its_answer() {
    let to = server(WsConfig { deflate: None, ..WsConfig::default() }).await;
    let unmasked = [0x82, 1, b'x'];
    let overlong_ping = masked(0x89, &[0; 126]);
    let interleaved = [masked(0x02, b"a"), masked(0x82, b"b")].concat();
    for (what, wire, code) in [
        ("an unmasked frame", &unmasked[..], 1002),
        ("a reserved bit", &masked(0xC2, b"x"), 1002),
        ("a reserved opcode", &masked(0x83, b"x"), 1002),
        ("a reserved control opcode", &masked(0x8B, b""), 1002),
        ("a fragmented ping", &masked(0x09, b""), 1002),
        ("a ping of 126 bytes", &overlong_ping, 1002),
        ("a message inside another", &interleaved, 1002),
        ("a continuation of nothing", &masked(0x80, b"x"), 1002),
        ("text that is not UTF-8", &masked(0x81, &[0xFF]), 1007),
        ("a surrogate (D10)", &masked(0x81, &[0xED, 0xA0, 0x80]), 1007),
        ("text that ends inside a character", &masked(0x81, &[0xC3]), 1007),
        ("a close of one byte", &masked(0x88, &[3]), 1002),
        ("a close with a code that is never sent", &masked(0x88, &1005_u16.to_be_bytes()), 1002),
        ("a close whose reason is not UTF-8", &masked(0x88, &[3, 232, 0xFF]), 1007),
    ] {
        eprintln!("{what}");
        refused(&to, wire, code).await;
    }
}

#[tokio::test]
async fn a16_text_that_cannot_become_utf8_is_refused_before_the_rest_of_its_frame_is_there() {
    let to = server(WsConfig::default()).await;
    let mut text = vec![b'x'; 1000];
    text[10] = 0xFF;
    refused(&to, &masked(0x81, &text)[..100], 1007).await;
}

#[tokio::test]
async fn a16_a_server_that_masks_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
    let client = Ws::default();
    let serving = async {
        let (stream, _) = listener.accept().await.expect("accepted");
        let mut peer = RawClient(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(peer.0.read_u8().await.expect("a request"));
        }
        let head = String::from_utf8(head).expect("text");
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        peer.send(response.as_bytes()).await;
        peer.send(&masked(0x82, b"masked")).await;
        peer
    };
    let (near, _peer) = tokio::join!(client.connect(&to), serving);
    let error = soon("the error", near.expect("connected").recv()).await.expect_err("masked");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.report().contains("masked"), "{}", error.report());
}

#[tokio::test]
async fn a16_more_fragments_than_the_limit_are_refused_and_empty_ones_count() {
    let to = server(WsConfig { max_fragments: Some(100), deflate: None, ..WsConfig::default() }).await;
    let mut wire = masked(0x02, b"");
    for _ in 0..200 {
        wire.extend(masked(0x00, b""));
    }
    refused(&to, &wire, 1009).await;
}

#[tokio::test]
async fn a16_of_a_message_that_is_received_fragment_by_fragment_no_fragments_are_counted() {
    let (mut peer, _gate, mut far) = gated(&WsConfig { max_fragments: Some(2), ..WsConfig::default() });
    for index in 0..10 {
        peer.write_all(&masked(if index == 0 { 0x02 } else { 0 }, b"part")).await.expect("sent");
        let fragment = far.rx.recv_fragment().await.expect("received").expect("a fragment");
        assert_eq!((&fragment.payload[..], fragment.last), (&b"part"[..], false));
    }
    // Gathered again are those of the next message alone.
    peer.write_all(&[masked(0, b"rest").repeat(10), masked(0x80, b"")].concat()).await.expect("sent");
    peer.write_all(&[masked(0x02, b"a"), masked(0x80, b"b")].concat()).await.expect("sent");
    let next = far.rx.recv_message().await.expect("received").expect("a message");
    assert_eq!(next.as_bytes(), b"ab");
}

#[tokio::test]
async fn a16_a_frame_and_a_message_over_the_limit_are_refused_and_at_it_taken() {
    let to = server(WsConfig { max_message_len: 1000, deflate: None, ..WsConfig::default() }).await;
    let mut client = RawClient::connect(&to, "").await;
    client.send(&masked(0x82, &[7; 1000])).await;
    assert_eq!(client.frame().await.expect("an answer").payload, [7; 1000]);
    refused(&to, &masked(0x82, &[7; 1001]), 1009).await;
    let fragments = [masked(0x02, &[7; 600]), masked(0x80, &[7; 401])].concat();
    refused(&to, &fragments, 1009).await;
}

#[tokio::test]
async fn a16_frames_have_a_limit_of_their_own() {
    let limits = WsConfig { max_frame_len: Some(100), max_message_len: 1000, ..WsConfig::default() };
    let to = server(WsConfig { deflate: None, ..limits }).await;
    let mut client = RawClient::connect(&to, "").await;
    client.send(&[masked(0x02, &[7; 100]), masked(0x80, &[8; 100])].concat()).await;
    assert_eq!(client.frame().await.expect("an answer").payload, [[7; 100], [8; 100]].concat());
    refused(&to, &masked(0x82, &[7; 101]), 1009).await;
    refused(&to, &[masked(0x02, &[7; 100]), masked(0x80, &[7; 101])].concat(), 1009).await;
}

#[tokio::test]
async fn a16_the_limit_of_frames_holds_for_compressed_ones() {
    // A stored block is longer than what comes out of it.
    let stored =
        |len: u16| [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), &vec![7; len.into()]].concat();
    for (own, message, len, taken) in [
        (Some(100), 1000, 95, true),
        (Some(100), 1000, 96, false),
        (Some(2000), 1000, 1000, true),
        (None, 1000, 1000, true),
    ] {
        let config = WsConfig { max_frame_len: own, max_message_len: message, ..WsConfig::default() };
        let (mut peer, _gate, mut far) = gated(&config);
        peer.write_all(&masked(0xC2, &stored(len))).await.expect("sent");
        let received = std::future::poll_fn(|cx| Poll::Ready(far.rx.poll_recv(cx))).await;
        assert_eq!(matches!(received, Poll::Ready(Ok(Some(_)))), taken, "{own:?}: {len}");
    }
}

#[tokio::test]
async fn a16_the_limit_of_frames_outlives_one_of_messages_that_was_the_same_for_a_while() {
    // As a server does that lets strangers send little before they have shown who they are.
    for (own, longest) in [(Some(100), 100), (Some(2000), 1000), (None, 1000)] {
        let config = WsConfig { max_frame_len: own, max_message_len: 1000, ..WsConfig::default() };
        for len in [longest, longest + 1] {
            let (mut peer, _gate, mut far) = gated(&config);
            assert_eq!(far.rx.limit_message_len(100), Some(1000));
            assert_eq!(far.rx.limit_message_len(1000), Some(100));
            peer.write_all(&masked(0x82, &vec![7; len])).await.expect("sent");
            let received = std::future::poll_fn(|cx| Poll::Ready(far.rx.poll_recv(cx))).await;
            assert_eq!(matches!(received, Poll::Ready(Ok(Some(_)))), len == longest, "{own:?}: {len}");
        }
    }
}

#[tokio::test]
async fn a17_a_limit_that_is_lowered_inside_a_compressed_message_holds() {
    let (mut peer, _gate, mut far) =
        gated(&WsConfig { close_timeout: Duration::ZERO, ..WsConfig::default() });
    // A stored block, which ends without its message.
    let stored =
        |len: u16| [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), &vec![7; len.into()]].concat();
    peer.write_all(&masked(0x42, &stored(500))).await.expect("sent");
    assert!(std::future::poll_fn(|cx| Poll::Ready(far.rx.poll_recv(cx))).await.is_pending());
    assert_eq!(far.rx.limit_message_len(100), Some(1 << 20));
    peer.write_all(&masked(0x80, &stored(10))).await.expect("sent");
    let error = soon("the error", far.rx.recv()).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);
}

#[tokio::test]
async fn d10_a_length_of_2_to_the_64_less_1_ends_one_connection_alone() {
    let to = server(WsConfig::default()).await;
    let mut other = RawClient::connect(&to, "").await;
    let wire = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    refused(&to, &wire, 1002).await;
    let huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    refused(&to, &huge, 1009).await;
    other.send(&masked(0x81, b"still there")).await;
    assert_eq!(other.frame().await.expect("an answer").payload, b"still there");
}

#[tokio::test]
async fn d10_a_handshake_is_read_however_it_is_cut() {
    let to = server(WsConfig::default()).await;
    let whole = request("");
    let mut client = RawClient(TcpStream::connect(socket(&to)).await.expect("connected"));
    client.0.set_nodelay(true).expect("set");
    let (first, rest) = whole.split_at(whole.len() - 1);
    for byte in first.as_bytes() {
        client.send(&[*byte]).await;
    }
    assert!(client.ask(rest).await.starts_with("HTTP/1.1 101"));
    // A frame behind the request, in the same segment, is not lost.
    let mut client = RawClient(TcpStream::connect(socket(&to)).await.expect("connected"));
    let mut both = whole.into_bytes();
    both.extend(masked(0x82, b"early"));
    client.send(&both).await;
    assert!(client.ask("").await.starts_with("HTTP/1.1 101"));
    assert_eq!(client.frame().await.expect("an answer").payload, b"early");
}

#[tokio::test]
async fn a14_what_is_no_handshake_is_refused_with_the_status_that_says_why() {
    let to = server(WsConfig { max_head_len: 4096, ..WsConfig::default() }).await;
    let good = request("");
    let long = request(&format!("X-Long: {}\r\n", "x".repeat(5000)));
    let many = request(&"X-Many: 1\r\n".repeat(130));
    for (request, status) in [
        (good.replace("GET", "POST"), "405"),
        (good.replace("Upgrade: websocket\r\n", ""), "426"),
        (good.replace("Version: 13", "Version: 8"), "426"),
        (good.replace("Host: localhost\r\n", ""), "400"),
        (good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), "400"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), "400"),
        (request("Host: localhost\r\n"), "400"),
        (good.replace("GET /raw", "GET http://localhost/raw").replace("Host: localhost\r\n", ""), "400"),
        (good.replace("Host: localhost", "Host: "), "400"),
        (good.replace("Host: localhost", "Host: a/b"), "400"),
        (good.replace("Host: localhost", "Host: user@localhost"), "400"),
        (good.replace("Host: localhost", "Host: localhost:x"), "400"),
        (good.replace("Host: localhost", "Host: :80"), "400"),
        (request("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"), "400"),
        (request("Sec-WebSocket-Version: 13\r\n"), "400"),
        (request("Content-Length: 5\r\n"), "400"),
        (request("Transfer-Encoding: chunked\r\n"), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (long, "431"),
        (many, "431"),
    ] {
        let mut client = RawClient(TcpStream::connect(socket(&to)).await.expect("connected"));
        let head = client.ask(&request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {head}");
        let end = soon("the end", client.0.read_u8()).await.expect_err("the server closes");
        assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof, "{status}");
    }
}

#[tokio::test]
async fn a14_a_refusal_is_not_destroyed_by_what_the_client_still_sends() {
    // Longer than what both systems hold: to send it all, somebody has to read it.
    let close_timeout = Duration::from_secs(30);
    let to = server(WsConfig { max_head_len: 4096, close_timeout, ..WsConfig::default() }).await;
    let mut client = RawClient(TcpStream::connect(socket(&to)).await.expect("connected"));
    let long = request(&format!("X-Long: {}\r\n", "x".repeat(16 << 20)));
    let head = soon("the response", client.ask(&long)).await;
    assert!(head.starts_with("HTTP/1.1 431"), "{head}");
}

#[tokio::test]
async fn a14_a_refused_client_that_stays_is_left_after_the_close_timeout() {
    let close_timeout = Duration::from_millis(50);
    let listener =
        Ws::new(WsConfig { close_timeout, ..WsConfig::default() }).listen(&at("ws://127.0.0.1:0")).await;
    let mut listener = listener.expect("listening");
    let (admission, mut seen) = watched(&Limits::default());
    listener.set_admission(admission);
    let mut client = RawClient(TcpStream::connect(socket(listener.local())).await.expect("connected"));
    tokio::spawn(async move { listener.accept().await.map(drop) });
    assert!(client.ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let told = soon("the end of patience", seen.recv()).await;
    assert_eq!(told, Some(Seen::HandshakeFailed(ErrorKind::Protocol)));
}

#[tokio::test]
async fn a18_a_page_of_another_origin_is_refused_with_403() {
    for (policy, origin, status) in [
        (OriginPolicy::Same, "http://localhost", "101"),
        (OriginPolicy::Same, "https://evil.example", "403"),
        (OriginPolicy::listed(["https://good.example"]), "https://good.example", "101"),
        (OriginPolicy::listed(["https://good.example"]), "http://localhost", "403"),
        (OriginPolicy::Any, "https://evil.example", "101"),
    ] {
        let to = serve(Ws::default().with_origins(policy)).await;
        let mut client = RawClient(TcpStream::connect(socket(&to)).await.expect("connected"));
        let head = client.ask(&request(&format!("Origin: {origin}\r\n"))).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{origin}: {head}");
    }
}

#[tokio::test]
async fn a19_pings_beyond_the_rate_end_the_connection_and_others_are_answered_in_order() {
    let to = server(WsConfig { max_pings_per_second: 500, ..WsConfig::default() }).await;
    let mut client = RawClient::connect(&to, "").await;
    let pings: Vec<u8> = (0..400_u16).flat_map(|number| masked(0x89, &number.to_be_bytes())).collect();
    client.send(&pings).await;
    client.send(&masked(0x82, b"behind")).await;
    let mut pongs = Vec::new();
    let answer = loop {
        let frame = client.frame().await.expect("a frame");
        if frame.first != 0x8A {
            break frame;
        }
        pongs.push(frame.payload);
    };
    // The message overtakes no ping that was answered before it, and pings may be answered behind it.
    while pongs.last().is_none_or(|last| last != &399_u16.to_be_bytes()) {
        let frame = client.frame().await.expect("a pong");
        assert_eq!(frame.first, 0x8A);
        pongs.push(frame.payload);
    }
    assert_eq!(answer.payload, b"behind");
    assert!(pongs.len() <= 400, "each ping has one pong at the most");
    assert!(pongs.is_sorted(), "in order");
    let pings: Vec<u8> = (0..1000).flat_map(|_| masked(0x89, b"")).collect();
    client.send(&pings).await;
    let closed = loop {
        let frame = client.frame().await.expect("a frame");
        if frame.first != 0x8A {
            break frame;
        }
    };
    assert_eq!(closed.close_code(), Some(CloseCode::POLICY.get()));
}

#[tokio::test]
async fn a19_no_answer_to_a_pong() {
    let to = server(WsConfig::default()).await;
    let mut client = RawClient::connect(&to, "").await;
    client.send(&[masked(0x8A, b"unasked"), masked(0x82, b"x")].concat()).await;
    assert_eq!(client.frame().await.expect("an answer").payload, b"x");
}

#[tokio::test]
async fn a17_a_bomb_is_refused_as_it_inflates() {
    let config = WsConfig { max_message_len: 10_000, ..WsConfig::default() };
    let to = server(config).await;
    let bomb = |len: usize| {
        let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
        let mut wire = Vec::with_capacity(len / 100 + 1000);
        deflate.compress_vec(&vec![b'x'; len], &mut wire, flate2::FlushCompress::Sync).expect("compressed");
        wire.truncate(wire.len() - 4);
        wire
    };
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    for (len, taken) in [(10_000, true), (10_001, false), (50_000_000, false)] {
        let mut client = RawClient::connect(&to, offer).await;
        client.send(&masked(0xC2, &bomb(len))).await;
        if taken {
            assert_eq!(client.frame().await.expect("an answer").first & 0x8F, 0x82);
        } else {
            client.expect_close(1009).await;
        }
    }
    // Each empty block that says that it is the last one has the decompressor begin anew.
    for (blocks, taken) in [(16, true), (5000, false)] {
        let mut client = RawClient::connect(&to, offer).await;
        client.send(&masked(0xC2, &[3, 0].repeat(blocks))).await;
        if taken {
            assert_eq!(client.frame().await.expect("an answer").payload, b"");
        } else {
            client.expect_close(1002).await;
        }
    }
    // What is marked as compressed and is not.
    let mut client = RawClient::connect(&to, offer).await;
    client.send(&masked(0xC2, &[0xFF; 20])).await;
    client.expect_close(1002).await;
}

#[tokio::test]
async fn a10_a_frame_that_is_announced_takes_no_memory() {
    let (near, mut far) = {
        let ws = Ws::new(WsConfig { max_message_len: 1 << 30, ..WsConfig::default() });
        let mut listener = ws.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
        let to = listener.local().clone();
        let (near, far) = tokio::join!(RawClient::connect(&to, ""), listener.accept());
        (near, far.expect("accepted"))
    };
    let mut near = near;
    let mut head = vec![0x82, 0xFF];
    head.extend_from_slice(&(1_u64 << 30).to_be_bytes());
    head.extend_from_slice(&[1, 2, 3, 4, 5]);
    near.send(&head).await;
    // Until the head was read, and nothing more is there.
    let read = async {
        loop {
            let polled = std::future::poll_fn(|cx| Poll::Ready(far.rx.poll_recv(cx).is_pending())).await;
            assert!(polled);
            if far.rx.incomplete_len() == head.len() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the head", read).await;
    assert!(far.rx.held_len() < 256 * 1024, "{} held", far.rx.held_len());
}

#[tokio::test]
async fn a39_what_was_begun_in_fragments_survives_a_dropped_future() {
    let (mut near, mut far) = pair(&Ws::default(), &Ws::default()).await;
    let fragment = |text: &'static str, last| Fragment { kind: Kind::Text, payload: text.into(), last };
    for (text, last) in [("one ", false), ("two ", false), ("three", true)] {
        near.tx.feed_fragment(fragment(text, last)).await.expect("accepted");
        near.tx.ping(b"now").await.expect("sent");
        tokio::select! {
            biased;
            message = far.rx.recv_message() => {
                assert!(last, "a message before its last fragment");
                return assert_eq!(message.expect("received"), Some("one two three".into()));
            }
            // The ping behind the fragment is answered, so that the fragment was taken: the future above is dropped now.
            pong = soon("a pong", near.rx.recv_event()) => {
                assert_eq!(pong.expect("received"), Some(net_ws::WsEvent::Pong("now".into())));
            }
        }
    }
    panic!("the last fragment completes no message");
}

#[tokio::test]
async fn w4_a_silent_peer_is_pinged_and_then_given_up() {
    let config = WsConfig {
        ping_interval: Some(Duration::from_millis(20)),
        idle_timeout: Some(Duration::from_millis(60)),
        ..WsConfig::default()
    };
    let listener = Ws::new(config).listen(&at("ws://127.0.0.1:0")).await;
    let mut listener = listener.expect("listening");
    let to = listener.local().clone();
    let (mut silent, far) = tokio::join!(RawClient::connect(&to, ""), listener.accept());
    let mut far = far.expect("accepted");
    let error = soon("patience to end", far.recv()).await.expect_err("nothing came");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(silent.frame().await.expect("a ping").first, 0x89);
}

#[tokio::test]
async fn w4_a_peer_that_answers_pings_lives() {
    let config = WsConfig {
        ping_interval: Some(Duration::from_millis(10)),
        idle_timeout: Some(Duration::from_secs(2)),
        ..WsConfig::default()
    };
    let (mut near, mut far) = pair(&Ws::default(), &Ws::new(config)).await;
    // The far side sends pings as it waits, the near side answers as it waits: five of them there and back.
    let seen = async {
        for _ in 0..5 {
            let event = near.rx.recv_event().await.expect("alive").expect("an event");
            assert!(matches!(event, net_ws::WsEvent::Ping(_)), "{event:?}");
        }
        near.tx.send_message("enough").await.expect("sent");
    };
    let (received, ()) =
        soon("pings and the message", async { tokio::join!(far.rx.recv_message(), seen) }).await;
    assert_eq!(received.expect("alive"), Some("enough".into()));
}

#[tokio::test]
async fn w4_a_peer_that_never_answers_our_close_frame_is_left_after_the_timeout() {
    let listener = Ws::default().listen(&at("ws://127.0.0.1:0")).await;
    let mut listener = listener.expect("listening");
    let to = listener.local().clone();
    let (mut peer, far) = tokio::join!(RawClient::connect(&to, ""), listener.accept());
    let closed = soon("the end", far.expect("accepted").close(Duration::from_millis(50))).await;
    assert_eq!(closed.expect_err("no answer").kind(), ErrorKind::TimedOut);
    peer.expect_close(1000).await;
}

#[tokio::test]
async fn w4_a_peer_that_broke_the_protocol_and_stays_is_left_after_the_close_timeout() {
    let config = WsConfig { close_timeout: Duration::from_millis(50), ..WsConfig::default() };
    let listener = Ws::new(config).listen(&at("ws://127.0.0.1:0")).await;
    let mut listener = listener.expect("listening");
    let to = listener.local().clone();
    let (mut client, far) = tokio::join!(RawClient::connect(&to, ""), listener.accept());
    client.send(&[0xFF, 0xFF]).await;
    let mut far = far.expect("accepted");
    let error = soon("the error", far.rx.recv()).await.expect_err("nonsense");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    assert_eq!(source, Some(&ProtocolError::ReservedBits));
}
