//! A source of connections that a test lets arrive, and notes of what the observer is told.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use net_core::{
    Accept, Acceptor, Address, Admission, Error, ErrorKind, Handshake, Limit, Limits, Observer, Permit,
    Result, Scheme,
};
use tokio::sync::{mpsc, oneshot};

/// How the handshake of a connection goes.
pub(crate) enum Plan {
    Done,
    Refused,
    Answered,
    Silent,
    Panics,
    /// Ready once the test says so.
    When(oneshot::Receiver<()>),
}

impl Plan {
    /// One of those that need no word from the test.
    pub(crate) fn numbered(number: u8) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::Answered,
            2 => Self::Silent,
            3 => Self::Panics,
            _ => Self::Refused,
        }
    }
}

/// A connection as the system gives it; its guard tells when it is dropped.
pub(crate) struct Socket {
    name: u32,
    plan: Plan,
    _guard: oneshot::Sender<()>,
}

/// A connection that is ready for use.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) name: u32,
    _permit: Permit,
}

/// Connections that a test lets arrive.
pub(crate) struct Source {
    arrivals: mpsc::UnboundedReceiver<io::Result<(Socket, Address)>>,
    pub(crate) handshakes: Arc<AtomicUsize>,
    given: Arc<AtomicUsize>,
}

impl Accept for Source {
    type Socket = Socket;
    type Output = Ready;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Address)>> {
        match self.arrivals.poll_recv(cx) {
            Poll::Ready(Some(arrival)) => {
                self.given.fetch_add(usize::from(arrival.is_ok()), Ordering::Relaxed);
                Poll::Ready(arrival)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn handshake(&self, socket: Socket, _: Address, permit: Permit) -> Handshake<Ready> {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        let ready = Ready { name: socket.name, _permit: permit };
        match socket.plan {
            Plan::Done => Handshake::Done(Ok(ready)),
            Plan::Refused => Handshake::Done(Err(Error::new(ErrorKind::Protocol, "handshake"))),
            _ => Handshake::Running(Box::pin(async move {
                // The whole socket is in the handshake, as it is in a real one.
                let socket = socket;
                match socket.plan {
                    Plan::Silent => std::future::pending().await,
                    Plan::Panics => panic!("a handshake that panics, as this test wants"),
                    Plan::When(told) => told.await.map_err(|_| Error::new(ErrorKind::Reset, "handshake"))?,
                    _ => {}
                }
                Ok(ready)
            })),
        }
    }
}

/// Writes down what it is told.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, note: String) {
        self.0.lock().expect("no panic").push(note);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

impl Observer for Notes {
    fn accepted(&self, peer: &Address) {
        self.note(format!("accepted {peer}"));
    }

    fn accept_failed(&self, error: &io::Error) {
        self.note(format!("failed {:?}", error.raw_os_error()));
    }

    fn rejected(&self, peer: &Address, limit: Limit) {
        self.note(format!("rejected {peer} {limit}"));
    }

    fn handshake_failed(&self, peer: &Address, error: &Error) {
        self.note(format!("handshake {peer} {}", error.kind()));
    }
}

/// An acceptor and what a test does to it.
pub(crate) struct Rig {
    pub(crate) acceptor: Acceptor<Source>,
    pub(crate) arrivals: mpsc::UnboundedSender<io::Result<(Socket, Address)>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) handshakes: Arc<AtomicUsize>,
    /// How many connections the source gave.
    pub(crate) given: Arc<AtomicUsize>,
}

impl Rig {
    pub(crate) fn new(limits: &Limits) -> Self {
        let notes = Arc::new(Notes::default());
        Self::under(Arc::new(Admission::new(*limits, Some(notes.clone()))), notes)
    }

    pub(crate) fn under(admission: Arc<Admission>, notes: Arc<Notes>) -> Self {
        let (arrivals, receiver) = mpsc::unbounded_channel();
        let (handshakes, given) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let source = Source { arrivals: receiver, handshakes: handshakes.clone(), given: given.clone() };
        let mut acceptor = Acceptor::new(source, Address::from_name(Scheme::Mem, "server"));
        acceptor.set_admission(admission.clone());
        Self { acceptor, arrivals, admission, notes, handshakes, given }
    }

    /// Lets a connection arrive; what is returned is closed when its socket is dropped.
    pub(crate) fn arrive(&self, name: u32, ip: &str, plan: Plan) -> oneshot::Receiver<()> {
        let (guard, gone) = oneshot::channel();
        let peer = Address::parse_as(Scheme::Tcp, &format!("{ip}:{name}")).expect("an address");
        let arrival = Ok((Socket { name, plan, _guard: guard }, peer));
        self.arrivals.send(arrival).unwrap_or_else(|_| panic!("the source is open"));
        gone
    }

    pub(crate) fn fail(&self, code: i32) {
        self.arrivals.send(Err(io::Error::from_raw_os_error(code))).unwrap_or_else(|_| panic!("open"));
    }

    pub(crate) async fn accept(&mut self) -> Result<Ready> {
        std::future::poll_fn(|cx| self.acceptor.poll_accept(cx)).await
    }

    pub(crate) async fn accept_name(&mut self) -> u32 {
        self.accept().await.expect("a connection").name
    }

    /// Fails the test unless the observer was told once of each connection that came, and of each that was let in and is none
    /// of the `given` ones that its handshake failed.
    pub(crate) fn assert_each_was_told_once(&self, given: usize) {
        let notes = self.notes.take();
        let count = |of: &str| notes.iter().filter(|note| note.starts_with(of)).count();
        let (accepted, rejected, failed) = (count("accepted"), count("rejected"), count("handshake"));
        assert_eq!(accepted + rejected, self.given.load(Ordering::Relaxed), "each is told once");
        assert_eq!(accepted, given + failed, "and what became of it");
    }

    /// Lets the acceptor do what it can without a new arrival and without time; nothing is ready then.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..8 {
            let polled = std::future::poll_fn(|cx| Poll::Ready(self.acceptor.poll_accept(cx))).await;
            assert!(polled.is_pending(), "nothing is ready, got {polled:?}");
            tokio::task::yield_now().await;
        }
    }
}
