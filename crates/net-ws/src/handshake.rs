//! The handshake: an HTTP request and its response. Both sides of it stand on tungstenite.

use std::io;

use bytes::{BufMut, BytesMut};
use memchr::memmem;
use net_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) mod client;
pub(crate) mod extensions;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod redirect;
pub(crate) mod refusal;
pub(crate) mod server;

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";
/// How much room is made for a head at a time.
const STEP: usize = 1024;

/// A head of HTTP, and what was read behind it.
pub(crate) struct HttpHead {
    pub(crate) head: BytesMut,
    pub(crate) rest: BytesMut,
}

/// Reads a head of `max` bytes at the most.
///
/// Each byte is looked at once, however it is cut: to parse again what has arrived with every segment would take a time that
/// grows with its square (RUSTSEC-2023-0065).
pub(crate) async fn read_head(
    io: &mut (impl AsyncRead + Unpin),
    max: usize,
    operation: &'static str,
) -> Result<HttpHead> {
    let mut read = BytesMut::new();
    let mut searched = 0_usize;
    loop {
        let from = searched.saturating_sub(END.len() - 1);
        if let Some(at) = memmem::find(read.get(from..).unwrap_or_default(), END) {
            let rest = read.split_off(from + at + END.len());
            return Ok(HttpHead { head: read, rest });
        }
        searched = read.len();
        if searched >= max {
            return Err(Error::new(ErrorKind::MessageTooLong, operation).because(HeadTooLong { max }));
        }
        read.reserve(STEP);
        let mut room = (&mut read).limit(max - searched);
        if io.read_buf(&mut room).await.map_err(|error| Error::from_io(error, operation))? == 0 {
            return Err(Error::from_io(io::ErrorKind::UnexpectedEof.into(), operation));
        }
    }
}

/// A head is longer than the limit.
#[derive(Debug, thiserror::Error)]
#[error("the head of the handshake has more than {max} bytes")]
pub(crate) struct HeadTooLong {
    max: usize,
}

/// Returns the values of the headers of this name as text; those that are none are left out.
pub(crate) fn values<'h>(headers: &'h http::HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

/// Tells whether one of `values`, each of them a list, has this token.
pub(crate) fn has_token<'v>(mut values: impl Iterator<Item = &'v str>, token: &str) -> bool {
    values.any(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(token)))
}
