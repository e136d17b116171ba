//! What is sent and received at once, and the poll forms of it, which are for the one task that a socket belongs to.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll, ready},
};

use tokio::io::Interest;

use super::{MAX_SKIPPED, UdpSocket};
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
            match self.io.try_io(Interest::WRITABLE, || transmit(self, outgoing)) {
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
        let result = self.io.try_io(Interest::READABLE, || {
            match intake::receive((&self.io).into(), &self.state, arrivals)? {
                Rest::Possible => Ok(()),
                // With edges (epoll), saying so here, where the runtime knows what it told us, spares the call that
                // would only fail.
                Rest::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        if arrivals.len() > before {
            return Ok(self.count(arrivals, before));
        }
        result.map(|()| 0)
    }

    /// Hands `outgoing` to the system, until it is empty.
    ///
    /// One task alone may wait so: the runtime keeps one waker for it.
    pub(crate) fn poll_transmit(
        &self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Poll<Result<(), Unsent>> {
        let mut reported_at = None;
        while !outgoing.is_empty() {
            ready!(self.io.poll_send_ready(cx)).map_err(Unsent::Stranded)?;
            match self.try_transmit(outgoing, &mut reported_at) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(Unsent::Refused));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Poll::Ready(Ok(()))
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
            ready!(self.io.poll_recv_ready(cx))?;
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
