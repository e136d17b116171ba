//! What a listener's task and the halves of its sessions share: what is to be sent, and who has left.

use std::{
    hash::{Hash, Hasher},
    mem,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use net_core::{ErrorKind, Permit};

use super::{Inbox, Queued};
use crate::{
    UdpConfig,
    outgoing::{Outgoing, Route},
    peer::Standing,
    stats::Counters,
};

/// Whose datagrams belong to one session: those of a peer to one of this machine's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) peer: SocketAddr,
    /// The address that the peer sends to, where the listener has several.
    pub(crate) local: Option<IpAddr>,
}

impl Hash for Key {
    /// In one write instead of a dozen, of eight bytes over IPv4: it is hashed for each datagram that comes from another peer than
    /// the one before.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let port = self.peer.port();
        // The addresses of one machine are few, and peers do not choose them; so they share bits with those of peers.
        match (self.peer.ip(), self.local) {
            (IpAddr::V4(peer), Some(IpAddr::V4(local))) => {
                state.write_u64(of_v4(peer, port) ^ u64::from(local.to_bits()).rotate_left(48));
            }
            (IpAddr::V4(peer), _) => state.write_u64(of_v4(peer, port)),
            (IpAddr::V6(peer), local) => {
                let local = local.map_or(0, |local| match local {
                    IpAddr::V4(local) => u128::from(local.to_bits()),
                    IpAddr::V6(local) => local.to_bits(),
                });
                state.write_u128(peer.to_bits() ^ local.rotate_left(64));
                state.write_u16(port);
            }
        }
    }
}

fn of_v4(ip: Ipv4Addr, port: u16) -> u64 {
    u64::from(ip.to_bits()) << 16 | u64::from(port)
}

/// One session, as the task and the halves see it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) key: Key,
    pub(crate) inbox: Inbox,
    pub(crate) standing: Arc<Standing>,
    /// When something arrived last, in milliseconds since the task began; its own.
    pub(crate) heard: AtomicU64,
    /// Whether nothing can be sent from the address that the peer sends to: it is that of everyone, or is gone.
    pub(crate) misplaced: AtomicBool,
    /// Its place among the connections of the server, which the task can take from it.
    permit: Mutex<Option<Permit>>,
}

impl Line {
    /// Makes a session of which nothing has arrived; its peer may be one that need not prove its address.
    pub(super) fn new(key: Key, need_not_prove: bool, permit: Option<Permit>) -> Self {
        Self {
            key,
            inbox: Inbox::default(),
            standing: Arc::new(Standing::new(key.peer, need_not_prove)),
            heard: AtomicU64::new(0),
            misplaced: AtomicBool::new(false),
            permit: Mutex::new(permit),
        }
    }

    /// Ends the session, and gives its place free at once: its halves may take a while to notice.
    pub(super) fn displace(&self) {
        self.inbox.fail(ErrorKind::LimitReached);
        drop(self.take_permit());
    }

    pub(crate) fn take_permit(&self) -> Option<Permit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts the place back that was [taken](Self::take_permit) as the session was accepted, unless it has failed since.
    pub(crate) fn put_permit(&self, permit: Permit) -> Result<(), ErrorKind> {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        match self.inbox.failure() {
            Some(why) => {
                drop(self.take_permit());
                Err(why)
            }
            None => Ok(()),
        }
    }
}

/// What a listener's task and the halves of its sessions share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) config: UdpConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) queued: Queued,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    outgoing: Outgoing,
    /// The task, where it sleeps.
    task: Option<Waker>,
    /// Senders that wait for room.
    waiting: Vec<Waker>,
    /// How often those were woken.
    turn: u64,
    /// Sessions of which both halves are gone.
    gone: Vec<Arc<Line>>,
    /// Whether the listener is closed: no new session begins.
    closed: bool,
    /// Whether the task has ended: nothing is sent any more.
    ended: bool,
}

/// What the task has to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) gone: Vec<Arc<Line>>,
    pub(super) closed: bool,
}

/// A place among those who wait for room.
#[derive(Debug)]
pub(crate) struct Place {
    turn: u64,
    waker: Waker,
}

impl Place {
    /// Tells whether whoever `waker` wakes still has it.
    fn holds(&self, turn: u64, waker: &Waker) -> bool {
        self.turn == turn && self.waker.will_wake(waker)
    }
}

/// A message that a sender has accepted and the task has not.
#[derive(Debug)]
pub(crate) struct Staged {
    head: [u8; Self::MAX_HEAD],
    head_len: u8,
    body: Bytes,
}

impl Staged {
    /// The longest head that is kept apart from its body.
    pub(crate) const MAX_HEAD: usize = 15;

    /// Makes a message of `head` and `body`; `None` where the head is too long to be kept apart.
    pub(crate) fn new(head: &[u8], body: &mut Bytes) -> Option<Self> {
        let mut kept = [0; Self::MAX_HEAD];
        kept.get_mut(..head.len())?.copy_from_slice(head);
        let head_len = u8::try_from(head.len()).ok()?;
        Some(Self { head: kept, head_len, body: mem::take(body) })
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.head_len) + self.body.len()
    }
}

impl Hub {
    pub(crate) fn new(config: UdpConfig, counters: Arc<Counters>) -> Self {
        Self { config, counters, queued: Queued::default(), shared: Mutex::default() }
    }

    /// Hands `staged` to the task, in order, as far as there is room.
    ///
    /// `place` is what the caller remembers of its place among those who wait.
    pub(crate) fn poll_hand_over(
        &self,
        cx: &mut Context<'_>,
        route: Route,
        staged: &mut Vec<Staged>,
        place: &mut Option<Place>,
    ) -> Poll<Result<(), ErrorKind>> {
        let mut shared = self.shared();
        if shared.ended {
            return Poll::Ready(Err(ErrorKind::Closed));
        }
        let mut taken = 0;
        for message in staged.iter_mut() {
            let fits = shared.outgoing.cost() + message.len() <= self.config.max_buffered;
            if !fits && !shared.outgoing.is_empty() {
                break;
            }
            let head = message.head.get(..message.head_len.into()).unwrap_or_default();
            shared.outgoing.push(route, head, mem::take(&mut message.body));
            taken += 1;
        }
        let task = if taken > 0 { shared.task.take() } else { None };
        let all = taken == staged.len();
        if all {
            *place = None;
        } else if !place.as_ref().is_some_and(|place| place.holds(shared.turn, cx.waker())) {
            *place = Some(Place { turn: shared.turn, waker: cx.waker().clone() });
            shared.waiting.push(cx.waker().clone());
        }
        drop(shared);
        staged.drain(..taken);
        if let Some(task) = task {
            task.wake();
        }
        if all { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Says that both halves of a session are gone.
    pub(crate) fn leave(&self, line: Arc<Line>) {
        line.inbox.abandon(&self.queued);
        drop(line.take_permit());
        let mut shared = self.shared();
        if shared.ended {
            return;
        }
        shared.gone.push(line);
        let task = shared.task.take();
        drop(shared);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Says that no new session is to begin.
    pub(crate) fn close(&self) {
        let mut shared = self.shared();
        shared.closed = true;
        let task = shared.task.take();
        drop(shared);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Gives the task what there is to do; `sending` takes what is to be sent, where it is empty.
    pub(super) fn work(&self, sending: &mut Outgoing) -> Work {
        let mut shared = self.shared();
        let mut waiting = Vec::new();
        if sending.is_empty() && !shared.outgoing.is_empty() {
            mem::swap(&mut shared.outgoing, sending);
            if !shared.waiting.is_empty() {
                shared.turn += 1;
                waiting = mem::take(&mut shared.waiting);
            }
        }
        let work = Work { gone: mem::take(&mut shared.gone), closed: shared.closed };
        drop(shared);
        waiting.into_iter().for_each(Waker::wake);
        work
    }

    /// Tells whether nothing waits for the task.
    pub(super) fn is_idle(&self) -> bool {
        let shared = self.shared();
        shared.outgoing.is_empty() && shared.gone.is_empty()
    }

    /// Has the task woken by the next who has something for it. `false`: somebody has had something since it took its
    /// work, when the listener was still open unless `closed`; and it `sends` at once.
    pub(super) fn sleep(&self, cx: &mut Context<'_>, sends: bool, closed: bool) -> bool {
        let mut shared = self.shared();
        let idle =
            (!sends || shared.outgoing.is_empty()) && shared.gone.is_empty() && shared.closed == closed;
        if idle && !shared.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            shared.task = Some(cx.waker().clone());
        }
        idle
    }

    /// Says that the task has ended.
    pub(super) fn end(&self) {
        let mut shared = self.shared();
        shared.ended = true;
        shared.outgoing.clear();
        let (waiting, gone) = (mem::take(&mut shared.waiting), mem::take(&mut shared.gone));
        drop(shared);
        drop(gone);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_closes_before_the_task_sleeps_keeps_it_awake() {
        let hub = Hub::new(UdpConfig::default(), Arc::default());
        let cx = &mut Context::from_waker(Waker::noop());
        let work = hub.work(&mut Outgoing::default());
        assert!(!work.closed);
        hub.close();
        assert!(!hub.sleep(cx, true, work.closed), "it has not seen that the listener is closed");
        let work = hub.work(&mut Outgoing::default());
        assert!(work.closed && hub.sleep(cx, true, work.closed));
    }
}
