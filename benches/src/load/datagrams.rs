//! The closed loop over UDP: as many datagrams in flight as asked for, a new one sent for each answer or loss.

use std::array;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use socket2::SockRef;

use super::{Common, Shape, exchange};
use crate::measure::{Watch, Window};
use crate::outcome::{Latency, Outcome};

/// A datagram without an answer for this long is lost.
const LOST: Duration = Duration::from_millis(500);
/// How often it is looked for what is lost.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// More than one loss in so many answers is a failure: the figures would be of another load.
const TOLERATED: u64 = 1_000;
/// The least payload: the number of the datagram.
const MIN_PAYLOAD: usize = 8;
/// The buffer of one datagram.
const SLOT: usize = 2 * 1024;
/// How much the sockets are to hold.
const SOCKET_BUFFER: usize = 4 << 20;
/// Letters from which payloads are cut, a prime.
const LETTERS: usize = 65_521;

/// Makes the sockets of a load.
pub(super) fn connect(common: &Common, shape: &Shape) -> io::Result<Generator> {
    if !(MIN_PAYLOAD..=SLOT).contains(&common.payload) {
        return Err(exchange::wrong("a datagram has from 8 to 2 048 bytes here"));
    }
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut links = Vec::with_capacity(shape.connections);
    for number in 0..shape.connections {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(common.to)?;
        socket.set_nonblocking(true)?;
        SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER)?;
        epoll::add(&epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN)?;
        links.push(Link { socket, sent: 0, allowed: shape.in_flight, waiting: VecDeque::new() });
    }
    // Its options are set on a socket that nobody uses: what arrives here is to arrive as it was sent.
    let unused = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(Generator {
        epoll,
        links,
        watch: common.watch.map(Watch::new),
        state: UdpSocketState::new((&unused).into())?,
        slots: vec![0; SLOT * BATCH_SIZE],
        payloads: Payloads::new(common.payload),
        latency: exchange::histogram()?,
        answers: 0,
        lost: 0,
        outcome: Outcome::default(),
    })
}

/// One socket, connected to the server.
struct Link {
    socket: UdpSocket,
    /// How many datagrams were sent; the number of the next one.
    sent: u64,
    /// How many more may be sent.
    allowed: usize,
    /// Those without an answer, oldest first.
    waiting: VecDeque<(u64, Instant)>,
}

/// The sockets of one load, and what was found on them.
pub(super) struct Generator {
    epoll: std::os::fd::OwnedFd,
    links: Vec<Link>,
    watch: Option<Watch>,
    state: UdpSocketState,
    slots: Vec<u8>,
    payloads: Payloads,
    latency: Histogram<u64>,
    answers: u64,
    lost: u64,
    outcome: Outcome,
}

impl Generator {
    /// Loads the server for `warm_up`, then for `duration` with counting, then collects what is still in flight.
    pub(super) fn turn(&mut self, duration: Duration, warm_up: Duration) -> io::Result<Outcome> {
        for index in 0..self.links.len() {
            self.fill(index)?;
        }
        self.pump(Instant::now() + warm_up, true)?;
        self.latency.reset();
        (self.answers, self.lost) = (0, 0);
        let window = Window::begin(self.watch)?;
        self.pump(Instant::now() + duration, true)?;
        self.outcome.measured(window.end()?);
        self.outcome.messages = self.answers;
        self.outcome.latency = Latency::from(&self.latency);
        if self.lost * TOLERATED > self.answers {
            self.fail(&format!("{} datagrams were lost, and {} answered", self.lost, self.answers));
        }
        self.pump(Instant::now() + 4 * LOST, false)?;
        self.outcome.memory = self.watch.map(|watch| watch.memory()).transpose()?;
        Ok(self.outcome.clone())
    }

    /// Serves events until `end`; with `refill` off it sends nothing new and stops once nothing is awaited.
    fn pump(&mut self, end: Instant, refill: bool) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let mut look = Instant::now() + LOST;
        while Instant::now() < end {
            if !refill && self.links.iter().all(|link| link.waiting.is_empty()) {
                return Ok(());
            }
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&LOOK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.drain(index)?;
                if refill {
                    self.fill(index)?;
                }
            }
            if Instant::now() >= look {
                look = Instant::now() + LOST / 5;
                self.forget_lost(refill)?;
            }
        }
        Ok(())
    }

    /// Receives and verifies what is there for one link.
    fn drain(&mut self, index: usize) -> io::Result<()> {
        let Self { links, state, slots, payloads, latency, answers, .. } = self;
        let Some(link) = links.get_mut(index) else { return Ok(()) };
        loop {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut each = slots.chunks_mut(SLOT);
            let mut views: [IoSliceMut<'_>; BATCH_SIZE] =
                array::from_fn(|_| IoSliceMut::new(each.next().unwrap_or_default()));
            let count = match state.recv((&link.socket).into(), &mut views, &mut metas) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            for (meta, slot) in metas.iter().zip(&views).take(count) {
                let bytes = slot.get(..meta.len).unwrap_or_default();
                let number =
                    payloads.number(bytes).ok_or_else(|| exchange::wrong("an answer that was never sent"))?;
                // Nearly always the first one; an answer that comes after it was given up is none any more.
                if let Some(place) = link.waiting.iter().position(|(waiting, _)| *waiting == number)
                    && let Some((_, sent)) = link.waiting.remove(place)
                {
                    latency.saturating_record(exchange::nanos(now - sent));
                    *answers += 1;
                    link.allowed += 1;
                }
            }
            if count < BATCH_SIZE {
                return Ok(());
            }
        }
    }

    /// Sends what one link may send.
    fn fill(&mut self, index: usize) -> io::Result<()> {
        let Some(link) = self.links.get_mut(index) else { return Ok(()) };
        while link.allowed > 0 {
            let count = link.allowed.min(BATCH_SIZE);
            let first = link.sent;
            let heads: [[u8; MIN_PAYLOAD]; BATCH_SIZE] =
                array::from_fn(|index| (first + index as u64).to_be_bytes());
            let views: [[IoSlice<'_>; 2]; BATCH_SIZE] = array::from_fn(|index| {
                let head = heads.get(index).map_or(&[][..], |head| head);
                [IoSlice::new(head), IoSlice::new(self.payloads.body(first + index as u64))]
            });
            let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH_SIZE] =
                array::from_fn(|_| SendAncillaryBuffer::default());
            let mut each = views.iter();
            let mut headers = controls
                .each_mut()
                .map(|control| MMsgHdr::new(each.next().map_or(&[][..], |view| view), control));
            let now = Instant::now();
            let headers = headers.get_mut(..count).unwrap_or_default();
            match sendmmsg(&link.socket, headers, SendFlags::empty()) {
                Ok(sent) => {
                    link.waiting.extend((0..sent as u64).map(|index| (first + index, now)));
                    link.sent += sent as u64;
                    link.allowed -= sent;
                }
                // The next answer, or loss, makes room.
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives up what has waited for too long.
    fn forget_lost(&mut self, refill: bool) -> io::Result<()> {
        let now = Instant::now();
        for index in 0..self.links.len() {
            let Some(link) = self.links.get_mut(index) else { continue };
            while link.waiting.front().is_some_and(|(_, sent)| now - *sent > LOST) {
                link.waiting.pop_front();
                link.allowed += 1;
                self.lost += 1;
            }
            if refill {
                self.fill(index)?;
            }
        }
        Ok(())
    }

    fn fail(&mut self, what: &str) {
        self.outcome.errors += 1;
        self.outcome.first_error.get_or_insert_with(|| what.to_owned());
    }
}

/// What datagrams hold: a number, and letters that stand at a place of their own for each number.
struct Payloads {
    letters: Vec<u8>,
    body: usize,
}

impl Payloads {
    fn new(len: usize) -> Self {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let letters = (0..LETTERS + len).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()[3]
        });
        Self { letters: letters.collect(), body: len - MIN_PAYLOAD }
    }

    fn body(&self, number: u64) -> &[u8] {
        let start = usize::try_from(number % LETTERS as u64).unwrap_or(0);
        self.letters.get(start..start + self.body).unwrap_or_default()
    }

    /// The number of the datagram that `bytes` are, if they are one.
    fn number(&self, bytes: &[u8]) -> Option<u64> {
        let (head, body) = bytes.split_first_chunk()?;
        let number = u64::from_be_bytes(*head);
        (body == self.body(number)).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_an_answer() {
        let payloads = Payloads::new(64);
        let mut bytes = 7_u64.to_be_bytes().to_vec();
        bytes.extend_from_slice(payloads.body(7));
        assert_eq!((bytes.len(), payloads.number(&bytes)), (64, Some(7)));
        assert_eq!(payloads.number(&bytes[..63]), None);
        bytes[40] ^= 1;
        assert_eq!(payloads.number(&bytes), None);
    }
}
