//! One connection over a byte stream in memory, whose other end the test holds.

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
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};

type Tx = FrameSender<WriteHalf<DuplexStream>, LengthPrefix>;
type Rx = FrameReceiver<ReadHalf<DuplexStream>, LengthPrefix>;

/// Accepts one connection.
#[derive(Debug)]
pub(crate) struct One(Arc<Mutex<Option<DuplexStream>>>);

/// Returns a transport whose listener accepts one connection, and the other end of that; `capacity` bytes find room
/// on the way in each direction.
pub(crate) fn transport(capacity: usize) -> (One, DuplexStream) {
    let (near, far) = tokio::io::duplex(capacity);
    (One(Arc::new(Mutex::new(Some(near)))), far)
}

impl Transport for One {
    type Sender = Tx;
    type Receiver = Rx;
    type Listener = OneListener;

    fn guarantees(&self) -> Guarantees {
        Guarantees::stream(1 << 20)
    }

    fn connect(&self, to: &Address) -> impl Future<Output = Result<Connection<Tx, Rx>>> + Send {
        let refused = Error::new(ErrorKind::Unsupported, "connect").at(to);
        async { Err(refused) }
    }

    async fn listen(&self, at: &Address) -> Result<OneListener> {
        Ok(OneListener { waiting: self.0.clone(), local: at.clone(), closed: false })
    }
}

#[derive(Debug)]
pub(crate) struct OneListener {
    waiting: Arc<Mutex<Option<DuplexStream>>>,
    local: Address,
    closed: bool,
}

impl Listener for OneListener {
    type Sender = Tx;
    type Receiver = Rx;

    fn local(&self) -> &Address {
        &self.local
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Result<Connection<Tx, Rx>>> {
        if let Some(stream) = self.waiting.lock().expect("not poisoned").take() {
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
