//! The one task of a listener: takes datagrams from the socket to their sessions, and theirs to the socket.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io, iter,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use net_core::{Admission, ErrorKind, Limit, Permit, Ticks};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    UdpSocket,
    intake::Arrival,
    outgoing::{Outgoing, Route},
    socket::{Room, Unsent, address},
};

mod hub;
mod inbox;
mod strangers;

pub(crate) use hub::{Hub, Key, Line, Place, Staged};
pub(crate) use inbox::{Inbox, Queued, Taken};
use strangers::Strangers;

/// The longest time between two looks at who has been silent for too long.
const MAX_SWEEP: Duration = Duration::from_secs(1);
/// The shortest one.
const MIN_SWEEP: Duration = Duration::from_millis(5);
/// How many sessions may have ended here while their halves are still there, before no other one is ended to make room: so whoever
/// forges sources takes no more memory than that, however slowly sessions notice their end.
const MAX_LEAVING: usize = 1_024;
/// How long receiving rests after an error of the system that is about no datagram.
const PAUSE: Duration = Duration::from_millis(10);

/// The one task of a listener.
///
/// It lives for as long as the listener is open or has sessions. Each turn sends what sessions have left for it, takes
/// one batch of what has arrived and lets the sessions run: so what they answer to a batch goes out in one call.
#[derive(Debug)]
pub(crate) struct Demux {
    socket: UdpSocket,
    hub: Arc<Hub>,
    /// Where new sessions wait; none once the listener is closed.
    backlog: Option<mpsc::Sender<Newcomer>>,
    /// The limits of the server, which a new session is held to before anything is kept of it.
    admission: Arc<Admission>,
    /// Keyed by what peers choose; the standard map's hash is seeded at random.
    sessions: HashMap<Key, Arc<Line>>,
    /// Those that may have been heard once alone.
    strangers: Strangers,
    /// How many have ended here and are still held by their halves.
    leaving: usize,
    /// Whose datagrams came last: the next ones are mostly of the same peer.
    last: Option<Arc<Line>>,
    arrivals: VecDeque<Arrival>,
    sending: Outgoing,
    room: Room,
    /// Whether it has several addresses, so that the one that a peer sends to is a part of its session.
    is_wildcard: bool,
    start: Instant,
    sweep: Ticks,
    pause: Option<Ticks>,
    /// Tells that the socket may be open: last, so that it is not when this is gone.
    _open: Arc<()>,
}

/// A session that waits to be accepted; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) line: Arc<Line>,
    pub(crate) hub: Arc<Hub>,
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.hub.leave(self.line.clone());
    }
}

impl Demux {
    /// Makes what wakes the task of a listener to look at who has been silent for too long.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left; there is no runtime.
    pub(crate) fn ticks(hub: &Hub) -> io::Result<Ticks> {
        Handle::try_current().map_err(io::Error::other)?;
        Ticks::of_kernel((hub.config.idle_timeout / 8).clamp(MIN_SWEEP, MAX_SWEEP))
    }

    /// Makes the task of a listener.
    pub(crate) fn new(
        socket: UdpSocket,
        hub: Arc<Hub>,
        backlog: mpsc::Sender<Newcomer>,
        admission: Arc<Admission>,
        sweep: Ticks,
        open: Arc<()>,
    ) -> Self {
        let is_wildcard = socket.local().ip().is_unspecified();
        Self {
            socket,
            hub,
            backlog: Some(backlog),
            admission,
            sessions: HashMap::new(),
            strangers: Strangers::default(),
            leaving: 0,
            last: None,
            arrivals: VecDeque::new(),
            sending: Outgoing::default(),
            room: Room::default(),
            is_wildcard,
            start: Instant::now(),
            sweep,
            pause: None,
            _open: open,
        }
    }

    /// Hands what is to be sent to the system. Returns whether it has taken all.
    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let sent = loop {
            match self.socket.poll_transmit(cx, &mut self.sending, &mut self.room) {
                Poll::Ready(Ok(())) => break true,
                // No route, too long, forbidden: nobody waits for this datagram, and the next one may do.
                Poll::Ready(Err(Unsent::Refused)) => {
                    self.sending.refuse();
                    self.hub.counters.refused.add(1);
                }
                // The runtime that polls this task is gone.
                Poll::Ready(Err(Unsent::Stranded(_))) => {
                    self.hub.counters.refused.add(self.sending.count() as u64);
                    self.sending.clear();
                }
                Poll::Pending => break false,
            }
        };
        for Route { to, from, .. } in self.sending.take_misplaced() {
            let key = to.map(|peer| Key { peer, local: from });
            if let Some(line) = key.and_then(|key| self.sessions.get(&key)) {
                line.misplaced.store(true, Ordering::Relaxed);
            }
        }
        sent
    }

    /// Takes one batch to its sessions. Returns whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(pause) = &mut self.pause {
            if pause.poll_next(cx).is_pending() {
                return false;
            }
            self.pause = None;
        }
        match self.socket.poll_receive(cx, &mut self.arrivals) {
            Poll::Ready(Ok(_)) => {
                let now = self.now();
                while !self.arrivals.is_empty() {
                    self.deliver(now);
                }
                true
            }
            Poll::Ready(Err(_)) => {
                self.pause = Ticks::of_kernel(PAUSE).ok();
                true
            }
            Poll::Pending => false,
        }
    }

    /// Takes the first arrival, and those behind it that are for the same session, to where they belong.
    fn deliver(&mut self, now: u64) {
        let Some(first) = self.arrivals.front() else { return };
        let is_wildcard = self.is_wildcard;
        let key = key_of(first, is_wildcard);
        let line = match &self.last {
            Some(line) if line.key == key => line.clone(),
            _ => {
                let len = first.stride;
                let Some(line) = self.session(key, len) else {
                    self.arrivals.pop_front();
                    return;
                };
                line
            }
        };
        line.heard.store(now, Ordering::Relaxed);
        let hub = &self.hub;
        let of_session = iter::from_fn(|| {
            let next = self.arrivals.front()?;
            if key_of(next, is_wildcard) == key { self.arrivals.pop_front() } else { None }
        });
        let max_len = hub.config.max_message_len();
        let whole = of_session.filter(|arrival| {
            let fits = arrival.stride <= max_len;
            if fits {
                line.standing.came(arrival.count(), arrival.payload.len());
            } else {
                hub.counters.oversize.add(arrival.count() as u64);
            }
            fits
        });
        let dropped = line.inbox.deliver(whole, &hub.queued, &hub.config);
        if dropped > 0 {
            line.standing.overflowed.add(dropped as u64);
            hub.counters.overflowed.add(dropped as u64);
        }
        self.last = Some(line);
    }

    /// Returns the session of the first arrival, a new one where there is none yet and a place is left; what is too long
    /// begins none.
    fn session(&mut self, key: Key, len: usize) -> Option<Arc<Line>> {
        if let Some(line) = self.sessions.get(&key) {
            return Some(line.clone());
        }
        let count = self.arrivals.front().map_or(0, Arrival::count) as u64;
        let config = &self.hub.config;
        if len > config.max_message_len() {
            self.hub.counters.oversize.add(count);
            return None;
        }
        let place = self.backlog.as_ref().and_then(|backlog| backlog.clone().try_reserve_owned().ok());
        let Some((place, permit)) = place.and_then(|place| Some((place, self.admit(key)?))) else {
            self.hub.counters.rejected.add(count);
            return None;
        };
        let config = &self.hub.config;
        let line = Arc::new(Line::new(key, config.max_amplification.is_none(), Some(permit)));
        self.sessions.insert(key, line.clone());
        self.strangers.push(line.clone(), &self.sessions, config.max_sessions);
        self.hub.counters.sessions.set(self.sessions.len() as u64);
        place.send(Newcomer { line: line.clone(), hub: self.hub.clone() });
        Some(line)
    }

    /// Finds a place for a session, in the table and among the connections of the server: where all are taken, the oldest session
    /// that was heard once alone gives its own.
    ///
    /// Whoever forges sources sends one datagram from each; who is there sends a second one.
    fn admit(&mut self, key: Key) -> Option<Permit> {
        let peer = address(key.peer);
        loop {
            let limit = if self.sessions.len() < self.hub.config.max_sessions {
                match self.admission.admit(peer.ip()) {
                    Ok(permit) => return Some(permit),
                    Err(limit) => limit,
                }
            } else {
                Limit::Connections
            };
            // To others of one address no place helps that another address gives.
            let may_displace = limit == Limit::Connections && self.leaving < MAX_LEAVING;
            let stranger = if may_displace { self.strangers.pop(&self.sessions) } else { None };
            let Some(stranger) = stranger else {
                if let Some(observer) = self.admission.observer() {
                    observer.rejected(&peer, limit);
                }
                return None;
            };
            stranger.displace();
            self.hub.counters.displaced.add(1);
            self.leaving += usize::from(self.remove(&stranger));
        }
    }

    /// Forgets sessions of which both halves are gone.
    fn forget(&mut self, gone: Vec<Arc<Line>>) {
        for line in gone {
            if !self.remove(&line) {
                self.leaving = self.leaving.saturating_sub(1);
            }
        }
        self.hub.counters.sessions.set(self.sessions.len() as u64);
    }

    /// Takes a session out of the table. Returns whether it was in it.
    fn remove(&mut self, line: &Arc<Line>) -> bool {
        self.last.take_if(|last| Arc::ptr_eq(last, line));
        // The peer may have a new one since.
        let is_known = self.sessions.get(&line.key).is_some_and(|known| Arc::ptr_eq(known, line));
        is_known && self.sessions.remove(&line.key).is_some()
    }

    /// Ends sessions of which nothing has arrived for too long.
    fn sweep(&mut self, cx: &mut Context<'_>) {
        while self.sweep.poll_next(cx).is_ready() {
            let now = self.now();
            let idle = millis(self.hub.config.idle_timeout);
            let before = self.sessions.len();
            self.sessions.retain(|_, line| {
                let keep = now.saturating_sub(line.heard.load(Ordering::Relaxed)) < idle;
                if !keep {
                    line.inbox.fail(ErrorKind::TimedOut);
                }
                keep
            });
            self.last.take_if(|last| last.inbox.failure().is_some());
            let expired = before - self.sessions.len();
            self.leaving += expired;
            self.hub.counters.expired.add(expired as u64);
            self.hub.counters.sessions.set(self.sessions.len() as u64);
        }
    }

    fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }
}

impl Future for Demux {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let work = this.hub.work(&mut this.sending);
            if work.closed {
                this.backlog = None;
            }
            if !work.gone.is_empty() {
                this.forget(work.gone);
            }
            let sent = this.send(cx);
            this.sweep(cx);
            if work.closed && sent && this.sessions.is_empty() && this.hub.is_idle() {
                return Poll::Ready(());
            }
            if this.receive(cx) {
                // The sessions run before the next batch is taken, and their answers go out together.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if this.hub.sleep(cx, sent, work.closed) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Demux {
    fn drop(&mut self) {
        self.hub.end();
        for line in self.sessions.values() {
            line.inbox.fail(ErrorKind::Closed);
        }
    }
}

/// Returns whose session an arrival is of; at a wildcard, the address that the peer sends to is a part of it.
fn key_of(arrival: &Arrival, is_wildcard: bool) -> Key {
    Key { peer: arrival.peer, local: arrival.local.filter(|ip| is_wildcard && is_ours(*ip)) }
}

/// Tells whether a datagram that was sent to `ip` may be answered from it: it is no group and not everyone. What everyone on
/// one network is, only the system knows: it is told by what it makes of the first answer.
fn is_ours(ip: IpAddr) -> bool {
    let canonical = ip.to_canonical();
    !canonical.is_multicast() && canonical != IpAddr::from([255; 4])
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
