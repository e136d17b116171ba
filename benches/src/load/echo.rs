//! The closed loop: as many messages in flight as asked for, a new one sent for each answer.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::compressed::{CompressedLink, Documents};
use super::link::{Answers, Link};
use super::wire::{Buffers, Target};
use super::{Common, Pattern, Shape, exchange};
use crate::measure::{Watch, Window};
use crate::outcome::{Latency, Outcome};

/// The longest that a server may leave everything unanswered.
const SILENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// A connection of the closed loop.
pub(super) trait Lane: Sized {
    /// What is sent on it and must come back.
    type Script;

    /// Connects; `number` decides at which message of the script the connection begins.
    fn connect(target: &Target, script: &Self::Script, number: usize) -> io::Result<Self>;

    /// Its socket.
    fn stream(&self) -> &TcpStream;

    /// Lets so many more messages be sent.
    fn allow(&mut self, script: &Self::Script, messages: u64);

    /// Whether all that may be sent was sent and has come back.
    fn is_quiet(&self) -> bool;

    /// Writes what may be sent, as far as there is room; tells when waiting for room has begun or ended.
    fn fill(&mut self, script: &Self::Script) -> io::Result<Option<bool>>;

    /// Reads once and verifies; tells `each` of the answers that became whole.
    ///
    /// # Errors
    /// As the read gives them; `UnexpectedEof` when the server closed, `InvalidData` when it answered anything else
    /// than what was sent.
    fn drain(
        &mut self,
        script: &Self::Script,
        buffers: &mut Buffers,
        each: impl FnMut(Answers),
    ) -> io::Result<u64>;
}

/// Connects, for messages of the pattern.
pub(super) fn echo(common: &Common, shape: &Shape) -> io::Result<Generator<Link>> {
    let pattern = Pattern::new(common.format, common.payload, shape.in_flight);
    Generator::new(pattern, &Target::new(common, false)?, common, shape)
}

/// Connects, for JSON documents that are compressed.
pub(super) fn compressed(common: &Common, shape: &Shape) -> io::Result<Generator<CompressedLink>> {
    let documents = Documents::new(common.payload, shape.in_flight)?;
    Generator::new(documents, &Target::new(common, false)?.with_compression(), common, shape)
}

/// The connections of one load, and what was found on them.
pub(super) struct Generator<L: Lane> {
    script: L::Script,
    epoll: OwnedFd,
    links: Vec<Option<L>>,
    watch: Option<Watch>,
    in_flight: u64,
    payload: u64,
    buffers: Buffers,
    latency: Histogram<u64>,
    answers: u64,
    outcome: Outcome,
}

impl<L: Lane> Generator<L> {
    fn new(script: L::Script, target: &Target, common: &Common, shape: &Shape) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut links = Vec::with_capacity(shape.connections);
        for number in 0..shape.connections {
            let link = L::connect(target, &script, number)?;
            epoll::add(&epoll, link.stream(), EventData::new_u64(number as u64), EventFlags::IN)?;
            links.push(Some(link));
        }
        Ok(Self {
            script,
            epoll,
            links,
            watch: common.watch.map(Watch::new),
            in_flight: shape.in_flight as u64,
            payload: common.payload as u64,
            buffers: Buffers::new(),
            latency: exchange::histogram()?,
            answers: 0,
            outcome: Outcome::default(),
        })
    }

    /// Loads the server for `warm_up`, then for `duration` with counting, then collects what is still in flight.
    pub(super) fn turn(&mut self, duration: Duration, warm_up: Duration) -> io::Result<Outcome> {
        for link in self.links.iter_mut().flatten() {
            link.allow(&self.script, self.in_flight);
        }
        for index in 0..self.links.len() {
            self.step(index, false, true);
        }
        self.pump(Instant::now() + warm_up, true)?;
        self.latency.reset();
        self.answers = 0;
        let window = Window::begin(self.watch)?;
        self.pump(Instant::now() + duration, true)?;
        self.outcome.measured(window.end()?);
        self.outcome.messages = self.answers;
        self.outcome.bytes = self.answers * self.payload;
        self.outcome.latency = Latency::from(&self.latency);
        // What is still in flight must come back too.
        self.pump(Instant::now() + Duration::from_secs(10), false)?;
        let lost = self.links.iter().flatten().filter(|link| !link.is_quiet()).count();
        if lost > 0 {
            self.fail(&format!("{lost} connections have messages without an answer"));
        }
        self.outcome.memory = self.watch.map(|watch| watch.memory()).transpose()?;
        Ok(self.outcome.clone())
    }

    /// Serves events until `end`; with `refill` off it sends nothing new and stops once all is answered.
    fn pump(&mut self, end: Instant, refill: bool) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        while Instant::now() < end {
            let open = || self.links.iter().flatten();
            if open().next().is_none() || (!refill && open().all(L::is_quiet)) {
                return Ok(());
            }
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&SILENCE)) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer for 5 s")),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                let flags = event.flags;
                let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
                self.step(index, readable, refill);
            }
        }
        Ok(())
    }

    /// Reads from one connection if it is readable and writes what may be written; a failure closes it.
    fn step(&mut self, index: usize, readable: bool, refill: bool) {
        let Some(slot) = self.links.get_mut(index) else { return };
        let Some(link) = slot else { return };
        let Self { script, epoll, buffers, latency, answers, .. } = self;
        let mut serve = || {
            if readable {
                let count = link.drain(script, buffers, |(answers, took)| {
                    latency.saturating_record_n(exchange::nanos(took), answers);
                })?;
                *answers += count;
                if refill {
                    link.allow(script, count);
                }
            }
            let waits = link.fill(script)?;
            if let Some(waits) = waits {
                let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
                epoll::modify(&*epoll, link.stream(), EventData::new_u64(index as u64), flags)?;
            }
            Ok::<_, io::Error>(())
        };
        if let Err(error) = serve() {
            *slot = None;
            self.fail(&error.to_string());
        }
    }

    fn fail(&mut self, what: &str) {
        self.outcome.errors += 1;
        self.outcome.first_error.get_or_insert_with(|| what.to_owned());
    }
}
