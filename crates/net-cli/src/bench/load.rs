//! A load: so many connections, so much in flight on each, for so long; and what was measured.

use std::{
    ops::Range,
    sync::{
        Arc, Barrier, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use net_core::{Address, BoxTransport, Connection, Transport as _};
use tokio::{
    sync::{Notify, futures::Notified, oneshot},
    task::JoinSet,
};

use super::{payloads::Payloads, pump::Pump};
use crate::{failure::Failure, options::WireFormat};

/// Connections of one thread that are being made at once.
const MAX_CONNECTING: usize = 64;
/// The longest latency that is told apart, in nanoseconds: an hour.
const MAX_LATENCY: u64 = 3_600_000_000_000;

/// After how long a message without an answer is lost, where messages may be.
pub(crate) const LOSS_TIMEOUT: Duration = Duration::from_millis(500);

/// When a load has reached its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// After this long.
    Time(Duration),
    /// After so many messages.
    Count(u64),
}

/// A load, and how far it has come.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) transport: BoxTransport,
    pub(crate) address: Address,
    pub(crate) format: WireFormat,
    /// Heartbeats are sent where the pace is slow.
    pub(crate) heartbeats: bool,
    pub(crate) connections: usize,
    /// Messages in flight on each connection.
    pub(crate) in_flight: usize,
    /// Bytes of a payload.
    pub(crate) payload_len: usize,
    /// Messages a second over all connections; without it, as many as the answers let through.
    pub(crate) rate: Option<f64>,
    pub(crate) warm_up: Duration,
    pub(crate) goal: Goal,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    /// After how long a message without an answer is lost, where messages may be.
    pub(crate) loss_timeout: Option<Duration>,
    pub(crate) threads: usize,
    pub(crate) state: State,
}

/// How far a load has come.
#[derive(Debug, Default)]
pub(crate) struct State {
    stopped: AtomicBool,
    /// Wakes who waits for the time of its next message when it will not come to that.
    stop: Notify,
    failed: AtomicBool,
    answers: AtomicU64,
    start: OnceLock<Instant>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Answers in the measured time.
    pub(crate) messages: u64,
    /// The measured time.
    pub(crate) elapsed: Duration,
    /// Nanoseconds from when a message was sent, or with a rate was due, to its answer.
    pub(crate) latency: Histogram<u64>,
    /// Messages that were due before the end, where a rate was set, and for which there was no room until then.
    pub(crate) unsent: u64,
    /// Messages without an answer, where messages may be lost.
    pub(crate) lost: u64,
    /// Answers in all, the warm-up's among them; each was verified.
    pub(crate) verified: u64,
}

/// What one thread measures.
#[derive(Debug)]
pub(crate) struct Tally {
    latency: Histogram<u64>,
    messages: u64,
    unsent: u64,
    lost: u64,
    last: Option<Instant>,
}

impl Tally {
    fn new() -> Result<Self, Failure> {
        // Three digits are exact to a thousandth.
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY, 3).map_err(Failure::usage)?;
        Ok(Self { latency, messages: 0, unsent: 0, lost: 0, last: None })
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(MAX_LATENCY).max(1));
    }

    /// Counts a message that was due and not sent; it is as late as it was when the load ended, at least.
    pub(crate) fn record_unsent(&mut self, late: Duration) {
        self.record(late);
        self.unsent += 1;
    }

    /// Counts messages that were sent and have no answer.
    pub(crate) fn record_lost(&mut self, messages: u64) {
        self.lost += messages;
    }

    pub(crate) fn count(&mut self, messages: u64, now: Instant) {
        self.messages += messages;
        self.last = Some(now);
    }
}

impl Load {
    /// Ends the load early; what was measured until then is told.
    pub(crate) fn stop(&self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.state.stop.notify_waiters();
    }

    /// Waits until the load is ended early; whoever is to miss nothing enables it before it asks whether it is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) fn stopping(&self) -> Notified<'_> {
        self.state.stop.notified()
    }

    /// Adds to the answers that have come.
    pub(crate) fn progress(&self, answers: u64) {
        self.state.answers.fetch_add(answers, Ordering::Relaxed);
    }

    /// All of the goal, as [`reached`](Self::reached) counts it.
    pub(crate) const WHOLE: u64 = 1000;

    /// How many answers have come, the warm-up's among them.
    pub(crate) fn answers(&self) -> u64 {
        self.state.answers.load(Ordering::Relaxed)
    }

    /// How much of the goal is reached, in thousandths.
    pub(crate) fn reached(&self) -> u64 {
        let (done, all) = match (self.goal, self.state.start.get()) {
            (_, None) => return 0,
            (Goal::Count(count), _) => (self.answers().into(), count.into()),
            (Goal::Time(time), Some(start)) => {
                (start.elapsed().as_micros(), (self.warm_up + time).as_micros())
            }
        };
        u64::try_from(done * u128::from(Self::WHOLE) / all.max(1))
            .map_or(Self::WHOLE, |part| part.min(Self::WHOLE))
    }

    /// Tells whether the load was ended early.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.stopped.load(Ordering::Relaxed)
    }

    /// Tells whether no more is sent.
    pub(crate) fn is_over(&self, now: Instant, measured_from: Instant) -> bool {
        self.is_stopped() || self.end(measured_from).is_some_and(|end| now >= end)
    }

    /// When no more is sent, where that is a matter of time.
    pub(crate) fn end(&self, measured_from: Instant) -> Option<Instant> {
        match self.goal {
            Goal::Time(time) => Some(measured_from + time),
            Goal::Count(_) => None,
        }
    }

    /// Puts the load on the server, and tells what was measured. Every answer was verified.
    pub(crate) async fn run(self: Arc<Self>) -> Result<Measured, Failure> {
        let threads = self.threads.clamp(1, self.connections.max(1));
        let gate = Arc::new(Barrier::new(threads));
        let (mut tallies, mut ends) = (Vec::new(), Vec::new());
        for thread in 0..threads {
            let share = |thread: usize| self.connections * thread / threads;
            let tally = Arc::new(Mutex::new(Tally::new()?));
            let (end, ended) = oneshot::channel();
            let (load, numbers) = (self.clone(), share(thread)..share(thread + 1));
            let (gate, counted) = (gate.clone(), tally.clone());
            let work = move || {
                let result = load.run_thread(numbers, &gate, &counted);
                if result.is_err() {
                    load.stop();
                }
                // Nobody waits any more where another thread has failed.
                let _ = end.send(result);
            };
            thread::Builder::new()
                .name(format!("net-load-{thread}"))
                .spawn(work)
                .map_err(Failure::runtime)?;
            tallies.push(tally);
            ends.push(ended);
        }
        for ended in ends {
            ended.await.map_err(|_| Failure::usage("a thread of the load broke down"))??;
        }
        self.sum(&tallies)
    }

    fn sum(&self, tallies: &[Arc<Mutex<Tally>>]) -> Result<Measured, Failure> {
        let mut sum = Tally::new()?;
        for tally in tallies {
            let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            sum.latency.add(&tally.latency).map_err(Failure::usage)?;
            sum.messages += tally.messages;
            sum.unsent += tally.unsent;
            sum.lost += tally.lost;
            sum.last = sum.last.max(tally.last);
        }
        let from = self.state.start.get().map(|start| *start + self.warm_up);
        let elapsed = match self.goal {
            Goal::Time(time) if !self.is_stopped() => time,
            _ => {
                sum.last.zip(from).map_or(Duration::ZERO, |(last, from)| last.saturating_duration_since(from))
            }
        };
        Ok(Measured {
            messages: sum.messages,
            elapsed,
            latency: sum.latency,
            unsent: sum.unsent,
            lost: sum.lost,
            verified: self.answers(),
        })
    }

    fn run_thread(
        self: &Arc<Self>,
        numbers: Range<usize>,
        gate: &Barrier,
        tally: &Arc<Mutex<Tally>>,
    ) -> Result<(), Failure> {
        let connected = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::runtime)
            .and_then(|runtime| Ok((runtime.block_on(self.connect(numbers))?, runtime)));
        if connected.is_err() {
            self.state.failed.store(true, Ordering::Relaxed);
        }
        // All threads begin together, or none does.
        gate.wait();
        let (connections, runtime) = connected?;
        if self.state.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let start = *self.state.start.get_or_init(Instant::now);
        let payloads = Payloads::new(self.payload_len, self.in_flight);
        runtime.block_on(async {
            let mut pumps = JoinSet::new();
            for (number, connection) in connections {
                let (tally, payloads) = (tally.clone(), payloads.clone());
                pumps.spawn(Pump::new(connection, self.clone(), tally, payloads, number, start).run());
            }
            while let Some(ended) = pumps.join_next().await {
                ended.map_err(Failure::usage)??;
            }
            Ok(())
        })
    }

    async fn connect(
        self: &Arc<Self>,
        mut numbers: Range<usize>,
    ) -> Result<Vec<(usize, Connection)>, Failure> {
        let mut connected = Vec::new();
        let mut connecting = JoinSet::new();
        loop {
            for number in numbers.by_ref().take(MAX_CONNECTING - connecting.len()) {
                let load = self.clone();
                connecting.spawn(async move { (number, load.transport.connect(&load.address).await) });
            }
            let Some(ended) = connecting.join_next().await else { return Ok(connected) };
            let (number, connection) = ended.map_err(Failure::usage)?;
            connected.push((number, connection.map_err(Failure::start)?));
        }
    }
}
