//! Connections over byte streams in memory, whose other ends the test holds.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use net_core::{
    Address, Admission, Connection, Error, ErrorKind, Guarantees, Info, Listener, Result, Transport,
    frame::LengthPrefix,
    framed::{FrameReceiver, FrameSender},
};
use tokio::{
    io::{DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
};

type Tx = FrameSender<WriteHalf<DuplexStream>, LengthPrefix>;
type Rx = FrameReceiver<ReadHalf<DuplexStream>, LengthPrefix>;

/// Accepts the connections that the test makes.
#[derive(Debug)]
pub(crate) struct Duplex(Mutex<Option<Arrivals>>);

type Arrivals = mpsc::UnboundedReceiver<DuplexStream>;

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Far {
    near: mpsc::UnboundedSender<DuplexStream>,
    capacity: usize,
}

impl Far {
    pub(crate) fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(self.capacity);
        self.near.send(near).expect("somebody listens");
        far
    }
}

/// Returns a transport, and what makes connections to its listener.
pub(crate) fn crowd(capacity: usize) -> (Duplex, Far) {
    let (near, arrivals) = mpsc::unbounded_channel();
    (Duplex(Mutex::new(Some(arrivals))), Far { near, capacity })
}

/// Returns a transport whose listener accepts one connection, and the other end of that; `capacity` bytes find room
/// on the way in each direction.
pub(crate) fn transport(capacity: usize) -> (Duplex, DuplexStream) {
    let (duplex, far) = crowd(capacity);
    (duplex, far.connect())
}

impl Transport for Duplex {
    type Sender = Tx;
    type Receiver = Rx;
    type Listener = DuplexListener;

    fn guarantees(&self) -> Guarantees {
        Guarantees::stream(1 << 20)
    }

    fn connect(&self, to: &Address) -> impl Future<Output = Result<Connection<Tx, Rx>>> + Send {
        let refused = Error::new(ErrorKind::Unsupported, "connect").at(to);
        async { Err(refused) }
    }

    async fn listen(&self, at: &Address) -> Result<DuplexListener> {
        let arrivals = self.0.lock().expect("not poisoned").take().expect("listens once");
        Ok(DuplexListener { arrivals, local: at.clone(), closed: false })
    }
}

#[derive(Debug)]
pub(crate) struct DuplexListener {
    arrivals: Arrivals,
    local: Address,
    closed: bool,
}

impl Listener for DuplexListener {
    type Sender = Tx;
    type Receiver = Rx;

    fn local(&self) -> &Address {
        &self.local
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection<Tx, Rx>>> {
        if let Poll::Ready(Some(stream)) = self.arrivals.poll_recv(cx) {
            let (read, write) = tokio::io::split(stream);
            let tx = FrameSender::new(write, LengthPrefix::default());
            let rx = FrameReceiver::new(read, LengthPrefix::default());
            let info = Info::new(self.local.clone(), self.local.clone());
            return Poll::Ready(Ok(Connection::new(tx, rx, info)));
        }
        if self.closed {
            return Poll::Ready(Err(Error::new(ErrorKind::Closed, "accept")));
        }
        Poll::Pending
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn set_admission(&mut self, _: Arc<Admission>) {}
}
