//! Message connections over the byte streams that a listener accepts.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use net_core::{
    Address, Admission, Connection, Guarantees, IncomingConnection, Listener, Result,
    frame::Framing,
    framed::{FrameReceiver, FrameSender},
};

use crate::stream::{ByteStream, ReadHalf, StreamListener, WriteHalf};

/// Accepts connections and frames their messages; [`TcpListener`](crate::TcpListener) and
/// [`UnixListener`](crate::UnixListener) are this.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Transport};
/// use net_tcp::{Tcp, TcpListener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let listener: TcpListener = Tcp::default().listen(&"tcp://127.0.0.1:0".parse()?).await?;
/// assert_ne!(listener.local().port(), Some(0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FrameListener<F> {
    streams: StreamListener,
    framing: F,
    max_buffered: usize,
}

impl<F: Framing> FrameListener<F> {
    /// Frames the messages of what `streams` accepts; each sender gathers `max_buffered` bytes at the most.
    pub fn new(streams: StreamListener, framing: F, max_buffered: usize) -> Self {
        Self { streams, framing, max_buffered }
    }
}

impl<F: Framing> Listener for FrameListener<F> {
    type Sender = FrameSender<WriteHalf, F>;
    type Receiver = FrameReceiver<ReadHalf, F>;

    fn local(&self) -> &Address {
        self.streams.local()
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection<Self::Sender, Self::Receiver>>> {
        self.streams.poll_accept(cx).map_ok(|stream| frame(stream, &self.framing, self.max_buffered))
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<IncomingConnection<Self::Sender, Self::Receiver>>> {
        self.streams.poll_incoming(cx).map_ok(|incoming| {
            let (framing, max_buffered) = (self.framing.clone(), self.max_buffered);
            incoming.map(move |stream| frame(stream, &framing, max_buffered))
        })
    }

    fn close(&mut self) {
        self.streams.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.streams.set_admission(admission);
    }
}

/// Makes a message connection of a byte stream.
pub(crate) fn frame<F: Framing>(
    stream: ByteStream,
    framing: &F,
    max_buffered: usize,
) -> Connection<FrameSender<WriteHalf, F>, FrameReceiver<ReadHalf, F>> {
    let (read, write, info) = stream.into_split();
    let tx = FrameSender::new(write, framing.clone())
        .with_max_buffered(max_buffered)
        .with_abort(WriteHalf::cut)
        .with_unsent_below(WriteHalf::unsent_len);
    Connection::new(tx, FrameReceiver::new(read, framing.clone()), info)
}

/// Returns what a stream promises of the messages of `framing`.
pub(crate) fn guarantees(framing: &impl Framing) -> Guarantees {
    Guarantees {
        preserves_messages: framing.preserves_messages(),
        ..Guarantees::stream(framing.max_message_len())
    }
}
