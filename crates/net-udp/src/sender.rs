//! The sending half of a connection.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use net_core::{Error, ErrorKind, Info, Observer, Result, Sender};

use crate::{UdpConfig, UdpSocket, demux::Staged, ending::Ending, session::Session};

mod own;
mod shared;

use own::Own;
use shared::Shared;

/// The sending half of a connection: each message is one datagram.
///
/// Messages gather until they are flushed, and then go out in as few system calls as the system allows. Nobody is told of
/// an end, so [`finish`](Sender::finish) ends this side's receiving, too: there is nothing to wait for.
///
/// # Examples
///
/// ```
/// use net_core::{Sender, Transport};
/// use net_udp::{Udp, UdpSender};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let near = Udp::default().connect(&"udp://127.0.0.1:9".parse()?).await?;
/// let mut tx: UdpSender = near.tx;
/// tx.feed("one").await?;
/// tx.send("two").await?; // both go out here
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpSender {
    path: Path,
    max_message_len: usize,
    finished: bool,
}

#[derive(Debug)]
enum Path {
    /// A socket of its own, which is connected.
    Own(Own),
    /// The socket of a listener, whose task sends.
    Shared(Shared),
}

impl UdpSender {
    pub(crate) fn of_socket(socket: Arc<UdpSocket>, config: &UdpConfig, ending: Arc<Ending>) -> Self {
        let own = Own::new(socket, config.max_buffered, ending);
        Self { path: Path::Own(own), max_message_len: config.max_message_len(), finished: false }
    }

    pub(crate) fn of_session(session: Arc<Session>, watch: Option<(Arc<dyn Observer>, Info)>) -> Self {
        let max_message_len = session.hub().config.max_message_len();
        Self { path: Path::Shared(Shared::new(session, watch)), max_message_len, finished: false }
    }

    fn check(&self, len: usize) -> Result<()> {
        if self.finished {
            return Err(Error::new(ErrorKind::Closed, "send"));
        }
        if len > self.max_message_len {
            return Err(Error::new(ErrorKind::MessageTooLong, "send"));
        }
        Ok(())
    }
}

impl Sender for UdpSender {
    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Bytes) -> Poll<Result<()>> {
        self.poll_send_parts(cx, &[], message)
    }

    fn poll_send_parts(&mut self, cx: &mut Context<'_>, head: &[u8], body: &mut Bytes) -> Poll<Result<()>> {
        self.check(head.len() + body.len())?;
        match &mut self.path {
            Path::Own(own) => own.poll_send(cx, head, body),
            Path::Shared(shared) if head.len() <= Staged::MAX_HEAD => shared.poll_send(cx, head, body),
            Path::Shared(shared) => {
                let mut whole = BytesMut::with_capacity(head.len() + body.len());
                whole.extend_from_slice(head);
                whole.extend_from_slice(body);
                ready!(shared.poll_send(cx, &[], &mut whole.freeze()))?;
                body.clear();
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.path {
            Path::Own(own) => own.poll_flush(cx),
            Path::Shared(shared) => shared.poll_flush(cx),
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.finished = true;
        ready!(self.poll_flush(cx))?;
        match &self.path {
            Path::Own(own) => own.finish(),
            Path::Shared(shared) => shared.finish(),
        }
        Poll::Ready(Ok(()))
    }

    fn unsent_len(&self) -> usize {
        match &self.path {
            Path::Own(own) => own.unsent_len(),
            Path::Shared(shared) => shared.unsent_len(),
        }
    }
}
