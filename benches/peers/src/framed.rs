//! Echo by tokio-util's `Framed`, over whatever stream.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, SinkExt, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// A stream with the codec for four bytes of length.
pub type Frames<S> = Framed<S, LengthDelimitedCodec>;

/// Echoes until the peer ends, by a `send` for each message.
///
/// # Errors
/// As reading and writing give them.
pub async fn each<S: AsyncRead + AsyncWrite + Unpin>(framed: &mut Frames<S>) -> io::Result<()> {
    while let Some(message) = framed.next().await {
        framed.send(message?.freeze()).await?;
    }
    Ok(())
}

/// Echoes until the peer ends, and flushes when input runs dry.
///
/// # Errors
/// As reading and writing give them.
pub async fn batched<S: AsyncRead + AsyncWrite + Unpin>(framed: &mut Frames<S>) -> io::Result<()> {
    // More than the default 8 KiB may gather before a write, so that a batch leaves in one.
    framed.set_backpressure_boundary(64 * 1024);
    loop {
        let ready: Option<Option<io::Result<BytesMut>>> = framed.next().now_or_never();
        let next = if let Some(next) = ready {
            next
        } else {
            SinkExt::<Bytes>::flush(framed).await?;
            framed.next().await
        };
        match next {
            Some(message) => framed.feed(message?.freeze()).await?,
            None => return SinkExt::<Bytes>::flush(framed).await,
        }
    }
}
