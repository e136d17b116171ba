//! How the rest of the program wakes the task that drives a connection.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::Waker,
};

/// The driver is running, so it will see what is raised without being woken.
const RUNNING: u32 = 1;
/// Something was put into the outbox.
pub(crate) const PUSHED: u32 = 2;
/// The session is to end; the reason stands in its state.
pub(crate) const CLOSE: u32 = 4;
/// A heartbeat is due.
pub(crate) const HEARTBEAT: u32 = 8;
/// The running handlers have taken too long.
pub(crate) const OVERDUE: u32 = 16;
/// No further request is to be taken: the server drains.
pub(crate) const DRAIN: u32 = 32;
/// The session is to end when its handlers have returned: one of them disconnected it.
pub(crate) const CLOSE_LATER: u32 = 64;
/// The session is to end without sending what waits: the peer does not take it.
pub(crate) const CUT: u32 = 128;

thread_local! {
    /// Its address tells threads apart.
    static THREAD: u8 = const { 0 };
}

fn this_thread() -> usize {
    THREAD.with(|thread| std::ptr::from_ref(thread).addr())
}

/// What is to be done, as bits, and the waker of the task that does it.
///
/// A push from inside the driver costs one atomic operation and wakes nobody; pushes from outside wake once.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    bits: AtomicU32,
    /// The thread on which the driver runs.
    thread: AtomicUsize,
    /// Stays registered over many wake-ups, so that the driver need not register at each of them.
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// Raises `bit`, and wakes the driver unless it is running or `bit` was raised already.
    pub(crate) fn raise(&self, bit: u32) {
        if self.bits.fetch_or(bit, Ordering::AcqRel) & (RUNNING | bit) == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells whether the caller is called by the driver: it is a handler of this session.
    pub(crate) fn is_inside(&self) -> bool {
        self.bits.load(Ordering::Acquire) & RUNNING != 0
            && self.thread.load(Ordering::Relaxed) == this_thread()
    }

    /// Notes that the driver runs.
    pub(crate) fn start(&self) {
        self.thread.store(this_thread(), Ordering::Relaxed);
        self.bits.fetch_or(RUNNING, Ordering::AcqRel);
    }

    /// Registers the task that runs the driver.
    pub(crate) fn register(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// Returns what is raised, without taking it.
    #[inline]
    pub(crate) fn raised(&self) -> u32 {
        self.bits.load(Ordering::Acquire) & !RUNNING
    }

    /// Takes `bits` down.
    pub(crate) fn lower(&self, bits: u32) {
        self.bits.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Notes that the driver sleeps; `false` where something other than `ignored` was raised meanwhile.
    pub(crate) fn sleep(&self, ignored: u32) -> bool {
        let before = self.bits.fetch_and(!RUNNING, Ordering::AcqRel);
        if before & !(RUNNING | ignored) == 0 {
            return true;
        }
        self.start();
        false
    }
}
