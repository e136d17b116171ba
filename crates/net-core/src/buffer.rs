//! Buffers that are used again: taken from a pool, sent without a copy, and home when the last reference drops.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::sync::Semaphore;

use crate::{Error, ErrorKind, Result};

mod pooled;

pub use pooled::PooledBuffer;

/// What a [`BufferPool`] does when all of its buffers are in use.
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, buffer::{BufferPool, WhenEmpty}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let strict = BufferPool::new(1, 1024).with_when_empty(WhenEmpty::Fail);
/// let generous = strict.clone().with_when_empty(WhenEmpty::Allocate); // the same buffers
/// let held = strict.acquire().await?;
/// let refused = strict.acquire().await.err();
/// assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Overloaded));
/// assert!(generous.acquire().await.is_ok());
/// assert_eq!(generous.overflows(), 1);
/// # drop(held);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenEmpty {
    /// Waits until one comes back, first come, first served.
    #[default]
    Wait,
    /// Allocates one more, which is freed when it is dropped.
    Allocate,
    /// Fails with [`ErrorKind::Overloaded`].
    Fail,
}

/// A pool of so many buffers of one size; its clones share them.
///
/// A buffer returns by itself when it is dropped, or, having become [`Bytes`](bytes::Bytes), when the last reference
/// to it drops: once a sender has written it. Memory is taken when a buffer is first needed, zeroed once, and kept
/// until the pool and all its buffers are gone.
///
/// # Examples
///
/// ```
/// use net_core::{Sender, buffer::BufferPool, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let pool = BufferPool::new(16, 64 * 1024);
/// let mut buffer = pool.acquire().await?;
/// buffer.extend_from_slice(b"hello");
///
/// let (mut near, mut far) = memory::pair();
/// near.tx.send(buffer).await?; // without a copy
/// assert_eq!(pool.in_use(), 1);
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!(pool.in_use(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
    when_empty: WhenEmpty,
}

struct Shared {
    /// Buffers that came home, the last of them first, since it is still in the cache.
    free: Mutex<Vec<Box<[u8]>>>,
    /// One permit for each buffer that is not in use, allocated or not.
    available: Semaphore,
    count: usize,
    buffer_len: usize,
    overflows: AtomicU64,
}

impl BufferPool {
    /// Creates a pool of `count` buffers of `buffer_len` bytes each, both at least 1; when it is empty, it waits.
    pub fn new(count: usize, buffer_len: usize) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            free: Mutex::new(Vec::new()),
            available: Semaphore::new(count),
            count,
            buffer_len: buffer_len.max(1),
            overflows: AtomicU64::new(0),
        });
        Self { shared, when_empty: WhenEmpty::default() }
    }

    /// Sets what this handle does when all buffers are in use.
    #[must_use]
    pub fn with_when_empty(self, when_empty: WhenEmpty) -> Self {
        Self { when_empty, ..self }
    }

    /// Takes an empty buffer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Overloaded`] where all are in use and the policy is [`WhenEmpty::Fail`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future gives up the place in the queue, and no buffer is lost.
    pub async fn acquire(&self) -> Result<PooledBuffer> {
        if let Some(buffer) = self.try_acquire() {
            return Ok(buffer);
        }
        if self.when_empty == WhenEmpty::Wait {
            // The semaphore is never closed.
            if let Ok(permit) = self.shared.available.acquire().await {
                permit.forget();
                return Ok(self.shared.clone().take());
            }
        }
        Err(Error::new(ErrorKind::Overloaded, "acquire buffer"))
    }

    /// Takes an empty buffer without waiting; `None` where all are in use and the policy is not
    /// [`WhenEmpty::Allocate`].
    pub fn try_acquire(&self) -> Option<PooledBuffer> {
        if let Ok(permit) = self.shared.available.try_acquire() {
            permit.forget();
            return Some(self.shared.clone().take());
        }
        (self.when_empty == WhenEmpty::Allocate).then(|| {
            self.shared.overflows.fetch_add(1, Ordering::Relaxed);
            PooledBuffer::new(self.shared.allocate(), None)
        })
    }

    /// Takes an empty buffer, blocking the thread where the policy is to wait; not for async tasks.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_blocking(&self) -> Result<PooledBuffer> {
        let mut acquire = pin!(self.acquire());
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match acquire.as_mut().poll(&mut cx) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Returns how many buffers the pool has.
    pub fn count(&self) -> usize {
        self.shared.count
    }

    /// Returns the size of each buffer, in bytes.
    pub fn buffer_len(&self) -> usize {
        self.shared.buffer_len
    }

    /// Returns how many of the pool's buffers can be taken now.
    pub fn available(&self) -> usize {
        self.shared.available.available_permits()
    }

    /// Returns how many of the pool's buffers are in use, those promised to somebody who waits included.
    pub fn in_use(&self) -> usize {
        self.shared.count - self.available()
    }

    /// Returns how many buffers [`WhenEmpty::Allocate`] has allocated beyond those of the pool so far.
    pub fn overflows(&self) -> u64 {
        self.shared.overflows.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Takes the buffer for which a permit was taken.
    fn take(self: Arc<Self>) -> PooledBuffer {
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let memory = kept.unwrap_or_else(|| self.allocate());
        PooledBuffer::new(memory, Some(self))
    }

    fn allocate(&self) -> Box<[u8]> {
        vec![0; self.buffer_len].into()
    }

    fn take_back(&self, memory: Box<[u8]>) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        // Only now may somebody come for it.
        self.available.add_permits(1);
    }
}

/// Wakes a thread that waits for a buffer.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("count", &self.count())
            .field("buffer_len", &self.buffer_len())
            .field("available", &self.available())
            .field("when_empty", &self.when_empty)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Read, Write},
        task::{Context, Waker},
    };

    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::{Sender, blocking::send_all, frame::LengthPrefix, framed::FrameSender};

    #[test]
    fn m10_a_buffer_returns_itself_and_is_used_again() {
        let pool = BufferPool::new(2, 8);
        let first = pool.try_acquire().expect("one of two");
        let second = pool.try_acquire().expect("two of two");
        assert_eq!((pool.available(), pool.in_use()), (0, 2));
        assert!(pool.try_acquire().is_none());
        let memory = first.memory_ptr();
        drop(first);
        assert_eq!((pool.available(), pool.in_use()), (1, 1));
        let again = pool.try_acquire().expect("the first");
        assert_eq!(again.memory_ptr(), memory);
        drop((again, second));
        assert_eq!((pool.available(), pool.in_use()), (2, 0));
    }

    #[test]
    fn m10_each_policy_of_an_empty_pool() {
        let pool = BufferPool::new(1, 8);
        let taken = pool.try_acquire().expect("the only one");
        let failing = pool.clone().with_when_empty(WhenEmpty::Fail);
        assert_eq!(failing.acquire_blocking().expect_err("none left").kind(), ErrorKind::Overloaded);
        let allocating = pool.clone().with_when_empty(WhenEmpty::Allocate);
        let extra = allocating.acquire_blocking().expect("allocated");
        assert_eq!((extra.capacity(), pool.overflows(), pool.in_use()), (8, 1, 1));
        drop(extra);
        assert_eq!(pool.available(), 0, "what was allocated beyond the pool is not of the pool");
        let mut waiting = Box::pin(pool.acquire());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        drop(taken);
        assert!(failing.try_acquire().is_none(), "it is promised to the one who waits");
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn m10_one_who_stops_waiting_takes_no_buffer_along() {
        let pool = BufferPool::new(1, 8);
        let taken = pool.try_acquire().expect("the only one");
        let mut waiting = Box::pin(pool.acquire());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(taken);
        drop(waiting);
        assert_eq!(pool.available(), 1);
    }

    #[test]
    fn m10_a_thread_waits_for_the_buffer_of_another() {
        let pool = BufferPool::new(1, 8);
        let taken = pool.try_acquire().expect("the only one");
        let waiting = thread::spawn(move || pool.acquire_blocking().map(|buffer| buffer.capacity()));
        drop(taken);
        assert_eq!(waiting.join().expect("no panic").expect("a buffer"), 8);
    }

    #[tokio::test]
    async fn m10_a_pooled_buffer_is_sent_without_a_copy_and_goes_home_when_sent() {
        let pool = BufferPool::new(1, 16 * 1024);
        let mut buffer = pool.acquire().await.expect("the only one");
        buffer.unfilled_mut().fill(7);
        buffer.advance(16 * 1024);
        let (near, mut far) = tokio::io::duplex(1024);
        let mut sender = FrameSender::new(near, LengthPrefix::default());
        sender.feed(buffer).await.expect("accepted");
        assert_eq!(pool.available(), 0, "the sender holds the buffer itself, not a copy");
        let mut wire = vec![0; 4 + 16 * 1024];
        let (sent, read) = tokio::join!(sender.flush(), far.read_exact(&mut wire));
        sent.expect("sent");
        read.expect("received");
        assert_eq!(pool.available(), 1, "it is home");
        assert!(wire[4..].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn m10_the_last_reference_brings_it_home() {
        let pool = BufferPool::new(1, 64);
        let mut buffer = pool.try_acquire().expect("the only one");
        let memory = buffer.memory_ptr();
        buffer.write_all(b"head body").expect("room");
        let whole = Bytes::from(buffer);
        assert_eq!(whole.as_ptr(), memory);
        let body = whole.slice(5..);
        drop(whole);
        assert_eq!(pool.available(), 0);
        let (mut far, mut near) = io::pipe().expect("pipe");
        send_all(&mut near, &body).expect("sent");
        drop((body, near));
        assert_eq!(pool.available(), 1);
        let mut received = pool.try_acquire().expect("the same one");
        assert_eq!((received.memory_ptr(), received.len()), (memory, 0), "empty again");
        while received.read_from(&mut far).expect("read") > 0 {}
        assert_eq!(&received[..], b"body");
        assert_eq!(far.read(&mut [0]).expect("ended"), 0);
    }
}
