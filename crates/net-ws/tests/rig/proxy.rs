//! A proxy of HTTP that is asked by `CONNECT`.

use net_core::Address;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::at;

/// Reads a request's head.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("text")
}

/// A proxy that asks for a password and connects wherever it is told.
pub(crate) async fn proxy() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let to = at(&format!("http://{}", listener.local_addr().expect("bound")));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = head(&mut client).await;
                let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                let target = target.expect("CONNECT").to_owned();
                assert!(head.contains(&format!("Host: {target}\r\n")), "{head}");
                if !head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n") {
                    let refused = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                    return client.write_all(refused.as_bytes()).await.expect("sent");
                }
                let mut server = TcpStream::connect(target).await.expect("connected");
                client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.expect("sent");
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    to
}
