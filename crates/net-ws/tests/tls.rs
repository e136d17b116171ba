//! WebSocket over TLS: the laws, the engine, and what is known of both layers.
#![cfg(feature = "tls")]

#[path = "../../net-messaging/tests/over_tls/mod.rs"]
mod over_tls;
mod rig;

use net_core::{
    ErrorKind, Listener, Transport,
    testing::laws::conformance,
    tls::{Pem, TlsInfo},
};
use net_tcp::stream::{TcpConfig, listen_tls};
use net_ws::{Proxy, Ws, WsConfig, WsInfo};
use rig::{
    at,
    authority::{Authority, WithPair},
    echo,
    proxy::proxy,
    socket, soon, waits_are_told,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Returns both sides with settings of one authority, which also vouches for the client.
fn both(name: &str) -> (Ws, Ws) {
    let authority = Authority::new(name);
    let server = authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings");
    let client = authority.client().pair(&authority.leaf(&["alice.test"])).build().expect("settings");
    (Ws::default().with_server_tls(server), Ws::default().with_client_tls(client))
}

/// Returns one for both sides with buffers that fill soon: a debug build encrypts slowly.
fn narrow() -> Ws {
    let authority = Authority::new("narrow");
    let tcp = TcpConfig {
        send_buffer_len: Some(16 * 1024),
        recv_buffer_len: Some(16 * 1024),
        max_buffered: 16 * 1024,
        ..TcpConfig::default()
    };
    Ws::new(WsConfig { tcp, max_message_len: 64 * 1024, ..WsConfig::default() })
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"))
}

#[tokio::test]
async fn w1_wss_obeys() {
    conformance(narrow().boxed(), at("wss://127.0.0.1:0")).await;
}

#[tokio::test]
async fn a9_what_is_encrypted_and_waits_is_told() {
    let wss = narrow();
    let mut listener = wss.listen(&at("wss://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (near, far) = tokio::join!(wss.connect(&to), listener.accept());
    waits_are_told(far.expect("accepted").tx, near.expect("connected").rx).await;
}

#[tokio::test]
async fn m12_messaging_over_wss_is_unchanged_and_knows_the_client() {
    let (server, client) = both("messaging");
    over_tls::messaging_is_unchanged_and_knows_the_client(server, client, "wss://127.0.0.1:0").await;
}

#[tokio::test]
async fn w1_both_layers_tell_what_they_know() {
    let (server, client) = both("layers");
    let mut listener = server.listen(&at("wss://127.0.0.1:0")).await.expect("listening");
    let to = at(&format!("{}/feed", listener.local()));
    let (near, far) = tokio::join!(client.connect(&to), listener.accept());
    for connection in [near.expect("connected"), far.expect("accepted")] {
        assert!(connection.info.details::<TlsInfo>().expect("TLS").peer.is_some());
        assert_eq!(connection.info.details::<WsInfo>().expect("a handshake").path(), "/feed");
    }
}

#[tokio::test]
async fn a18_a_page_without_tls_does_not_come_from_a_server_with_it() {
    let (server, client) = both("origins");
    for (scheme, admitted) in [("https", true), ("http", false)] {
        let mut listener = server.listen(&at("wss://127.0.0.1:0")).await.expect("listening");
        let to = listener.local().clone();
        let origin = format!("{scheme}://127.0.0.1:{}", socket(&to).port());
        let page = client.clone().with_request_header(http::header::ORIGIN, origin.parse().expect("a value"));
        tokio::spawn(async move { listener.accept().await.map(drop) });
        match soon("the answer", page.connect(&to)).await {
            Ok(_) => assert!(admitted, "{origin}"),
            Err(error) => {
                assert!(!admitted, "{origin}");
                assert!(error.report().contains("403"), "{}", error.report());
            }
        }
    }
}

#[tokio::test]
async fn w2_a_redirect_never_leads_out_of_tls() {
    let authority = Authority::new("redirects");
    let mut clear = Ws::default().listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let tls = authority.server().build().expect("settings");
    let mut moved =
        listen_tls(&at("wss://127.0.0.1:0"), &TcpConfig::default(), &tls).await.expect("listening");
    let to = moved.local().clone();
    let response = format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {}\r\n\r\n", clear.local());
    tokio::spawn(async move {
        let mut stream = moved.accept().await.expect("accepted");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a request"));
        }
        stream.write_all(response.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
        // Until the client has read it.
        let _ = stream.read_u8().await;
    });
    let client = Ws::new(WsConfig { max_redirects: 3, ..WsConfig::default() })
        .with_client_tls(authority.client().build().expect("settings"));
    let error = tokio::select! {
        near = soon("the answer", client.connect(&to)) => near.expect_err("out of TLS"),
        far = clear.accept() => panic!("it was followed: {far:?}"),
    };
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.report().contains("from TLS to clear text"), "{}", error.report());
}

#[tokio::test]
async fn w2_tls_goes_by_way_of_a_proxy_to_the_server_itself() {
    let (server, client) = both("proxied");
    let listener = server.listen(&at("wss://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    echo(listener);
    let proxy = Proxy::new(proxy().await).expect("http").with_basic_auth("user", "secret");
    let mut near =
        soon("the connection", client.with_proxy(proxy.clone()).connect(&to)).await.expect("connected");
    assert!(near.info.details::<TlsInfo>().is_some());
    near.send("by way of another").await.expect("sent");
    let answer = soon("the answer", near.recv()).await.expect("received");
    assert_eq!(answer.as_deref(), Some(&b"by way of another"[..]));
    let (_, stranger) = both("stranger");
    let error = soon("the error", stranger.with_proxy(proxy).connect(&to)).await.expect_err("untrusted");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "a proxy vouches for nobody");
}

#[tokio::test]
async fn d8_a_server_that_nobody_vouches_for_is_refused() {
    let (server, _) = both("one");
    let (_, stranger) = both("other");
    let mut listener = server.listen(&at("wss://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    tokio::spawn(async move {
        let _ = listener.accept().await;
    });
    let error = stranger.connect(&to).await.expect_err("untrusted");
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    let error = Ws::default().connect(&to).await.expect_err("no settings");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
