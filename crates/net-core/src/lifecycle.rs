//! The life of a server: the loops that accept for it, and its drain.

use std::{
    future::{Future, poll_fn},
    ops::RangeInclusive,
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{Error, ErrorKind, IncomingConnection, Listener, Result};

/// How long a drain waits for loops that it has closed, and for what it has cut.
const CUT_TIMEOUT: Duration = Duration::from_millis(500);

/// How far a server is on its way to its end. There is no way back.
///
/// # Examples
///
/// ```
/// use net_core::Phase;
///
/// assert!(Phase::Accepting < Phase::Closing && Phase::Draining < Phase::Stopped);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It accepts connections.
    Accepting,
    /// It accepts no more; what is active goes on.
    Closing,
    /// What is active ends when what runs has finished.
    Draining,
    /// What is active is cut.
    Stopped,
}

/// What is active in a server, as its drain sees it: the sessions of an engine, the connections of an HTTP server.
///
/// # Examples
///
/// [`Lifecycle`] has one.
pub trait Active: Sync {
    /// What [`cut`](Self::cut) reports.
    type Cut: Send;

    /// Returns how many there are, and how many there have ever been, both of one moment.
    fn census(&self) -> (usize, usize);

    /// Asks the peers to go away.
    fn go_away(&self);

    /// Takes nothing new: each ends when what runs has finished.
    fn drain(&self);

    /// Cuts all of them where they stand, and reports what that cost.
    fn cut(&self) -> Self::Cut;

    /// Waits until there is none.
    fn emptied(&self) -> impl Future<Output = ()> + Send;
}

/// How a [drain](Lifecycle::drain) went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained<C> {
    /// How many were active when it began, and how many were accepted since.
    pub active: usize,
    /// What the cut cost; `None` where all ended in time.
    pub cut: Option<C>,
    /// How long it took.
    pub took: Duration,
}

/// The life of a server: the loops that accept for it end when it closes, and what is active then ends in time. It is a
/// handle: clones mean the same server.
///
/// # Examples
///
/// ```
/// use std::{sync::{Mutex, MutexGuard}, time::Duration};
/// use net_core::{Active, Connection, Incoming, Lifecycle, Listener, Phase, Transport, memory::Memory};
/// use net_core::memory::{MemoryReceiver, MemorySender};
///
/// /// Connections that are kept, and nothing else is done with them.
/// #[derive(Default)]
/// struct Kept(Mutex<Vec<Connection<MemorySender, MemoryReceiver>>>);
///
/// impl Kept {
///     fn list(&self) -> MutexGuard<'_, Vec<Connection<MemorySender, MemoryReceiver>>> {
///         self.0.lock().expect("no panic while it is locked")
///     }
/// }
///
/// impl Active for Kept {
///     type Cut = usize;
///     fn census(&self) -> (usize, usize) {
///         let kept = self.list().len();
///         (kept, kept)
///     }
///     fn go_away(&self) {}
///     fn drain(&self) {}
///     fn cut(&self) -> usize {
///         self.list().drain(..).count()
///     }
///     async fn emptied(&self) {
///         while !self.list().is_empty() {
///             tokio::task::yield_now().await;
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let listener = memory.listen(&"mem://kept".parse()?).await?;
/// let local = listener.local().clone();
/// let peer = memory.connect(&local).await?;
///
/// let (life, kept) = (Lifecycle::new(), Kept::default());
/// let accepting = life.accept(listener, |incoming| match incoming {
///     Incoming::Ready(connection) => kept.list().push(connection),
///     Incoming::Handshaking(_) => unreachable!("memory has no handshakes"),
/// });
/// let within = Duration::ZERO..=Duration::from_millis(20);
/// let (accepted, drained) = tokio::join!(accepting, life.drain(within, &kept));
/// accepted.expect("the server closed the listener");
/// assert_eq!((drained.active, drained.cut), (1, Some(1)), "who waited was accepted, and stayed to the end");
/// assert_eq!(life.phase(), Phase::Stopped);
/// # drop(peer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<State>);

#[derive(Debug)]
struct State {
    phase: watch::Sender<Phase>,
    /// Each loop holds a receiver for as long as it accepts.
    loops: watch::Sender<()>,
    /// Why a listener failed first, where nobody had closed it.
    failure: Arc<OnceLock<Arc<Error>>>,
}

impl Lifecycle {
    /// Begins one, in [`Phase::Accepting`].
    pub fn new() -> Self {
        Self(Arc::new(State {
            phase: watch::Sender::new(Phase::Accepting),
            loops: watch::Sender::new(()),
            failure: Arc::default(),
        }))
    }

    /// Returns how far it is.
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Goes on to `phase`, where it is not further already.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.send_if_modified(|present| {
            let later = *present < phase;
            *present = (*present).max(phase);
            later
        });
    }

    /// Tells whether it accepts: it is in [`Phase::Accepting`], and a loop runs, or is about to.
    pub fn is_accepting(&self) -> bool {
        self.phase() == Phase::Accepting && self.0.loops.receiver_count() > 0
    }

    /// Waits until none of its loops accepts any more.
    ///
    /// # Errors
    ///
    /// Why the first listener failed, where nobody closed the server.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> Result<()> {
        self.0.loops.closed().await;
        if self.phase() != Phase::Accepting {
            return Ok(());
        }
        Err(match self.0.failure.get() {
            Some(error) => Error::new(error.kind(), "serve").because(error.clone()),
            // Its loop panicked, or there never was one.
            None => Error::new(ErrorKind::Io, "serve"),
        })
    }

    /// Accepts from `listener` and hands every connection to `serve`, which runs the handshake that may come first, until the
    /// server closes. It counts as a loop of the server from this call on, polled or not.
    ///
    /// When the server closes, the listener takes what waits in the system's queue and closes; the loop goes on until
    /// the handshakes that run are over. When the server stops, the listener is dropped, and its handshakes with it.
    ///
    /// # Errors
    ///
    /// The listener's, where nobody closed the server.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the listener.
    pub fn accept<L, F>(
        &self,
        mut listener: L,
        mut serve: F,
    ) -> impl Future<Output = Result<(), Arc<Error>>> + use<L, F>
    where
        L: Listener,
        F: FnMut(IncomingConnection<L::Sender, L::Receiver>),
    {
        let mut phase = self.0.phase.subscribe();
        let (open, failure) = (self.0.loops.subscribe(), self.0.failure.clone());
        async move {
            let accepted = accept_until(Phase::Closing, &mut phase, &mut listener, &mut serve).await;
            let end = accepted.map_err(Arc::new).inspect_err(|error| {
                // The first one stays.
                let _ = failure.set(error.clone());
            });
            if end.is_ok() {
                listener.close();
                // An error tells that nothing is left.
                let _ = accept_until(Phase::Stopped, &mut phase, &mut listener, &mut serve).await;
            }
            drop(listener);
            drop(open);
            end
        }
    }

    /// Drains: accepts no more, serves on for the start of `within`, then lets what runs finish and cuts what is left
    /// at its end. It returns within that end, plus half a second where something blocks its thread.
    ///
    /// First the loops take what waits in the system's queue, and close. Then the peers are asked to go away, and have
    /// the start of `within` for that. After it nothing new is taken from them. Once nothing is active, and at the end of
    /// `within` at the latest, whatever is left is cut: handshakes that still run then come too late.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the server in the phase that it was in; it may be called again.
    pub async fn drain<A: Active>(&self, within: RangeInclusive<Duration>, active: &A) -> Drained<A::Cut> {
        let (start, end) = within.into_inner();
        let began = Instant::now();
        let start = start.min(end);
        let (present, before) = active.census();
        self.enter(Phase::Closing);
        active.go_away();
        // What waits in the system's queue becomes active first, and the address is free again.
        let _ = timeout(start.max(CUT_TIMEOUT).min(end), self.closed()).await;
        let present = present + (active.census().1 - before);
        if timeout(start.saturating_sub(began.elapsed()), active.emptied()).await.is_err() {
            self.enter(Phase::Draining);
            active.drain();
        }
        let in_time = timeout(end.saturating_sub(began.elapsed()), active.emptied()).await.is_ok();
        // Whoever is in a handshake even now comes too late.
        let cut = if in_time {
            self.enter(Phase::Stopped);
            None
        } else {
            Some(self.stop(active))
        };
        // What blocks its thread cannot be cut; the drain ends all the same.
        let over = async { (active.emptied().await, self.closed().await) };
        let _ = timeout(CUT_TIMEOUT, over).await;
        Drained { active: present, cut, took: began.elapsed() }
    }

    /// Stops at once: accepts no more, and cuts what is active.
    pub fn stop<A: Active>(&self, active: &A) -> A::Cut {
        // First of all: what becomes active while the rest is cut must see it.
        self.enter(Phase::Stopped);
        active.cut()
    }
}

/// Hands the connections of `listener` to `serve` until the server is in `end`.
async fn accept_until<L: Listener>(
    end: Phase,
    phase: &mut watch::Receiver<Phase>,
    listener: &mut L,
    serve: &mut impl FnMut(IncomingConnection<L::Sender, L::Receiver>),
) -> Result<()> {
    let mut entered = pin!(phase.wait_for(|phase| *phase >= end));
    let mut next = |cx: &mut Context<'_>| {
        // The sender is gone only with the server: then all is over as well.
        if entered.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        listener.poll_incoming(cx).map(Some)
    };
    while let Some(accepted) = poll_fn(&mut next).await {
        serve(accepted?);
    }
    Ok(())
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}
