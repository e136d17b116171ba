//! Many datagrams in few system calls.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use net_core::Result;
use tokio::task::coop::consume_budget;

use super::UdpSocket;
use crate::{
    Ecn,
    intake::{Arrival, Datagrams},
    outgoing::{Outgoing, Route},
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
    pub(super) arrivals: VecDeque<Arrival>,
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
#[derive(Debug)]
pub struct SendBatch(pub(super) Outgoing);

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

    /// Appends a datagram to `to` that is to come from `from`: at a wildcard address, the one of several that the peer has
    /// asked, which [`Datagram::local`] told.
    ///
    /// An address that is not one of this machine, or is that of a group or of everyone on a network, is an error of
    /// [`UdpSocket::send_batch`]: what was sent there is answered by [`push`](Self::push).
    pub fn push_from(&mut self, from: IpAddr, to: SocketAddr, payload: impl Into<Bytes>) {
        self.0.push(Route { to: Some(to), from: Some(from), ecn: None }, &[], payload.into());
    }

    /// Appends a datagram to the peer of a connected socket.
    pub fn push_connected(&mut self, payload: impl Into<Bytes>) {
        self.0.push(Route { to: None, from: None, ecn: None }, &[], payload.into());
    }

    /// Drops the first datagram: one that the system has refused.
    pub fn skip(&mut self) {
        self.0.refuse();
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

impl Default for SendBatch {
    fn default() -> Self {
        Self(Outgoing::keeping_sources())
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
        while !batch.is_empty() {
            consume_budget().await;
            self.try_send_batch(batch)?;
            if !batch.is_empty() {
                self.writable().await?;
            }
        }
        Ok(())
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
            self.readable().await?;
            let count = self.try_recv_batch(batch)?;
            if count > 0 {
                return Ok(count);
            }
        }
    }
}
