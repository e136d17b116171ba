//! A write half that takes as much as a test lets it, and a server's side of a connection over it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::BytesMut;
use net_core::{Connection, Info};
use net_ws::{Ws, WsConfig, WsReceiver, WsSender};
use tokio::io::{AsyncWrite, DuplexStream};

use super::{at, raw::RawFrame};

/// A stream that takes bytes while there is room, keeps them until it is flushed, and wakes who has polled it last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    room: usize,
    kept: Vec<u8>,
    out: Vec<u8>,
    keeps: bool,
    ended: bool,
    waker: Option<Waker>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    /// Takes `room` bytes more.
    pub(crate) fn open(&self, room: usize) {
        let mut state = self.state();
        state.room = state.room.saturating_add(room);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Has what is flushed wait, as a TLS record does for room below, until [`open`](Self::open).
    pub(crate) fn keep(&self, keeps: bool) {
        self.state().keeps = keeps;
    }

    /// Tells whether it was told that nothing follows.
    pub(crate) fn ended(&self) -> bool {
        self.state().ended
    }

    /// Returns how many bytes have come out.
    pub(crate) fn out_len(&self) -> usize {
        self.state().out.len()
    }

    /// Returns the frames that have come out, which are whole.
    pub(crate) fn frames(&self) -> Vec<RawFrame> {
        let state = self.state();
        let (mut rest, mut frames) = (&state.out[..], Vec::new());
        while let [first, len, after @ ..] = rest {
            let (len, after) = match (len, after) {
                (126, [a, b, after @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), after),
                _ => (usize::from(*len), after),
            };
            let Some((payload, after)) = after.split_at_checked(len) else {
                panic!("{:02x?} is cut", state.out)
            };
            frames.push(RawFrame { first: *first, payload: payload.to_vec() });
            rest = after;
        }
        assert!(rest.is_empty(), "a head is cut");
        frames
    }
}

impl AsyncWrite for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let taken = bytes.len().min(state.room);
        if taken == 0 {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.room -= taken;
        state.kept.extend(bytes.iter().take(taken));
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.keeps {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let kept = std::mem::take(&mut state.kept);
        state.out.extend(kept);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.as_mut().poll_flush(cx))?;
        self.state().ended = true;
        Poll::Ready(Ok(()))
    }
}

/// Returns the peer's end of the way in, the way out, and the server's side over both.
pub(crate) fn gated(
    config: &WsConfig,
) -> (DuplexStream, Gate, Connection<WsSender<Gate>, WsReceiver<DuplexStream, Gate>>) {
    let request = http::Request::get("/")
        .header("host", "localhost")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-extensions", "permessage-deflate");
    let upgrade = Ws::new(*config).upgrade(&request.body(()).expect("a request")).expect("a handshake");
    let (peer, reading) = tokio::io::duplex(1 << 20);
    let gate = Gate::default();
    let info = Info::new(at("ws://localhost"), at("ws://localhost"));
    let connection = upgrade.into_connection((reading, gate.clone()), info, BytesMut::new(), drop);
    (peer, gate, connection)
}

/// Notes that it was woken.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Self::default());
        (woken.clone(), woken.into())
    }

    /// Tells whether it was woken since it was asked last.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
