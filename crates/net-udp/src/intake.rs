//! Receiving: one system call takes many datagrams into buffers that are used again.

use std::{
    array,
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSliceMut},
    mem,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use bytes::Bytes;
use net_core::buffer::{BufferPool, PooledBuffer};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};

use crate::Ecn;

/// The size of a buffer: what the kernel joins of the datagrams of one peer (GRO), and the longest datagram.
const SLOT_LEN: usize = 64 * 1024;
/// How many buffers of a thread may be held by who has not yet read what is in them; beyond, payloads are copied.
const LENT: usize = 64;
/// What is as long as this is given away with its buffer; what is shorter is copied to where it stands with others.
///
/// A copy of this length costs as much as exchanging the buffer does.
const GIVEN_AWAY: usize = 4 * 1024;
/// How many datagrams, or runs of them, a call takes where little came with the last one: to prepare room for all that a call
/// can take costs more than a datagram.
const FEW: usize = if BATCH_SIZE < 4 { BATCH_SIZE } else { 4 };

thread_local! {
    /// One for all sockets of a thread: what has arrived has left it when a call is over.
    static INTAKE: RefCell<Intake> = RefCell::new(Intake::new());
}

/// Datagrams of one peer that arrived together, all of one length but the last, which may be shorter.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// The address of this side that the peer sent to, where the system tells it.
    pub(crate) local: Option<IpAddr>,
    pub(crate) ecn: Option<Ecn>,
    pub(crate) payload: Bytes,
    /// The length of each but the last.
    pub(crate) stride: usize,
}

impl Arrival {
    /// Returns how many datagrams they are.
    pub(crate) fn count(&self) -> usize {
        if self.stride == 0 { 1 } else { self.payload.len().div_ceil(self.stride).max(1) }
    }

    /// Returns them one by one, each a view of what arrived.
    pub(crate) fn into_datagrams(self) -> Datagrams {
        Datagrams { rest: Some(self.payload), stride: self.stride }
    }
}

/// The datagrams that arrived together, one by one.
#[derive(Debug)]
pub(crate) struct Datagrams {
    rest: Option<Bytes>,
    stride: usize,
}

impl Datagrams {
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_none()
    }
}

impl Iterator for Datagrams {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut rest = self.rest.take()?;
        if self.stride == 0 || rest.len() <= self.stride {
            return Some(rest);
        }
        let first = rest.split_to(self.stride);
        self.rest = Some(rest);
        Some(first)
    }
}

/// The buffers of a thread into which the system writes.
struct Intake {
    pool: BufferPool,
    /// Empty between two calls.
    slots: Vec<PooledBuffer>,
    /// Which arrivals of this call are copied, and to where.
    copied: Vec<(usize, Range<usize>)>,
    /// The last call brought more than a few.
    was_much: bool,
}

/// Whether the system may have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Possible,
    /// Room was left: it had no more.
    Nothing,
}

/// Receives what is there, as much as one system call takes, and appends it to `arrivals`.
///
/// # Errors
///
/// `WouldBlock` where nothing is there, and whatever the system reports.
pub(crate) fn receive(
    socket: UdpSockRef<'_>,
    state: &UdpSocketState,
    arrivals: &mut VecDeque<Arrival>,
) -> io::Result<Rest> {
    INTAKE
        .try_with(|intake| intake.borrow_mut().receive(socket, state, arrivals))
        .unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

impl Intake {
    fn new() -> Self {
        let pool = BufferPool::new(BATCH_SIZE + LENT, SLOT_LEN);
        Self { pool, slots: Vec::new(), copied: Vec::new(), was_much: false }
    }

    fn receive(
        &mut self,
        socket: UdpSockRef<'_>,
        state: &UdpSocketState,
        arrivals: &mut VecDeque<Arrival>,
    ) -> io::Result<Rest> {
        if self.was_much {
            self.take::<BATCH_SIZE>(socket, state, arrivals)
        } else {
            self.take::<FEW>(socket, state, arrivals)
        }
    }

    /// Receives up to `N` datagrams, or runs of them.
    fn take<const N: usize>(
        &mut self,
        socket: UdpSockRef<'_>,
        state: &UdpSocketState,
        arrivals: &mut VecDeque<Arrival>,
    ) -> io::Result<Rest> {
        while self.slots.len() < BATCH_SIZE
            && let Some(slot) = self.pool.try_acquire()
        {
            self.slots.push(slot);
        }
        let mut metas = [RecvMeta::default(); N];
        let width = self.slots.len().min(N);
        let mut slots = self.slots.iter_mut();
        let mut views: [IoSliceMut<'_>; N] = array::from_fn(|_| {
            IoSliceMut::new(slots.next().map(PooledBuffer::unfilled_mut).unwrap_or_default())
        });
        let count = state.recv(socket, views.get_mut(..width).unwrap_or_default(), &mut metas)?;
        self.was_much = count >= FEW;

        let mut chunk = None;
        for (index, meta) in metas.iter().take(count).enumerate() {
            let payload = match self.give_away(index, meta.len) {
                Some(payload) => payload,
                None => self.copy(index, meta.len, count, &mut chunk, arrivals),
            };
            arrivals.push_back(Arrival {
                peer: meta.addr,
                local: meta.dst_ip,
                ecn: meta.ecn.map(Ecn::from_quinn),
                payload,
                stride: meta.stride.min(meta.len),
            });
        }
        self.seal(chunk, arrivals);
        Ok(if count == width { Rest::Possible } else { Rest::Nothing })
    }

    /// Gives what is long away with its buffer, for which another one takes the place.
    fn give_away(&mut self, index: usize, len: usize) -> Option<Bytes> {
        if len < GIVEN_AWAY {
            return None;
        }
        let slot = self.slots.get_mut(index)?;
        let mut full = mem::replace(slot, self.pool.try_acquire()?);
        full.advance(len);
        Some(full.freeze())
    }

    /// Copies what is short to where it stands with others of the same call. It is in its place once that is sealed.
    fn copy(
        &mut self,
        index: usize,
        len: usize,
        count: usize,
        chunk: &mut Option<PooledBuffer>,
        arrivals: &mut VecDeque<Arrival>,
    ) -> Bytes {
        let room = |chunk: &mut Option<PooledBuffer>| {
            chunk.as_mut().is_some_and(|chunk| chunk.unfilled_mut().len() >= len)
        };
        // One alone, or one for which there is no buffer, has memory of its own.
        let shared = count > 1
            && (room(chunk) || {
                self.seal(chunk.take(), arrivals);
                *chunk = self.pool.try_acquire();
                room(chunk)
            });
        let Some(bytes) = self.slots.get_mut(index).and_then(|slot| slot.unfilled_mut().get(..len)) else {
            return Bytes::new();
        };
        match chunk {
            Some(chunk) if shared => {
                let start = chunk.len();
                chunk.extend_from_slice(bytes);
                self.copied.push((arrivals.len(), start..start + len));
                Bytes::new()
            }
            _ => Bytes::copy_from_slice(bytes),
        }
    }

    /// Puts what was copied to `chunk` into its place.
    fn seal(&mut self, chunk: Option<PooledBuffer>, arrivals: &mut VecDeque<Arrival>) {
        let Some(chunk) = chunk else { return };
        let whole = chunk.freeze();
        for (index, range) in self.copied.drain(..) {
            if let Some(arrival) = arrivals.get_mut(index) {
                arrival.payload = whole.slice(range);
            }
        }
    }
}
