//! A transport in a hundred lines: any framing over tokio's in-memory byte streams.

use std::{
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use net_core::{
    Accept, Acceptor, Address, Admission, Connection, Error, ErrorKind, Guarantees, Handshake, Info,
    Listener, Permit, Result, Transport,
    frame::Framing,
    framed::{FrameReceiver, FrameSender},
};
use tokio::{
    io::{DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::mpsc,
};

type Tx<F> = FrameSender<WriteHalf<DuplexStream>, F>;
type Rx<F> = FrameReceiver<ReadHalf<DuplexStream>, F>;

/// Connects to its last listener, whatever the address.
#[derive(Clone, Debug)]
pub(crate) struct Duplex<F> {
    framing: F,
    listener: Arc<Mutex<Option<mpsc::UnboundedSender<DuplexStream>>>>,
}

impl<F: Framing> Duplex<F> {
    pub(crate) fn new(framing: F) -> Self {
        Self { framing, listener: Arc::default() }
    }
}

fn connection<F: Framing>(stream: DuplexStream, framing: F, address: &Address) -> Connection<Tx<F>, Rx<F>> {
    let (rx, tx) = split(stream);
    let info = Info::new(address.clone(), address.clone());
    Connection::new(FrameSender::new(tx, framing.clone()), FrameReceiver::new(rx, framing), info)
}

impl<F: Framing> Transport for Duplex<F> {
    type Sender = Tx<F>;
    type Receiver = Rx<F>;
    type Listener = DuplexListener<F>;

    fn guarantees(&self) -> Guarantees {
        Guarantees {
            // These streams have no reset.
            signals_abort: false,
            preserves_messages: self.framing.preserves_messages(),
            ..Guarantees::stream(self.framing.max_message_len())
        }
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Tx<F>, Rx<F>>> {
        let (near, far) = duplex(10_000);
        let listener = self.listener.lock().expect("no panic").clone();
        match listener.map(|listener| listener.send(far)) {
            Some(Ok(())) => Ok(connection(near, self.framing.clone(), to)),
            _ => Err(Error::new(ErrorKind::Refused, "connect").at(to)),
        }
    }

    async fn listen(&self, at: &Address) -> Result<DuplexListener<F>> {
        let (tx, arrivals) = mpsc::unbounded_channel();
        *self.listener.lock().expect("no panic") = Some(tx);
        let source = Source { arrivals, framing: self.framing.clone() };
        Ok(DuplexListener(Acceptor::new(source, at.clone())))
    }
}

pub(crate) struct DuplexListener<F: Framing>(Acceptor<Source<F>>);

impl<F: Framing> Listener for DuplexListener<F> {
    type Sender = Tx<F>;
    type Receiver = Rx<F>;

    fn local(&self) -> &Address {
        self.0.local()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection<Tx<F>, Rx<F>>>> {
        self.0.poll_accept(cx)
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn set_admission(&mut self, admission: Arc<Admission>) {
        self.0.set_admission(admission);
    }
}

struct Source<F> {
    arrivals: mpsc::UnboundedReceiver<DuplexStream>,
    framing: F,
}

impl<F: Framing> Accept for Source<F> {
    type Socket = DuplexStream;
    type Output = Connection<Tx<F>, Rx<F>>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(DuplexStream, Address)>> {
        let peer = Address::from_name(net_core::Scheme::Mem, "peer");
        self.arrivals.poll_recv(cx).map(|stream| Ok((stream.ok_or(io::ErrorKind::NotConnected)?, peer)))
    }

    fn handshake(&self, stream: DuplexStream, peer: Address, _: Permit) -> Handshake<Self::Output> {
        Handshake::Done(Ok(connection(stream, self.framing.clone(), &peer)))
    }
}
