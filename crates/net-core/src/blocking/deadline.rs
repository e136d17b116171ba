//! A deadline for all that is read from or written to a socket, whatever trickles in.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::error::is_not_ready;

/// A socket whose single calls have time-outs, from which [`Until`] makes a deadline.
///
/// It is implemented for [`TcpStream`], for `UnixStream`, and for references to them.
///
/// # Examples
///
/// ```
/// use std::{io, net::{TcpListener, TcpStream}, time::Duration};
/// use net_core::blocking::SocketTimeouts;
///
/// /// Has no call wait for longer than a second.
/// fn hurry(socket: &impl SocketTimeouts) -> io::Result<()> {
///     let second = Some(Duration::from_secs(1));
///     socket.set_read_timeout(second)?;
///     socket.set_write_timeout(second)
/// }
///
/// # fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let socket = TcpStream::connect(listener.local_addr()?)?;
/// hurry(&socket)?;
/// assert_eq!(socket.read_timeout()?, Some(Duration::from_secs(1)));
/// # Ok(())
/// # }
/// ```
pub trait SocketTimeouts {
    /// Returns how long a read waits; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// Returns how long a write waits; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    fn write_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets how long a read waits; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and a time-out of zero.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets how long a write waits; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// Those of the operating system, and a time-out of zero.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
}

macro_rules! socket_timeouts {
    ($inner:ty => $($header:tt)*) => {
        $($header)* {
            fn read_timeout(&self) -> io::Result<Option<Duration>> {
                <$inner>::read_timeout(self)
            }

            fn write_timeout(&self) -> io::Result<Option<Duration>> {
                <$inner>::write_timeout(self)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$inner>::set_read_timeout(self, timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$inner>::set_write_timeout(self, timeout)
            }
        }
    };
}

socket_timeouts!(Self => impl SocketTimeouts for TcpStream);
#[cfg(unix)]
socket_timeouts!(Self => impl SocketTimeouts for std::os::unix::net::UnixStream);
socket_timeouts!(S => impl<S: SocketTimeouts + ?Sized> SocketTimeouts for &S);
socket_timeouts!(S => impl<S: SocketTimeouts + ?Sized> SocketTimeouts for &mut S);

/// Waits of at most this length may end early by as much: two ticks of a system that counts hundredths of a second.
const TICKS: Duration = Duration::from_millis(20);

/// A socket until a deadline: every read and write ends by then, however many there are.
///
/// Whatever works over [`Read`] and [`Write`] gets one deadline for all it does. The socket's own time-outs are put
/// back when this is dropped. The deadline needs a blocking socket; a non-blocking one gives
/// [`WouldBlock`](io::ErrorKind::WouldBlock) at once.
///
/// # Examples
///
/// ```
/// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::{Duration, Instant}};
/// use net_core::blocking::Until;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut near = TcpStream::connect(listener.local_addr()?)?;
/// let (mut far, _) = listener.accept()?;
/// near.write_all(b"ab")?;
///
/// let mut far = Until::new(&mut far, Instant::now() + Duration::from_millis(20));
/// let error = far.read_exact(&mut [0; 3]).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Until<'a, S: SocketTimeouts> {
    socket: &'a mut S,
    deadline: Instant,
    /// The socket's own time-outs, once they are changed.
    read: Option<OwnTimeout>,
    write: Option<OwnTimeout>,
}

#[derive(Clone, Copy, Debug)]
struct OwnTimeout(Option<Duration>);

impl<'a, S: SocketTimeouts> Until<'a, S> {
    /// Puts `socket` under a `deadline`.
    pub fn new(socket: &'a mut S, deadline: Instant) -> Self {
        Self { socket, deadline, read: None, write: None }
    }

    /// Calls `transfer`, which has been given a time-out by `set`, until it is done or the deadline has passed.
    fn wait<T>(
        &mut self,
        set: fn(&mut Self, Option<Duration>) -> io::Result<()>,
        mut transfer: impl FnMut(&mut S) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let left = self.left();
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // The system counts whole microseconds; a time-out of none would be an error.
            set(self, Some(left.saturating_add(Duration::from_micros(1))))?;
            match transfer(self.socket) {
                Err(error) if is_not_ready(&error) => {
                    // A blocking socket has waited; one that has not is non-blocking, and asking on would spin. The
                    // system's ticks may cut a short wait to nothing, so that one proves nothing.
                    if left > TICKS && self.left() > left / 2 {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                }
                done => return done,
            }
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn set_read(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.read.is_none() {
            self.read = Some(OwnTimeout(self.socket.read_timeout()?));
        }
        self.socket.set_read_timeout(timeout)
    }

    fn set_write(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.write.is_none() {
            self.write = Some(OwnTimeout(self.socket.write_timeout()?));
        }
        self.socket.set_write_timeout(timeout)
    }
}

impl<S: Read + SocketTimeouts> Read for Until<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(Self::set_read, |socket| socket.read(buffer))
    }
}

impl<S: Write + SocketTimeouts> Write for Until<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(Self::set_write, |socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wait(Self::set_write, Write::flush)
    }
}

impl<S: SocketTimeouts> Drop for Until<'_, S> {
    fn drop(&mut self) {
        // They were accepted once; where they are not again, the socket is gone.
        if let Some(OwnTimeout(timeout)) = self.read {
            let _ = self.socket.set_read_timeout(timeout);
        }
        if let Some(OwnTimeout(timeout)) = self.write {
            let _ = self.socket.set_write_timeout(timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::mpsc, thread};

    use super::*;
    use crate::blocking::{TransferFault, recv_exact, recv_exact_by, send_all_by};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        (near, listener.accept().expect("accept").0)
    }

    #[test]
    fn s2_a_peer_that_trickles_does_not_move_the_deadline() {
        let (mut near, mut far) = pair();
        // Something has arrived before the clock starts, however late the thread of the peer begins.
        near.write_all(b"x").expect("room");
        let (stop, stopped) = mpsc::channel::<()>();
        let trickle = thread::spawn(move || {
            near.set_nodelay(true).expect("set");
            // One byte, and one more whenever 2 ms have passed: far more often than the deadline.
            while near.write_all(b"x").is_ok()
                && stopped.recv_timeout(Duration::from_millis(2)) == Err(mpsc::RecvTimeoutError::Timeout)
            {
            }
        });
        let start = Instant::now();
        let deadline = start + Duration::from_millis(60);
        let error = recv_exact_by(&mut far, &mut vec![0; 100_000], deadline).expect_err("far too few");
        let elapsed = start.elapsed();
        drop((stop, far));
        trickle.join().expect("no panic");
        assert!(matches!(error.fault(), TransferFault::TimedOut), "{error}");
        assert!(error.transferred() > 0, "{error}");
        assert!(elapsed >= Duration::from_millis(60), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    }

    #[test]
    fn s2_a_peer_that_does_not_read_ends_the_sending_at_the_deadline() {
        let (mut near, _far) = pair();
        let bytes = vec![0; 64 << 20];
        let deadline = Instant::now() + Duration::from_millis(50);
        let error = send_all_by(&mut near, &bytes, deadline).expect_err("more than sockets hold");
        assert!(matches!(error.fault(), TransferFault::TimedOut), "{error}");
        assert!((1..bytes.len()).contains(&error.transferred()), "{error}");
    }

    #[test]
    fn s2_the_sockets_own_time_outs_are_put_back() {
        let (mut near, mut far) = pair();
        far.set_read_timeout(Some(Duration::from_secs(7))).expect("set");
        near.write_all(b"ab").expect("write");
        let deadline = Instant::now() + Duration::from_mins(1);
        recv_exact_by(&mut far, &mut [0; 2], deadline).expect("both bytes");
        assert_eq!(far.read_timeout().expect("get"), Some(Duration::from_secs(7)));
        assert_eq!(far.write_timeout().expect("get"), None);
        let passed = Instant::now();
        near.write_all(b"c").expect("write");
        let error = recv_exact_by(&mut far, &mut [0; 1], passed).expect_err("the deadline has passed");
        assert!(matches!(error.fault(), TransferFault::TimedOut));
    }

    #[test]
    fn s1_a_non_blocking_socket_is_never_spun_on() {
        let (mut near, mut far) = pair();
        near.write_all(b"abc").expect("write");
        far.peek(&mut [0; 3]).expect("something has arrived");
        far.set_nonblocking(true).expect("set");
        let error = recv_exact(&mut far, &mut [0; 1000]).expect_err("not ready");
        assert!(matches!(error.fault(), TransferFault::WouldBlock), "{error}");
        let deadline = Instant::now() + Duration::from_hours(1);
        let error = recv_exact_by(&mut far, &mut [0; 1000], deadline).expect_err("not ready");
        assert!(matches!(error.fault(), TransferFault::WouldBlock), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn s2_unix_sockets_have_deadlines_too() {
        let (mut near, far) = std::os::unix::net::UnixStream::pair().expect("pair");
        let deadline = Instant::now() + Duration::from_millis(20);
        (&near).write_all(b"a").expect("write");
        let error = recv_exact_by(&mut &far, &mut [0; 2], deadline).expect_err("one byte only");
        assert_eq!(error.transferred(), 1);
        send_all_by(&mut near, b"b", Instant::now() + Duration::from_mins(1)).expect("room");
    }
}
