//! Each operation of a connection, dropped at every await: nothing is lost, nothing comes twice, nothing in part.

mod rig;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::poll_immediate;
use net_core::{Listener, Receiver, Sender, Transport};
use net_tcp::stream::TcpConfig;
use net_ws::{
    CloseCode, CloseFrame, DeflateConfig, Fragment, Kind, Ws, WsConfig, WsEvent, WsMessage, WsReceiver,
    WsSender,
};
use rig::{at, pair, soon};

/// How many rounds of messages are sent.
const ROUNDS: u8 = 40;
/// Longer than what both sides and the system hold, so that whoever sends has to wait.
const LONG: usize = 60_000;

/// How many operations were dropped.
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Begins an operation, drops it where it waits, and begins it again, until it has not to wait.
macro_rules! at_every_await {
    ($operation:expr) => {
        loop {
            if let Some(done) = poll_immediate($operation).await {
                break done;
            }
            DROPPED.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
}

/// Returns settings with buffers that fill soon.
fn small(deflate: Option<DeflateConfig>) -> Ws {
    let tcp = TcpConfig {
        send_buffer_len: Some(8 * 1024),
        recv_buffer_len: Some(8 * 1024),
        max_buffered: 4096,
        ..TcpConfig::default()
    };
    // A ping that is dropped is sent again, so that there are many.
    Ws::new(WsConfig { tcp, deflate, max_pings_per_second: u32::MAX, ..WsConfig::default() })
}

/// Returns the messages of a round: short text, long bytes that hardly compress, and one that is sent in fragments.
fn messages(round: u8) -> [WsMessage; 3] {
    let mut state = u32::from(round) + 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        state.to_le_bytes()[3]
    });
    let long: Vec<u8> = noise.take(LONG - usize::from(round)).collect();
    [format!("Zürich {round}").into(), long.into(), fragments(round).concat().into()]
}

fn fragments(round: u8) -> [Vec<u8>; 3] {
    [vec![1; round.into()], Vec::new(), vec![3; 20_000 + usize::from(round)]]
}

async fn feed_all(tx: &mut WsSender) {
    for round in 0..ROUNDS {
        let [text, long, _] = messages(round);
        at_every_await!(tx.feed_message(text.clone())).expect("fed");
        // A ping that is dropped was accepted or not; its payload says of which round it is.
        at_every_await!(tx.ping(&[round])).expect("sent");
        at_every_await!(tx.feed_message(long.clone())).expect("fed");
        let parts = fragments(round);
        for (index, part) in parts.iter().enumerate() {
            let fragment = || Fragment {
                kind: Kind::Binary,
                payload: Bytes::copy_from_slice(part),
                last: index + 1 == parts.len(),
            };
            at_every_await!(tx.feed_fragment(fragment())).expect("fed");
        }
    }
    at_every_await!(tx.flush()).expect("flushed");
    let code = CloseCode::new(4001).expect("for applications");
    at_every_await!(tx.close(code, "enough")).expect("closed");
}

/// Takes what was sent as events.
async fn events(rx: &mut WsReceiver) -> Vec<WsMessage> {
    let (mut came, mut pinged) = (Vec::new(), Vec::new());
    while let Some(event) = at_every_await!(rx.recv_event()).expect("received") {
        match event {
            WsEvent::Message(message) => came.push(message),
            WsEvent::Ping(payload) => pinged.extend(payload),
            event => panic!("{event:?} was not sent"),
        }
    }
    assert!(pinged.is_sorted(), "{pinged:?}");
    pinged.dedup();
    assert_eq!(pinged.len(), usize::from(ROUNDS), "a ping of each round");
    came
}

async fn whole(rx: &mut WsReceiver) -> Vec<WsMessage> {
    let mut came = Vec::new();
    while let Some(message) = at_every_await!(rx.recv_message()).expect("received") {
        came.push(message);
    }
    came
}

/// Takes what was sent fragment by fragment.
async fn parts(rx: &mut WsReceiver) -> Vec<WsMessage> {
    let (mut came, mut message) = (Vec::new(), Vec::new());
    while let Some(fragment) = at_every_await!(rx.recv_fragment()).expect("received") {
        message.extend_from_slice(&fragment.payload);
        if fragment.last {
            let message = std::mem::take(&mut message);
            came.push(match fragment.kind {
                Kind::Text => String::from_utf8(message).expect("text").into(),
                Kind::Binary => message.into(),
            });
        }
    }
    came
}

/// Sends everything one way, without compression and with it, and takes it by `receive`.
async fn everything_passes(receive: impl AsyncFn(&mut WsReceiver) -> Vec<WsMessage>) {
    let compressing = DeflateConfig { min_len: 1, ..DeflateConfig::default() };
    for deflate in [None, Some(compressing)] {
        passes(&small(deflate), &receive).await;
    }
}

async fn passes(ws: &Ws, receive: &impl AsyncFn(&mut WsReceiver) -> Vec<WsMessage>) {
    let before = DROPPED.load(Ordering::Relaxed);
    let (mut near, mut far) = pair(ws, ws).await;
    let received = async {
        let came = receive(&mut far.rx).await;
        // The answer to the Close frame.
        at_every_await!(far.tx.finish()).expect("answered");
        came
    };
    let ((), came) = soon("everything", async { tokio::join!(feed_all(&mut near.tx), received) }).await;
    assert_eq!(far.rx.close_frame().map(|close| close.code().get()), Some(4001));
    assert!(
        DROPPED.load(Ordering::Relaxed) - before > 2 * usize::from(ROUNDS),
        "too little was dropped to show anything"
    );
    assert_eq!(came.len(), 3 * usize::from(ROUNDS));
    assert!(came.into_iter().eq((0..ROUNDS).flat_map(messages)), "another message came");
    assert_eq!(soon("the end", near.rx.recv()).await.expect("a clean one"), None);
}

#[tokio::test]
async fn w1_events_are_received_whatever_is_dropped() {
    everything_passes(events).await;
}

#[tokio::test]
async fn w1_messages_are_received_whatever_is_dropped() {
    everything_passes(whole).await;
}

#[tokio::test]
async fn w1_fragments_are_received_whatever_is_dropped() {
    everything_passes(parts).await;
}

#[tokio::test]
async fn w4_a_close_handshake_that_is_dropped_goes_on() {
    let ws = small(None);
    let (mut near, mut far) = pair(&ws, &ws).await;
    let frame = CloseFrame::new(CloseCode::new(4002).expect("for applications"), "genug");
    let closing = async {
        at_every_await!(near.tx.close(frame.code(), frame.reason())).expect("closed");
        assert_eq!(at_every_await!(near.rx.recv_message()).expect("a clean end"), None);
    };
    let answering = async {
        assert_eq!(at_every_await!(far.rx.recv_message()).expect("a clean end"), None);
        at_every_await!(far.tx.finish()).expect("answered");
    };
    soon("both ends", async { tokio::join!(closing, answering) }).await;
    assert_eq!(far.rx.close_frame(), Some(frame.clone()));
    assert_eq!(near.rx.close_frame().map(|close| close.code()), Some(frame.code()));
}

/// Dropped between any two of their polls, neither side of a handshake keeps the other or the listener from going on.
#[tokio::test]
async fn w1_a_handshake_that_is_dropped_is_none() {
    let ws = small(None);
    let mut listener = ws.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let mut unfinished = 0;
    for polls in 0..12 {
        let mut connecting = Box::pin(ws.connect(&to));
        let mut connected = None;
        for _ in 0..polls {
            connected = poll_immediate(connecting.as_mut()).await;
            // The listener's is begun anew each time; what it gives is dropped too.
            if let Some(accepted) = poll_immediate(listener.accept()).await {
                drop(accepted.expect("a connection"));
            }
            if connected.is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        unfinished += usize::from(connected.is_none());
        drop((connecting, connected));
    }
    assert!(unfinished > 1, "too few were dropped on their way");
    let accepting = async {
        loop {
            // Of those that were dropped, some may have come as far as here.
            let mut far = listener.accept().await.expect("a connection");
            if let Ok(Some(message)) = far.rx.recv().await {
                break message;
            }
        }
    };
    let asking = async {
        let mut near = ws.connect(&to).await.expect("connected");
        near.tx.send(Bytes::from_static(b"hello")).await.expect("sent");
        near
    };
    let (came, _near) = soon("a message", async { tokio::join!(accepting, asking) }).await;
    assert_eq!(came, "hello");
}
