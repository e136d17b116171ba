//! One connection under load: keeps messages in flight, verifies every answer, measures.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use net_core::{
    Batch, BoxReceiver, BoxSender, Connection, Message, MessageKind, Receiver as _, Sender as _,
    Transport as _,
};
use tokio::{
    sync::futures::Notified,
    time::{Sleep, sleep_until},
};

use super::{
    alarm::Alarm,
    answers::Answers,
    flight::{Flight, Sent},
    load::{Goal, Load, Tally},
    pace::Pace,
    payloads::Payloads,
};
use crate::{
    failure::{Failure, Step},
    options::WireFormat,
};

/// In the message format a heartbeat is sent when nothing was sent for this long, so that a slow pace is no silence.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How many messages of one connection that were due and not sent are counted at the most.
const MAX_UNSENT: usize = 1_000_000;

/// One connection under load.
pub(crate) struct Pump {
    tx: BoxSender,
    rx: BoxReceiver,
    load: Arc<Load>,
    tally: Arc<Mutex<Tally>>,
    answers: Answers,
    pace: Pace,
    /// When the warm-up is over and measuring begins.
    measured_from: Instant,
    /// How many messages are sent once it has begun.
    count: Option<u64>,
    /// The number of the first message that was sent in the measured window.
    first_measured: Option<u64>,
    sent: u64,
    flight: Flight,
    /// How long nothing at all may come back, counted from the first message that nothing has followed.
    unheard_since: Option<Instant>,
    batch: Batch,
    /// Wakes when a message is due, where a rate is set.
    alarm: Option<Alarm>,
    /// Wakes when something has not happened for too long.
    patience: Pin<Box<Sleep>>,
    last_sent: Instant,
    last_received: Instant,
    dirty: bool,
}

impl Pump {
    pub(crate) fn new(
        connection: Connection,
        load: Arc<Load>,
        tally: Arc<Mutex<Tally>>,
        payloads: Payloads,
        number: usize,
        start: Instant,
    ) -> Self {
        let share = |count: u64| {
            let (connections, number) = (load.connections as u64, number as u64);
            count / connections + u64::from(number < count % connections)
        };
        Self {
            tx: connection.tx,
            rx: connection.rx,
            tally,
            answers: Answers::new(payloads, load.format, load.transport.guarantees().preserves_messages),
            pace: Pace::new(start, load.rate, number, load.connections),
            measured_from: start + load.warm_up,
            count: match load.goal {
                Goal::Count(count) => Some(share(count)),
                Goal::Time(_) => None,
            },
            first_measured: None,
            sent: 0,
            flight: Flight::default(),
            unheard_since: None,
            batch: Batch::new(256, 256 * 1024),
            alarm: load.rate.map(|_| Alarm::default()),
            patience: Box::pin(sleep_until((start + load.timeout).into())),
            last_sent: start,
            last_received: start,
            dirty: false,
            load,
        }
    }

    /// Sends until the goal is reached, waits for the last answer, and finishes.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let load = self.load.clone();
        let mut stopping = pin!(load.stopping());
        stopping.as_mut().enable();
        poll_fn(|cx| self.poll(cx, stopping.as_mut())).await?;
        self.record_unsent();
        poll_fn(|cx| self.tx.poll_finish(cx)).await.map_err(Failure::sending)?;
        if !load.transport.guarantees().signals_end {
            return Ok(());
        }
        let end = tokio::time::timeout(self.load.timeout, poll_fn(|cx| self.rx.poll_recv(cx))).await;
        match end.map_err(|_| Failure::new(Step::Receive, "the server did not finish"))? {
            // The server has answered everything; a heartbeat may be under way.
            Ok(None) => Ok(()),
            Ok(Some(_)) if self.load.format == WireFormat::Message => Ok(()),
            Ok(Some(_)) => Err(Failure::new(Step::Receive, "more came back than was sent")),
            Err(error) => Err(Failure::receiving(error)),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut stopping: Pin<&mut Notified<'_>>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            let now = Instant::now();
            let sending = self.poll_send(cx, now)?;
            if self.dirty && self.tx.poll_flush(cx).map_err(Failure::sending)?.is_ready() {
                self.dirty = false;
            }
            if sending == Sending::Over && self.flight.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if self.poll_receive(cx)?.is_ready() {
                continue;
            }
            if let (Sending::DueAt(due), Some(alarm)) = (sending, &mut self.alarm) {
                // The load may be over before the message is due.
                let wake = self.load.end(self.measured_from).map_or(due, |end| end.min(due));
                if stopping.as_mut().poll(cx).is_ready()
                    || alarm.poll(cx, wake).map_err(Failure::runtime)?.is_ready()
                {
                    continue;
                }
            }
            ready!(self.poll_patience(cx))?;
        }
    }

    /// Sends what is due, as far as there is room.
    fn poll_send(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Sending, Failure> {
        if now >= self.measured_from && self.first_measured.is_none() {
            self.first_measured = Some(self.sent);
        }
        let measured = self.first_measured.map_or(0, |first| self.sent - first);
        let mut left = match self.count {
            _ if self.load.is_over(now, self.measured_from) => 0,
            Some(count) => count.saturating_sub(measured),
            None => u64::MAX,
        };
        while left > 0 && self.flight.len() < self.load.in_flight {
            let due = self.pace.due(self.sent);
            if let Some(due) = due.filter(|due| *due > now) {
                return Ok(Sending::DueAt(due));
            }
            if self.offer(cx)?.is_pending() {
                break;
            }
            // With a rate, latency counts from when the message was due: what waits behind a slow answer is late.
            self.flight.push(self.sent, due.unwrap_or(now), now);
            self.unheard_since.get_or_insert(now);
            self.sent += 1;
            // The warm-up has no number of messages.
            left -= u64::from(self.first_measured.is_some());
            self.last_sent = now;
            self.dirty = true;
        }
        Ok(if left == 0 { Sending::Over } else { Sending::Waiting })
    }

    /// Counts what was due before the end and found no room: leaving it out would hide the longest waits.
    fn record_unsent(&self) {
        let Some(end) = self.load.end(self.measured_from).filter(|_| !self.load.is_stopped()) else { return };
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let due = (self.sent..).map_while(|number| self.pace.due(number)).take_while(|due| *due < end);
        for due in due.take(MAX_UNSENT) {
            tally.record_unsent(end - due);
        }
    }

    fn offer(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let mut payload = self.answers.payload(self.sent);
        let offered = match self.load.format {
            WireFormat::Raw => self.tx.poll_send(cx, &mut payload),
            WireFormat::Message => {
                let head = Message::new(MessageKind::Request, self.sent, Bytes::new()).head();
                self.tx.poll_send_parts(cx, &head, &mut payload)
            }
        };
        match offered {
            Poll::Ready(sent) => sent.map(Poll::Ready).map_err(Failure::sending),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Receives what is there and verifies it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        match self.rx.poll_recv_many(cx, &mut self.batch) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(error)) => return Err(Failure::receiving(error)),
            Poll::Ready(Ok(0)) => {
                let what = format!("the server finished with {} answers outstanding", self.flight.len());
                return Err(Failure::new(Step::Receive, what)
                    .hint("its log says why, perhaps a limit, --framing or --format"));
            }
            Poll::Ready(Ok(_)) => {}
        }
        let now = Instant::now();
        self.last_received = now;
        self.unheard_since = None;
        let (mut answers, mut measured) = (0, 0);
        // Locked once a batch, and shared with nobody but the other connections of this thread.
        let tally = self.tally.clone();
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(received) = self.batch.pop() {
            let mut landed = |sent: Sent| {
                answers += 1;
                if self.first_measured.is_some_and(|first| sent.number >= first) {
                    tally.record(now.saturating_duration_since(sent.stamp));
                    measured += 1;
                }
            };
            if self.load.loss_timeout.is_some() {
                // What comes twice, or after it was given up, is no answer any more.
                self.answers.find(received, &mut self.flight)?.into_iter().for_each(landed);
                continue;
            }
            for _ in 0..self.answers.take(received)? {
                let Some(sent) = self.flight.land_next() else {
                    return Err(Failure::new(Step::Receive, "more came back than was sent"));
                };
                landed(sent);
            }
        }
        match self.count {
            Some(_) => tally.count(measured, now),
            // What was sent during the warm-up and is answered within the window makes up for what is answered late.
            None if now >= self.measured_from && !self.load.is_over(now, self.measured_from) => {
                tally.count(answers, now);
            }
            None => {}
        }
        self.load.progress(answers);
        Ok(Poll::Ready(()))
    }

    /// Proves life where the pace is slow, and gives up where no answer comes.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let lost = self.load.loss_timeout.and_then(|time| self.flight.lost_at(time));
        let late = match self.load.loss_timeout {
            Some(_) => self.unheard_since.filter(|_| !self.flight.is_empty()),
            None => self.flight.oldest().map(|oldest| self.last_received.max(oldest.stamp)),
        }
        .map(|since| since + self.load.timeout);
        let silent = self.load.heartbeats.then(|| self.last_sent + HEARTBEAT);
        let Some(deadline) = late.into_iter().chain(silent).chain(lost).min() else { return Poll::Pending };
        // A timer that fires early is set anew then: setting it at every wake-up would cost more.
        if self.patience.is_elapsed() || self.patience.deadline() > deadline.into() {
            self.patience.as_mut().reset(deadline.into());
        }
        ready!(self.patience.as_mut().poll(cx));
        let now = Instant::now();
        if late.is_some_and(|late| late <= now) {
            let what = format!(
                "no answer for {}, with {} outstanding",
                humantime::format_duration(self.load.timeout),
                self.flight.len()
            );
            return Poll::Ready(Err(Failure::new(Step::Receive, what)));
        }
        if let Some(time) = self.load.loss_timeout {
            let lost = self.flight.give_up(time, now);
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).record_lost(lost);
        }
        if silent.is_some_and(|silent| silent <= now) {
            let mut heartbeat = Message::new(MessageKind::Heartbeat, 0, Bytes::new()).encode();
            if self.tx.poll_send(cx, &mut heartbeat).map_err(Failure::sending)?.is_ready() {
                self.dirty = true;
            }
            self.last_sent = now;
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether more is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// As soon as there is room.
    Waiting,
    /// When the next message is due.
    DueAt(Instant),
    /// No more.
    Over,
}
