//! Compressors and decompressors that each thread lends for one message.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress};

/// How many of each kind a thread keeps.
const KEPT: usize = 4;

/// What is lent under what it was made for.
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
        Some(shelf.swap_remove(place).1)
    });
    let mut lent = kept.ok().flatten().unwrap_or_else(make);
    let result = use_it(&mut lent);
    // Gone where a connection outlives the thread's own as it ends.
    let _ = shelf.try_with(|shelf| {
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < KEPT {
            shelf.push((key, lent));
        }
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

/// Makes a decompressor.
pub(super) fn inflater(bits: u8) -> Decompress {
    Decompress::new_with_window_bits(false, bits.clamp(super::MIN_ZLIB_BITS, 15))
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
pub(super) fn with_inflater<R>(bits: u8, use_it: impl FnOnce(&mut Decompress) -> R) -> R {
    let anew = |lent: &mut Decompress| {
        lent.reset(false);
        use_it(lent)
    };
    lend(&INFLATERS, bits.into(), || inflater(bits), anew)
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
