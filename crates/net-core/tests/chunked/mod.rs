//! A byte stream that comes and goes in pieces of chosen sizes, and the ways to read messages from it.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use net_core::{
    Error, ErrorKind, Receiver, Result,
    blocking::FrameReader,
    frame::{Decoded, Framing},
    framed::FrameReceiver,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream that moves as many bytes a call as `sizes` say, in turn; 0 is a call that has to be repeated.
#[derive(Debug)]
pub(crate) struct Chunked {
    pub(crate) bytes: Vec<u8>,
    read: usize,
    sizes: Vec<usize>,
    turn: usize,
    /// The last call was one to repeat; the next one moves something.
    repeated: bool,
}

impl Chunked {
    pub(crate) fn new(bytes: &[u8], sizes: &[usize]) -> Self {
        Self { bytes: bytes.to_vec(), read: 0, sizes: sizes.to_vec(), turn: 0, repeated: false }
    }

    /// How much the next call moves; `None` where it is to be repeated.
    fn step(&mut self) -> Option<usize> {
        self.turn += 1;
        let size = self.sizes.get(self.turn % self.sizes.len().max(1)).copied().unwrap_or(usize::MAX);
        self.repeated = size == 0 && !self.repeated;
        (!self.repeated).then_some(size.max(1))
    }

    /// An error that is to be repeated: by the callee, or by the caller, who then has lost nothing.
    fn again(&self) -> io::Error {
        let kinds = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock];
        kinds[self.turn / self.sizes.len().max(1) % 2].into()
    }
}

impl Read for Chunked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(size) = self.step() else { return Err(self.again()) };
        let left = &self.bytes[self.read..];
        let count = size.min(buffer.len()).min(left.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.read += count;
        Ok(count)
    }
}

impl AsyncRead for Chunked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(size) = self.step() else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let left = &self.bytes[self.read..];
        let count = size.min(buffer.remaining()).min(left.len());
        buffer.put_slice(&left[..count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for Chunked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(size) = self.step() else { return Err(self.again()) };
        let count = size.min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for Chunked {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(size) = self.step() else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let count = size.min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Up to the size of one call, over the edges of slices.
        let Some(mut left) = self.step() else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let before = self.bytes.len();
        for slice in slices {
            let count = left.min(slice.len());
            self.bytes.extend_from_slice(&slice[..count]);
            left -= count;
        }
        Poll::Ready(Ok(self.bytes.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What came out of a byte stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Bytes>,
    pub(crate) error: Option<ErrorKind>,
}

impl Outcome {
    fn of(mut next: impl FnMut() -> Result<Option<Bytes>>) -> Self {
        let mut messages = Vec::new();
        let error = loop {
            match next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break None,
                Err(error) if error.is_timeout() => {}
                Err(error) => break Some(error.kind()),
            }
        };
        Self { messages, error }
    }

    /// All bytes of all messages, for framings that keep nothing else.
    pub(crate) fn joined(&self) -> Vec<u8> {
        self.messages.concat()
    }
}

/// Reads with the codec alone; checks on the way what a codec owes to its driver.
pub(crate) fn decode<F: Framing>(mut framing: F, mut wire: Chunked) -> Outcome {
    let mut input = BytesMut::new();
    let mut ended = false;
    Outcome::of(|| {
        loop {
            let before = input.len();
            let decoded = if ended {
                framing.decode_end(&mut input).map(|message| message.map(Decoded::Message))
            } else {
                framing.decode(&mut input).map(Some)
            };
            match decoded.map_err(|error| Error::from_frame(error, "receive"))? {
                Some(Decoded::Message(message)) => {
                    assert!(message.len() <= framing.max_message_len(), "over the limit");
                    assert!(input.len() < before, "a message out of nothing");
                    return Ok(Some(message));
                }
                Some(Decoded::Incomplete { missing }) => {
                    assert_eq!(input.len(), before, "what is incomplete is left alone");
                    assert!(missing > 0);
                    let mut buffer = [0; 512];
                    let count = loop {
                        if let Ok(count) = wire.read(&mut buffer) {
                            break count;
                        }
                    };
                    input.extend_from_slice(&buffer[..count]);
                    ended = count == 0;
                }
                None => return Ok(None),
            }
        }
    })
}

/// Reads with the blocking driver.
pub(crate) fn read<F: Framing>(framing: F, wire: Chunked) -> Outcome {
    let mut reader = FrameReader::new(wire, framing);
    Outcome::of(|| reader.recv())
}

/// Reads with the async driver.
pub(crate) fn receive<F: Framing>(framing: F, wire: Chunked) -> Outcome {
    let mut receiver = FrameReceiver::new(wire, framing);
    block_on(async {
        let mut messages = Vec::new();
        let error = loop {
            match receiver.recv().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break None,
                Err(error) => break Some(error.kind()),
            }
        };
        Outcome { messages, error }
    })
}

/// Reads with the async driver, looking at messages before they are taken: some are then consumed, some received.
pub(crate) fn peek<F: Framing>(framing: F, wire: Chunked) -> Outcome {
    let mut receiver = FrameReceiver::new(wire, framing);
    block_on(async {
        let mut messages: Vec<Bytes> = Vec::new();
        let error = loop {
            if messages.len().is_multiple_of(2) && receiver.peek().is_none() {
                match poll_fn(|cx| receiver.poll_fill(cx)).await {
                    Ok(came) => assert!(!came || receiver.incomplete_len() > 0, "something has come"),
                    Err(error) => break Some(error.kind()),
                }
            }
            let shown = receiver.peek().map(Bytes::copy_from_slice);
            assert_eq!(receiver.peek().map(Bytes::copy_from_slice), shown, "to look changes nothing");
            if let Some(shown) = &shown
                && !messages.len().is_multiple_of(3)
            {
                receiver.consume();
                receiver.consume();
                messages.push(shown.clone());
                continue;
            }
            match receiver.recv().await {
                Ok(Some(message)) => {
                    assert!(shown.is_none_or(|shown| shown == message), "another message was shown");
                    messages.push(message);
                }
                Ok(None) => break None,
                Err(error) => break Some(error.kind()),
            }
            receiver.consume();
        };
        Outcome { messages, error }
    })
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Reads `wire` in every way and in different pieces, and checks that all find the same.
pub(crate) fn agree<F: Framing>(framing: &F, wire: &[u8], sizes: &[usize]) -> Outcome {
    let whole = decode(framing.clone(), Chunked::new(wire, &[]));
    let others = [
        decode(framing.clone(), Chunked::new(wire, sizes)),
        read(framing.clone(), Chunked::new(wire, sizes)),
        receive(framing.clone(), Chunked::new(wire, sizes)),
        peek(framing.clone(), Chunked::new(wire, sizes)),
        peek(framing.clone(), Chunked::new(wire, &[])),
        read(framing.clone(), Chunked::new(wire, &[])),
        receive(framing.clone(), Chunked::new(wire, &[])),
    ];
    for other in others {
        if framing.preserves_messages() {
            assert_eq!(other, whole, "{framing:?}");
        } else {
            assert_eq!((other.joined(), other.error), (whole.joined(), whole.error), "{framing:?}");
        }
    }
    whole
}
