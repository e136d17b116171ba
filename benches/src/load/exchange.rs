//! One message there and back on a blocking socket, for the loads that are about connections.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Common, Pattern};

/// The longest that one step may take.
const STEP: Duration = Duration::from_secs(5);

/// How long one connection took.
pub(super) struct Cycle {
    /// `connect` alone.
    pub(super) connect: Duration,
    /// From before `connect` until the server has closed too.
    pub(super) whole: Duration,
}

/// Connects, exchanges one message, closes, and waits for the server to close.
pub(super) fn cycle(common: &Common, pattern: &Pattern) -> io::Result<Cycle> {
    let began = Instant::now();
    let mut stream = connect(common.to)?;
    let connect = began.elapsed();
    once(&stream, pattern)?;
    stream.shutdown(Shutdown::Write)?;
    if stream.read(&mut [0; 16])? > 0 {
        return Err(wrong("more came back than was sent"));
    }
    Ok(Cycle { connect, whole: began.elapsed() })
}

/// A connection without delay, every step of which is bounded in time.
pub(super) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, STEP)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    Ok(stream)
}

/// Sends the first frame of the pattern and verifies the answer.
pub(super) fn once(mut stream: &TcpStream, pattern: &Pattern) -> io::Result<()> {
    let len = pattern.frame_len();
    let mut frame = Vec::with_capacity(len);
    while frame.len() < len {
        let piece = pattern.request(frame.len() as u64);
        frame.extend_from_slice(piece.get(..len - frame.len()).unwrap_or(piece));
    }
    stream.write_all(&frame)?;
    stream.read_exact(&mut frame)?;
    if pattern.verify(0, &frame) { Ok(()) } else { Err(wrong("other bytes came back than were sent")) }
}

/// Closes without leaving the port in `TIME_WAIT`: ten thousand of them would be missing in the next run.
pub(super) fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}

/// Latencies from 1 ns to a minute with three digits.
pub(super) fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)
}

/// Whole nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The error of an answer that is not what was asked for.
pub(super) fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
