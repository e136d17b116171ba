//! What is sent: payloads that differ from one another, without a copy for each.

use bytes::Bytes;

/// How many payloads differ before the first one comes again: more than are ever in flight on one connection.
const DISTINCT: u32 = 1 << 16;

/// Payloads of one length: windows of one random text, each a byte further than the one before.
///
/// They are of letters and digits, so that they hold no line feed and can be read in a capture.
#[derive(Clone, Debug)]
pub(crate) struct Payloads {
    text: Bytes,
    len: usize,
    distinct: u64,
}

impl Payloads {
    /// The most messages in flight on one connection that can be told apart.
    pub(crate) const MAX_IN_FLIGHT: usize = DISTINCT as usize - 1;

    pub(crate) fn new(len: usize, in_flight: usize) -> Self {
        let distinct = (in_flight as u64 + 1).next_power_of_two().clamp(1024, DISTINCT.into());
        let mut random = fastrand::Rng::with_seed(len as u64);
        let text: Vec<u8> = (0..len as u64 + distinct).map(|_| random.alphanumeric() as u8).collect();
        Self { text: text.into(), len, distinct }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The payload of the message with this number.
    pub(crate) fn get(&self, number: u64) -> Bytes {
        let start = self.start(number);
        self.text.slice(start..start + self.len)
    }

    /// Tells whether `part` stands at `offset` in the payload of the message with this number.
    pub(crate) fn holds(&self, number: u64, offset: usize, part: &[u8]) -> bool {
        let start = self.start(number) + offset;
        offset + part.len() <= self.len && self.text.get(start..start + part.len()) == Some(part)
    }

    fn start(&self, number: u64) -> usize {
        // Below 65 536 whatever the number.
        usize::try_from(number % self.distinct).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ_and_are_recognised() {
        let payloads = Payloads::new(64, 256);
        for number in [0, 1, 1023, 1024, u64::MAX] {
            let payload = payloads.get(number);
            assert_eq!(payload.len(), 64);
            assert!(payloads.holds(number, 0, &payload));
            assert!(payloads.holds(number, 10, &payload[10..20]));
            assert!(!payloads.holds(number.wrapping_add(1), 0, &payload));
            assert!(!payloads.holds(number, 60, &payload[..10]), "over the end");
        }
    }

    #[test]
    fn an_empty_payload_is_a_payload() {
        assert!(Payloads::new(0, 1).holds(7, 0, b""));
        assert!(!Payloads::new(0, 1).holds(7, 0, b"x"));
    }
}
