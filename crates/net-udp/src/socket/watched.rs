//! A socket as the runtime knows it.
//!
//! A socket that is watched for room wakes its task after each datagram that has left it, though nobody waits for room: half a
//! microsecond for one datagram in flight. So what arrives is watched always, and room only while there is none.

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, OwnedFd},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    task::coop::consume_budget,
};

/// A socket that the runtime watches for what arrives.
#[derive(Debug)]
pub(crate) struct Watched(AsyncFd<UdpSocket>);

impl Watched {
    /// Makes a socket that does not block known to the runtime.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        watch(socket, Interest::READABLE).map(Self)
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        self.0.get_ref()
    }

    /// Waits until something may have arrived.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Waits until something may have arrived, as the one task that waits so.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx).map_ok(drop)
    }

    /// Receives what the runtime has been told of.
    pub(crate) fn try_receive<T>(&self, receive: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.try_io(Interest::READABLE, |_| receive())
    }

    /// Waits for what arrives and receives it.
    pub(crate) async fn receive<T>(&self, mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, |_| receive()).await
    }

    /// Sends as soon as there is room.
    pub(crate) async fn send<T>(&self, mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        consume_budget().await;
        let mut room = Room::default();
        loop {
            match send() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => room.wait(self).await?,
                sent => return sent,
            }
        }
    }

    /// Waits until there may be room to send.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        if has_room(self.socket()) { Ok(()) } else { Room::default().wait(self).await }
    }
}

/// What waits for room in a socket, each by a handle of its own.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<AsyncFd<OwnedFd>>);

impl Room {
    /// Waits until there may be room.
    ///
    /// # Errors
    ///
    /// No further handle is to be had, or the runtime is gone.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, socket: &Watched) -> Poll<io::Result<()>> {
        let watched = match &mut self.0 {
            Some(watched) => watched,
            none => none.insert(watch(socket.socket().as_fd().try_clone_to_owned()?, Interest::WRITABLE)?),
        };
        let mut ready = ready!(watched.poll_write_ready(cx))?;
        // Whatever becomes room from here on is told anew.
        ready.clear_ready();
        Poll::Ready(Ok(()))
    }

    async fn wait(&mut self, socket: &Watched) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll(cx, socket)).await
    }

    /// Waits no longer.
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }
}

fn watch<S: std::os::fd::AsRawFd>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    #[allow(
        deprecated,
        reason = "its replacement is unsafe for types that may change their descriptor; those of `std` cannot"
    )]
    AsyncFd::with_interest(socket, interest)
}

/// Tells whether there is room now; what cannot be told is waited for.
fn has_room(socket: &UdpSocket) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&AT_ONCE)).is_ok_and(|ready| ready > 0)
}
