//! What waits to be sent: small datagrams of one peer stand behind one another, so that the kernel can cut them apart.

use std::{
    collections::VecDeque,
    iter, mem,
    net::{IpAddr, SocketAddr},
};

use bytes::{Buf as _, Bytes, BytesMut};

use crate::Ecn;

/// Up to this length datagrams are joined: the payload of an Ethernet frame with IPv6. What is longer is no segment.
const MAX_JOINED: usize = 1_452;
/// How many datagrams the kernel cuts out of one run (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;
/// How long a run may be: it is one datagram for the kernel before it is cut.
const MAX_RUN: usize = 64_000;
/// What each datagram costs in memory beside its bytes.
const COST: usize = 64;
/// How much memory stays for joining when nothing waits.
const KEPT: usize = 64 * 1024;

/// Where a datagram goes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The peer; `None` where the socket is connected to it.
    pub(crate) to: Option<SocketAddr>,
    /// The address of this side that it is sent from, where the system is not to choose.
    pub(crate) from: Option<IpAddr>,
    pub(crate) ecn: Option<Ecn>,
}

impl Route {
    /// Tells whether it asks for no more than a destination.
    pub(crate) fn is_plain(&self) -> bool {
        self.from.is_none() && self.ecn.is_none()
    }
}

/// What waits to be sent, in order.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    joined: BytesMut,
    runs: VecDeque<Run>,
    cost: usize,
    /// Whether what cannot be sent from the address that was asked for is not to be sent from another one.
    keeps_sources: bool,
    /// What was sent from another address than it was to be, since it could not be from that one.
    misplaced: Vec<Route>,
}

/// Datagrams of one route, all of one length but the last, which may be shorter.
#[derive(Debug)]
struct Run {
    route: Route,
    payload: Payload,
    /// The length of each but the last; 0 for one that is empty.
    segment: usize,
    /// Whether another one may follow.
    open: bool,
    /// Whether the kernel is to cut it; it is asked once.
    segmented: bool,
    /// The address that it was to be sent from, and could not be.
    forgotten: Option<IpAddr>,
}

#[derive(Debug)]
enum Payload {
    /// Where it stands among the joined bytes.
    Joined {
        start: usize,
        len: usize,
    },
    Whole(Bytes),
}

impl Run {
    fn len(&self) -> usize {
        match &self.payload {
            Payload::Joined { len, .. } => *len,
            Payload::Whole(bytes) => bytes.len(),
        }
    }

    fn bytes<'a>(&'a self, joined: &'a [u8]) -> &'a [u8] {
        match &self.payload {
            Payload::Joined { start, len } => joined.get(*start..*start + *len).unwrap_or_default(),
            Payload::Whole(bytes) => bytes,
        }
    }

    fn count(&self) -> usize {
        if self.is_several() { self.len().div_ceil(self.segment) } else { 1 }
    }

    fn is_several(&self) -> bool {
        self.segment > 0 && self.len() > self.segment
    }

    /// Takes another datagram of `len` bytes behind the others, where it belongs to them.
    fn extend(&mut self, route: &Route, at: usize, added: usize) -> bool {
        let Payload::Joined { start, len } = &mut self.payload else { return false };
        let fits = self.open
            && self.route == *route
            && *start + *len == at
            && added > 0
            && added <= self.segment
            && *len + added <= MAX_RUN
            && *len < MAX_SEGMENTS * self.segment;
        if fits {
            *len += added;
            self.open = added == self.segment;
        }
        fits
    }
}

/// The first run.
#[derive(Debug)]
pub(crate) struct Front<'a> {
    pub(crate) route: &'a Route,
    pub(crate) bytes: &'a [u8],
    pub(crate) segment: usize,
    pub(crate) count: usize,
    /// Whether the kernel may be asked to cut it.
    pub(crate) segmented: bool,
}

impl Outgoing {
    /// Makes one that sends from the addresses that are asked for, or not at all.
    pub(crate) fn keeping_sources() -> Self {
        Self { keeps_sources: true, ..Self::default() }
    }

    pub(crate) fn keeps_sources(&self) -> bool {
        self.keeps_sources
    }

    /// Tells whether the first run could go from another address than the one that was asked for.
    pub(crate) fn may_forget_source(&self) -> bool {
        !self.keeps_sources && self.runs.front().is_some_and(|run| run.route.from.is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns what it holds in bytes, with what each datagram costs besides.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Returns how many datagrams wait.
    pub(crate) fn count(&self) -> usize {
        self.runs.iter().map(Run::count).sum()
    }

    /// Appends the datagram that consists of `head` and then `body`.
    pub(crate) fn push(&mut self, route: Route, head: &[u8], body: Bytes) {
        let len = head.len() + body.len();
        self.cost += len + COST;
        if len > MAX_JOINED && head.is_empty() {
            let payload = Payload::Whole(body);
            let run = Run { route, segment: len, payload, open: false, segmented: false, forgotten: None };
            self.runs.push_back(run);
            return;
        }
        let start = self.joined.len();
        self.joined.extend_from_slice(head);
        self.joined.extend_from_slice(&body);
        if self.runs.back_mut().is_some_and(|last| last.extend(&route, start, len)) {
            return;
        }
        let open = len > 0 && len <= MAX_JOINED;
        let payload = Payload::Joined { start, len };
        self.runs.push_back(Run { route, payload, segment: len, open, segmented: true, forgotten: None });
    }

    /// Returns the first run.
    pub(crate) fn front(&self) -> Option<Front<'_>> {
        self.runs.front().map(|run| Front {
            route: &run.route,
            bytes: run.bytes(&self.joined),
            segment: run.segment,
            count: run.count(),
            segmented: run.segmented,
        })
    }

    /// Returns the first datagrams that ask for no more than a destination, up to a run that is to be cut by the kernel
    /// where it `cuts`.
    pub(crate) fn singles(&self, cuts: bool) -> impl Iterator<Item = (Option<SocketAddr>, &[u8])> {
        let single = move |run: &&Run| run.route.is_plain() && !(cuts && run.segmented && run.is_several());
        let mut runs = self.runs.iter().take_while(single);
        let mut rest = None;
        iter::from_fn(move || {
            let (run, bytes) = match rest.take() {
                Some(rest) => rest,
                None => runs.next().map(|run| (run, run.bytes(&self.joined)))?,
            };
            let several = run.segment > 0 && bytes.len() > run.segment;
            let (first, left) = bytes.split_at(if several { run.segment } else { bytes.len() });
            rest = several.then_some((run, left));
            Some((run.route.to, first))
        })
    }

    /// Removes the first run, which was sent. Returns how many datagrams it was, and their bytes.
    pub(crate) fn pop_run(&mut self) -> (usize, usize) {
        let Some(run) = self.runs.pop_front() else { return (0, 0) };
        self.misplaced.extend(run.forgotten.map(|from| Route { from: Some(from), ..run.route }));
        let (count, len) = (run.count(), run.len());
        self.removed(count, len);
        (count, len)
    }

    /// Removes the first datagram, which the system refused.
    pub(crate) fn refuse(&mut self) {
        // It was not for the address that it was to be sent from.
        if let Some(run) = self.runs.front_mut() {
            run.forgotten = None;
        }
        self.pop();
    }

    /// Removes the first datagram, which was sent. Returns its bytes.
    pub(crate) fn pop(&mut self) -> usize {
        let Some(run) = self.runs.front_mut() else { return 0 };
        if !run.is_several() {
            return self.pop_run().1;
        }
        self.misplaced.extend(run.forgotten.take().map(|from| Route { from: Some(from), ..run.route }));
        let segment = run.segment;
        match &mut run.payload {
            Payload::Joined { start, len } => {
                *start += segment;
                *len -= segment;
            }
            Payload::Whole(bytes) => drop(bytes.split_to(segment.min(bytes.len()))),
        }
        self.removed(1, segment);
        segment
    }

    /// Has the datagrams of the first run sent one by one: the kernel did not cut them.
    pub(crate) fn do_not_segment(&mut self) {
        if let Some(run) = self.runs.front_mut() {
            run.segmented = false;
        }
    }

    /// Has the first run, and the others of its route, sent from whichever address the system chooses.
    pub(crate) fn forget_source(&mut self) {
        let Some(route) = self.runs.front().map(|run| run.route) else { return };
        for run in self.runs.iter_mut().filter(|run| run.route == route) {
            run.forgotten = run.route.from.take();
        }
    }

    /// Returns the routes of what was sent from another address than it was to be, since it was asked last.
    pub(crate) fn take_misplaced(&mut self) -> Vec<Route> {
        mem::take(&mut self.misplaced)
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.misplaced.clear();
        self.cost = 0;
        self.tidy();
    }

    fn removed(&mut self, count: usize, len: usize) {
        self.cost = self.cost.saturating_sub(len + count * COST);
        self.tidy();
    }

    /// Gives back what was needed for joining: once nothing waits, and the greater part of it where something always does.
    fn tidy(&mut self) {
        if self.runs.is_empty() {
            self.joined.clear();
            if self.joined.capacity() > KEPT {
                self.joined = BytesMut::new();
            }
        } else if let Some(Run { payload: Payload::Joined { start, .. }, .. }) = self.runs.front()
            && *start > KEPT
            && *start > self.joined.len() / 2
        {
            let gone = *start;
            self.joined.advance(gone);
            for run in &mut self.runs {
                if let Payload::Joined { start, .. } = &mut run.payload {
                    *start -= gone;
                }
            }
        }
    }
}
