//! The sending half of a connection over a link: it cuts.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use super::{
    cut::{Cut, reset},
    receiver::Route,
    trace::Happening,
};
use crate::{GoAwayReason, Result, Sender};

/// The sending half of a connection over a [`Link`](super::Link).
///
/// # Examples
///
/// ```
/// use net_core::{ErrorKind, Listener, Transport, memory::Memory, testing::{Faults, Link, LinkConfig}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let faults = Faults { cut_after: Some(1), ..Faults::default() };
/// let link = Link::new(Memory::default(), LinkConfig::both(7, faults));
/// let listener = link.listen(&"mem://far".parse()?).await?;
/// let mut near = link.connect(listener.local()).await?;
/// near.send("the first").await?;
/// let error = near.send("the second").await.expect_err("the link cuts it");
/// assert_eq!(error.kind(), ErrorKind::Reset);
/// assert!(near.tx.get_ref().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LinkSender<S> {
    /// Gone once the connection is cut.
    inner: Option<S>,
    route: Route,
    cut: Arc<Cut>,
    /// How many messages may yet be sent before the connection is cut.
    left: Option<u64>,
    /// Wakes a sender that waits when the connection is cut.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> LinkSender<S> {
    pub(super) fn new(inner: S, route: Route, cut: Arc<Cut>) -> Self {
        let left = route.faults().cut_after;
        Self { inner: Some(inner), route, cut, left, timer: None }
    }

    /// Returns the sender below; `None` once the connection is cut.
    pub fn get_ref(&self) -> Option<&S> {
        self.inner.as_ref()
    }
}

impl<S: Sender> LinkSender<S> {
    /// Runs `call` on the sender below unless the connection is cut, also while it waits.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        operation: &'static str,
        call: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<Result<()>>,
    ) -> Poll<Result<()>> {
        if self.cut.is_done() {
            self.inner = None;
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(reset(operation))) };
        let outcome = call(inner, cx);
        if outcome.is_pending()
            && let Some(at) = self.cut.at
        {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.as_mut().poll(cx).is_ready() {
                self.inner = None;
                return Poll::Ready(Err(reset(operation)));
            }
        }
        outcome
    }

    /// Cuts the connection with `message` half-way: the peer sees an abort, for it was not flushed.
    fn cut(&mut self, cx: &mut Context<'_>, mut message: Bytes) -> Poll<Result<()>> {
        // A message too long is no message and does not count; one without room is not half-way, and to leave then
        // would be a clean end.
        ready!(self.poll(cx, "send", |inner, cx| inner.poll_send(cx, &mut message)))?;
        self.inner = None;
        self.cut.cut();
        self.route.tell(Happening::Cut);
        Poll::Ready(Err(reset("send")))
    }
}

impl<S: Sender> Sender for LinkSender<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        if self.left == Some(0) && !self.cut.is_done() {
            return self.cut(cx, message.clone());
        }
        let sent = self.poll(cx, "send", |inner, cx| inner.poll_send(cx, message));
        if let (Poll::Ready(Ok(())), Some(left)) = (&sent, &mut self.left) {
            *left -= 1;
        }
        sent
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll(cx, "flush", S::poll_flush)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll(cx, "finish", S::poll_finish)
    }

    fn unsent_len(&self) -> usize {
        self.inner.as_ref().map_or(0, S::unsent_len)
    }

    fn held_len(&self) -> usize {
        self.inner.as_ref().map_or(0, S::held_len)
    }

    fn abort(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.abort();
        }
    }

    fn leave(&mut self, reason: GoAwayReason) {
        if let Some(inner) = &mut self.inner {
            inner.leave(reason);
        }
    }
}
