//! The receiving half of a connection over a link: here messages travel, late, lost or twice.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use super::{
    Shared,
    cut::{Cut, reset},
    faults::Faults,
    trace::{Direction, Happening},
};
use crate::{Error, ErrorKind, Receiver, Result};

/// What a message on its way counts for beside its bytes.
const OVERHEAD: usize = 64;
/// How many messages one poll takes from below before other tasks have their turn.
const MAX_TAKEN: usize = 256;

/// One direction of one connection.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: usize,
    pub(super) direction: Direction,
}

impl Route {
    pub(super) fn faults(&self) -> &Faults {
        self.shared.faults(self.direction)
    }

    pub(super) fn tell(&self, happening: Happening) {
        self.shared.trace.tell(self.connection, self.direction, happening);
    }

    /// Creates what decides the fates of this route's messages, whatever other routes do.
    fn rng(&self) -> fastrand::Rng {
        let route = (self.connection as u64) << 1 | u64::from(self.direction == Direction::Back);
        let mut seed = fastrand::Rng::with_seed(self.shared.config.seed);
        fastrand::Rng::with_seed(seed.u64(..) ^ (route + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// The receiving half of a connection over a [`Link`](super::Link).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::{ErrorKind, Listener, Transport, memory::Memory, testing::{Link, LinkConfig}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> net_core::Result<()> {
/// let config = LinkConfig { cut_at: Some(Duration::from_secs(60)), ..LinkConfig::default() };
/// let link = Link::new(Memory::default(), config);
/// let mut listener = link.listen(&"mem://far".parse()?).await?;
/// let near = link.connect(listener.local()).await?;
/// let mut far = listener.accept().await?;
/// let error = far.recv().await.expect_err("nothing came before the cut");
/// assert_eq!(error.kind(), ErrorKind::Reset);
/// assert!(far.rx.get_ref().is_none());
/// # drop(near);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LinkReceiver<R> {
    /// Gone once the connection is cut.
    inner: Option<R>,
    route: Route,
    rng: fastrand::Rng,
    cut: Arc<Cut>,
    /// The messages on their way, by when they arrive and by when they were sent.
    travelling: BTreeMap<(Duration, u64), Bytes>,
    bytes: usize,
    sent: u64,
    /// Nothing that is sent from now on arrives earlier.
    held_until: Duration,
    end: End,
    timer: Pin<Box<Option<Sleep>>>,
}

/// How the transport below ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    Broken(ErrorKind),
}

impl<R> LinkReceiver<R> {
    pub(super) fn new(inner: R, route: Route, cut: Arc<Cut>) -> Self {
        Self {
            inner: Some(inner),
            rng: route.rng(),
            route,
            cut,
            travelling: BTreeMap::new(),
            bytes: 0,
            sent: 0,
            held_until: Duration::ZERO,
            end: End::Open,
            timer: Box::pin(None),
        }
    }

    /// Returns the receiver below; `None` once the connection is cut.
    pub fn get_ref(&self) -> Option<&R> {
        self.inner.as_ref()
    }

    /// Puts a message on its way.
    fn set_out(&mut self, message: &Bytes) {
        let (now, unreliable) = (self.route.shared.trace.elapsed(), self.route.shared.config.unreliable);
        let len = message.len();
        let fate = self.route.faults().fate(&mut self.rng, len, now, unreliable);
        match fate {
            _ if fate.losses == 0 => {}
            fate if fate.due == [None; 2] => self.route.tell(Happening::Lost { len }),
            fate => self.route.tell(Happening::SentAgain { len, times: fate.losses }),
        }
        for due in fate.due.into_iter().flatten() {
            let due = due.max(self.held_until);
            if fate.holds {
                self.held_until = due;
            }
            self.route.tell(Happening::Travels { len, due });
            self.bytes += len + OVERHEAD;
            self.travelling.insert((due, self.sent), message.clone());
            self.sent += 1;
        }
    }

    /// Takes the next message that has arrived.
    fn arrived(&mut self) -> Option<Bytes> {
        let first = self.travelling.first_entry()?;
        if first.key().0 > self.route.shared.trace.elapsed() {
            return None;
        }
        let message = first.remove();
        self.bytes -= message.len() + OVERHEAD;
        self.route.tell(Happening::Delivered { len: message.len() });
        Some(message)
    }

    /// Waits for the next arrival, or for the cut. `Pending` for ever where there is neither.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let start = self.route.shared.trace.start();
        let arrival = self.travelling.keys().next().map(|(due, _)| start + *due);
        let Some(next) = arrival.into_iter().chain(self.cut.at).min() else { return Poll::Pending };
        if self.timer.as_ref().as_pin_ref().is_none_or(|timer| timer.deadline() != next) {
            self.timer.set(Some(sleep_until(next)));
        }
        match self.timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<R: Receiver> LinkReceiver<R> {
    /// Takes from below what there is room for.
    fn poll_below(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..MAX_TAKEN {
            // One message always fits.
            let full = self.bytes > 0 && self.bytes >= self.route.shared.config.max_in_flight;
            if full || self.end != End::Open {
                return Poll::Ready(());
            }
            let Some(inner) = &mut self.inner else { return Poll::Ready(()) };
            match ready!(inner.poll_recv(cx)) {
                Ok(Some(message)) => self.set_out(&message),
                Ok(None) => {
                    self.end = End::Finished;
                    self.route.tell(Happening::Finished);
                }
                Err(error) => {
                    self.end = End::Broken(error.kind());
                    self.route.tell(Happening::Broken(error.kind()));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Receiver> Receiver for LinkReceiver<R> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            self.cut.register(cx);
            if self.inner.is_none() || self.cut.is_done() {
                if self.inner.take().is_some() {
                    self.travelling.clear();
                    self.route.tell(Happening::Cut);
                }
                return Poll::Ready(Err(reset("receive")));
            }
            let _ = self.poll_below(cx);
            if let Some(message) = self.arrived() {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.travelling.is_empty() {
                // What was on its way arrives before the end does.
                match self.end {
                    End::Open => {}
                    End::Finished => return Poll::Ready(Ok(None)),
                    End::Broken(kind) => return Poll::Ready(Err(Error::new(kind, "receive"))),
                }
            }
            ready!(self.poll_time(cx));
        }
    }

    fn limit_message_len(&mut self, max: usize) -> Option<usize> {
        self.inner.as_mut()?.limit_message_len(max)
    }
}
