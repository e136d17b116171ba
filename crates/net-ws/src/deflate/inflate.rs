//! Decompressing what is received.

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    DeflateInfo, TAIL,
    lent::{inflater, with_inflater},
};
use crate::error::ProtocolError;

/// The least room that is made for what comes out.
const MIN_ROOM: usize = 512;
/// How often a message may end its compression and begin it anew, and how many bytes of it allow for one time more.
///
/// Each time costs as much as a hundred bytes, of which an empty block takes two. Peers that compress without a flush do it once a
/// message.
const FREE_ENDS: usize = 16;
const LEN_OF_END: usize = 64;
/// How much memory a decompressor holds.
const HELD_LEN: usize = 47 * 1024;
/// How much is expected to come out for each byte that goes in.
const USUAL_RATIO: usize = 4;

/// Decompresses the messages that one connection receives.
#[derive(Debug)]
pub(crate) struct Inflater {
    agreed: DeflateInfo,
    /// What is kept between messages, and between the fragments of one, from the first one on.
    own: Option<Box<Decompress>>,
    /// How often the message may still end its compression.
    ends: usize,
}

impl Inflater {
    pub(crate) fn new(agreed: DeflateInfo) -> Self {
        Self { agreed, own: None, ends: 0 }
    }

    /// Returns how much memory is kept.
    pub(crate) fn held_len(&self) -> usize {
        if self.own.is_some() { HELD_LEN } else { 0 }
    }

    /// Appends to `out` what comes out of `input`, a fragment of a message; `first` and `last` say which.
    ///
    /// No more than `max` bytes are ever in `out`, and one more ends it: the limit holds while it inflates.
    ///
    /// # Errors
    ///
    /// The input is not compressed or ends its compression too often, or more than `max` bytes are in `out`. It is of no use
    /// afterwards.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        (first, last): (bool, bool),
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), ProtocolError> {
        let DeflateInfo { recv_takeover, .. } = self.agreed;
        let before = if first { FREE_ENDS } else { self.ends };
        self.ends = before.saturating_add(input.len() / LEN_OF_END);
        let ends = &mut self.ends;
        if !recv_takeover && first && last {
            return with_inflater(|lent| run(lent, input, last, out, max, ends));
        }
        let own = self.own.get_or_insert_with(|| Box::new(inflater()));
        run(own, input, last, out, max, ends)?;
        if !recv_takeover && last {
            self.own = None;
        }
        Ok(())
    }
}

fn run(
    inflate: &mut Decompress,
    input: &[u8],
    last: bool,
    out: &mut Vec<u8>,
    max: usize,
    ends: &mut usize,
) -> Result<(), ProtocolError> {
    // "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload." Source: RFC 7692 §7.2.2.
    let tail: &[u8] = if last { &TAIL } else { &[] };
    for mut rest in [input, tail] {
        loop {
            if out.len() == out.capacity() {
                let expected = rest.len().saturating_mul(USUAL_RATIO).max(out.len()).max(MIN_ROOM);
                // One byte beyond the limit tells that it is broken.
                out.reserve_exact(expected.min(max.saturating_add(1).saturating_sub(out.len())));
            }
            let (taken, given) = (inflate.total_in(), out.len());
            let status = inflate
                .decompress_vec(rest, out, FlushDecompress::Sync)
                .map_err(|_| ProtocolError::Deflate)?;
            if out.len() > max {
                return Err(ProtocolError::TooLong { len: out.len() as u64, max });
            }
            let taken = usize::try_from(inflate.total_in() - taken).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            if matches!(status, Status::StreamEnd) {
                // A block that says that it is the last one; what follows begins anew. Source: RFC 7692 §7.2.3.4.
                *ends = ends.checked_sub(1).ok_or(ProtocolError::Deflate)?;
                inflate.reset(false);
            } else if taken == 0 && out.len() == given && !rest.is_empty() {
                return Err(ProtocolError::Deflate);
            }
            // Room that is left says that nothing waits to come out.
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::deflate::Compressor;

    fn agreed(takeover: bool, bits: u8) -> DeflateInfo {
        DeflateInfo {
            send_takeover: takeover,
            recv_takeover: takeover,
            send_window_bits: bits,
            recv_window_bits: bits,
        }
    }

    fn compressed(compressor: &mut Compressor, message: &[u8]) -> Option<Vec<u8>> {
        let (head, body) = message.split_at(message.len() / 3);
        compressor.compress(head, body, <[u8]>::to_vec)
    }

    fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let text = proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 1..2000);
        proptest::collection::vec(text, 1..6)
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_out_however_it_is_cut(
            messages in messages(), takeover: bool, bits in 8..=15_u8, level in 1..=9_u8, cut: usize,
        ) {
            let mut compressor = Compressor::new(agreed(takeover, bits), level, 1);
            let mut inflater = Inflater::new(agreed(takeover, bits));
            for message in messages {
                let Some(wire) = compressed(&mut compressor, &message) else { continue };
                let cut = cut % (wire.len() + 1);
                let mut out = Vec::new();
                let (first, second) = wire.split_at(cut);
                inflater.inflate(first, (true, false), &mut out, message.len()).expect("compressed");
                inflater.inflate(second, (false, true), &mut out, message.len()).expect("compressed");
                prop_assert_eq!(&out, &message);
            }
        }

        #[test]
        fn garbage_is_an_error_or_bounded(input: Vec<u8>, max in 0..5000_usize) {
            let mut out = Vec::new();
            let _ = Inflater::new(agreed(true, 15)).inflate(&input, (true, true), &mut out, max);
            prop_assert!(out.len() <= max + 1);
        }
    }

    #[test]
    fn a17_the_limit_holds_while_it_inflates_exact_to_the_byte() {
        for len in [1, 100, 512, 513, 100_000, 10 << 20] {
            let bomb = vec![b'x'; len];
            let wire = compressed(&mut Compressor::new(agreed(false, 15), 9, 1), &bomb);
            let Some(wire) = wire else { continue };
            for takeover in [false, true] {
                let inflate = |max| {
                    let mut out = Vec::new();
                    let done =
                        Inflater::new(agreed(takeover, 15)).inflate(&wire, (true, true), &mut out, max);
                    assert!(out.capacity() <= max + 1, "{} held", out.capacity());
                    done
                };
                assert_eq!(inflate(len), Ok(()));
                assert_eq!(inflate(len - 1), Err(ProtocolError::TooLong { len: len as u64, max: len - 1 }));
            }
        }
    }
}
