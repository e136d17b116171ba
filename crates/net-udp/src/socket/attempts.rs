//! What is sent and received at once, and the poll forms of it, which are for the one task that a socket belongs to.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll, ready},
};

use tokio::task::coop::poll_proceed;

use super::{MAX_SKIPPED, Room, UdpSocket};
use crate::{
    intake,
    intake::{Arrival, Rest},
    outgoing::Outgoing,
    transmit::{is_reported, is_reported_to_receivers, transmit},
};

/// Why datagrams were not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The system refused the one that is now the first; those behind it may go.
    Refused,
    /// Nobody tells of room any more: the runtime is gone that the socket is known to.
    Stranded(io::Error),
}

impl UdpSocket {
    /// Hands `outgoing` to the system, until it is empty. `reported_at` is `None` at first, and kept for further attempts.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is no room, and why the datagram was refused that is now the first.
    pub(super) fn try_transmit(
        &self,
        outgoing: &mut Outgoing,
        reported_at: &mut Option<usize>,
    ) -> io::Result<()> {
        loop {
            match transmit(self, outgoing) {
                // An error that was reported of an earlier datagram has taken the place of sending this one.
                // One that comes again before anything was sent is of the first datagram itself: no route leads there.
                Err(error) if is_reported(&error) && *reported_at != Some(outgoing.cost()) => {
                    self.counters.icmp_errors.add(1);
                    *reported_at = Some(outgoing.cost());
                }
                sent => return sent,
            }
        }
    }

    /// Receives what one system call takes, and appends it. Returns how many datagrams that is.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where nothing is there, and whatever the system reports.
    pub(super) fn try_receive(&self, arrivals: &mut VecDeque<Arrival>) -> io::Result<usize> {
        let before = arrivals.len();
        let result = self.io.try_receive(|| {
            match intake::receive(self.io().into(), &self.state, arrivals)? {
                Rest::Possible => Ok(()),
                // With edges (epoll), saying so here, where the runtime knows what it told us, spares the call that
                // would only fail.
                Rest::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        if arrivals.iter().skip(before).any(|arrival| self.is_other(arrival.peer)) {
            let mut place = 0..;
            arrivals.retain(|arrival| place.next() < Some(before) || !self.is_other(arrival.peer));
        }
        if arrivals.len() > before {
            return Ok(self.count(arrivals, before));
        }
        result.map(|()| 0)
    }

    /// Hands `outgoing` to the system, until it is empty. What waits for `room` is the caller's.
    pub(crate) fn poll_transmit(
        &self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
        room: &mut Room,
    ) -> Poll<Result<(), Unsent>> {
        if outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let turn = ready!(poll_proceed(cx));
        let mut reported_at = None;
        let sent = loop {
            match self.try_transmit(outgoing, &mut reported_at) {
                Ok(()) => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = ready!(room.poll(cx, &self.io)) {
                        break Err(Unsent::Stranded(error));
                    }
                }
                Err(_) => break Err(Unsent::Refused),
            }
        };
        turn.made_progress();
        // There was room, though whoever was woken by something else has not been told so: it is watched for no longer.
        *room = Room::default();
        Poll::Ready(sent)
    }

    /// Receives what one system call takes, and appends it. Returns how many datagrams that is.
    ///
    /// One task alone may wait so: the runtime keeps one waker for it.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        arrivals: &mut VecDeque<Arrival>,
    ) -> Poll<io::Result<usize>> {
        for _ in 0..MAX_SKIPPED {
            ready!(self.io.poll_readable(cx))?;
            match self.try_receive(arrivals) {
                Ok(0) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_reported_to_receivers(&error) => self.counters.icmp_errors.add(1),
                received => return Poll::Ready(received),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts what arrived behind the first `before`.
    fn count(&self, arrivals: &VecDeque<Arrival>, before: usize) -> usize {
        let (mut count, mut len) = (0, 0);
        for arrival in arrivals.iter().skip(before) {
            count += arrival.count();
            len += arrival.payload.len();
        }
        self.counters.received.add(count as u64);
        self.counters.received_bytes.add(len as u64);
        count
    }
}
