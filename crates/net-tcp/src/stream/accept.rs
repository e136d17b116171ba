//! Accepting byte streams.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use net_core::{Acceptor, Address, Admission, Incoming, Result};

use super::{bytes::ByteStream, source::StreamSource};

/// Accepts byte streams over TCP or a Unix-domain socket, under limits.
///
/// # Examples
///
/// ```
/// use net_tcp::{TcpConfig, stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let config = TcpConfig::default();
/// let mut listener = stream::listen(&"http://127.0.0.1:0".parse()?, &config).await?;
/// let near = stream::connect(listener.local(), &config).await?;
/// let far = listener.accept().await?;
/// assert_eq!(near.info().local, far.info().remote);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamListener(Acceptor<StreamSource>);

impl StreamListener {
    /// Accepts from `source`, under the default limits.
    pub fn new(source: StreamSource) -> Self {
        let local = source.local().clone();
        Self(Acceptor::new(source, local))
    }

    /// Returns the address it listens at, with the port that the system chose.
    pub fn local(&self) -> &Address {
        self.0.local()
    }

    /// Polls for the next stream; an error means that it accepts no more.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<ByteStream>> {
        self.0.poll_accept(cx)
    }

    /// Polls for the next stream, with the handshake that may come first.
    pub fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming<ByteStream>>> {
        self.0.poll_incoming(cx)
    }

    /// Waits for the next stream.
    ///
    /// # Errors
    ///
    /// It accepts no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is lost.
    pub async fn accept(&mut self) -> Result<ByteStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Stops listening; what waits in the system's queue is still given by [`accept`](Self::accept).
    pub fn close(&mut self) {
        self.0.close();
    }

    /// Puts it under the limits of `admission`, which several listeners may share.
    pub fn set_admission(&mut self, admission: Arc<Admission>) {
        self.0.set_admission(admission);
    }
}
