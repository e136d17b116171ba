//! Many datagrams in few system calls.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use net_core::{Error, Result};
use tokio::io::Interest;

use super::{MAX_SKIPPED, UdpSocket, address, send_error};
use crate::{
    Ecn, intake,
    intake::{Arrival, Datagrams, Rest},
    outgoing::{Outgoing, Route},
    transmit::{is_reported, transmit},
};

/// A datagram that was received.
///
/// # Examples
///
/// ```
/// use net_udp::{RecvBatch, UdpSocket};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let any = "127.0.0.1:0".parse().expect("an address");
/// let (near, far) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
/// near.send_to(b"hello", far.local()).await?;
/// let mut batch = RecvBatch::new();
/// far.recv_batch(&mut batch).await?;
/// let datagram = batch.next().expect("one at the least");
/// assert_eq!((&datagram.payload[..], datagram.peer), (&b"hello"[..], near.local()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// What is in it.
    pub payload: Bytes,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address of this machine, or the group, that it was sent to; where the system tells it.
    pub local: Option<IpAddr>,
    /// Its congestion notification.
    pub ecn: Option<Ecn>,
}

/// Datagrams that were received together.
///
/// # Examples
///
/// ```
/// use net_udp::{RecvBatch, SendBatch, UdpSocket};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let any = "127.0.0.1:0".parse().expect("an address");
/// let (near, far) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
/// let mut out = SendBatch::new();
/// for text in ["one", "two", "three"] {
///     out.push(far.local(), text);
/// }
/// near.send_batch(&mut out).await?;
///
/// let mut batch = RecvBatch::new();
/// let mut texts = Vec::new();
/// while texts.len() < 3 {
///     far.recv_batch(&mut batch).await?;
///     texts.extend(batch.by_ref().map(|datagram| datagram.payload));
/// }
/// assert_eq!(texts, ["one", "two", "three"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct RecvBatch {
    arrivals: VecDeque<Arrival>,
    /// What the datagrams have in common that are taken now, and those that are left.
    current: Option<(Datagram, Datagrams)>,
}

impl RecvBatch {
    /// Creates an empty batch; it is used again and again.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whether no datagram is in it.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.current.as_ref().is_none_or(|(_, rest)| rest.is_empty())
    }
}

impl Iterator for RecvBatch {
    type Item = Datagram;

    fn next(&mut self) -> Option<Datagram> {
        loop {
            if let Some((common, rest)) = &mut self.current {
                if let Some(payload) = rest.next() {
                    return Some(Datagram { payload, ..common.clone() });
                }
                self.current = None;
            }
            let arrival = self.arrivals.pop_front()?;
            let Arrival { peer, local, ecn, .. } = arrival;
            let common = Datagram { payload: Bytes::new(), peer, local, ecn };
            self.current = Some((common, arrival.into_datagrams()));
        }
    }
}

/// Datagrams that are to be sent together.
///
/// What has up to 1 452 bytes and follows one of the same length to the same peer is joined with it: the kernel cuts such
/// a run apart by itself (GSO, Linux), for much less than it takes for each datagram alone.
///
/// # Examples
///
/// ```
/// use net_udp::{Ecn, SendBatch};
///
/// let mut batch = SendBatch::new();
/// batch.push("127.0.0.1:9".parse().expect("an address"), "hello");
/// batch.push_marked("127.0.0.1:9".parse().expect("an address"), Ecn::Ect0, "hello");
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Debug, Default)]
pub struct SendBatch(Outgoing);

impl SendBatch {
    /// Creates an empty batch; it is used again and again.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a datagram to `to`.
    pub fn push(&mut self, to: SocketAddr, payload: impl Into<Bytes>) {
        self.0.push(Route { to: Some(to), from: None, ecn: None }, &[], payload.into());
    }

    /// Appends a datagram to `to` with a congestion notification.
    pub fn push_marked(&mut self, to: SocketAddr, ecn: Ecn, payload: impl Into<Bytes>) {
        self.0.push(Route { to: Some(to), from: None, ecn: Some(ecn) }, &[], payload.into());
    }

    /// Appends a datagram to the peer of a connected socket.
    pub fn push_connected(&mut self, payload: impl Into<Bytes>) {
        self.0.push(Route { to: None, from: None, ecn: None }, &[], payload.into());
    }

    /// Drops the first datagram: one that the system has refused.
    pub fn skip(&mut self) {
        self.0.pop();
    }

    /// Returns how many datagrams wait.
    pub fn len(&self) -> usize {
        self.0.count()
    }

    /// Tells whether no datagram waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl UdpSocket {
    /// Sends all of `batch`, which is empty then, in as few system calls as the system allows.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), for the datagram that is now the first of `batch`; those before it were sent.
    /// [`SendBatch::skip`] drops it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was not sent is still in `batch`.
    pub async fn send_batch(&self, batch: &mut SendBatch) -> Result<()> {
        let sent = std::future::poll_fn(|cx| self.poll_transmit(cx, &mut batch.0)).await;
        sent.map_err(|error| {
            let to = batch.0.front().and_then(|front| front.route.to);
            send_error(error, to.or(self.peer))
        })
    }

    /// Waits for datagrams and appends to `batch` what one system call takes: up to 32, or 4 where the one before brought fewer;
    /// or as many runs of up to 64 where [datagrams are joined](Self::set_joins). Returns how many they are.
    ///
    /// Payloads are views of buffers that are used again once they are dropped.
    ///
    /// # Errors
    ///
    /// What the system reports; the socket is good for others.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no datagram is lost.
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> Result<usize> {
        loop {
            let received = std::future::poll_fn(|cx| self.poll_receive(cx, &mut batch.arrivals)).await;
            match received {
                // All were of sources that are not heard.
                Ok(0) => {}
                Ok(count) => return Ok(count),
                Err(error) => return Err(Error::from_io(error, "receive").at(&address(self.local))),
            }
        }
    }

    /// Hands `outgoing` to the system, until it is empty. An error is of the datagram that is now the first.
    pub(crate) fn poll_transmit(
        &self,
        cx: &mut Context<'_>,
        outgoing: &mut Outgoing,
    ) -> Poll<io::Result<()>> {
        let mut reported_at = None;
        while !outgoing.is_empty() {
            ready!(self.io.poll_send_ready(cx))?;
            match self.io.try_io(Interest::WRITABLE, || transmit(self, outgoing)) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An error that was reported of an earlier datagram has taken the place of sending this one.
                // One that comes again before anything was sent is of the first datagram itself: no route leads there.
                Err(error) if is_reported(&error) && reported_at != Some(outgoing.cost()) => {
                    self.counters.icmp_errors.add(1);
                    reported_at = Some(outgoing.cost());
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Receives what one system call takes, and appends what is to be heard. Returns how many datagrams that is.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        arrivals: &mut VecDeque<Arrival>,
    ) -> Poll<io::Result<usize>> {
        for _ in 0..MAX_SKIPPED {
            ready!(self.io.poll_recv_ready(cx))?;
            let before = arrivals.len();
            let result = self.io.try_io(Interest::READABLE, || {
                match intake::receive((&self.io).into(), &self.state, arrivals)? {
                    Rest::Possible => Ok(()),
                    // With edges (epoll), saying so here, where the runtime knows what it told us, spares the call that
                    // would only fail.
                    Rest::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                }
            });
            match result {
                _ if arrivals.len() > before => return Poll::Ready(Ok(self.heard_of(arrivals, before))),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_reported(&error) => self.counters.icmp_errors.add(1),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts what arrived behind the first `before`, and drops what is not to be heard.
    fn heard_of(&self, arrivals: &mut VecDeque<Arrival>, before: usize) -> usize {
        if self.selects() {
            let mut index = 0;
            arrivals.retain(|arrival| {
                index += 1;
                index <= before || self.hears(arrival.peer, arrival.local)
            });
        }
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
