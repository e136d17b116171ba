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
use rig::{at, gate::gated, pair, raw::masked, soon};
use tokio::io::AsyncWriteExt;

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
async fn w1_what_a_dropped_receive_had_of_a_message_comes_with_the_next_fragment() {
    for deflate in [None, Some(DeflateConfig::default())] {
        let (mut peer, _gate, mut far) = gated(&WsConfig { deflate, ..WsConfig::default() });
        peer.write_all(&part(0x01, b"one ", deflate.is_some())).await.expect("sent");
        assert!(poll_immediate(far.rx.recv_message()).await.is_none(), "a message in part");
        peer.write_all(&part(0x00, b"two ", deflate.is_some())).await.expect("sent");
        let fragment = far.rx.recv_fragment().await.expect("received").expect("a fragment");
        assert_eq!((&fragment.payload[..], fragment.last), (&b"one two "[..], false));
        peer.write_all(&part(0x80, b"three", deflate.is_some())).await.expect("sent");
        let fragment = far.rx.recv_fragment().await.expect("received").expect("a fragment");
        assert_eq!((&fragment.payload[..], fragment.last), (&b"three"[..], true));
    }
}

#[tokio::test]
async fn w1_a_message_of_which_a_fragment_was_taken_is_passed_over_by_all_else() {
    for deflate in [None, Some(DeflateConfig::default())] {
        let (mut peer, _gate, mut far) = gated(&WsConfig { deflate, ..WsConfig::default() });
        // Cut inside a character.
        peer.write_all(&part(0x01, &[0xC3], deflate.is_some())).await.expect("sent");
        let fragment = far.rx.recv_fragment().await.expect("received").expect("a fragment");
        assert_eq!(fragment.payload[..], [0xC3]);
        peer.write_all(&part(0x00, &[0xBC], deflate.is_some())).await.expect("sent");
        assert!(poll_immediate(far.rx.recv_message()).await.is_none(), "the rest of one");
        peer.write_all(&part(0x80, b"rich", deflate.is_some())).await.expect("sent");
        peer.write_all(&part(0x81, b"next", deflate.is_some())).await.expect("sent");
        assert_eq!(far.rx.recv_message().await.expect("no fault"), Some("next".into()));
    }
}

/// Returns a frame; `deflates`: its payload is a block of DEFLATE as it is, behind which the next one begins, and, where the message
/// ends, the beginning of the empty one that is cut off.
fn part(first: u8, payload: &[u8], deflates: bool) -> Vec<u8> {
    if !deflates {
        return masked(first, payload);
    }
    let len = u16::try_from(payload.len()).expect("short");
    let end = if first & 0x80 == 0 { &[][..] } else { &[0] };
    let block = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), payload, end].concat();
    let begins = first & 0x01 != 0;
    masked(if begins { first | 0x40 } else { first }, &block)
}

/// Returns the message of this number, which is either short or longer than what fits.
fn numbered(number: u32) -> Bytes {
    let len = if number.is_multiple_of(3) { LONG } else { 8 };
    number.to_be_bytes().iter().copied().cycle().take(len).collect()
}

/// Sends numbers until this many operations were finished; one that is dropped was accepted whole or not at all, and is not
/// repeated. Returns the numbers of those that were finished.
async fn send_numbered(tx: &mut WsSender, messages: u32) -> (Vec<u32>, Vec<u32>) {
    let (mut sent, mut ponged, mut number) = (Vec::new(), Vec::new(), 0);
    while sent.len() < messages as usize {
        number += 1;
        if let Some(done) = poll_immediate(tx.send_message(numbered(number))).await {
            done.expect("sent");
            sent.push(number);
        }
        if let Some(done) = poll_immediate(tx.pong(&number.to_be_bytes())).await {
            done.expect("sent");
            ponged.push(number);
        }
        if number.is_multiple_of(7) {
            at_every_await!(tx.ping(b"there?")).expect("sent");
        }
        tokio::task::yield_now().await;
    }
    at_every_await!(tx.finish()).expect("finished");
    (sent, ponged)
}

/// Returns the numbers of the messages that came whole, and of the pongs that nobody had asked for.
async fn receive_numbered(rx: &mut WsReceiver) -> (Vec<u32>, Vec<u32>) {
    let (mut came, mut ponged) = (Vec::new(), Vec::new());
    let number = |bytes: &[u8]| u32::from_be_bytes(*bytes.first_chunk().expect("a number"));
    while let Some(event) = at_every_await!(rx.recv_event()).expect("received") {
        match event {
            WsEvent::Message(message) => {
                let message = message.into_bytes();
                assert!(message == numbered(number(&message)), "a message in part");
                came.push(number(&message));
            }
            WsEvent::Pong(payload) if payload == b"there?"[..] => {}
            WsEvent::Pong(payload) => ponged.push(number(&payload)),
            _ => {}
        }
    }
    (came, ponged)
}

fn each_once(finished: &[u32], came: &[u32]) {
    assert!(came.is_sorted_by(|one, next| one < next), "out of order, or twice");
    assert!(finished.iter().all(|number| came.contains(number)), "one that was finished is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w1_sends_and_pongs_that_are_dropped_go_whole_or_not_at_all_with_each_half_in_a_task_of_its_own() {
    const MESSAGES: u32 = 60;
    let ws = small(None);
    let (near, far) = pair(&ws, &ws).await;
    let mut tasks = Vec::new();
    for connection in [near, far] {
        let (mut tx, mut rx) = (connection.tx, connection.rx);
        let sending = tokio::spawn(async move {
            let sent = send_numbered(&mut tx, MESSAGES).await;
            (sent, tx)
        });
        tasks.push((sending, tokio::spawn(async move { receive_numbered(&mut rx).await })));
    }
    let joined = async {
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for (sending, receiving) in tasks {
            // The sender is kept, so that its end is not what wakes the receiver.
            sent.push(sending.await.expect("sent"));
            received.push(receiving.await.expect("received"));
        }
        for (((finished, ponged), _tx), (came, pongs)) in sent.iter().zip(received.iter().rev()) {
            each_once(finished, came);
            each_once(ponged, pongs);
        }
    };
    soon("everything", joined).await;
}

#[tokio::test]
async fn w4_a_close_that_is_dropped_ends_the_connection() {
    let ws = small(None);
    for polls in 0..6 {
        let (near, mut far) = pair(&ws, &ws).await;
        let mut closing = Box::pin(near.close(std::time::Duration::from_secs(10)));
        for _ in 0..polls {
            assert!(poll_immediate(closing.as_mut()).await.is_none(), "the far side has not answered");
            tokio::task::yield_now().await;
        }
        drop(closing);
        let end = soon("the end", far.rx.recv()).await;
        assert!(matches!(end, Ok(None)), "nothing was unsent: {end:?}");
    }
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
