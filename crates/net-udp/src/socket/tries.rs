//! Sending and receiving without waiting, and waiting without either.

use std::{io, net::SocketAddr};

use net_core::{Error, Result};
use tokio::task::coop::consume_budget;

use super::{MAX_SKIPPED, Meta, RecvBatch, SendBatch, UdpSocket, address, send_error};
use crate::transmit::is_reported_to_receivers;

/// Operations that do not wait. Receiving finds what the runtime has been told of: after [`readable`](UdpSocket::readable),
/// mostly.
///
/// # Examples
///
/// ```
/// use net_udp::UdpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let any = "127.0.0.1:0".parse().expect("an address");
/// let (near, far) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
/// let mut buffer = [0; 1_500];
/// assert_eq!(far.try_recv_meta(&mut buffer)?, None);
/// near.writable().await?;
/// assert!(near.try_send_to(b"hello", far.local())?);
/// far.readable().await?;
/// assert_eq!(far.try_recv_meta(&mut buffer)?.map(|meta| meta.len), Some(5));
/// # Ok(())
/// # }
/// ```
impl UdpSocket {
    /// Waits until something may have arrived.
    ///
    /// # Errors
    ///
    /// The runtime is gone in which the socket was made.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn readable(&self) -> Result<()> {
        consume_budget().await;
        self.io.readable().await.map_err(|error| self.fails(error, "receive"))
    }

    /// Waits until there may be room to send.
    ///
    /// # Errors
    ///
    /// The runtime is gone in which the socket was made.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn writable(&self) -> Result<()> {
        consume_budget().await;
        self.io.writable().await.map_err(|error| self.fails(error, "send"))
    }

    fn fails(&self, error: io::Error, operation: &'static str) -> Error {
        Error::from_io(error, operation).at(&address(self.local))
    }

    /// Sends `payload` as one datagram to `to`, where there is room for it now; returns whether there was.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn try_send_to(&self, payload: &[u8], to: SocketAddr) -> Result<bool> {
        self.try_send_one(payload, Some(to))
    }

    /// Sends `payload` as one datagram to the peer of a [connected](Self::connect) socket, where there is room for it now;
    /// returns whether there was.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn try_send(&self, payload: &[u8]) -> Result<bool> {
        self.try_send_one(payload, None)
    }

    fn try_send_one(&self, payload: &[u8], to: Option<SocketAddr>) -> Result<bool> {
        match self.send_now(payload, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(send_error(error, to.or(self.peer))),
        }
    }

    /// Receives one datagram into `buffer`, where one is there.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    pub fn try_recv_meta(&self, buffer: &mut [u8]) -> Result<Option<Meta>> {
        self.is_single()?;
        // What is passed over is no reason to stay for ever.
        for _ in 0..MAX_SKIPPED {
            let received = self.io.try_receive(|| self.receive_single(buffer));
            if received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                break;
            }
            if let Some(told) = self.judge(received, buffer.len()) {
                return told.map(Some);
            }
        }
        Ok(None)
    }

    /// Sends of `batch` what there is room for now; the rest is still in it.
    ///
    /// # Errors
    ///
    /// As [`send_batch`](Self::send_batch).
    pub fn try_send_batch(&self, batch: &mut SendBatch) -> Result<()> {
        match self.try_transmit(&mut batch.0, &mut None) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                let to = batch.0.front().and_then(|front| front.route.to);
                Err(send_error(error, to.or(self.peer)))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Appends to `batch` what is there and one system call takes, as [`recv_batch`](Self::recv_batch) does. Returns how many
    /// datagrams they are.
    ///
    /// # Errors
    ///
    /// What the system reports; the socket is good for others.
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> Result<usize> {
        for _ in 0..MAX_SKIPPED {
            match self.try_receive(&mut batch.arrivals) {
                Ok(0) => {}
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_reported_to_receivers(&error) => self.counters.icmp_errors.add(1),
                Err(error) => return Err(Error::from_io(error, "receive").at(&address(self.local))),
            }
        }
        Ok(0)
    }
}
