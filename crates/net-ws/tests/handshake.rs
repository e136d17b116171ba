//! The handshake: what is asked, what is answered, and by which ways a client goes.

mod rig;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use net_core::{Address, ErrorKind, Info, Listener, Transport};
use net_ws::{Extension, Proxy, Refusal, Ws, WsConfig, WsInfo};
use rig::{
    at, echo,
    proxy::{head, proxy},
    raw::{masked, request},
    socket, soon,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn serve(ws: &Ws) -> Address {
    let listener = ws.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    echo(listener);
    to
}

/// Answers each request with `response`.
async fn answering(response: String) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
            stream.write_all(response.as_bytes()).await.expect("sent");
        }
    });
    to
}

#[tokio::test]
async fn w2_the_first_sub_protocol_of_the_client_that_is_served_is_taken() {
    let server = Ws::default().with_protocols(["chat", "feed"]);
    let mut listener = server.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let client = Ws::default().with_protocols(["other", "feed", "chat"]);
    let (near, far) = tokio::join!(client.connect(&to), listener.accept());
    for connection in [near.expect("connected"), far.expect("accepted")] {
        assert_eq!(connection.info.details::<WsInfo>().expect("told").protocol(), Some("feed"));
    }
    // A server that takes none of those asked for is refused, as browsers do.
    let plain = Ws::default();
    let mut listener = plain.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (near, _far) = tokio::join!(client.connect(&to), listener.accept());
    assert_eq!(near.expect_err("none").kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn w2_headers_query_and_refusals_are_the_applications() {
    let server = Ws::default()
        .with_response_header(HeaderName::from_static("x-server"), HeaderValue::from_static("net"))
        .with_request_check(|request| {
            if request.headers().get("authorization").is_none() {
                return Err(StatusCode::UNAUTHORIZED);
            }
            let mut headers = HeaderMap::new();
            headers.insert("x-path", request.uri().path().parse().expect("a value"));
            Ok(headers)
        });
    let mut listener = server.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to: Address = at(&format!("{}/deep/er?a=1&b=%20", listener.local()));
    let bare = Ws::default();
    let near = tokio::select! {
        near = bare.connect(&to) => near,
        // It gives nothing, but makes the handshake run.
        accepted = listener.accept() => panic!("{accepted:?}"),
    };
    assert_eq!(near.expect_err("401").kind(), ErrorKind::Unauthenticated);
    let client = Ws::default()
        .with_request_header(HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer x"))
        .with_request_header(http::header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("not the caller's"));
    let (near, far) = tokio::join!(client.connect(&to), listener.accept());
    let (near, far) = (near.expect("connected"), far.expect("accepted"));
    let told = near.info.details::<WsInfo>().expect("told");
    assert_eq!(told.header("x-server"), Some(&b"net"[..]));
    assert_eq!(told.header("x-path"), Some(&b"/deep/er"[..]));
    let told = far.info.details::<WsInfo>().expect("told");
    assert_eq!((told.path(), told.query()), ("/deep/er", Some("a=1&b=%20")));
    assert_eq!(told.header("authorization"), Some(&b"Bearer x"[..]));
    assert!(told.header("sec-websocket-key").is_none());
    assert!(!format!("{told:?}").contains("Bearer"), "no secrets in logs");
}

#[tokio::test]
async fn w2_headers_of_a_response_stand_beside_one_another_and_make_no_handshake() {
    let cookie = HeaderValue::from_static;
    let server = Ws::default()
        .with_response_header(http::header::SET_COOKIE, cookie("a=1"))
        .with_response_header(http::header::SET_COOKIE, cookie("b=2"))
        .with_response_header(http::header::CONNECTION, cookie("close"))
        .with_request_check(move |_| {
            let mut headers = HeaderMap::new();
            headers.append(http::header::SET_COOKIE, cookie("c=3"));
            headers.append(http::header::SET_COOKIE, cookie("d=4"));
            headers.insert(http::header::SEC_WEBSOCKET_ACCEPT, cookie("another"));
            Ok(headers)
        });
    let mut stream = TcpStream::connect(socket(&serve(&server).await)).await.expect("connected");
    stream.write_all(request("").as_bytes()).await.expect("sent");
    let answer = soon("a response", head(&mut stream)).await.to_ascii_lowercase();
    let said = |name: &str| {
        let lines = answer.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(of, _)| *of == name).map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(said("set-cookie"), ["a=1", "b=2", "c=3", "d=4"]);
    assert_eq!(said("connection"), ["upgrade"]);
    assert_eq!(said("sec-websocket-accept"), ["s3pplmbitxaq9kygzzhzrbk+xoo="]);
}

#[tokio::test]
async fn w2_both_sides_know_of_an_extension_of_their_own_that_they_agreed_on() {
    let sealed = |offered: &str| (offered == "n=7").then(|| "n=5".to_owned());
    let server = Ws::default().with_extension(Extension::accepting("x-sealed", sealed));
    let mut listener = server.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    for (offered, agreed) in [("n=7", Some("x-sealed; n=5")), ("n=8", None)] {
        let client = Ws::default().with_extension(Extension::new("x-sealed", offered));
        let (near, far) = tokio::join!(client.connect(&to), listener.accept());
        for connection in [near.expect("connected"), far.expect("accepted")] {
            let told = connection.info.details::<WsInfo>().expect("told");
            assert_eq!(told.extensions().next(), agreed);
            assert!(told.deflate().is_some(), "compression beside it");
        }
    }
}

#[tokio::test]
async fn w2_redirects_are_refused_or_followed_by_choice() {
    let to = serve(&Ws::default()).await;
    let moved = |location: &str| format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\n\r\n");
    let port = socket(&to).port();
    for location in [to.to_string(), format!("http://127.0.0.1:{port}/x")] {
        let first = answering(moved(&location)).await;
        let error = Ws::default().connect(&first).await.expect_err("a redirect");
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let refusal = refusal(&error);
        assert_eq!(refusal.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(refusal.headers()["location"], location);
        assert!(refusal.to_string().contains(&location), "{refusal}");
        let follows = Ws::new(WsConfig { max_redirects: 1, ..WsConfig::default() });
        let mut near = follows.connect(&first).await.expect("connected");
        near.send("there").await.expect("sent");
        assert_eq!(soon("the answer", near.recv()).await.expect("received").as_deref(), Some(&b"there"[..]));
        // A chain longer than allowed.
        let chain = answering(moved(&first.to_string())).await;
        assert_eq!(follows.connect(&chain).await.expect_err("two").kind(), ErrorKind::Rejected);
    }
    // A path on the same host, for ever.
    let circle = answering(moved("/again")).await;
    let follows = Ws::new(WsConfig { max_redirects: 5, ..WsConfig::default() });
    assert_eq!(follows.connect(&circle).await.expect_err("a circle").kind(), ErrorKind::Rejected);
}

/// Answers one request with `response`, and tells what it was.
async fn once(response: String) -> (Address, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let asked = head(&mut stream).await;
        stream.write_all(response.as_bytes()).await.expect("sent");
        asked.to_ascii_lowercase()
    });
    (to, asked)
}

#[tokio::test]
async fn w2_a_redirect_to_another_server_takes_no_secrets_there() {
    let secret = |text| {
        let mut value = HeaderValue::from_static(text);
        value.set_sensitive(true);
        value
    };
    let client = Ws::new(WsConfig { max_redirects: 2, ..WsConfig::default() })
        .with_request_header(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer x"))
        .with_request_header(http::header::COOKIE, HeaderValue::from_static("id=1"))
        .with_request_header(http::header::PROXY_AUTHORIZATION, HeaderValue::from_static("Basic eDp5"))
        .with_request_header(http::header::HOST, HeaderValue::from_static("first.example"))
        .with_request_header(HeaderName::from_static("x-api-key"), secret("sealed"))
        .with_request_header(http::header::USER_AGENT, HeaderValue::from_static("net"));
    let secrets = ["authorization: bearer x", "cookie: id=1", "basic edp5", "first.example", "sealed"];
    let moved = |to: &Address| format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}/x\r\n\r\n");
    let (last, last_asked) = once("HTTP/1.1 404 Not Found\r\n\r\n".to_owned()).await;
    let (second, second_asked) = once(moved(&last)).await;
    let (first, first_asked) = once(moved(&second)).await;
    let error = soon("the answer", client.connect(&first)).await.expect_err("404");
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let asked = first_asked.await.expect("asked");
    assert!(secrets.iter().all(|secret| asked.contains(secret)), "{asked}");
    for (to, asked) in [(second, second_asked), (last, last_asked)] {
        let asked = asked.await.expect("asked");
        assert!(!secrets.iter().any(|secret| asked.contains(secret)), "{asked}");
        assert!(asked.contains("user-agent: net"), "{asked}");
        assert!(asked.contains(&format!("host: {}\r\n", socket(&to))), "{asked}");
    }
}

#[tokio::test]
async fn w2_a_redirect_on_the_same_server_keeps_the_callers_headers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
    let serving = async {
        for (path, response) in [
            ("/ ", "HTTP/1.1 302 Found\r\nLocation: /deep/er?a=1\r\n\r\n"),
            ("/deep/er?a=1 ", "HTTP/1.1 404 Not Found\r\n\r\n"),
        ] {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let asked = head(&mut stream).await;
            assert!(asked.starts_with(&format!("GET {path}")), "{asked}");
            assert!(asked.contains("authorization: Bearer x\r\n"), "{asked}");
            stream.write_all(response.as_bytes()).await.expect("sent");
        }
    };
    let client = Ws::new(WsConfig { max_redirects: 1, ..WsConfig::default() })
        .with_request_header(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    let (near, ()) = soon("the answer", async { tokio::join!(client.connect(&to), serving) }).await;
    assert_eq!(near.expect_err("404").kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn w2_upgrade_may_be_one_token_of_several_in_either_direction() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
    for connection in ["keep-alive, Upgrade", "keep-alive\r\nConnection: upgrade", "UPGRADE"] {
        let serving = async {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let asked = head(&mut stream).await;
            let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: {connection}\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(response.as_bytes()).await.expect("sent");
            stream
        };
        let client = Ws::default();
        let (near, _stream) = tokio::join!(client.connect(&to), serving);
        near.unwrap_or_else(|error| panic!("{connection}: {}", error.report()));
    }
    let to = serve(&Ws::default()).await;
    for (connection, upgrade) in [
        ("keep-alive\r\nConnection: Upgrade", "websocket"),
        ("keep-alive,\tUpgrade", "websocket"),
        ("Upgrade", "h2c, WebSocket"),
    ] {
        let request = request("").replace("Connection: Upgrade", &format!("Connection: {connection}"));
        let request = request.replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        let mut stream = TcpStream::connect(socket(&to)).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = soon("a response", head(&mut stream)).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{connection}: {answer}");
    }
}

#[tokio::test]
async fn d7_a_server_that_answers_anything_else_is_an_error_that_says_what() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned();
    let error = Ws::default().connect(&answering(ok).await).await.expect_err("no WebSocket");
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.report().contains("200"), "{}", error.report());
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    let error = Ws::default().connect(&answering(wrong.to_owned()).await).await.expect_err("another key");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let long = format!("HTTP/1.1 101 X\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    let error = Ws::default().connect(&answering(long).await).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);
    let busy = "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned();
    let error = Ws::default().connect(&answering(busy).await).await.expect_err("busy");
    assert!(error.is_retryable());
}

fn refusal(error: &net_core::Error) -> &Refusal {
    std::error::Error::source(error).and_then(|source| source.downcast_ref()).expect("what the server said")
}

#[tokio::test]
async fn w2_what_a_server_says_that_refuses_is_told_as_data() {
    let problem = r#"{"title":"no such room"}"#;
    let chunked = "5\r\n{\"tit\r\n13;x=y\r\nle\":\"no such room\"}\r\n0\r\n\r\n";
    for (headers, body) in [
        (format!("Content-Length: {}\r\n", problem.len()), format!("{problem}and what is none of it")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{chunked}and what is none of it")),
        (String::new(), problem.to_owned()),
    ] {
        let response = format!("HTTP/1.1 404 Not Found\r\nX-Reason: gone\r\n{headers}\r\n{body}");
        let error = Ws::default().connect(&answering(response).await).await.expect_err("refused");
        let refusal = refusal(&error);
        assert_eq!(refusal.status(), StatusCode::NOT_FOUND);
        assert_eq!(refusal.headers()["x-reason"], "gone");
        assert_eq!(str::from_utf8(refusal.body()), Ok(problem), "{headers}");
        assert_eq!(refusal.to_string(), "the server answered 404 Not Found");
    }
}

#[tokio::test]
async fn a10_the_body_of_a_refusal_is_bounded_in_length_and_time() {
    let long = "x".repeat(1 << 20);
    for (headers, body) in [
        ("", long.clone()),
        ("Content-Length: 18446744073709551615\r\n", long.clone()),
        ("Transfer-Encoding: chunked\r\n", format!("{:x}\r\n{long}", long.len())),
        ("Transfer-Encoding: chunked\r\n", format!("{:x}\r\n{long}", u64::MAX)),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
        let serving = async {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            head(&mut stream).await;
            let response = format!("HTTP/1.1 403 Forbidden\r\n{headers}\r\n{body}");
            // The client goes before it has read all.
            let _ = stream.write_all(response.as_bytes()).await;
        };
        let client = Ws::default();
        let (near, ()) = soon("the refusal", async { tokio::join!(client.connect(&to), serving) }).await;
        let error = near.expect_err("refused");
        assert_eq!(refusal(&error).body().len(), 8 * 1024, "{headers}");
    }
    // One that never ends is left after the time-out; what it says until then is kept.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", listener.local_addr().expect("bound")));
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n").await.expect("sent");
        stream
    };
    let close_timeout = std::time::Duration::from_millis(50);
    let client = Ws::new(WsConfig { close_timeout, ..WsConfig::default() });
    let (near, _stream) = soon("the refusal", async { tokio::join!(client.connect(&to), serving) }).await;
    let error = near.expect_err("refused");
    assert!(error.is_retryable());
    assert_eq!(refusal(&error).headers()["retry-after"], "7");
}

#[tokio::test]
async fn a3_a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}", silent.local_addr().expect("bound")));
    let tcp = net_tcp::TcpConfig {
        connect_timeout: std::time::Duration::from_millis(50),
        ..net_tcp::TcpConfig::default()
    };
    let config =
        WsConfig { tcp, handshake_timeout: std::time::Duration::from_millis(50), ..WsConfig::default() };
    let error = soon("patience to end", Ws::new(config).connect(&to)).await.expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn w2_a_client_goes_by_way_of_a_proxy() {
    let to = serve(&Ws::default()).await;
    let proxy = Proxy::new(proxy().await).expect("http");
    let refused = Ws::default().with_proxy(proxy.clone()).connect(&to).await.expect_err("no password");
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert_eq!(refusal(&refused).status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    let client = Ws::default().with_proxy(proxy.with_basic_auth("user", "secret"));
    let mut near = client.connect(&to).await.expect("connected");
    near.send("by way of another").await.expect("sent");
    let answer = soon("the answer", near.recv()).await.expect("received");
    assert_eq!(answer.as_deref(), Some(&b"by way of another"[..]));
    assert!(Proxy::new(at("ws://127.0.0.1:1")).is_err());
}

#[tokio::test]
async fn w1_a_request_that_an_http_server_has_parsed_becomes_a_connection() {
    // What an HTTP server does: it parses the request, asks for the response, sends it, and hands the stream over.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("ws://{}/chat", listener.local_addr().expect("bound")));
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let head = head(&mut stream).await;
        let mut request = http::Request::get("/chat");
        for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").expect("a header");
            request = request.header(name, value);
        }
        let upgrade =
            Ws::default().upgrade(&request.body("any body").expect("a request")).expect("a handshake");
        let mut response = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
        for (name, value) in upgrade.response().headers() {
            response.push_str(name.as_str());
            response.push_str(": ");
            response.push_str(value.to_str().expect("text"));
            response.push_str("\r\n");
        }
        response.push_str("\r\n");
        stream.write_all(response.as_bytes()).await.expect("sent");
        let info = Info::new(at("ws://127.0.0.1:1"), at("ws://127.0.0.1:2"));
        upgrade.into_connection(stream.into_split(), info, bytes::BytesMut::new(), drop)
    };
    let client = Ws::default();
    let (near, mut far) = tokio::join!(client.connect(&to), serving);
    let mut near = near.expect("connected");
    near.tx.send_message("hello").await.expect("sent");
    assert_eq!(soon("it", far.rx.recv_message()).await.expect("received"), Some("hello".into()));
    assert_eq!(far.info.details::<WsInfo>().expect("told").path(), "/chat");
    far.tx.send_message("and back").await.expect("sent");
    assert_eq!(soon("it", near.rx.recv_message()).await.expect("received"), Some("and back".into()));
}

/// Returns the handshake of WebSocket over HTTP/2, as a server of HTTP/2 has parsed it.
fn extended_connect() -> http::request::Builder {
    http::Request::connect("https://example.org/chat?a=1")
        .version(http::Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "feed")
        .header("sec-websocket-extensions", "permessage-deflate")
        .header("origin", "https://example.org")
}

#[tokio::test]
async fn w1_an_extended_connect_of_http_2_becomes_a_connection() {
    let ws = Ws::default().with_protocols(["feed"]);
    let upgrade = ws.upgrade(&extended_connect().body(()).expect("a request")).expect("a handshake");
    let response = upgrade.response();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(response.headers()["sec-websocket-protocol"], "feed");
    for absent in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!response.headers().contains_key(absent), "{absent}");
    }
    assert!(response.headers().contains_key("sec-websocket-extensions"));
    assert_eq!((upgrade.info().path(), upgrade.info().query()), ("/chat", Some("a=1")));
    let (mut peer, stream) = tokio::io::duplex(1024);
    let info = Info::new(at("wss://example.org"), at("wss://192.0.2.1:4711"));
    let mut far = upgrade.into_connection(tokio::io::split(stream), info, bytes::BytesMut::new(), drop);
    peer.write_all(&masked(0x81, b"hello")).await.expect("sent");
    assert_eq!(far.rx.recv_message().await.expect("received"), Some("hello".into()));
    far.tx.send_message("and back").await.expect("sent");
    let mut frame = [0; 10];
    peer.read_exact(&mut frame).await.expect("received");
    assert_eq!(&frame, b"\x81\x08and back");
}

fn with(
    mut request: http::request::Builder,
    name: &'static str,
    value: &'static str,
) -> http::request::Builder {
    request.headers_mut().expect("right").insert(name, HeaderValue::from_static(value));
    request
}

#[test]
fn a18_an_extended_connect_is_judged_as_every_handshake_and_refused_in_the_way_of_http_2() {
    let refusal = |change: fn(http::request::Builder) -> http::request::Builder| {
        let request = change(extended_connect()).body(()).expect("a request");
        let refusal = Ws::default().upgrade(&request).expect_err("refused");
        assert_eq!(refusal.version(), request.version());
        let old = request.version() < http::Version::HTTP_2;
        assert_eq!(refusal.headers().contains_key("connection"), old);
        refusal.status()
    };
    assert_eq!(refusal(|request| with(request, "origin", "https://evil.example")), StatusCode::FORBIDDEN);
    assert_eq!(refusal(|request| with(request, "origin", "http://example.org")), StatusCode::FORBIDDEN);
    assert_eq!(refusal(|request| with(request, "sec-websocket-version", "8")), StatusCode::BAD_REQUEST);
    let elsewhere = |request| with(with(request, "origin", "https://evil.example"), "host", "evil.example");
    assert_eq!(refusal(elsewhere), StatusCode::FORBIDDEN);
    assert_eq!(refusal(|request| request.uri("/no-authority")), StatusCode::BAD_REQUEST);
    assert_eq!(refusal(|request| request.method("GET")), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(refusal(|request| request.version(http::Version::HTTP_11)), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn w2_an_upgrade_under_settings_that_are_wrong_is_answered_with_500() {
    let config = WsConfig { max_pings_per_second: 0, ..WsConfig::default() };
    assert!(config.check().is_err());
    let request = extended_connect().body(()).expect("a request");
    let refusal = Ws::new(config).upgrade(&request).expect_err("refused");
    assert_eq!(refusal.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a36_a_handshake_that_runs_as_the_listener_closes_is_finished() {
    let ws = Ws::default();
    let mut listener = ws.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let mut stream = TcpStream::connect(socket(listener.local())).await.expect("connected");
    listener.close();
    let accepting = async { listener.accept().await };
    let asking = async {
        stream.write_all(request("").as_bytes()).await.expect("sent");
        head(&mut stream).await
    };
    let (accepted, response) = tokio::join!(soon("the connection", accepting), soon("a response", asking));
    accepted.expect("a connection");
    assert!(response.starts_with("HTTP/1.1 101"));
    assert_eq!(listener.accept().await.expect_err("closed").kind(), ErrorKind::Closed);
}
