//! One WebSocket connection of the load generator on which JSON documents are exchanged compressed (RFC 7692).
//!
//! How a server compresses is its own affair, so its answers are not known beforehand byte by byte: each is inflated and
//! compared with the document. That costs the client the same whatever the server.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::time::Instant;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::echo::Lane;
use super::link::Answers;
use super::pattern::next_prime;
use super::wire::{Buffers, Target, Wire};
use super::{exchange, websocket};

/// What a flush leaves at the end of each message, and the protocol leaves out.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// The documents of a load, one behind the other, as they are and as frames.
#[derive(Debug)]
pub(super) struct Documents {
    plain: Vec<Vec<u8>>,
    frames: Vec<u8>,
    /// Where each frame ends.
    ends: Vec<usize>,
}

impl Documents {
    /// Compresses documents of `len` bytes of which up to `in_flight` are under way at once.
    pub(super) fn new(len: usize, in_flight: usize) -> io::Result<Self> {
        // Each message is compressed by itself, as was offered.
        let mut deflate = Compress::new(Compression::default(), false);
        let (mut plain, mut frames, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in 0..next_prime(in_flight + 1) {
            let text = document(sequence, len);
            let mut body = Vec::with_capacity(len + 64);
            deflate.reset();
            deflate.compress_vec(&text, &mut body, FlushCompress::Sync).map_err(io::Error::other)?;
            if deflate.total_in() != text.len() as u64 || !body.ends_with(&TAIL) {
                return Err(io::Error::other("a document was not compressed whole"));
            }
            body.truncate(body.len() - TAIL.len());
            let key = websocket::mask_key(sequence);
            frames.extend(websocket::header(websocket::COMPRESSED_TEXT, body.len(), Some(key)));
            websocket::mask(&mut body, key);
            frames.extend(body);
            ends.push(frames.len());
            plain.push(text);
        }
        Ok(Self { plain, frames, ends })
    }

    /// Position in the endless stream of frames at which frame number `number` begins.
    fn start(&self, number: u64) -> u64 {
        let period = self.ends.len() as u64;
        let within = usize::try_from(number % period).unwrap_or(0);
        let before = within.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        number / period * self.frames.len() as u64 + before as u64
    }

    /// What is sent from byte `at` of the stream on, as much as lies in one piece.
    fn slice(&self, at: u64) -> &[u8] {
        let within = usize::try_from(at % self.frames.len() as u64).unwrap_or(0);
        self.frames.get(within..).unwrap_or_default()
    }

    /// The document of frame number `number`.
    fn plain(&self, number: u64) -> &[u8] {
        let within = usize::try_from(number % self.plain.len() as u64).unwrap_or(0);
        self.plain.get(within).map_or(&[], Vec::as_slice)
    }
}

/// A JSON document of `len` bytes as services exchange them: names that repeat, values that do not, and spaces in the end.
fn document(sequence: usize, len: usize) -> Vec<u8> {
    let mut text = format!("{{\"sequence\":{sequence},\"readings\":[");
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ (sequence as u64 + 1);
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (id, value) = (random >> 48, random >> 20 & 0xF_FFFF);
        let reading = format!(
            "{{\"sensor\":\"device-{id:05}\",\"unit\":\"celsius\",\"value\":{}.{:03},\"valid\":true}},",
            value / 1_000,
            value % 1_000
        );
        if text.len() + reading.len() + 1 > len {
            break;
        }
        text.push_str(&reading);
    }
    if text.ends_with(',') {
        text.pop();
    }
    text.push_str("]}");
    let mut bytes = text.into_bytes();
    bytes.resize(len.max(bytes.len()), b' ');
    bytes
}

/// A connection, what it may send and what it awaits.
#[derive(Debug)]
pub(super) struct CompressedLink {
    wire: Wire,
    /// Position in bytes of what was written and of what may be written.
    written: u64,
    end: u64,
    /// Frames that may be sent, and that were answered.
    allowed: u64,
    answered: u64,
    /// Whether the kernel had no room for all that may be sent.
    waits: bool,
    /// For each write: the position behind it and when it began.
    writes: VecDeque<(u64, Instant)>,
    /// What was read of an answer that is not whole.
    rest: Vec<u8>,
    inflate: Decompress,
    text: Vec<u8>,
}

impl Lane for CompressedLink {
    type Script = Documents;

    fn connect(target: &Target, documents: &Documents, number: usize) -> io::Result<Self> {
        let wire = target.connect()?;
        wire.stream().set_nonblocking(true)?;
        let first = (number % documents.ends.len()) as u64;
        let start = documents.start(first);
        Ok(Self {
            wire,
            written: start,
            end: start,
            allowed: first,
            answered: first,
            waits: false,
            writes: VecDeque::new(),
            rest: Vec::new(),
            inflate: Decompress::new(false),
            text: Vec::new(),
        })
    }

    fn stream(&self) -> &TcpStream {
        self.wire.stream()
    }

    fn allow(&mut self, documents: &Documents, frames: u64) {
        self.allowed += frames;
        self.end = documents.start(self.allowed);
    }

    fn is_quiet(&self) -> bool {
        self.answered == self.allowed && self.written == self.end
    }

    fn fill(&mut self, documents: &Documents) -> io::Result<Option<bool>> {
        while self.written < self.end {
            let piece = documents.slice(self.written);
            let room = usize::try_from(self.end - self.written).unwrap_or(usize::MAX);
            let began = Instant::now();
            let first = piece.get(..room).unwrap_or(piece);
            // What is left lies at the beginning of the next period.
            let next = documents.slice(self.written + first.len() as u64);
            let second = next.get(..room - first.len()).unwrap_or(next);
            let count = self.wire.try_write(&[IoSlice::new(first), IoSlice::new(second)])?;
            if count == 0 {
                break;
            }
            self.written += count as u64;
            self.writes.push_back((self.written, began));
        }
        let waits = !self.wire.try_flush()? || self.written < self.end;
        let changed = waits != self.waits;
        self.waits = waits;
        Ok(changed.then_some(waits))
    }

    fn drain(
        &mut self,
        documents: &Documents,
        buffers: &mut Buffers,
        mut each: impl FnMut(Answers),
    ) -> io::Result<u64> {
        let data = self.wire.try_read(buffers)?;
        let now = Instant::now();
        self.rest.extend_from_slice(data);
        let mut rest = std::mem::take(&mut self.rest);
        let (mut at, before) = (0, self.answered);
        while let Some((header_len, payload_len)) = rest.get(at..).and_then(websocket::lengths) {
            let Some(payload) = rest.get(at + header_len..at + header_len + payload_len) else { break };
            if rest.get(at) != Some(&websocket::COMPRESSED_TEXT) {
                return Err(exchange::wrong("an answer is not one frame of compressed text"));
            }
            if self.answered == self.allowed {
                return Err(exchange::wrong("more came back than was sent"));
            }
            self.verify(documents.plain(self.answered), payload)?;
            each((1, now - self.sent(documents)));
            self.answered += 1;
            at += header_len + payload_len;
        }
        rest.drain(..at);
        self.rest = rest;
        Ok(self.answered - before)
    }
}

impl CompressedLink {
    /// Inflates `payload` and compares.
    fn verify(&mut self, plain: &[u8], payload: &[u8]) -> io::Result<()> {
        self.inflate.reset(false);
        self.text.clear();
        // A byte more than is expected, so that a longer one is found.
        self.text.reserve(plain.len() + 1);
        for piece in [payload, &TAIL] {
            self.inflate
                .decompress_vec(piece, &mut self.text, FlushDecompress::Sync)
                .map_err(|error| exchange::wrong(&format!("an answer cannot be inflated: {error}")))?;
        }
        if self.text == plain {
            Ok(())
        } else {
            Err(exchange::wrong("another document came back than was sent"))
        }
    }

    /// When the write began that carried the first byte of the frame whose answer is awaited.
    fn sent(&mut self, documents: &Documents) -> Instant {
        let start = documents.start(self.answered);
        while let Some(&(behind, began)) = self.writes.front() {
            if start < behind {
                return began;
            }
            self.writes.pop_front();
        }
        Instant::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_differ_and_compress() {
        let documents = Documents::new(1_024, 16).unwrap();
        let mut plain = documents.plain.clone();
        plain.sort_unstable();
        plain.dedup();
        assert_eq!((plain.len(), documents.ends.len()), (17, 17));
        assert!(plain.iter().all(|text| text.len() == 1_024));
        assert!(plain.iter().all(|text| serde_json::from_slice::<serde_json::Value>(text).is_ok()));
        assert!(documents.frames.len() < 17 * 700, "{}", documents.frames.len());
    }

    #[test]
    fn frames_begin_where_the_one_before_ends_whatever_the_period() {
        let documents = Documents::new(1_024, 4).unwrap();
        for number in 0..20 {
            let start = documents.start(number);
            let frame = documents.slice(start);
            assert_eq!(frame[0], websocket::COMPRESSED_TEXT);
            let mut unmasked = frame.to_vec();
            unmasked[1] &= 0x7F;
            let (header_len, payload_len) = websocket::lengths(&unmasked).unwrap();
            assert_eq!(documents.start(number + 1), start + (header_len + 4 + payload_len) as u64);
        }
    }
}
