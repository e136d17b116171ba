//! The bytes of each message, derived from its sequence number, and the bytes that must come back.
//!
//! Both directions of a connection are endless streams whose content is known beforehand, so sending is writing a
//! slice of the one and verifying is comparing with a slice of the other: no frame is built or taken apart.

use super::{Format, websocket};

/// Above this many bytes a period is not laid out whole, so that the generator does not push the server out of the
/// cache of a shared core.
const TAPE_LIMIT: usize = 512 * 1024;

/// Distance between the payloads of two consecutive frames that share one ring of random bytes.
const RING_STEP: usize = 56;

/// The streams of both directions. They repeat after a period that is longer than what may be in flight, so an answer
/// out of order or on the wrong connection is found.
#[derive(Debug)]
pub struct Pattern {
    request: Stream,
    answer: Stream,
    request_len: usize,
    answer_len: usize,
    period: usize,
}

impl Pattern {
    /// Lays out frames of `payload_len` bytes of which up to `in_flight` are under way at once.
    ///
    /// # Panics
    /// Never: the length of a payload is a command-line argument far below 4 GiB, and a longer one is cut.
    #[must_use]
    pub fn new(format: Format, payload_len: usize, in_flight: usize) -> Self {
        // A prime number of frames, so that it shares no factor with the batches.
        let period = next_prime(in_flight + 1);
        let request = Stream::new(format, 0, payload_len, period);
        let answer = Stream::new(format, 1, payload_len, period);
        Self { request_len: request.frame_len(), answer_len: answer.frame_len(), request, answer, period }
    }

    /// Bytes of one frame that is sent, header included.
    #[must_use]
    pub const fn request_len(&self) -> usize {
        self.request_len
    }

    /// Bytes of one frame that comes back, header included.
    #[must_use]
    pub const fn answer_len(&self) -> usize {
        self.answer_len
    }

    /// Frames after which the streams repeat.
    #[must_use]
    pub const fn period(&self) -> usize {
        self.period
    }

    /// What is sent from byte `at` of the stream on: as much as lies in one piece, never nothing.
    #[must_use]
    pub fn request(&self, at: u64) -> &[u8] {
        self.request.slice(wrap(at, self.request_len * self.period))
    }

    /// Whether `data` is what must come back from byte `at` of the stream on.
    #[must_use]
    pub fn verify(&self, at: u64, mut data: &[u8]) -> bool {
        let whole = self.answer_len * self.period;
        let mut at = wrap(at, whole);
        while !data.is_empty() {
            let expected = self.answer.slice(at);
            let len = expected.len().min(data.len());
            let (head, tail) = data.split_at(len);
            if len == 0 || expected.get(..len) != Some(head) {
                return false;
            }
            data = tail;
            at = (at + len) % whole;
        }
        true
    }
}

/// Position `at` of an endless stream in what repeats every `whole` bytes.
#[expect(clippy::cast_possible_truncation, reason = "the remainder of a division by a usize")]
const fn wrap(at: u64, whole: usize) -> usize {
    (at % whole as u64) as usize
}

/// One direction.
#[derive(Debug)]
enum Stream {
    /// Every frame of the period, one behind the other.
    Tape { bytes: Vec<u8>, frame_len: usize },
    /// Headers one behind the other, and payloads that overlap in one ring of random bytes.
    Ring { headers: Vec<u8>, header_len: usize, ring: Vec<u8>, payload_len: usize },
}

impl Stream {
    fn new(format: Format, kind: u8, payload_len: usize, period: usize) -> Self {
        let header_len = header(format, kind, 0, payload_len).len();
        let frame_len = header_len + payload_len;
        let mut noise = Noise::new();
        // Payloads under masks that differ share no ring.
        if format == Format::Ws || frame_len * period <= TAPE_LIMIT {
            let mut bytes = Vec::with_capacity(frame_len * period);
            for sequence in 0..period {
                bytes.extend(header(format, kind, sequence, payload_len));
                let payload = bytes.len();
                bytes.extend(noise.by_ref().take(payload_len));
                if format == Format::Ws && kind == 0 {
                    websocket::mask(
                        bytes.get_mut(payload..).unwrap_or_default(),
                        websocket::mask_key(sequence),
                    );
                }
            }
            Self::Tape { bytes, frame_len }
        } else {
            let headers =
                (0..period).flat_map(|sequence| header(format, kind, sequence, payload_len)).collect();
            let ring = noise.take(payload_len + RING_STEP * period).collect();
            Self::Ring { headers, header_len, ring, payload_len }
        }
    }

    const fn frame_len(&self) -> usize {
        match self {
            Self::Tape { frame_len, .. } => *frame_len,
            Self::Ring { header_len, payload_len, .. } => *header_len + *payload_len,
        }
    }

    /// What lies in one piece from byte `at` of the period on.
    fn slice(&self, at: usize) -> &[u8] {
        match self {
            Self::Tape { bytes, .. } => bytes.get(at..),
            Self::Ring { headers, header_len, ring, payload_len } => {
                let frame_len = header_len + payload_len;
                let (sequence, within) = (at / frame_len, at % frame_len);
                if within < *header_len {
                    headers.get(sequence * header_len + within..(sequence + 1) * header_len)
                } else {
                    let start = sequence * RING_STEP;
                    ring.get(start + within - header_len..start + payload_len)
                }
            }
        }
        .unwrap_or_default()
    }
}

/// The header of frame number `sequence`.
fn header(format: Format, kind: u8, sequence: usize, payload_len: usize) -> Vec<u8> {
    let body = match format {
        Format::Raw => payload_len,
        Format::Message => 1 + 8 + payload_len,
        Format::Ws => {
            let key = (kind == 0).then(|| websocket::mask_key(sequence));
            return websocket::header(websocket::BINARY, payload_len, key);
        }
    };
    let mut header = u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    if format == Format::Message {
        header.push(kind);
        header.extend((sequence as u64).to_be_bytes());
    }
    header
}

/// The least prime from `from` on.
pub(super) fn next_prime(from: usize) -> usize {
    let is_prime = |n: &usize| *n > 1 && (2..*n).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    // There is a prime between any number and its double.
    (from..=2 * from).find(is_prime).unwrap_or(from)
}

/// Random bytes that are the same in every run (xorshift64*), and so the same in both directions.
struct Noise {
    state: u64,
}

impl Noise {
    const fn new() -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15 }
    }
}

impl Iterator for Noise {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        Some((self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first `frames` frames of what is sent.
    fn sent(pattern: &Pattern, frames: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < frames * pattern.request_len() {
            bytes.extend_from_slice(pattern.request(bytes.len() as u64));
        }
        bytes.truncate(frames * pattern.request_len());
        bytes
    }

    #[test]
    fn raw_answers_are_the_requests_themselves() {
        for payload in [0, 1, 64, 65_536] {
            let pattern = Pattern::new(Format::Raw, payload, 16);
            let bytes = sent(&pattern, 40);
            assert!(pattern.verify(0, &bytes), "payload {payload}");
            assert_eq!(bytes.get(..4).unwrap(), u32::try_from(payload).unwrap().to_be_bytes());
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        for (format, payload) in [(Format::Raw, 64), (Format::Message, 64), (Format::Raw, 65_536)] {
            let pattern = Pattern::new(format, payload, 16);
            let mut bytes = sent(&pattern, 3);
            if format == Format::Message {
                for frame in bytes.chunks_mut(pattern.request_len()) {
                    frame[4] = 1;
                }
            }
            assert!(pattern.verify(0, &bytes));
            for at in (0..bytes.len()).step_by(61) {
                bytes[at] ^= 0x10;
                assert!(!pattern.verify(0, &bytes), "byte {at}");
                bytes[at] ^= 0x10;
            }
        }
    }

    #[test]
    fn no_two_frames_in_flight_are_alike() {
        for (payload, in_flight) in [(64, 256), (1_024, 16), (65_536, 16), (65_536, 256)] {
            let pattern = Pattern::new(Format::Raw, payload, in_flight);
            let bytes = sent(&pattern, in_flight + 1);
            let mut frames: Vec<_> = bytes.chunks(pattern.request_len()).collect();
            frames.sort_unstable();
            frames.dedup();
            assert_eq!(frames.len(), in_flight + 1);
        }
    }

    #[test]
    fn a_stream_may_be_verified_in_any_pieces() {
        for payload in [10, 65_536] {
            let pattern = Pattern::new(Format::Raw, payload, 4);
            let bytes = sent(&pattern, 20);
            for size in [1, 7, pattern.request_len(), 3 * pattern.request_len() + 1] {
                let mut at = 0;
                for piece in bytes.chunks(size) {
                    assert!(pattern.verify(at, piece), "piece of {size} at {at}");
                    at += piece.len() as u64;
                }
            }
        }
    }

    #[test]
    fn a_websocket_answer_is_the_request_without_its_mask() {
        for payload in [0, 64, 125, 126, 65_536] {
            let pattern = Pattern::new(Format::Ws, payload, 16);
            assert_eq!(pattern.request_len(), pattern.answer_len() + 4);
            let header_len = pattern.answer_len() - payload;
            let mut answers = Vec::new();
            let mut keys = Vec::new();
            for frame in sent(&pattern, 40).chunks(pattern.request_len()) {
                let (header, rest) = frame.split_at(header_len);
                let (key, masked) = rest.split_first_chunk::<4>().unwrap();
                assert!(header[0] == 0x82 && header[1] & 0x80 > 0 && *key != [0; 4], "{frame:?}");
                answers.extend([header[0], header[1] & 0x7f]);
                answers.extend(&header[2..]);
                answers.extend(masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
                keys.push(*key);
            }
            keys.truncate(pattern.period());
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), pattern.period(), "every frame has a mask of its own");
            assert!(pattern.verify(0, &answers), "payload {payload}");
            for at in (0..answers.len()).step_by(61) {
                answers[at] ^= 0x10;
                assert!(!pattern.verify(0, &answers), "byte {at}");
                answers[at] ^= 0x10;
            }
        }
    }

    #[test]
    fn message_answers_have_kind_one_and_the_id_of_the_request() {
        let pattern = Pattern::new(Format::Message, 5, 1);
        let request = sent(&pattern, 2);
        assert_eq!(request.get(..13).unwrap(), [0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(request.get(18..31).unwrap(), [0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(!pattern.verify(0, &request), "an echo of kind 0 is no answer");
    }
}
