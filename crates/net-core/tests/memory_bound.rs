//! Memory follows what has arrived, never what a peer announces.
//!
//! One test alone in its program, since the allocator counts for the whole of it.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    alloc::System,
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use net_core::{
    Receiver,
    blocking::FrameReader,
    frame::{AnyFraming, ByteOrder, Delimiter, FixedSize, LengthPrefix, Tlv},
    framed::FrameReceiver,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::{AsyncRead, ReadBuf};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A peer that sends a few bytes, then `rest` more, and then falls silent.
struct Peer {
    head: &'static [u8],
    rest: usize,
}

impl Peer {
    fn give(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let count = if self.head.is_empty() {
            let count = self.rest.min(buffer.len()).min(10_000);
            buffer[..count].fill(b'x');
            self.rest -= count;
            count
        } else {
            let count = self.head.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.head[..count]);
            self.head = &self.head[count..];
            count
        };
        (count > 0).then_some(count)
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.give(buffer).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.give(buffer.initialize_unfilled()) {
            Some(count) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

/// Runs `wait` and returns how many bytes were allocated in all, freed ones included.
fn allocated(wait: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    wait();
    region.change().bytes_allocated
}

#[test]
fn a10_no_memory_is_taken_for_what_is_merely_announced() {
    let announced: [(AnyFraming, &'static [u8], usize); 6] = [
        (LengthPrefix::default().with_max_message_len(usize::MAX).into(), b"\xff\xff\xff\xff", usize::MAX),
        (
            LengthPrefix::new(8, ByteOrder::BigEndian).with_max_message_len(usize::MAX).into(),
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            usize::MAX,
        ),
        (LengthPrefix::default().into(), b"\x00\x0f\xff\xff", 0xf_ffff),
        (FixedSize::new(usize::MAX).into(), b"x", usize::MAX),
        (Delimiter::lines().with_max_message_len(usize::MAX).into(), b"x", usize::MAX),
        (Tlv::default().into(), b"\x01\xff\xff", 65_535),
    ];
    for (framing, head, longest) in announced {
        for rest in [0, 1, 1000, 60_000, 1_000_000, 9_000_000] {
            let rest = rest.min(longest - 1);
            let bound = 320 * 1024 + 4 * rest;
            let blocking = allocated(|| {
                let mut reader = FrameReader::new(Peer { head, rest }, framing.clone());
                assert!(reader.recv().is_err_and(|error| error.is_timeout()), "the peer is silent");
                assert_eq!(reader.buffered(), head.len() + rest);
            });
            assert!(blocking < bound, "{framing:?}: {blocking} for {rest}");
            let asynchronous = allocated(|| {
                let mut receiver = FrameReceiver::new(Peer { head, rest }, framing.clone());
                assert!(receiver.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
            });
            assert!(asynchronous < bound, "{framing:?}: {asynchronous} for {rest}");
        }
    }
}
