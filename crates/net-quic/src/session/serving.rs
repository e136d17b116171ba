//! Serving the streams that the peer opens, each by a future of its own.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use net_core::{Error, Result};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::coop::consume_budget,
};

use super::{QuicSession, Shared};
use crate::{RecvStream, SendStream};

impl<F> QuicSession<F> {
    /// Serves every bidirectional stream that the peer opens by a future that `handler` makes, many at once, and returns why
    /// the connection has ended, once all of them are over.
    ///
    /// Each takes its first step here, one after another, in memory that they share: a request that has arrived whole is
    /// answered without a task of its own, which is what makes this cheaper than [`accept_bi`](Self::accept_bi) and
    /// `tokio::spawn`. What has to wait goes on in a task of the runtime. So a handler may wait for whatever it likes, but
    /// what it computes before it first waits keeps those behind it in this session: move work of milliseconds elsewhere.
    ///
    /// At most [`max_bidi_streams`](crate::QuicConfig::max_bidi_streams) run at once, those that have ended their stream
    /// included. One that panics ends alone: its stream is reset with [`ABORTED`](crate::ABORTED).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is lost, and what runs goes on; [`finish_and_wait`](Self::finish_and_wait) waits for the
    /// streams of it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(mut sessions: net_quic::QuicSessions) -> net_core::Result<()> {
    /// loop {
    ///     let incoming = sessions.incoming().await?;
    ///     tokio::spawn(async move {
    ///         let Some(session) = incoming.run(|session| session).await else { return };
    ///         let ended = session
    ///             .serve_bi(async |mut tx, mut rx| {
    ///                 while let Ok(Some(chunk)) = rx.read_chunk(64 * 1024).await {
    ///                     if tx.write_chunk(chunk).await.is_err() {
    ///                         return; // the peer reads no more
    ///                     }
    ///                 }
    ///             })
    ///             .await;
    ///         println!("{ended}");
    ///     });
    /// }
    /// # }
    /// ```
    pub async fn serve_bi<H, S>(&self, mut handler: H) -> Error
    where
        H: FnMut(SendStream, RecvStream) -> S,
        S: Future<Output = ()> + Send + 'static,
    {
        let mut serving = Serving::new(self.shared.max_streams.bidi, &self.shared);
        loop {
            serving.leave_room().await;
            let accept = pin!(self.accept_bi());
            if let Err(lost) = serving.next(accept, |(tx, rx)| handler(tx, rx)).await {
                return serving.end(lost).await;
            }
        }
    }

    /// Serves every stream that the peer opens in its direction as [`serve_bi`](Self::serve_bi) does the others, at most
    /// [`max_uni_streams`](crate::QuicConfig::max_uni_streams) at once.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no stream is lost, and what runs goes on.
    pub async fn serve_uni<H, S>(&self, mut handler: H) -> Error
    where
        H: FnMut(RecvStream) -> S,
        S: Future<Output = ()> + Send + 'static,
    {
        let mut serving = Serving::new(self.shared.max_streams.uni, &self.shared);
        loop {
            serving.leave_room().await;
            if let Err(lost) = serving.next(pin!(self.accept_uni()), &mut handler).await {
                return serving.end(lost).await;
            }
        }
    }
}

/// How many streams go to tasks at the most before it is tried again whether they end with their first step.
const MAX_UNTRIED: u32 = 31;

/// The futures of the streams of one session; while none comes and none runs, it holds no memory for them.
struct Serving<S> {
    first_step: FirstStep<S>,
    /// How many go to a task each without a first step here: where those before them had to wait, they will have to as well.
    untried: u32,
    /// As many as went so the last time.
    patience: u32,
    /// Permits for those that have to wait: a task frees all that it has when it is over, which one that is joined does not.
    waiting: Option<Arc<Semaphore>>,
    /// Where those run: the session's, where it is served outside of any.
    runtime: Handle,
    max: u32,
}

impl<S: Future<Output = ()> + Send + 'static> Serving<S> {
    fn new(max: u32, session: &Shared) -> Self {
        let runtime = Handle::try_current().unwrap_or_else(|_| session.runtime.clone());
        // With none, no stream comes.
        let max = max.max(1);
        Self { first_step: FirstStep(None), untried: 0, patience: 0, waiting: None, runtime, max }
    }

    /// Waits until one more may run.
    async fn leave_room(&mut self) {
        // Streams that are there already keep no other task of this thread from running.
        consume_budget().await;
        if let Some(waiting) = &self.waiting
            && waiting.available_permits() == 0
        {
            // Nobody else takes one, so there is one from now on. It is never closed. Boxed, as this is rare.
            let _ = Box::pin(waiting.acquire()).await;
        }
    }

    /// Waits for what `accept` gives, and begins what `handler` makes of it.
    ///
    /// Neither is ever held by the future of who serves, which would have room for it for as long as the session is.
    async fn next<T>(
        &mut self,
        mut accept: Pin<&mut impl Future<Output = Result<T>>>,
        mut handler: impl FnMut(T) -> S,
    ) -> Result<()> {
        poll_fn(|cx| {
            let Poll::Ready(accepted) = accept.as_mut().poll(cx) else {
                self.rest();
                return Poll::Pending;
            };
            Poll::Ready(accepted.map(|stream| self.begin(cx, || handler(stream))))
        })
        .await
    }

    /// Gives memory back that is needed while streams come.
    fn rest(&mut self) {
        self.first_step.0 = None;
        // The other handles are the permits'.
        if self.waiting.as_ref().is_some_and(|waiting| Arc::strong_count(waiting) == 1) {
            self.waiting = None;
        }
    }

    /// Begins what `make` gives; it ends at once, or goes on in a task.
    fn begin(&mut self, cx: &mut Context<'_>, make: impl FnOnce() -> S) {
        let unfinished = if let Some(untried) = self.untried.checked_sub(1) {
            self.untried = untried;
            Box::pin(Some(make()))
        } else if let Some(unfinished) = self.first_step.take(cx, make) {
            self.patience = (self.patience * 2 + 1).min(MAX_UNTRIED);
            self.untried = self.patience;
            unfinished
        } else {
            self.patience = 0;
            return;
        };
        let permits = usize::try_from(self.max).unwrap_or(Semaphore::MAX_PERMITS);
        let waiting = self.waiting.get_or_insert_with(|| Arc::new(Semaphore::new(permits)));
        let permit = waiting.clone().try_acquire_owned().ok();
        self.runtime.spawn(Unfinished { future: unfinished, _permit: permit });
    }

    /// Waits until none runs.
    async fn end(self, lost: Error) -> Error {
        if let Some(waiting) = self.waiting {
            // It is never closed.
            let _ = Box::pin(waiting.acquire_many(self.max)).await;
        }
        lost
    }
}

/// A future of a stream, in memory that is used again; nothing where it is over.
type Memory<S> = Pin<Box<Option<S>>>;

/// Where futures take their first step: memory that all those share which end with it.
struct FirstStep<S>(Option<Memory<S>>);

impl<S: Future<Output = ()>> FirstStep<S> {
    /// Lets what `make` gives take its first step, and returns it where that was not its last one.
    fn take(&mut self, cx: &mut Context<'_>, make: impl FnOnce() -> S) -> Option<Memory<S>> {
        let mut memory = self.0.take().unwrap_or_else(|| Box::pin(None));
        memory.set(Some(make()));
        // As in a task: who panics takes nobody along, and the panic hook has told of it.
        if let Ok(Poll::Pending) = catch_unwind(AssertUnwindSafe(|| poll(memory.as_mut(), cx))) {
            // Whoever waits for something now is told by the waker of its task, which polls it again at once.
            return Some(memory);
        }
        memory.set(None);
        self.0 = Some(memory);
        None
    }
}

/// A future that has to wait.
struct Unfinished<S> {
    future: Memory<S>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<S: Future<Output = ()>> Future for Unfinished<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        poll(self.future.as_mut(), cx)
    }
}

fn poll<S: Future<Output = ()>>(future: Pin<&mut Option<S>>, cx: &mut Context<'_>) -> Poll<()> {
    future.as_pin_mut().map_or(Poll::Ready(()), |future| future.poll(cx))
}
