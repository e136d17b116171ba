//! Compressing what is sent.

use flate2::{Compress, CompressError, FlushCompress};

use super::{
    DeflateInfo, TAIL,
    lent::{compressor, with_compressor, with_scratch},
};

/// The least room that a compressor is given.
const MIN_ROOM: usize = 64;

/// How much memory a compressor holds beside four times its window.
const HELD_LEN: usize = 243 * 1024;

/// Compresses the messages that one connection sends.
#[derive(Debug)]
pub(crate) struct Compressor {
    agreed: DeflateInfo,
    level: u8,
    min_len: usize,
    /// What is kept between messages, from the first one on.
    own: Option<Box<Compress>>,
}

impl Compressor {
    pub(crate) fn new(agreed: DeflateInfo, level: u8, min_len: usize) -> Self {
        Self { agreed, level, min_len, own: None }
    }

    /// Returns how much memory is kept.
    pub(crate) fn held_len(&self) -> usize {
        if self.own.is_some() { HELD_LEN + (4 << self.agreed.send_window_bits) } else { 0 }
    }

    /// Gives `send` the message `head` + `body` compressed; `None` where it goes as it is: it is short, or would not become
    /// shorter.
    ///
    /// "Compression is not required for every message." Source: RFC 7692 §6.
    pub(crate) fn compress<R>(
        &mut self,
        head: &[u8],
        body: &[u8],
        send: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let len = head.len() + body.len();
        if len < self.min_len {
            return None;
        }
        with_scratch(|out| {
            let DeflateInfo { send_takeover, send_window_bits: bits, .. } = self.agreed;
            let done = if send_takeover {
                let own = self.own.get_or_insert_with(|| Box::new(compressor(self.level, bits)));
                run(own, head, body, out)
            } else {
                with_compressor(self.level, bits, |lent| run(lent, head, body, out))
            };
            let payload = out.strip_suffix(&TAIL).filter(|payload| done.is_ok() && payload.len() < len);
            if payload.is_none()
                && let Some(own) = &mut self.own
            {
                // The peer never sees what it was fed, so that nothing may point into it.
                own.reset();
            }
            payload.map(send)
        })
    }
}

fn run(deflate: &mut Compress, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
    for (mut rest, flush) in [(head, FlushCompress::None), (body, FlushCompress::Sync)] {
        loop {
            let room = (rest.len() + rest.len() / 1024 + MIN_ROOM).min(64 * 1024);
            out.reserve(room);
            let before = deflate.total_in();
            deflate.compress_vec(rest, out, flush)?;
            let taken = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            // Room that is left says that nothing waits to be written.
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
    }
    Ok(())
}
