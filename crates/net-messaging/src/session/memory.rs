//! The memory that all sessions of a server hold together, and each session's share of it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a session may hold without being counted: most never hold more, and cost no shared counter anything.
pub(crate) const UNCOUNTED: usize = 4 * 1024;
/// What is counted, is counted in steps of this size, so that the shared counter is not touched at every message.
const STEP: usize = 16 * 1024;

/// The memory that all sessions of a server may hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(max: Option<usize>) -> Self {
        Self { max: max.unwrap_or(usize::MAX), used: AtomicUsize::new(0) }
    }

    /// Takes `bytes`, where there are as many left.
    fn take(&self, bytes: usize) -> bool {
        let within = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Tells whether what can be had at the price of a copy is to be given back.
    pub(crate) fn is_half_used(&self) -> bool {
        self.used() > self.max / 2
    }

    /// Returns how much is held beyond three quarters, from where on those who hold most have to go.
    pub(crate) fn excess(&self) -> usize {
        self.used().saturating_sub(self.max - self.max / 4)
    }
}

/// What of the budget is counted for one purpose of one session; written under a lock or by one task alone.
#[derive(Debug, Default)]
pub(crate) struct Share(AtomicUsize);

impl Share {
    /// Returns how much is counted.
    #[inline]
    pub(crate) fn counted(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Tells whether `held` bytes are covered, so that nothing has to be counted for them.
    #[inline]
    pub(crate) fn covers(&self, held: usize) -> bool {
        held <= UNCOUNTED + self.counted()
    }

    /// Counts for `held` bytes what they are more than is counted; `false` where the budget does not allow it.
    pub(crate) fn grow(&self, held: usize, budget: &Budget) -> bool {
        let (wanted, counted) = (Self::steps(held), self.counted());
        if wanted <= counted {
            return true;
        }
        let grown = budget.take(wanted - counted);
        if grown {
            self.0.store(wanted, Ordering::Relaxed);
        }
        grown
    }

    /// Gives back what is counted beyond `held` bytes.
    pub(crate) fn shrink(&self, held: usize, budget: &Budget) {
        let (wanted, counted) = (Self::steps(held), self.counted());
        if wanted < counted {
            self.0.store(wanted, Ordering::Relaxed);
            budget.give_back(counted - wanted);
        }
    }

    /// Tells whether more or less is to be counted for `held` bytes than is.
    #[inline]
    pub(crate) fn differs(&self, held: usize) -> bool {
        Self::steps(held) != self.counted()
    }

    fn steps(held: usize) -> usize {
        held.saturating_sub(UNCOUNTED).checked_next_multiple_of(STEP).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_covered_or_refused() {
        let budget = Budget::new(Some(4 * STEP));
        let (one, other) = (Share::default(), Share::default());
        assert!(one.covers(UNCOUNTED) && one.grow(UNCOUNTED, &budget));
        assert_eq!(budget.used(), 0, "small change is not counted");
        assert!(!one.covers(UNCOUNTED + 1) && one.grow(UNCOUNTED + 1, &budget));
        assert!(one.covers(UNCOUNTED + STEP));
        assert!(other.grow(UNCOUNTED + 3 * STEP, &budget));
        assert_eq!((budget.used(), budget.excess()), (4 * STEP, STEP));
        assert!(!one.grow(UNCOUNTED + STEP + 1, &budget));
        assert_eq!(one.counted(), STEP, "what was refused changes nothing");
        other.shrink(UNCOUNTED + STEP + 1, &budget);
        assert_eq!(budget.used(), 3 * STEP);
        other.shrink(0, &budget);
        one.shrink(0, &budget);
        assert_eq!(budget.used(), 0);
    }
}
