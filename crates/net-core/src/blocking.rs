//! Blocking transfers over `std::io`: whole buffers, deadlines, and the frames of every framing.
//!
//! * [`send_all`] and [`recv_exact`] move a whole buffer, or tell how far they came and why no further.
//! * [`send_all_by`] and [`recv_exact_by`] do so until a deadline, whatever trickles in.
//! * [`FrameReader`] and [`FrameWriter`] carry messages, with the codecs that serve the async callers too.
//!
//! Writing to a peer that has gone is an error value here, never a signal: the sockets of `std` send with
//! `MSG_NOSIGNAL`, but only through [`Write::write`], so nothing in this module writes vectored. A pipe or a file
//! has no such flag; a program that restores SIGPIPE to its default (Rust ignores it at the start) and writes to a
//! pipe ends by that signal.

use std::{
    io::{self, Read, Write},
    time::Instant,
};

mod deadline;
mod error;
mod reader;
#[cfg(test)]
mod script;
mod writer;

pub use deadline::{SocketTimeouts, Until};
pub use error::{TransferError, TransferFault};
pub use reader::FrameReader;
pub use writer::FrameWriter;

/// Writes all of `bytes`: short writes go on, interrupted ones are tried again.
///
/// Nothing is flushed; that matters to writers that buffer.
///
/// # Errors
///
/// How many bytes were written, and why no more. A write of no bytes is an error. A socket that is non-blocking, or
/// whose write time-out passed, gives [`TransferFault::WouldBlock`]; nothing is tried again then.
///
/// # Examples
///
/// ```
/// let mut wire = Vec::new();
/// net_core::blocking::send_all(&mut wire, b"hello")?;
/// assert_eq!(wire, b"hello");
/// # Ok::<(), net_core::Error>(())
/// ```
pub fn send_all<W: Write + ?Sized>(writer: &mut W, bytes: &[u8]) -> Result<(), TransferError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let fault = match writer.write(rest) {
            Ok(0) => TransferFault::WroteNothing,
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error.into(),
        };
        return Err(TransferError::new("send", bytes.len() - rest.len(), bytes.len(), fault));
    }
    Ok(())
}

/// Fills all of `buffer`: short reads go on, interrupted ones are tried again.
///
/// # Errors
///
/// How many bytes were read, and why no more: [`TransferFault::Ended`] where the stream had ended before the first
/// byte, [`TransferFault::UnexpectedEnd`] where it ended behind it. A socket that is non-blocking, or whose read
/// time-out passed, gives [`TransferFault::WouldBlock`]; nothing is tried again then.
///
/// # Examples
///
/// ```
/// use net_core::blocking::recv_exact;
///
/// let mut wire = &b"header, and then"[..];
/// let mut header = [0; 6];
/// recv_exact(&mut wire, &mut header)?;
/// assert_eq!(&header, b"header");
/// let error = recv_exact(&mut wire, &mut [0; 100]).unwrap_err();
/// assert_eq!((error.transferred(), error.is_clean_end()), (10, false));
/// # Ok::<(), net_core::Error>(())
/// ```
pub fn recv_exact<R: Read + ?Sized>(reader: &mut R, buffer: &mut [u8]) -> Result<(), TransferError> {
    let expected = buffer.len();
    let mut rest = buffer;
    while !rest.is_empty() {
        let fault = match reader.read(rest) {
            Ok(0) if rest.len() == expected => TransferFault::Ended,
            Ok(0) => TransferFault::UnexpectedEnd,
            Ok(read) => {
                rest = rest.get_mut(read..).unwrap_or_default();
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error.into(),
        };
        return Err(TransferError::new("receive", expected - rest.len(), expected, fault));
    }
    Ok(())
}

/// Writes all of `bytes` to a socket before `deadline`, as [`send_all`] does.
///
/// # Errors
///
/// As [`send_all`]; [`TransferFault::TimedOut`] once the deadline has passed, however quickly bytes leave meanwhile.
pub fn send_all_by<S>(socket: &mut S, bytes: &[u8], deadline: Instant) -> Result<(), TransferError>
where
    S: Write + SocketTimeouts,
{
    send_all(&mut Until::new(socket, deadline), bytes)
}

/// Fills all of `buffer` from a socket before `deadline`, as [`recv_exact`] does.
///
/// # Errors
///
/// As [`recv_exact`]; [`TransferFault::TimedOut`] once the deadline has passed, whatever trickles in meanwhile.
pub fn recv_exact_by<S>(socket: &mut S, buffer: &mut [u8], deadline: Instant) -> Result<(), TransferError>
where
    S: Read + SocketTimeouts,
{
    recv_exact(&mut Until::new(socket, deadline), buffer)
}

#[cfg(test)]
mod tests {
    use super::{script::Script, *};

    #[test]
    fn s1_short_and_interrupted_calls_go_on() {
        let mut peer = Script::new([Ok(2), Err(io::ErrorKind::Interrupted), Ok(1), Ok(9)]);
        send_all(&mut peer, b"hello").expect("all of it");
        assert_eq!(peer.written, b"hello");
        let mut peer = Script::new([Ok(2), Err(io::ErrorKind::Interrupted), Ok(1), Ok(9)]);
        let mut buffer = [0; 5];
        recv_exact(&mut peer, &mut buffer).expect("all of it");
        assert_eq!(buffer, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn s1_a_write_of_nothing_is_an_error_that_tells_how_far_it_came() {
        let error = send_all(&mut Script::new([Ok(3), Ok(0)]), b"hello").expect_err("no room");
        assert_eq!((error.transferred(), error.expected()), (3, 5));
        assert!(matches!(error.fault(), TransferFault::WroteNothing));
        assert_eq!(error.to_string(), "the writer took nothing, after 3 of 5 bytes");
    }

    #[test]
    fn s1_an_end_inside_a_record_is_not_a_clean_end() {
        let clean = recv_exact(&mut Script::new([Ok(0)]), &mut [0; 4]).expect_err("end");
        assert_eq!((clean.is_clean_end(), clean.transferred()), (true, 0));
        let inside = recv_exact(&mut Script::new([Ok(3), Ok(0)]), &mut [0; 4]).expect_err("end");
        assert_eq!((inside.is_clean_end(), inside.transferred()), (false, 3));
        assert_eq!(crate::Error::from(clean).kind(), crate::ErrorKind::Closed);
        assert_eq!(crate::Error::from(inside).kind(), crate::ErrorKind::UnexpectedEnd);
        recv_exact(&mut Script::new([]), &mut []).expect("no byte is wanted, so none is asked for");
    }

    #[test]
    fn s1_what_is_not_ready_is_an_error_and_is_not_tried_again() {
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut] {
            let mut peer = Script::new([Ok(3), Err(kind)]);
            let error = recv_exact(&mut peer, &mut [0; 4]).expect_err("not ready");
            assert_eq!((error.transferred(), peer.calls), (3, 2));
            assert_eq!(crate::Error::from(error).kind(), crate::ErrorKind::TimedOut);
            let mut peer = Script::new([Ok(1), Err(kind)]);
            let error = send_all(&mut peer, b"hello").expect_err("not ready");
            assert_eq!((error.transferred(), peer.calls), (1, 2));
        }
    }
}
