//! The receiving half of a connection.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use net_core::{Batch, Error, Receiver, Result};

use crate::{
    UdpConfig, UdpSocket,
    demux::Taken,
    ending::Ending,
    intake::{Arrival, Datagrams},
    session::Session,
    socket::address,
};

/// The receiving half of a connection: each datagram is one message, the empty one, too.
///
/// A peer that leaves is not noticed: a session of a listener ends with
/// [`ErrorKind::TimedOut`](net_core::ErrorKind::TimedOut) when nothing has arrived for the idle time-out; that of a client
/// does not end by itself, and fails only where the system does, or where the runtime is gone in which it was made. `None`
/// comes once this side's sender has finished.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Receiver, Transport};
/// use net_udp::{Udp, UdpReceiver};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let udp = Udp::default();
/// let mut listener = udp.listen(&"udp://127.0.0.1:0".parse()?).await?;
/// let mut near = udp.connect(listener.local()).await?;
/// near.send("").await?;
/// let mut rx: UdpReceiver = listener.accept().await?.rx;
/// assert_eq!(rx.recv().await?.as_deref(), Some(&b""[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpReceiver(Path);

#[derive(Debug)]
enum Path {
    /// A socket of its own, which is connected.
    Own {
        socket: Arc<UdpSocket>,
        ending: Arc<Ending>,
        arrivals: VecDeque<Arrival>,
        current: Option<Datagrams>,
        max_message_len: usize,
    },
    /// The socket of a listener, whose task receives.
    Shared { session: Arc<Session>, taken: Taken },
}

impl UdpReceiver {
    pub(crate) fn of_socket(socket: Arc<UdpSocket>, config: &UdpConfig, ending: Arc<Ending>) -> Self {
        let max_message_len = config.max_message_len();
        Self(Path::Own { socket, ending, arrivals: VecDeque::new(), current: None, max_message_len })
    }

    pub(crate) fn of_session(session: Arc<Session>) -> Self {
        Self(Path::Shared { session, taken: Taken::default() })
    }
}

impl Receiver for UdpReceiver {
    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match &mut self.0 {
            Path::Own { socket, ending, arrivals, current, max_message_len } => loop {
                if let Some(datagram) = current.as_mut().and_then(Iterator::next) {
                    return Poll::Ready(Ok(Some(datagram)));
                }
                *current = None;
                match arrivals.pop_front() {
                    Some(arrival) if arrival.stride > *max_message_len => {
                        socket.counters().oversize.add(arrival.count() as u64);
                    }
                    Some(arrival) => *current = Some(arrival.into_datagrams()),
                    None => match socket.poll_receive(cx, arrivals) {
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => {
                            let error = Error::from_io(error, "receive");
                            return Poll::Ready(Err(error.at(&address(socket.local()))));
                        }
                        Poll::Pending => return ending.poll(cx).map(|()| Ok(None)),
                    },
                }
            },
            Path::Shared { session, taken } => {
                if taken.is_empty() {
                    let line = session.line();
                    ready!(line.inbox.poll_take(cx, taken))
                        .map_err(|why| Error::new(why, "receive").at(&address(line.key.peer)))?;
                }
                Poll::Ready(Ok(taken.pop(&session.hub().queued)))
            }
        }
    }

    fn poll_recv_many(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<usize>> {
        let Some(first) = ready!(self.poll_recv(cx))? else { return Poll::Ready(Ok(0)) };
        batch.push(first);
        let mut count = 1;
        while !batch.is_full() {
            let next = match &mut self.0 {
                Path::Own { current, .. } => current.as_mut().and_then(Iterator::next),
                Path::Shared { session, taken } => taken.pop(&session.hub().queued),
            };
            let Some(next) = next else { break };
            batch.push(next);
            count += 1;
        }
        Poll::Ready(Ok(count))
    }

    fn held_len(&self) -> usize {
        match &self.0 {
            Path::Own { arrivals, .. } => arrivals.iter().map(|arrival| arrival.payload.len()).sum(),
            Path::Shared { session, taken } => taken.cost() + session.line().inbox.cost(),
        }
    }
}

impl Drop for UdpReceiver {
    fn drop(&mut self) {
        if let Path::Shared { session, taken } = &mut self.0 {
            let queued = &session.hub().queued;
            session.line().inbox.abandon(queued);
            taken.clear(queued);
        }
    }
}
