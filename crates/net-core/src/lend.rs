//! Large buffers that each thread lends to whichever connection has bytes pending.
//!
//! A connection that sleeps holds none, so that 100 000 idle ones stay small; and the buffer lent next is the one
//! that came back last, which is still in the cache.

use std::{cell::RefCell, collections::VecDeque};

use bytes::BytesMut;

/// The size of a lent buffer, in bytes: one message of 64 KiB with its frame.
///
/// Twice as much cost more wherever messages are large, up to half again at 64 KiB on 64 connections; below 8 KiB a
/// message it saved a few per cent.
pub(crate) const LENT_LEN: usize = 65 * 1024;
/// How many buffers a thread keeps of each kind at the most.
const KEPT: usize = 16;

thread_local! {
    static KEPT_HERE: RefCell<Kept> = const { RefCell::new(Kept { free: Vec::new(), viewed: VecDeque::new() }) };
}

/// What a thread keeps.
struct Kept {
    /// Empty and whole: they are lent as they are, the last one first.
    free: Vec<BytesMut>,
    /// Views of them were held as they came back, the first of them longest ago.
    viewed: VecDeque<BytesMut>,
}

/// Lends an empty buffer.
pub(crate) fn lend() -> BytesMut {
    let kept = with_kept(|kept| {
        kept.free.pop().or_else(|| {
            let mut buffer = kept.viewed.pop_front()?;
            // The views of it may be gone by now. Reclaiming moves its start back to the start of its memory.
            if buffer.try_reclaim(LENT_LEN) {
                return Some(buffer);
            }
            kept.viewed.push_back(buffer);
            None
        })
    });
    kept.flatten().unwrap_or_else(|| BytesMut::with_capacity(LENT_LEN))
}

/// Takes a buffer back, whatever it still contains.
///
/// It is kept only where nobody holds a view of it any more and it has not grown to twice what was lent.
pub(crate) fn take_back(mut buffer: BytesMut) {
    buffer.clear();
    // One with exactly the room that is lent has nothing to be reclaimed.
    if buffer.capacity() == LENT_LEN || (buffer.try_reclaim(LENT_LEN) && buffer.capacity() <= 2 * LENT_LEN) {
        keep(buffer);
    }
}

/// Takes a buffer back that has not grown, also while views of it are held: it is lent again once they are gone.
///
/// Received messages live until the answers are written, which is after the receiver has gone to sleep.
pub(crate) fn take_back_viewed(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() == LENT_LEN || buffer.try_reclaim(LENT_LEN) {
        return keep(buffer);
    }
    with_kept(|kept| {
        if kept.viewed.len() < KEPT {
            kept.viewed.push_back(buffer);
        }
    });
}

fn keep(buffer: BytesMut) {
    with_kept(|kept| {
        if kept.free.len() < KEPT {
            kept.free.push(buffer);
        }
    });
}

/// Gives `use_it` what this thread keeps; that is gone where a connection outlives it as the thread ends.
fn with_kept<T>(use_it: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    KEPT_HERE.try_with(|kept| use_it(&mut kept.borrow_mut())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_lent_again_unless_it_is_in_use() {
        let mut first = lend();
        first.extend_from_slice(b"x");
        let start = first.as_ptr();
        take_back(first);
        let mut again = lend();
        assert_eq!((again.as_ptr(), again.len()), (start, 0));
        again.extend_from_slice(b"yz");
        let view = again.split_to(1).freeze();
        take_back(again);
        assert_ne!(lend().as_ptr(), start, "a view of it is still held");
        assert_eq!(&view[..], b"y");
    }

    #[test]
    fn what_comes_back_in_use_is_lent_again_once_it_is_free() {
        let mut first = lend();
        first.extend_from_slice(b"xy");
        let start = first.as_ptr();
        let view = first.split_to(1).freeze();
        take_back_viewed(first);
        assert_ne!(lend().as_ptr(), start, "a view of it is still held");
        drop(view);
        let again = lend();
        assert_eq!((again.as_ptr(), again.len()), (start, 0));
        assert!(again.capacity() >= LENT_LEN);
    }

    #[test]
    fn buffers_in_use_do_not_keep_free_ones_out() {
        let mut views = Vec::new();
        for _ in 0..2 * KEPT {
            let mut buffer = BytesMut::with_capacity(LENT_LEN);
            buffer.extend_from_slice(b"xy");
            views.push(buffer.split_to(1).freeze());
            take_back_viewed(buffer);
        }
        let free = BytesMut::with_capacity(LENT_LEN);
        let start = free.as_ptr();
        take_back(free);
        assert_eq!(lend().as_ptr(), start);
        assert!(with_kept(|kept| kept.viewed.len()).is_some_and(|viewed| viewed <= KEPT));
    }

    #[test]
    fn a_buffer_may_come_back_after_the_threads_own_are_gone() {
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                take_back(lend());
            }
        }
        thread_local! {
            static LATE: Late = const { Late };
        }
        // In both orders, since the one in which a thread drops its locals is not ours to know.
        for late_first in [true, false] {
            let thread = std::thread::spawn(move || {
                if late_first {
                    LATE.with(|_| {});
                }
                take_back(lend());
                LATE.with(|_| {});
            });
            thread.join().expect("no panic as the thread ends");
        }
    }
}
