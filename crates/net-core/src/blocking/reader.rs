//! The messages in a blocking byte stream.

use std::{
    io::{self, Read},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use super::{SocketTimeouts, Until, error::is_not_ready};
use crate::{
    Error, ErrorKind, Result,
    frame::{Decoded, Framing},
    framed::Failure,
};

/// The first read has room for this much; each one that fills its room doubles it.
const FIRST_READ: usize = 4 * 1024;
/// The most that one read has room for, and so the most memory that is taken beyond what has arrived.
const MAX_READ: usize = 64 * 1024;

/// Receives the frames of a blocking byte stream as messages, each a view of the read buffer.
///
/// It is an iterator too, over messages and at the most one final error.
///
/// # Examples
///
/// ```
/// use net_core::{blocking::FrameReader, frame::Delimiter};
///
/// let mut lines = FrameReader::new(&b"one\r\ntwo\n"[..], Delimiter::lines());
/// assert_eq!(lines.recv()?.as_deref(), Some(&b"one"[..]));
/// assert_eq!(lines.recv()?.as_deref(), Some(&b"two"[..]));
/// assert_eq!(lines.recv()?, None);
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Debug)]
pub struct FrameReader<R, F> {
    io: R,
    input: Input<F>,
}

#[derive(Debug)]
struct Input<F> {
    framing: F,
    bytes: BytesMut,
    /// How much the next read has room for at least.
    room: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    /// The stream ended; what is left may still give messages.
    Ending,
    Ended,
    Failed(Failure),
}

impl<R, F> FrameReader<R, F> {
    /// Receives from `io` what `framing` marks as messages.
    pub fn new(io: R, framing: F) -> Self {
        let input = Input { framing, bytes: BytesMut::new(), room: FIRST_READ, state: State::Open };
        Self { io, input }
    }

    /// Returns the byte stream.
    pub fn get_ref(&self) -> &R {
        &self.io
    }

    /// Returns the byte stream, and what has been read of it and is not yet a message.
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.input.bytes)
    }

    /// Returns how many bytes are buffered that are not yet a message.
    pub fn buffered(&self) -> usize {
        self.input.bytes.len()
    }
}

impl<R: Read, F: Framing> FrameReader<R, F> {
    /// Receives the next message; `None` once the stream has ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] where the socket is non-blocking and not ready, or its own time-out passed; nothing
    /// is lost then, and the next call goes on. Other errors are final:
    /// [`ErrorKind::UnexpectedEnd`] where the stream ended inside a message, [`ErrorKind::MessageTooLong`] where the
    /// peer's message is over the limit, and those of the stream itself.
    pub fn recv(&mut self) -> Result<Option<Bytes>> {
        self.input.recv(&mut self.io)
    }

    /// Receives the next message before `deadline`, whatever trickles in; `None` once the stream has ended.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv); [`ErrorKind::TimedOut`] once the deadline has passed, with nothing lost.
    pub fn recv_by(&mut self, deadline: Instant) -> Result<Option<Bytes>>
    where
        R: SocketTimeouts,
    {
        self.input.recv(&mut Until::new(&mut self.io, deadline))
    }
}

impl<R: Read, F: Framing> Iterator for FrameReader<R, F> {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Result<Bytes>> {
        match self.input.state {
            State::Failed(_) => None,
            _ => self.recv().transpose(),
        }
    }
}

impl<F: Framing> Input<F> {
    fn recv(&mut self, io: &mut impl Read) -> Result<Option<Bytes>> {
        loop {
            match self.state {
                State::Open => match self.framing.decode(&mut self.bytes) {
                    Ok(Decoded::Message(message)) => return Ok(Some(message)),
                    Ok(Decoded::Incomplete { missing }) => self.fill(io, missing)?,
                    Err(error) => return Err(self.fail(Failure::Frame(error))),
                },
                State::Ending => match self.framing.decode_end(&mut self.bytes) {
                    Ok(Some(message)) => return Ok(Some(message)),
                    Ok(None) => self.state = State::Ended,
                    Err(error) => return Err(self.fail(Failure::Frame(error))),
                },
                State::Ended => return Ok(None),
                State::Failed(failure) => return Err(failure.again("receive")),
            }
        }
    }

    /// Reads once; what is announced is a claim, so no more than one read's memory is taken for it.
    fn fill(&mut self, io: &mut impl Read, missing: usize) -> Result<()> {
        let len = self.bytes.len();
        let spare = self.bytes.capacity() - len;
        let wanted = missing.clamp(self.room, MAX_READ);
        let room = if spare < FIRST_READ { wanted } else { wanted.min(spare) };
        self.bytes.resize(len + room, 0);
        let result = loop {
            match io.read(self.bytes.get_mut(len..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.bytes.truncate(len + result.as_ref().copied().unwrap_or_default());
        match result {
            Ok(0) => self.state = State::Ending,
            Ok(read) if read >= room => self.room = (2 * room).min(MAX_READ),
            Ok(_) => {}
            Err(error) if is_not_ready(&error) => {
                return Err(Error::new(ErrorKind::TimedOut, "receive").because(error));
            }
            Err(error) => {
                let error = Error::from_io(error, "receive");
                self.fail(Failure::Io(error.kind()));
                return Err(error);
            }
        }
        Ok(())
    }

    #[cold]
    fn fail(&mut self, failure: Failure) -> Error {
        self.state = State::Failed(failure);
        self.bytes = BytesMut::new();
        failure.again("receive")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::script::Script, *};
    use crate::frame::LengthPrefix;

    #[test]
    fn s1_what_is_not_ready_loses_nothing() {
        let steps =
            [Ok(3), Err(io::ErrorKind::WouldBlock), Ok(2), Err(io::ErrorKind::Interrupted), Ok(9), Ok(0)];
        let mut reader =
            FrameReader::new(Script::with_input(steps, b"\0\0\0\x03abc"), LengthPrefix::default());
        assert_eq!(reader.recv().expect_err("not ready").kind(), ErrorKind::TimedOut);
        assert_eq!(reader.buffered(), 3);
        assert_eq!(reader.recv().expect("whole").as_deref(), Some(&b"abc"[..]));
        assert_eq!(reader.recv().expect("a clean end"), None);
        assert_eq!(reader.recv().expect("still ended"), None);
    }

    #[test]
    fn c6_an_end_inside_a_frame_is_an_error_and_final() {
        let mut reader = FrameReader::new(&b"\0\0\0\x03ab"[..], LengthPrefix::default());
        assert_eq!(reader.recv().expect_err("cut").kind(), ErrorKind::UnexpectedEnd);
        assert_eq!(reader.recv().expect_err("still cut").kind(), ErrorKind::UnexpectedEnd);
        assert!(reader.next().is_none(), "an iterator ends behind an error");
    }

    #[test]
    fn a10_memory_follows_what_arrives_not_what_is_announced() {
        let framing = LengthPrefix::default().with_max_message_len(usize::MAX);
        let steps = [Ok(4), Ok(1), Err(io::ErrorKind::WouldBlock)];
        let mut reader = FrameReader::new(Script::with_input(steps, b"\xff\xff\xff\xffx"), framing);
        reader.recv().expect_err("not ready");
        assert!(reader.input.bytes.capacity() <= MAX_READ + 16, "{}", reader.input.bytes.capacity());
    }

    #[test]
    fn many_messages_come_out_of_one_read() {
        let mut wire = BytesMut::new();
        for message in 0..100_u8 {
            LengthPrefix::default().encode(&[message; 10], &mut wire).expect("short");
        }
        let script = Script::with_input([Ok(wire.len()), Ok(0)], &wire);
        let reader = FrameReader::new(script, LengthPrefix::default());
        let messages: Vec<_> = reader.map(|message| message.expect("well-formed")).collect();
        assert!(messages.iter().map(|message| &message[..]).eq((0..100_u8).map(|each| [each; 10])));
    }
}
