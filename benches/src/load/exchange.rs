//! One message there and back on a blocking socket, for the loads that are about connections.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Pattern;
use super::wire::{Target, Wire};

/// How long one connection took.
pub(super) struct Cycle {
    /// `connect` alone; over TLS with its handshake.
    pub(super) connect: Duration,
    /// From before `connect` until the server has closed too.
    pub(super) whole: Duration,
}

/// Connects, exchanges one message, closes, and waits for the server to close; where `check` says so, the handshake must
/// have been of the kind that `target` asks for.
pub(super) fn cycle(target: &Target, pattern: &Pattern, check: bool) -> io::Result<Cycle> {
    let began = Instant::now();
    let mut wire = target.connect()?;
    let connect = began.elapsed();
    once(&mut wire, pattern)?;
    wire.finish()?;
    wire.expect_end()?;
    let whole = began.elapsed();
    if check {
        target.check(&wire)?;
    }
    Ok(Cycle { connect, whole })
}

/// Sends the first frame of the pattern and verifies the answer.
pub(super) fn once(wire: &mut Wire, pattern: &Pattern) -> io::Result<()> {
    let len = pattern.request_len();
    let mut frame = Vec::with_capacity(len);
    while frame.len() < len {
        let piece = pattern.request(frame.len() as u64);
        frame.extend_from_slice(piece.get(..len - frame.len()).unwrap_or(piece));
    }
    wire.write_all(&frame)?;
    wire.flush()?;
    frame.resize(pattern.answer_len(), 0);
    wire.read_exact(&mut frame)?;
    if pattern.verify(0, &frame) { Ok(()) } else { Err(wrong("other bytes came back than were sent")) }
}

/// Closes without leaving the port in `TIME_WAIT`: ten thousand of them would be missing in the next run.
pub(super) fn reset(wire: &Wire) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(wire.stream(), Some(Duration::ZERO))?)
}

/// Latencies from 1 ns to a minute with three digits.
pub(crate) fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)
}

/// Whole nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The error of an answer that is not what was asked for.
pub(super) fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
