//! Framed byte streams in memory that are cut after a seeded number of bytes, mostly inside a frame.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use net_core::{
    Address, Admission, Connection, Error, ErrorKind, Guarantees, Info, Listener, Result, Transport,
    frame::LengthPrefix,
    framed::{FrameReceiver, FrameSender},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::mpsc,
};

type Tx = FrameSender<WriteHalf<DuplexStream>, LengthPrefix>;
type Rx = FrameReceiver<ReadHalf<DuplexStream>, LengthPrefix>;

/// How many bytes a stream carries before its sender has to wait.
const ROOM: usize = 1_000;

/// A transport of which each connection carries so many bytes in one of its directions and is then gone.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    shared: Arc<Mutex<Shared>>,
    lasts: Range<u64>,
}

#[derive(Debug)]
struct Shared {
    rng: fastrand::Rng,
    listener: Option<mpsc::UnboundedSender<DuplexStream>>,
}

impl Wire {
    pub(crate) fn new(seed: u64, lasts: Range<u64>) -> Self {
        let shared = Shared { rng: fastrand::Rng::with_seed(seed), listener: None };
        Self { shared: Arc::new(Mutex::new(shared)), lasts }
    }
}

fn connection(stream: DuplexStream, at: &Address) -> Connection<Tx, Rx> {
    let (read, write) = split(stream);
    let tx = FrameSender::new(write, LengthPrefix::default());
    let rx = FrameReceiver::new(read, LengthPrefix::default());
    Connection::new(tx, rx, Info::new(at.clone(), at.clone()))
}

/// Carries bytes in pieces of any size until one direction has carried all that it may; then both ends are gone.
async fn carry(mut near: DuplexStream, mut far: DuplexStream, mut rng: fastrand::Rng, lasts: Range<u64>) {
    let mut left = [rng.u64(lasts.clone()), rng.u64(lasts)];
    let (mut there, mut back) = (vec![0; ROOM], vec![0; ROOM]);
    let (mut open_there, mut open_back) = (true, true);
    while open_there || open_back {
        let piece = rng.usize(1..=ROOM);
        let (direction, count) = tokio::select! {
            biased;
            count = near.read(&mut there[..piece]), if open_there => (0, count),
            count = far.read(&mut back[..piece]), if open_back => (1, count),
        };
        let count = count.expect("a stream in memory");
        let (buffer, to, open) = if direction == 0 {
            (&there, &mut far, &mut open_there)
        } else {
            (&back, &mut near, &mut open_back)
        };
        if count == 0 {
            *open = false;
            // The other end may be gone already.
            let _ = to.shutdown().await;
            continue;
        }
        let allowed = usize::try_from(left[direction]).expect("small").min(count);
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < count {
            return;
        }
        left[direction] -= count as u64;
    }
}

impl Transport for Wire {
    type Sender = Tx;
    type Receiver = Rx;
    type Listener = WireListener;

    fn guarantees(&self) -> Guarantees {
        Guarantees::stream(1 << 20)
    }

    async fn connect(&self, to: &Address) -> Result<Connection<Tx, Rx>> {
        let (near, near_end) = duplex(ROOM);
        let (far, far_end) = duplex(ROOM);
        let rng = {
            let mut shared = self.shared.lock().expect("not poisoned");
            let sent = shared.listener.as_ref().is_some_and(|listener| listener.send(far).is_ok());
            if !sent {
                return Err(Error::new(ErrorKind::Refused, "connect").at(to));
            }
            shared.rng.fork()
        };
        tokio::spawn(carry(near_end, far_end, rng, self.lasts.clone()));
        Ok(connection(near, to))
    }

    async fn listen(&self, at: &Address) -> Result<WireListener> {
        let (tx, waiting) = mpsc::unbounded_channel();
        self.shared.lock().expect("not poisoned").listener = Some(tx);
        Ok(WireListener { waiting, local: at.clone() })
    }
}

#[derive(Debug)]
pub(crate) struct WireListener {
    waiting: mpsc::UnboundedReceiver<DuplexStream>,
    local: Address,
}

impl Listener for WireListener {
    type Sender = Tx;
    type Receiver = Rx;

    fn local(&self) -> &Address {
        &self.local
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection<Tx, Rx>>> {
        self.waiting.poll_recv(cx).map(|stream| {
            let closed = || Error::new(ErrorKind::Closed, "accept");
            Ok(connection(stream.ok_or_else(closed)?, &self.local))
        })
    }

    fn close(&mut self) {
        self.waiting.close();
    }

    fn set_admission(&mut self, _: Arc<Admission>) {}
}
