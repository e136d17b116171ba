//! Compressors and decompressors that each thread lends for one message.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress};

/// How many of each kind a thread keeps.
const KEPT: usize = 4;

/// What is lent under what it was made for, the oldest first.
type Shelf<T> = RefCell<Vec<(u16, T)>>;

thread_local! {
    static COMPRESSORS: Shelf<Compress> = const { RefCell::new(Vec::new()) };
    static INFLATERS: Shelf<Decompress> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The scratch buffer that a thread keeps has at most so many bytes.
const MAX_SCRATCH: usize = 128 * 1024;

fn lend<T, R>(
    shelf: &'static std::thread::LocalKey<Shelf<T>>,
    key: u16,
    make: impl FnOnce() -> T,
    use_it: impl FnOnce(&mut T) -> R,
) -> R {
    let kept = shelf.try_with(|shelf| {
        let mut shelf = shelf.borrow_mut();
        let place = shelf.iter().position(|(of, _)| *of == key)?;
        Some(shelf.remove(place).1)
    });
    let mut lent = kept.ok().flatten().unwrap_or_else(make);
    let result = use_it(&mut lent);
    // Gone where a connection outlives the thread's own as it ends.
    let _ = shelf.try_with(|shelf| {
        let mut shelf = shelf.borrow_mut();
        if shelf.len() >= KEPT {
            // Else a few peers that ask for windows of their own would keep all others from being lent anything.
            shelf.remove(0);
        }
        shelf.push((key, lent));
    });
    result
}

/// Makes a compressor.
pub(super) fn compressor(level: u8, bits: u8) -> Compress {
    Compress::new_with_window_bits(
        Compression::new(level.into()),
        false,
        bits.clamp(super::MIN_ZLIB_BITS, 15),
    )
}

/// Makes a decompressor, for windows of any size: it holds no less memory for a smaller one, and would be made anew each time it is
/// reset.
pub(super) fn inflater() -> Decompress {
    Decompress::new(false)
}

/// Lends a compressor that knows of nothing before.
pub(super) fn with_compressor<R>(level: u8, bits: u8, use_it: impl FnOnce(&mut Compress) -> R) -> R {
    let key = u16::from(level) << 8 | u16::from(bits);
    let anew = |lent: &mut Compress| {
        lent.reset();
        use_it(lent)
    };
    lend(&COMPRESSORS, key, || compressor(level, bits), anew)
}

/// Lends a decompressor that knows of nothing before.
pub(super) fn with_inflater<R>(use_it: impl FnOnce(&mut Decompress) -> R) -> R {
    let anew = |lent: &mut Decompress| {
        lent.reset(false);
        use_it(lent)
    };
    lend(&INFLATERS, 0, inflater, anew)
}

/// Lends an empty buffer.
pub(super) fn with_scratch<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut scratch = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    scratch.clear();
    let result = use_it(&mut scratch);
    if scratch.capacity() <= MAX_SCRATCH {
        let _ = SCRATCH.try_with(|kept| kept.replace(scratch));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SHELF: Shelf<()> = const { RefCell::new(Vec::new()) };
    }

    /// Returns how many had to be made to lend these in turn.
    fn made(keys: impl IntoIterator<Item = u16>) -> usize {
        let mut made = 0;
        for key in keys {
            lend(&SHELF, key, || made += 1, |()| ());
        }
        made
    }

    #[test]
    fn w3_what_was_lent_last_is_kept_whatever_was_lent_before() {
        assert_eq!(made((0..).take(KEPT)), KEPT);
        assert_eq!(made([100, 0]), 2, "the oldest makes room");
        assert_eq!(made([100, 0, 100, 0]), 0);
        assert_eq!(made((200..300).flat_map(|other| [other, 100])), 100, "one in use is never the oldest");
    }
}
