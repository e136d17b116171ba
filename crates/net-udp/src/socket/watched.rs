//! UDP sockets as the runtime knows them.

use std::{
    fmt,
    future::Future,
    io,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
    task::{coop::consume_budget, yield_now},
};

/// A UDP socket that the runtime watches for what arrives, and for room only while there is none.
///
/// A socket that is watched for room, as those of tokio are, wakes its task once more after each datagram that has left it,
/// though nobody waits for room. Any number of tasks may wait for either.
#[derive(Debug)]
pub(crate) struct Watched {
    io: AsyncFd<UdpSocket>,
    /// Where it is known, whoever waits.
    runtime: Handle,
    /// Those who wait for room wait together.
    shortage: Mutex<Weak<Shortage>>,
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
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let io = watch(socket, Interest::READABLE)?;
        Ok(Self { io, runtime, shortage: Mutex::default() })
    }

    /// Returns the socket.
    pub(crate) fn get_ref(&self) -> &UdpSocket {
        self.io.get_ref()
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
        self.io.readable().await.map(drop)
    }

    /// Polls whether something may have arrived, for the one task that asks so.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_read_ready(cx).map_ok(drop)
    }

    /// Calls `receive` where the runtime has been told that something arrived; where it gives `WouldBlock`, what is there has been
    /// received, and the runtime waits for more.
    ///
    /// # Errors
    ///
    /// Those of `receive`, and `WouldBlock` where the runtime knows of nothing.
    pub(crate) fn try_receive<T>(&self, receive: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.io.try_io(Interest::READABLE, |_| receive())
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
    pub(crate) async fn receive<T>(&self, mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.io.async_io(Interest::READABLE, |_| receive()).await
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
    pub(crate) async fn send<T>(&self, mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        consume_budget().await;
        loop {
            match send() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.shortage()?.over().await?,
                sent => return sent,
            }
        }
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
        if has_room(self.get_ref()) { Ok(()) } else { self.shortage()?.over().await }
    }

    /// Begins to wait for room, after a call that found none.
    fn shortage(&self) -> io::Result<Arc<Shortage>> {
        let mut known = self.shortage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = known.upgrade().filter(|shortage| !shortage.is_over.load(Ordering::Acquire)) {
            return Ok(running);
        }
        let began = Arc::new(Shortage::begin(self)?);
        *known = Arc::downgrade(&began);
        Ok(began)
    }
}

/// A stretch without room in a socket, for all who wait for its end: known to the runtime by a descriptor of its own.
///
/// One that has ended is not used again. What an error of the network has marked as closed would be so for ever.
#[derive(Debug)]
struct Shortage {
    /// None where the process has no descriptor left: then they ask again and again.
    io: Option<AsyncFd<OwnedFd>>,
    is_over: AtomicBool,
}

impl Shortage {
    fn begin(socket: &Watched) -> io::Result<Self> {
        let _runtime = socket.runtime.enter();
        // A descriptor is watched once by a runtime.
        let again = socket.get_ref().as_fd().try_clone_to_owned();
        let io = match again.and_then(|again| watch(again, Interest::WRITABLE)) {
            Ok(io) => Some(io),
            // An error that is the system's: no descriptor, or no memory.
            Err(error) if error.raw_os_error().is_some() => None,
            Err(error) => return Err(error),
        };
        Ok(Self { io, is_over: AtomicBool::new(false) })
    }

    async fn over(self: Arc<Self>) -> io::Result<()> {
        let told = if let Some(io) = &self.io {
            io.writable().await.map(drop)
        } else {
            yield_now().await;
            Ok(())
        };
        self.is_over.store(true, Ordering::Release);
        told
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
        let waiting = match &mut self.0 {
            Some(waiting) => waiting,
            none => none.insert(Box::pin(socket.shortage()?.over())),
        };
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

fn watch<S: AsRawFd>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    #[allow(
        deprecated,
        reason = "its replacement is unsafe for types that may change their descriptor; those of `std` cannot"
    )]
    AsyncFd::with_interest(socket, interest)
}

/// Tells whether there is room now; what cannot be told is waited for.
fn has_room(socket: &UdpSocket) -> bool {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&AT_ONCE)).is_ok_and(|ready| ready > 0)
}
