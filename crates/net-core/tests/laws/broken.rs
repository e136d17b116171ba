//! Transports that each break one law, to prove that the checks can fail.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use net_core::{
    Address, Admission, Batch, Connection, Error, ErrorKind, Guarantees, Info, Listener, Receiver, Result,
    Sender, Transport,
    memory::{Memory, MemoryListener, MemoryReceiver, MemorySender},
    testing::laws,
};
use tokio::task::yield_now;

/// What a transport does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    DropsMessages,
    Reorders,
    Truncates,
    DropsEmptyMessages,
    CorruptsLongMessages,
    LosesUnderLoad,
    ForgetsHeadOfParts,
    MiscountsBatches,
    ShowsAnother,
    ConsumesNothing,
    FillsAndForgets,
    ForgetsHeadOfACopy,
    NeverWakes,
    KeepsTheFirstWaker,
    TakesWhatIsPending,
    WaitsForTheDead,
    AcceptsWithoutBound,
    LosesWhatWaited,
    FlushKeepsTheLast,
    LosesOnFinish,
    FinishIsSilent,
    SendsAfterFinish,
    FinishClosesBoth,
    MessageAfterTheEnd,
    EndAfterAnError,
    BreaksOnALongMessage,
    AcceptsALongMessage,
    CleanEndOnAbort,
    AbortOnCleanDrop,
    RecvForgets,
    FlushForgets,
    AcceptForgets,
    WaitsForASilentPeer,
    IgnoresALimit,
    FailsForOnePeer,
    CloseForgets,
    CloseIsNotFinal,
    ConnectsToNobody,
    OneId,
}

impl Fault {
    /// Every fault with the law that it breaks.
    pub(crate) const ALL: [(Self, u8); 39] = [
        (Self::DropsMessages, 1),
        (Self::Reorders, 1),
        (Self::Truncates, 1),
        (Self::DropsEmptyMessages, 1),
        (Self::CorruptsLongMessages, 1),
        (Self::LosesUnderLoad, 1),
        (Self::ForgetsHeadOfParts, 1),
        (Self::MiscountsBatches, 1),
        (Self::ShowsAnother, 1),
        (Self::ConsumesNothing, 1),
        (Self::FillsAndForgets, 1),
        (Self::ForgetsHeadOfACopy, 1),
        (Self::NeverWakes, 2),
        (Self::KeepsTheFirstWaker, 2),
        (Self::TakesWhatIsPending, 2),
        (Self::WaitsForTheDead, 2),
        (Self::AcceptsWithoutBound, 3),
        (Self::LosesWhatWaited, 3),
        (Self::FlushKeepsTheLast, 4),
        (Self::LosesOnFinish, 5),
        (Self::FinishIsSilent, 5),
        (Self::SendsAfterFinish, 5),
        (Self::FinishClosesBoth, 5),
        (Self::MessageAfterTheEnd, 6),
        (Self::EndAfterAnError, 6),
        (Self::BreaksOnALongMessage, 6),
        (Self::AcceptsALongMessage, 6),
        (Self::CleanEndOnAbort, 7),
        (Self::AbortOnCleanDrop, 7),
        (Self::RecvForgets, 8),
        (Self::FlushForgets, 8),
        (Self::AcceptForgets, 8),
        (Self::WaitsForASilentPeer, 9),
        (Self::IgnoresALimit, 10),
        (Self::FailsForOnePeer, 9),
        (Self::CloseForgets, 9),
        (Self::CloseIsNotFinal, 9),
        (Self::ConnectsToNobody, 9),
        (Self::OneId, 9),
    ];

    /// Runs the check that is there for this fault.
    pub(crate) async fn check(self, broken: &Broken, at: &Address) {
        match self {
            Self::None => {}
            Self::DropsMessages
            | Self::Reorders
            | Self::Truncates
            | Self::DropsEmptyMessages
            | Self::CorruptsLongMessages => laws::messages_arrive_whole(broken, at).await,
            Self::LosesUnderLoad => laws::both_directions_at_once(broken, at).await,
            Self::ForgetsHeadOfParts | Self::MiscountsBatches => {
                laws::batches_agree_with_single_messages(broken, at).await;
            }
            Self::ShowsAnother | Self::ConsumesNothing | Self::FillsAndForgets | Self::ForgetsHeadOfACopy => {
                laws::what_is_shown_is_received_next(broken, at).await;
            }
            Self::NeverWakes | Self::KeepsTheFirstWaker | Self::TakesWhatIsPending => {
                laws::pending_leaves_the_message_and_wakes(broken, at).await;
            }
            Self::WaitsForTheDead => laws::a_peer_that_leaves_wakes_who_waits(broken, at).await,
            Self::AcceptsWithoutBound | Self::LosesWhatWaited => {
                laws::acceptance_is_bounded(broken, at).await;
            }
            Self::FlushKeepsTheLast => laws::flushed_needs_no_further_call(broken, at).await,
            Self::LosesOnFinish | Self::FinishIsSilent | Self::SendsAfterFinish => {
                laws::finish_delivers_all_then_ends(broken, at).await;
            }
            Self::FinishClosesBoth => laws::half_close_leaves_the_other_direction(broken, at).await,
            Self::MessageAfterTheEnd | Self::EndAfterAnError => laws::ends_are_final(broken, at).await,
            Self::BreaksOnALongMessage | Self::AcceptsALongMessage => {
                laws::a_message_too_long_is_refused_alone(broken, at).await;
            }
            Self::CleanEndOnAbort => laws::dropping_unflushed_aborts(broken, at).await,
            Self::AbortOnCleanDrop => laws::dropping_after_a_flush_closes(broken, at).await,
            Self::RecvForgets => laws::cancelled_recv_loses_nothing(broken, at).await,
            Self::FlushForgets => laws::cancelled_send_is_all_or_nothing(broken, at).await,
            Self::AcceptForgets => laws::cancelled_accept_loses_nothing(broken, at).await,
            Self::IgnoresALimit => laws::a_limit_holds_until_it_is_lifted(broken, at).await,
            Self::WaitsForASilentPeer => laws::accept_waits_for_no_peer(broken, at).await,
            Self::FailsForOnePeer => laws::a_vanished_peer_ends_nothing(broken, at).await,
            Self::CloseForgets | Self::CloseIsNotFinal => {
                laws::a_closed_listener_gives_the_rest(broken, at).await;
            }
            Self::ConnectsToNobody => laws::nobody_listens_is_an_error(broken, at).await,
            Self::OneId => laws::connections_have_names_of_their_own(broken, at).await,
        }
    }
}

/// The memory transport with a fault.
#[derive(Debug)]
pub(crate) struct Broken {
    inner: Memory,
    fault: Fault,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { inner: Memory::default(), fault }
    }
}

fn wrap(
    fault: Fault,
    connection: Connection<MemorySender, MemoryReceiver>,
) -> Connection<BrokenSender, BrokenReceiver> {
    let Connection { tx, rx, info, .. } = connection;
    let finished = Arc::new(AtomicBool::new(false));
    let tx = BrokenSender {
        inner: Some(tx),
        fault,
        count: 0,
        queue: VecDeque::new(),
        waker: None,
        flushed: true,
        dead: false,
        finished: finished.clone(),
    };
    Connection::new(
        tx,
        BrokenReceiver { inner: rx, fault, polls_after_end: 0, finished, first: None, limit: usize::MAX },
        info,
    )
}

impl Transport for Broken {
    type Sender = BrokenSender;
    type Receiver = BrokenReceiver;
    type Listener = BrokenListener;

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }

    async fn connect(&self, to: &Address) -> Result<Connection<BrokenSender, BrokenReceiver>> {
        match self.inner.connect(to).await {
            Ok(connection) => Ok(wrap(self.fault, connection)),
            Err(_) if self.fault == Fault::ConnectsToNobody => {
                Ok(wrap(self.fault, net_core::memory::pair().0))
            }
            Err(error) => Err(error),
        }
    }

    async fn listen(&self, at: &Address) -> Result<BrokenListener> {
        let inner = self.inner.listen(at).await?;
        Ok(BrokenListener { inner, fault: self.fault, closed: false, waiting: None, info: None })
    }
}

pub(crate) struct BrokenSender {
    inner: Option<MemorySender>,
    fault: Fault,
    count: usize,
    /// Messages that are accepted and not handed on.
    queue: VecDeque<Bytes>,
    waker: Option<Waker>,
    flushed: bool,
    dead: bool,
    finished: Arc<AtomicBool>,
}

impl BrokenSender {
    fn inner(&mut self) -> &mut MemorySender {
        self.inner.as_mut().expect("it is taken on drop")
    }

    fn poll_queue(&mut self, cx: &mut Context<'_>, keep: usize) -> Poll<Result<()>> {
        while self.queue.len() > keep {
            let Some(mut message) = self.queue.front().cloned() else { break };
            ready!(self.inner().poll_send(cx, &mut message))?;
            self.queue.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    /// Changes or swallows a message on its way in.
    fn change(&mut self, message: &mut Bytes) -> bool {
        self.count += 1;
        match self.fault {
            Fault::DropsMessages => self.count.is_multiple_of(10),
            Fault::LosesUnderLoad => self.count == 1_999,
            Fault::DropsEmptyMessages => message.is_empty(),
            Fault::Truncates if message.len() > 100_000 => {
                message.truncate(100_000);
                false
            }
            Fault::CorruptsLongMessages if message.len() > 65_536 => {
                let mut bytes = message.to_vec();
                if let Some(byte) = bytes.get_mut(65_536) {
                    *byte ^= 1;
                }
                *message = bytes.into();
                false
            }
            _ => false,
        }
    }
}

impl Sender for BrokenSender {
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        let fault = self.fault;
        if self.dead {
            return Poll::Ready(Err(Error::new(ErrorKind::Reset, "send")));
        }
        if fault == Fault::SendsAfterFinish && self.finished.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let mut offered = message.clone();
        let waited = fault == Fault::LosesWhatWaited && self.waker.take().is_some();
        if waited || self.change(&mut offered) {
            *message = Bytes::new();
            return Poll::Ready(Ok(()));
        }
        let sent = match fault {
            Fault::AcceptsWithoutBound | Fault::FlushKeepsTheLast | Fault::LosesOnFinish => {
                self.queue.push_back(std::mem::take(&mut offered));
                if fault == Fault::FlushKeepsTheLast {
                    let _ = self.poll_queue(cx, 4);
                }
                Poll::Ready(Ok(()))
            }
            Fault::FlushForgets => {
                if self.queue.len() > 16 {
                    ready!(self.poll_queue(cx, 0))?;
                }
                self.queue.push_back(std::mem::take(&mut offered));
                Poll::Ready(Ok(()))
            }
            Fault::Reorders if !self.count.is_multiple_of(2) => {
                self.queue.push_back(std::mem::take(&mut offered));
                Poll::Ready(Ok(()))
            }
            Fault::Reorders => {
                ready!(self.inner().poll_send(cx, &mut offered))?;
                self.poll_queue(cx, 0)
            }
            Fault::NeverWakes => {
                self.inner().poll_send(&mut Context::from_waker(Waker::noop()), &mut offered)
            }
            Fault::KeepsTheFirstWaker => {
                let waker = self.waker.get_or_insert_with(|| cx.waker().clone()).clone();
                let sent = self.inner().poll_send(&mut Context::from_waker(&waker), &mut offered);
                if sent.is_ready() {
                    self.waker = None;
                }
                sent
            }
            _ => self.inner().poll_send(cx, &mut offered),
        };
        match &sent {
            Poll::Ready(Ok(())) => {
                self.flushed = false;
                *message = Bytes::new();
            }
            Poll::Ready(Err(error))
                if fault == Fault::WaitsForTheDead && error.kind() == ErrorKind::Reset =>
            {
                return Poll::Pending;
            }
            Poll::Ready(Err(_)) if fault == Fault::AcceptsALongMessage => {
                *message = Bytes::new();
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(_)) => self.dead = fault == Fault::BreaksOnALongMessage,
            Poll::Pending if fault == Fault::TakesWhatIsPending => *message = Bytes::new(),
            Poll::Pending if fault == Fault::LosesWhatWaited => self.waker = Some(cx.waker().clone()),
            Poll::Pending => {}
        }
        sent
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.fault {
            Fault::AcceptsWithoutBound | Fault::Reorders | Fault::LosesOnFinish | Fault::FlushForgets => {
                ready!(self.poll_queue(cx, 0))?;
            }
            Fault::FlushKeepsTheLast => ready!(self.poll_queue(cx, 1))?,
            _ => {}
        }
        ready!(self.inner().poll_flush(cx))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.fault == Fault::FlushKeepsTheLast {
            ready!(self.poll_queue(cx, 0))?;
        }
        if self.fault == Fault::LosesOnFinish {
            self.queue.clear();
        }
        ready!(self.poll_flush(cx))?;
        self.finished.store(true, Ordering::Relaxed);
        if self.fault == Fault::FinishIsSilent { Poll::Ready(Ok(())) } else { self.inner().poll_finish(cx) }
    }

    fn poll_send_parts(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        let head = if self.fault == Fault::ForgetsHeadOfParts { &[] } else { head };
        let mut whole = Bytes::from([head, &body[..]].concat());
        ready!(self.poll_send(cx, &mut whole))?;
        *body = Bytes::new();
        Poll::Ready(Ok(()))
    }

    fn poll_send_copy(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> Poll<Result<()>> {
        let head = if self.fault == Fault::ForgetsHeadOfACopy { &[] } else { head };
        self.poll_send_parts(cx, head, &mut Bytes::copy_from_slice(body))
    }

    async fn flush(&mut self) -> Result<()> {
        if self.fault == Fault::FlushForgets {
            // Who is dropped while it waits takes the queue along.
            for mut message in std::mem::take(&mut self.queue) {
                yield_now().await;
                poll_fn(|cx| self.inner().poll_send(cx, &mut message)).await?;
            }
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }
}

impl Drop for BrokenSender {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        let cx = &mut Context::from_waker(Waker::noop());
        if self.fault == Fault::CleanEndOnAbort {
            let _ = inner.poll_finish(cx);
        }
        if self.fault == Fault::AbortOnCleanDrop {
            let _ = inner.poll_send(cx, &mut Bytes::from_static(b"cut"));
        }
    }
}

pub(crate) struct BrokenReceiver {
    inner: MemoryReceiver,
    fault: Fault,
    polls_after_end: usize,
    finished: Arc<AtomicBool>,
    first: Option<Bytes>,
    limit: usize,
}

impl Receiver for BrokenReceiver {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Some(first)));
        }
        if self.fault == Fault::FinishClosesBoth && self.finished.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(None));
        }
        let received = ready!(self.inner.poll_recv(cx));
        if matches!(received, Ok(Some(_))) {
            return Poll::Ready(received);
        }
        self.polls_after_end += 1;
        Poll::Ready(match self.fault {
            Fault::MessageAfterTheEnd if self.polls_after_end == 3 => Ok(Some("late".into())),
            Fault::EndAfterAnError if self.polls_after_end == 3 => Ok(None),
            _ => received,
        })
    }

    fn poll_recv_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<usize>> {
        let count = ready!(self.inner.poll_recv_many(cx, batch))?;
        Poll::Ready(Ok(if self.fault == Fault::MiscountsBatches { count + 1 } else { count }))
    }

    fn peek(&mut self) -> Option<&[u8]> {
        match self.fault {
            Fault::ShowsAnother => Some(b"another"),
            Fault::ConsumesNothing => {
                let cx = &mut Context::from_waker(Waker::noop());
                if self.first.is_none()
                    && let Poll::Ready(Ok(next)) = self.inner.poll_recv(cx)
                {
                    self.first = next;
                }
                self.first.as_deref()
            }
            _ => None,
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        if self.fault == Fault::FillsAndForgets {
            ready!(self.inner.poll_recv(cx))?;
        }
        Poll::Ready(Ok(false))
    }

    fn limit_message_len(&mut self, max: usize) -> Option<usize> {
        let before = std::mem::replace(&mut self.limit, max);
        (self.fault == Fault::IgnoresALimit).then_some(before)
    }

    async fn recv(&mut self) -> Result<Option<Bytes>> {
        let message = poll_fn(|cx| self.poll_recv(cx)).await?;
        if self.fault == Fault::RecvForgets {
            yield_now().await;
        }
        Ok(message)
    }
}

pub(crate) struct BrokenListener {
    inner: MemoryListener,
    fault: Fault,
    closed: bool,
    waiting: Option<Connection<BrokenSender, BrokenReceiver>>,
    info: Option<Info>,
}

impl Listener for BrokenListener {
    type Sender = BrokenSender;
    type Receiver = BrokenReceiver;

    fn local(&self) -> &Address {
        self.inner.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<BrokenSender, BrokenReceiver>>> {
        let closed = || Poll::Ready(Err(Error::new(ErrorKind::Closed, "accept")));
        if self.closed && self.fault == Fault::CloseForgets {
            return closed();
        }
        if self.waiting.is_none() {
            let accepted = ready!(self.inner.poll_accept(cx));
            if accepted.is_err() && self.fault == Fault::CloseIsNotFinal && self.closed {
                // Told once, then it hangs.
                self.fault = Fault::NeverWakes;
                return closed();
            }
            if accepted.is_err() && self.fault == Fault::NeverWakes {
                return Poll::Pending;
            }
            self.waiting = Some(wrap(self.fault, accepted?));
        }
        if let Some(waiting) = &mut self.waiting {
            if self.fault == Fault::WaitsForASilentPeer {
                waiting.rx.first = ready!(waiting.rx.inner.poll_recv(cx))?;
            }
            if self.fault == Fault::FailsForOnePeer
                && matches!(waiting.rx.poll_recv(cx), Poll::Ready(Ok(None)))
            {
                return Poll::Ready(Err(Error::new(ErrorKind::Reset, "accept")));
            }
            if self.fault == Fault::OneId {
                waiting.info = self.info.get_or_insert_with(|| waiting.info.clone()).clone();
            }
        }
        Poll::Ready(self.waiting.take().ok_or_else(|| Error::new(ErrorKind::Closed, "accept")))
    }

    fn close(&mut self) {
        self.closed = true;
        self.inner.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.inner.set_admission(admission);
    }

    async fn accept(&mut self) -> Result<Connection<BrokenSender, BrokenReceiver>> {
        let accepted = poll_fn(|cx| self.poll_accept(cx)).await;
        if self.fault == Fault::AcceptForgets {
            yield_now().await;
        }
        accepted
    }
}
