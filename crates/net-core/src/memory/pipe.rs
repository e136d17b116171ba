//! One direction of a connection in memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use super::MemoryConfig;
use crate::{Batch, Error, ErrorKind, Permit, Receiver, Result, Sender, frame::FrameError};

/// Returns both ends of one direction.
pub(super) fn pipe(config: &MemoryConfig) -> (MemorySender, MemoryReceiver) {
    let pipe = Arc::new(Mutex::new(Pipe::default()));
    let sender =
        MemorySender { pipe: pipe.clone(), config: *config, dirty: false, finished: false, permit: None };
    (sender, MemoryReceiver { pipe, permit: None })
}

/// The sending half of a connection in memory.
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, Sender, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (mut near, mut far) = memory::pair();
/// near.tx.feed("never flushed").await?;
/// drop(near.tx); // which is an abort
/// let error = far.recv().await.expect_err("the peer has gone");
/// assert_eq!(error.kind(), ErrorKind::Reset);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemorySender {
    pipe: Arc<Mutex<Pipe>>,
    config: MemoryConfig,
    /// Something is accepted that the caller has not flushed, though a full pipe may have handed it on.
    dirty: bool,
    finished: bool,
    permit: Option<Arc<Permit>>,
}

/// The receiving half of a connection in memory.
///
/// # Examples
///
/// ```
/// use std::future::poll_fn;
/// use net_core::{Batch, Receiver, Sender, memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (mut near, mut far) = memory::pair();
/// near.tx.feed("one").await?;
/// near.tx.send("two").await?;
/// let mut batch = Batch::new(256, 256 * 1024);
/// let count = poll_fn(|cx| far.rx.poll_recv_many(cx, &mut batch)).await?;
/// assert_eq!((count, batch.bytes()), (2, 6));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryReceiver {
    pipe: Arc<Mutex<Pipe>>,
    permit: Option<Arc<Permit>>,
}

#[derive(Debug, Default)]
struct Pipe {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// How many of the messages are flushed, so that the receiver may have them.
    flushed: usize,
    end: End,
    receiver_gone: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Finished,
    Aborted,
}

impl Pipe {
    /// Lets the receiver have what was accepted; returns its waker, to be woken once the lock is free.
    #[must_use]
    fn flush(&mut self) -> Option<Waker> {
        self.flushed = self.messages.len();
        self.receiver.take()
    }

    fn take(&mut self) -> Option<Bytes> {
        if self.flushed == 0 {
            return None;
        }
        self.flushed -= 1;
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the other side. Never under the lock: a waker may run the task that takes it next.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

impl MemorySender {
    /// Keeps the place of a connection taken for as long as this half lives.
    pub(super) fn hold(&mut self, permit: Arc<Permit>) {
        self.permit = Some(permit);
    }
}

impl MemoryReceiver {
    /// Keeps the place of a connection taken for as long as this half lives.
    pub(super) fn hold(&mut self, permit: Arc<Permit>) {
        self.permit = Some(permit);
    }
}

impl Sender for MemorySender {
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        if self.finished {
            return Poll::Ready(Err(Error::new(ErrorKind::Closed, "send")));
        }
        let (len, max) = (message.len(), self.config.max_message_len);
        if len > max {
            let error = FrameError::TooLong { len: len as u64, max };
            return Poll::Ready(Err(Error::from_frame(error, "send")));
        }
        let mut pipe = lock(&self.pipe);
        if pipe.receiver_gone {
            return Poll::Ready(Err(Error::new(ErrorKind::Reset, "send")));
        }
        // An empty message takes room too, or a peer that does not read could be sent any number of them.
        let held = pipe.bytes + pipe.messages.len() * size_of::<Bytes>();
        if !pipe.messages.is_empty() && held + len > self.config.max_buffered {
            let receiver = pipe.flush();
            register(&mut pipe.sender, cx);
            drop(pipe);
            wake(receiver);
            return Poll::Pending;
        }
        pipe.bytes += len;
        pipe.messages.push_back(std::mem::take(message));
        self.dirty = true;
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        let mut pipe = lock(&self.pipe);
        if pipe.receiver_gone && !self.finished {
            return Poll::Ready(Err(Error::new(ErrorKind::Reset, "flush")));
        }
        let receiver = pipe.flush();
        drop(pipe);
        self.dirty = false;
        wake(receiver);
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_flush(cx))?;
        self.finished = true;
        let mut pipe = lock(&self.pipe);
        pipe.end = End::Finished;
        let receiver = pipe.receiver.take();
        drop(pipe);
        wake(receiver);
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        // As if something were accepted that is not flushed.
        self.dirty = true;
    }
}

impl Drop for MemorySender {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        let mut unflushed = VecDeque::new();
        if pipe.end == End::Open {
            let flushed = pipe.flushed;
            pipe.end = if self.dirty { End::Aborted } else { End::Finished };
            unflushed = pipe.messages.split_off(flushed);
        }
        let receiver = pipe.receiver.take();
        drop(pipe);
        wake(receiver);
        // Messages are dropped without the lock too: their memory may have an owner with a `Drop` of its own.
        drop(unflushed);
    }
}

impl Receiver for MemoryReceiver {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let mut pipe = lock(&self.pipe);
        if let Some(message) = pipe.take() {
            let sender = pipe.sender.take();
            drop(pipe);
            wake(sender);
            return Poll::Ready(Ok(Some(message)));
        }
        match pipe.end {
            End::Finished => Poll::Ready(Ok(None)),
            End::Aborted => Poll::Ready(Err(Error::new(ErrorKind::Reset, "receive"))),
            End::Open => {
                register(&mut pipe.receiver, cx);
                Poll::Pending
            }
        }
    }

    fn poll_recv_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<usize>> {
        let before = batch.len();
        let mut pipe = lock(&self.pipe);
        while !batch.is_full()
            && let Some(message) = pipe.take()
        {
            batch.push(message);
        }
        if batch.len() > before {
            let sender = pipe.sender.take();
            drop(pipe);
            wake(sender);
            return Poll::Ready(Ok(batch.len() - before));
        }
        drop(pipe);
        self.poll_recv(cx).map_ok(|message| {
            let count = usize::from(message.is_some());
            if let Some(message) = message {
                batch.push(message);
            }
            count
        })
    }
}

impl Drop for MemoryReceiver {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.receiver_gone = true;
        let unread = std::mem::take(&mut pipe.messages);
        pipe.bytes = 0;
        pipe.flushed = 0;
        let sender = pipe.sender.take();
        drop(pipe);
        wake(sender);
        drop(unread);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    /// Receives at once, in the call that wakes it, as an executor may do.
    struct AtOnce {
        receiver: Mutex<MemoryReceiver>,
        received: Mutex<Vec<Bytes>>,
    }

    impl Wake for AtOnce {
        fn wake(self: Arc<Self>) {
            let waker = Waker::from(self.clone());
            let mut receiver = self.receiver.lock().expect("no panic");
            while let Poll::Ready(Ok(Some(message))) = receiver.poll_recv(&mut Context::from_waker(&waker)) {
                self.received.lock().expect("no panic").push(message);
            }
        }
    }

    #[test]
    fn a_waker_may_receive_at_once() {
        let (mut sender, receiver) = pipe(&MemoryConfig { max_buffered: 100, max_message_len: 100 });
        let receiver = Arc::new(AtOnce { receiver: Mutex::new(receiver), received: Mutex::default() });
        receiver.clone().wake();
        let mut cx = Context::from_waker(Waker::noop());
        for message in ["one", "two", "three", "four", "five"] {
            let mut message = Bytes::from(message);
            // The pipe is full at times: what it holds is then handed on, and taken in that very call.
            while sender.poll_send(&mut cx, &mut message).is_pending() {}
        }
        assert!(sender.poll_flush(&mut cx).is_ready());
        assert!(sender.poll_finish(&mut cx).is_ready());
        drop(sender);
        assert_eq!(*receiver.received.lock().expect("no panic"), ["one", "two", "three", "four", "five"]);
    }
}
