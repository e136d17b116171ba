//! One connection of the load generator: what it may send, what it awaits, when what was sent left.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::echo::Lane;
use super::wire::{Buffers, Target, Wire};
use super::{Pattern, exchange};

/// Slices of one write. Long payloads are written from where they lie, header and payload in turn.
const SLICES: usize = 32;

/// A connection and its two positions in the endless streams of the pattern.
#[derive(Debug)]
pub(super) struct Link {
    wire: Wire,
    /// Position in bytes of what was written and of what may be written in the one stream, and of what was verified in the
    /// other.
    written: u64,
    allowed: u64,
    verified: u64,
    request_len: u64,
    answer_len: u64,
    /// Whether the kernel had no room for all that may be sent.
    waits: bool,
    /// For each write: the position behind it and when it began.
    writes: VecDeque<(u64, Instant)>,
}

/// Answers that were completed by one read: how many, and how long they took.
pub(super) type Answers = (u64, Duration);

impl Lane for Link {
    type Script = Pattern;

    fn connect(target: &Target, pattern: &Pattern, number: usize) -> io::Result<Self> {
        let wire = target.connect()?;
        wire.stream().set_nonblocking(true)?;
        let (request_len, answer_len) = (pattern.request_len() as u64, pattern.answer_len() as u64);
        let first = (number % pattern.period()) as u64;
        Ok(Self {
            wire,
            written: first * request_len,
            allowed: first * request_len,
            verified: first * answer_len,
            request_len,
            answer_len,
            waits: false,
            writes: VecDeque::new(),
        })
    }

    fn stream(&self) -> &TcpStream {
        self.wire.stream()
    }

    fn allow(&mut self, _: &Pattern, frames: u64) {
        self.allowed += frames * self.request_len;
    }

    fn is_quiet(&self) -> bool {
        self.verified == self.due() && !self.is_blocked()
    }

    fn fill(&mut self, pattern: &Pattern) -> io::Result<Option<bool>> {
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

    fn drain(
        &mut self,
        pattern: &Pattern,
        buffers: &mut Buffers,
        mut each: impl FnMut(Answers),
    ) -> io::Result<u64> {
        let data = self.wire.try_read(buffers)?;
        let (now, count) = (Instant::now(), data.len());
        if self.verified + count as u64 > self.due() {
            return Err(exchange::wrong("more came back than was sent"));
        }
        if !pattern.verify(self.verified, data) {
            return Err(exchange::wrong("other bytes came back than were sent"));
        }
        // The frame that the position stands in, or at whose beginning it stands.
        let mut next = self.verified / self.answer_len;
        self.verified += count as u64;
        let end = self.verified / self.answer_len;
        let total = end - next;
        while next < end
            && let Some(&(behind, began)) = self.writes.front()
        {
            // Frames that begin within this write count from its time.
            let of_this_write = behind.div_ceil(self.request_len).min(end);
            if of_this_write > next {
                each((of_this_write - next, now - began));
                next = of_this_write;
            }
            if next * self.request_len >= behind {
                self.writes.pop_front();
            }
        }
        Ok(total)
    }
}

impl Link {
    /// Whether something may be sent for which the kernel had no room.
    const fn is_blocked(&self) -> bool {
        self.written < self.allowed
    }

    /// How far answers to what was written may reach: one to a frame of which a part was written has begun at most.
    const fn due(&self) -> u64 {
        if self.request_len == self.answer_len {
            return self.written;
        }
        let (whole, part) = (self.written / self.request_len, self.written % self.request_len);
        whole * self.answer_len + part.saturating_sub(self.request_len - self.answer_len)
    }
}
