//! One connection of the load generator: what it may send, what it awaits, when what was sent left.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::wire::{Buffers, Target, Wire};
use super::{Pattern, exchange};

/// Slices of one write. Long payloads are written from where they lie, header and payload in turn.
const SLICES: usize = 32;

/// A connection and its two positions in the endless streams of the pattern.
#[derive(Debug)]
pub(super) struct Link {
    wire: Wire,
    /// Position in bytes of what was written, of what may be written, and of what was verified.
    written: u64,
    allowed: u64,
    verified: u64,
    frame_len: u64,
    /// Whether the kernel had no room for all that may be sent.
    waits: bool,
    /// For each write: the position behind it and when it began.
    writes: VecDeque<(u64, Instant)>,
}

/// Answers that were completed by one read: how many, and how long they took.
pub(super) type Answers = (u64, Duration);

impl Link {
    /// Connects; `number` decides at which frame of the pattern the connection begins.
    pub(super) fn connect(target: &Target, pattern: &Pattern, number: usize) -> io::Result<Self> {
        let wire = target.connect()?;
        wire.stream().set_nonblocking(true)?;
        let frame_len = pattern.frame_len() as u64;
        let start = (number % pattern.period()) as u64 * frame_len;
        Ok(Self {
            wire,
            written: start,
            allowed: start,
            verified: start,
            frame_len,
            waits: false,
            writes: VecDeque::new(),
        })
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        self.wire.stream()
    }

    /// Lets `frames` more frames be sent.
    pub(super) const fn allow(&mut self, frames: u64) {
        self.allowed += frames * self.frame_len;
    }

    /// Whether something may be sent for which the kernel had no room.
    pub(super) const fn is_blocked(&self) -> bool {
        self.written < self.allowed
    }

    /// Whether all that was sent has come back.
    pub(super) const fn is_quiet(&self) -> bool {
        self.verified == self.written && !self.is_blocked()
    }

    /// Writes what may be sent, as far as there is room; tells when waiting for room has begun or ended.
    pub(super) fn fill(&mut self, pattern: &Pattern) -> io::Result<Option<bool>> {
        while self.is_blocked() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut end = self.written;
            let mut used = 0;
            for slot in &mut slices {
                let room = usize::try_from(self.allowed - end).unwrap_or(usize::MAX);
                if room == 0 {
                    break;
                }
                let piece = pattern.request(end);
                let piece = piece.get(..room).unwrap_or(piece);
                *slot = IoSlice::new(piece);
                end += piece.len() as u64;
                used += 1;
            }
            let began = Instant::now();
            let count = self.wire.try_write(slices.get(..used).unwrap_or_default())?;
            if count > 0 {
                self.written += count as u64;
                self.writes.push_back((self.written, began));
            }
            if self.written < end {
                break;
            }
        }
        let waits = !self.wire.try_flush()? || self.is_blocked();
        let changed = waits != self.waits;
        self.waits = waits;
        Ok(changed.then_some(waits))
    }

    /// Reads once and verifies; tells `each` of the answers that became whole.
    ///
    /// # Errors
    /// As the read gives them; `UnexpectedEof` when the server closed, `InvalidData` when it answered anything else
    /// than what was sent.
    pub(super) fn drain(
        &mut self,
        pattern: &Pattern,
        buffers: &mut Buffers,
        mut each: impl FnMut(Answers),
    ) -> io::Result<u64> {
        let data = self.wire.try_read(buffers)?;
        let (now, count) = (Instant::now(), data.len());
        if self.verified + count as u64 > self.written {
            return Err(exchange::wrong("more came back than was sent"));
        }
        if !pattern.verify(self.verified, data) {
            return Err(exchange::wrong("other bytes came back than were sent"));
        }
        // The frame that the position stands in, or at whose beginning it stands.
        let mut next = self.verified / self.frame_len;
        self.verified += count as u64;
        let end = self.verified / self.frame_len;
        let total = end - next;
        while next < end
            && let Some(&(behind, began)) = self.writes.front()
        {
            // Frames that begin within this write count from its time.
            let of_this_write = behind.div_ceil(self.frame_len).min(end);
            if of_this_write > next {
                each((of_this_write - next, now - began));
                next = of_this_write;
            }
            if next * self.frame_len >= behind {
                self.writes.pop_front();
            }
        }
        Ok(total)
    }
}
