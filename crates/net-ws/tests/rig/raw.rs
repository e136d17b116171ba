//! A peer that writes bytes of its own: whatever a test wants a server to see.

use std::{io, time::Duration};

use net_core::Address;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{socket, soon};

/// A client that has made its handshake by hand.
pub(crate) struct RawClient(pub(crate) TcpStream);

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl RawFrame {
    /// Returns the code of a Close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk().filter(|_| self.first == 0x88)?;
        Some(u16::from_be_bytes(*code))
    }
}

impl RawClient {
    /// Connects; `headers` stand behind those of the handshake, each with its end.
    pub(crate) async fn connect(to: &Address, headers: &str) -> Self {
        let mut client = Self(TcpStream::connect(socket(to)).await.expect("connected"));
        let head = client.ask(&request(headers)).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        client
    }

    /// Sends a request and returns the head of the response.
    pub(crate) async fn ask(&mut self, request: &str) -> String {
        self.0.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("a response", self.0.read_u8()).await.expect("a response"));
        }
        String::from_utf8(head).expect("text")
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    /// Returns the next frame, none of which is longer than 64 KiB here.
    pub(crate) async fn frame(&mut self) -> io::Result<RawFrame> {
        soon("a frame", async {
            let first = self.0.read_u8().await?;
            let len = match self.0.read_u8().await? {
                126 => self.0.read_u16().await?.into(),
                127 => usize::try_from(self.0.read_u64().await?).expect("short"),
                len => usize::from(len),
            };
            let mut payload = vec![0; len];
            self.0.read_exact(&mut payload).await?;
            Ok(RawFrame { first, payload })
        })
        .await
    }

    /// Expects a Close frame with `code` and then the end of the stream.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        let frame = self.frame().await.expect("a Close frame");
        assert_eq!(frame.close_code(), Some(code), "{:?}", String::from_utf8_lossy(&frame.payload));
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(10), self.0.read_to_end(&mut rest)).await;
        assert_eq!(end.expect("the server ends it").expect("cleanly"), 0);
    }
}

/// Returns a handshake's request.
pub(crate) fn request(headers: &str) -> String {
    format!(
        "GET /raw?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Returns a masked frame.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x12, 0x34, 0x56, 0x78];
    let mut frame = head(first, 0x80, payload.len());
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Returns a frame without a mask, as servers send them.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&head(first, 0, payload.len())[..], payload].concat()
}

#[allow(clippy::cast_possible_truncation, reason = "each arm has looked at the length")]
fn head(first: u8, mask: u8, len: usize) -> Vec<u8> {
    match len {
        ..=125 => vec![first, mask | len as u8],
        126..=0xFFFF => [&[first, mask | 0x7E][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 0x7F][..], &(len as u64).to_be_bytes()].concat(),
    }
}
