//! UDP sockets as the runtime knows them, where there are no descriptors: those of tokio.

use std::{
    fmt,
    future::Future,
    io,
    net::UdpSocket,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{io::Interest, runtime::Handle};

/// A UDP socket that the runtime watches: always for room, too, as tokio's are.
#[derive(Debug)]
pub(crate) struct Watched {
    io: Arc<tokio::net::UdpSocket>,
    socket: UdpSocket,
}

impl Watched {
    /// Makes a socket that does not block known to the runtime.
    ///
    /// # Errors
    ///
    /// What the system reports; there is no runtime.
    ///
    /// # Panics
    ///
    /// In a runtime that has no I/O enabled.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        Handle::try_current().map_err(io::Error::other)?;
        let io = Arc::new(tokio::net::UdpSocket::from_std(socket.try_clone()?)?);
        Ok(Self { io, socket })
    }

    /// Returns the socket.
    pub(crate) fn get_ref(&self) -> &UdpSocket {
        &self.socket
    }

    /// Waits until something may have arrived.
    ///
    /// # Errors
    ///
    /// The runtime is gone in which the socket was made.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Polls whether something may have arrived, for the one task that asks so.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_recv_ready(cx)
    }

    /// Calls `receive` where the runtime has been told that something arrived; where it gives `WouldBlock`, what is there has been
    /// received, and the runtime waits for more.
    ///
    /// # Errors
    ///
    /// Those of `receive`, and `WouldBlock` where the runtime knows of nothing.
    pub(crate) fn try_receive<T>(&self, receive: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.io.try_io(Interest::READABLE, receive)
    }

    /// Calls `receive` once something has arrived, and again for as long as it gives `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Those of `receive`, and as [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe where `receive` is no longer called.
    pub(crate) async fn receive<T>(&self, receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.io.async_io(Interest::READABLE, receive).await
    }

    /// Calls `send`, and again once there may be room for as long as it gives `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Those of `send`, and as [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe where `send` is no longer called.
    pub(crate) async fn send<T>(&self, send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.io.async_io(Interest::WRITABLE, send).await
    }

    /// Waits until there may be room to send.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }
}

/// One task's wait for room in a [`Watched`], in the form of polling.
#[derive(Default)]
pub(crate) struct Room(Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>);

impl Room {
    /// Polls whether there may be room in `socket`, after a call that found none.
    ///
    /// # Errors
    ///
    /// The runtime is gone in which the socket was made.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, socket: &Watched) -> Poll<io::Result<()>> {
        let waiting = self.0.get_or_insert_with(|| {
            let io = socket.io.clone();
            Box::pin(async move {
                io.writable().await?;
                // The call that found no room has not told the runtime so: whatever becomes room from here on is told anew.
                let _ = io.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                Ok(())
            })
        });
        let told = ready!(waiting.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(told)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("waits", &self.0.is_some()).finish()
    }
}
