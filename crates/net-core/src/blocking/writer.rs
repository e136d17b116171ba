//! Messages into a blocking byte stream.

use std::{
    io::{self, Write},
    time::Instant,
};

use bytes::{Buf, BytesMut};

use super::{SocketTimeouts, TransferError, Until, send_all};
use crate::{
    Error, Result,
    frame::{Framing, without_first},
    framed::Failure,
};

/// How many bytes are gathered before they are written.
const GATHERED_LEN: usize = 64 * 1024;

/// Sends messages as the frames of a blocking byte stream.
///
/// What marks a message leaves in one write with the message, up to 64 KiB of it, so that no small segment goes
/// ahead of it. Dropping it writes nothing that is not flushed.
///
/// # Examples
///
/// ```
/// use net_core::{blocking::FrameWriter, frame::LengthPrefix};
///
/// let mut writer = FrameWriter::new(Vec::new(), LengthPrefix::default());
/// writer.feed(b"one")?;
/// writer.send(b"two")?;
/// assert_eq!(writer.get_ref(), b"\0\0\0\x03one\0\0\0\x03two");
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Debug)]
pub struct FrameWriter<W, F> {
    io: W,
    output: Output<F>,
}

#[derive(Debug)]
struct Output<F> {
    framing: F,
    /// Accepted and not yet written; no more than one message beyond `GATHERED_LEN`.
    gathered: BytesMut,
    failure: Option<Failure>,
}

impl<W, F> FrameWriter<W, F> {
    /// Sends to `io` what `framing` makes of messages.
    pub fn new(io: W, framing: F) -> Self {
        Self { io, output: Output { framing, gathered: BytesMut::new(), failure: None } }
    }

    /// Returns the byte stream.
    pub fn get_ref(&self) -> &W {
        &self.io
    }

    /// Returns how many bytes are accepted and not yet written.
    pub fn buffered(&self) -> usize {
        self.output.gathered.len()
    }

    /// Returns the byte stream; what is accepted and not yet written is lost.
    pub fn into_inner(self) -> W {
        self.io
    }
}

impl<W: Write, F: Framing> FrameWriter<W, F> {
    /// Accepts one message, to be written with others; what has gathered is written from 64 KiB on.
    ///
    /// # Errors
    ///
    /// The message was not accepted. [`ErrorKind::MessageTooLong`](crate::ErrorKind::MessageTooLong) and [`ErrorKind::InvalidMessage`](crate::ErrorKind::InvalidMessage) where it cannot be
    /// framed, and [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) where there is no room and the socket takes no more for now, leave the
    /// writer as it was; other errors are final.
    pub fn feed(&mut self, message: &[u8]) -> Result<()> {
        self.output.feed(&mut self.io, message)
    }

    /// Sends one message, and those that have gathered before it, and flushes.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed) and [`flush`](Self::flush). After [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) the message may have been
    /// accepted; those who need to know call the two themselves.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        self.output.feed(&mut self.io, message)?;
        self.output.flush(&mut self.io)
    }

    /// Sends one message before `deadline`, as [`send`](Self::send) does.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) once the deadline has passed.
    pub fn send_by(&mut self, message: &[u8], deadline: Instant) -> Result<()>
    where
        W: SocketTimeouts,
    {
        let io = &mut Until::new(&mut self.io, deadline);
        self.output.feed(io, message)?;
        self.output.flush(io)
    }

    /// Writes what has gathered, and flushes the byte stream.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) where the socket is non-blocking and not ready, or its own time-out passed; what is
    /// not yet written is kept, and the next call goes on. Other errors are final. The source tells how many bytes
    /// were written.
    pub fn flush(&mut self) -> Result<()> {
        self.output.flush(&mut self.io)
    }

    /// Writes what has gathered before `deadline`, as [`flush`](Self::flush) does.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush); [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) once the deadline has passed.
    pub fn flush_by(&mut self, deadline: Instant) -> Result<()>
    where
        W: SocketTimeouts,
    {
        self.output.flush(&mut Until::new(&mut self.io, deadline))
    }
}

impl<F: Framing> Output<F> {
    fn feed(&mut self, io: &mut impl Write, message: &[u8]) -> Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure.again("send"));
        }
        if self.gathered.len() >= GATHERED_LEN {
            self.write(io)?;
        }
        let taken = self
            .framing
            .encode_prefix(&[], message, &mut self.gathered)
            .map_err(|error| Error::from_frame(error, "send"))?;
        let (_, rest) = without_first(taken, &[], message);
        // The start of a long message travels with its header; the rest is written from where it stands.
        let together = GATHERED_LEN.saturating_sub(self.gathered.len()).min(rest.len());
        let (start, rest) = rest.split_at(together);
        self.gathered.extend_from_slice(start);
        if !rest.is_empty() {
            let written = self.write_through(io, rest)?;
            self.gathered.extend_from_slice(rest.get(written..).unwrap_or_default());
        }
        self.framing.encode_suffix(&mut self.gathered);
        Ok(())
    }

    /// Writes what has gathered and then `rest`, which is accepted: returns how much of it the socket has taken.
    fn write_through(&mut self, io: &mut impl Write, rest: &[u8]) -> Result<usize> {
        match self.write(io) {
            Ok(()) => {}
            Err(_) if self.failure.is_none() => return Ok(0),
            Err(error) => return Err(error),
        }
        match send_all(io, rest) {
            Ok(()) => Ok(rest.len()),
            Err(error) if error.is_retryable() => Ok(error.transferred()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Writes what has gathered.
    fn write(&mut self, io: &mut impl Write) -> Result<()> {
        match send_all(io, &self.gathered) {
            Ok(()) => {
                self.gathered.clear();
                Ok(())
            }
            Err(error) => {
                self.gathered.advance(error.transferred());
                Err(self.fail(error))
            }
        }
    }

    fn flush(&mut self, io: &mut impl Write) -> Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure.again("send"));
        }
        self.write(io)?;
        loop {
            match io.flush() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail(TransferError::new("send", 0, 0, error.into()))),
            }
        }
    }

    /// Keeps an error that is final.
    #[cold]
    fn fail(&mut self, error: TransferError) -> Error {
        let is_final = !error.is_retryable();
        let error = Error::from(error);
        if is_final {
            self.failure = Some(Failure::Io(error.kind()));
            self.gathered = BytesMut::new();
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::{super::script::Script, *};
    use crate::{
        ErrorKind,
        frame::{Delimiter, LengthPrefix, Tlv},
    };

    #[test]
    fn s3_header_and_payload_leave_in_one_write() {
        let mut writer = FrameWriter::new(Script::new([Ok(usize::MAX); 3]), LengthPrefix::default());
        writer.send(b"hello").expect("sent");
        assert_eq!(writer.get_ref().calls, 1);
        let long = vec![7; 200_000];
        writer.send(&long).expect("sent");
        assert_eq!(writer.get_ref().calls, 3, "64 KiB with the header, and then the rest");
        assert_eq!(writer.get_ref().written.len(), 9 + 4 + long.len());
    }

    #[test]
    fn s1_what_the_socket_does_not_take_is_kept_and_goes_on() {
        let long = vec![b'x'; 150_000];
        let block = Err(io::ErrorKind::WouldBlock);
        for taken in [vec![], vec![Ok(1)], vec![Ok(65_536)], vec![Ok(65_536), Ok(10)]] {
            let then = [block, block, block, Ok(100_000), Ok(usize::MAX)];
            let framing = Delimiter::lines().with_max_message_len(long.len());
            let mut writer = FrameWriter::new(Script::new(taken.iter().copied().chain(then)), framing);
            writer.feed(&long).expect("there is room for one message");
            assert_eq!(writer.feed(b"y").expect_err("there is none").kind(), ErrorKind::TimedOut);
            assert_eq!(writer.flush().expect_err("not ready").kind(), ErrorKind::TimedOut);
            writer.flush().expect("ready");
            assert_eq!(writer.buffered(), 0);
            let (last, message) = writer.get_ref().written.split_last().expect("something");
            assert!(message == long && *last == b'\n', "{taken:?}");
        }
    }

    #[test]
    fn a_message_that_cannot_be_framed_leaves_the_writer_as_it_was() {
        let mut writer = FrameWriter::new(Vec::new(), Delimiter::lines());
        writer.feed(b"a").expect("accepted");
        assert_eq!(writer.feed(b"b\nc").expect_err("two lines").kind(), ErrorKind::InvalidMessage);
        assert_eq!(writer.feed(&[0; 5000]).expect_err("long").kind(), ErrorKind::MessageTooLong);
        writer.send(b"d").expect("sent");
        assert_eq!(writer.get_ref(), b"a\nd\n");
    }

    #[test]
    fn an_error_is_final_and_tells_how_far_it_came() {
        let steps = [Ok(3), Err(io::ErrorKind::BrokenPipe)];
        let mut writer = FrameWriter::new(Script::new(steps), Tlv::default());
        let error = writer.send(b"\x01hello").expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.report().contains("after 3 of 8 bytes"), "{}", error.report());
        assert_eq!(writer.feed(b"\x01more").expect_err("still broken").kind(), ErrorKind::Closed);
        assert_eq!(writer.flush().expect_err("still broken").kind(), ErrorKind::Closed);
        assert_eq!(writer.get_ref().calls, 2);
    }
}
