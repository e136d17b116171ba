//! Sending over a socket that belongs to one connection.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use net_core::Result;

use crate::{
    UdpSocket,
    ending::Ending,
    outgoing::{Outgoing, Route},
    socket::{Room, Unsent, send_error},
};

/// To the one peer.
const CONNECTED: Route = Route { to: None, from: None, ecn: None };

/// The sending half of a connection that has a socket of its own.
#[derive(Debug)]
pub(super) struct Own {
    socket: Arc<UdpSocket>,
    outgoing: Outgoing,
    room: Room,
    max_buffered: usize,
    ending: Arc<Ending>,
}

impl Own {
    pub(super) fn new(socket: Arc<UdpSocket>, max_buffered: usize, ending: Arc<Ending>) -> Self {
        Self { socket, outgoing: Outgoing::default(), room: Room::default(), max_buffered, ending }
    }

    pub(super) fn finish(&self) {
        self.ending.finish();
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &mut Bytes,
    ) -> Poll<Result<()>> {
        let len = head.len() + body.len();
        if self.outgoing.cost() + len > self.max_buffered && !self.outgoing.is_empty() {
            ready!(self.poll_flush(cx))?;
        }
        self.outgoing.push(CONNECTED, head, std::mem::take(body));
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            match ready!(self.socket.poll_transmit(cx, &mut self.outgoing, &mut self.room)) {
                Ok(()) => return Poll::Ready(Ok(())),
                // No route, too long for the path, forbidden: nobody waits for this datagram, and the next one may do.
                Err(Unsent::Refused) => {
                    self.outgoing.refuse();
                    self.socket.counters().refused.add(1);
                }
                Err(Unsent::Stranded(error)) => {
                    return Poll::Ready(Err(send_error(error, self.socket.peer())));
                }
            }
        }
    }

    pub(super) fn unsent_len(&self) -> usize {
        self.outgoing.cost()
    }
}
