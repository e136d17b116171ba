//! What both halves do to the one way out that they share, over a stream that takes no more than each test lets it.

mod rig;

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use net_core::{ErrorKind, Receiver, Sender};
use net_tcp::stream::TcpConfig;
use net_ws::{CloseCode, DeflateConfig, DeflateMemory, Ws, WsConfig, WsSender};
use rig::{
    gate::{Gate, Woken, gated},
    pair,
    raw::{RawFrame, masked},
};
use tokio::{io::AsyncWriteExt, time::advance};

const TICK: Duration = Duration::from_mins(1);

fn silent() -> WsConfig {
    WsConfig { deflate: None, ping_interval: None, idle_timeout: None, ..WsConfig::default() }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

fn firsts(frames: &[RawFrame]) -> Vec<u8> {
    frames.iter().map(|frame| frame.first).collect()
}

#[tokio::test(start_paused = true)]
async fn w4_a_timer_that_fires_as_a_message_comes_is_set_again() {
    let config = WsConfig { ping_interval: Some(TICK), idle_timeout: Some(3 * TICK), ..silent() };
    let (mut peer, gate, mut far) = gated(&config);
    gate.open(1000);
    let (woken, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    peer.write_all(&masked(0x82, b"x")).await.expect("sent");
    advance(TICK).await;
    // One wake-up for both: it takes the message, then sleeps again.
    assert!(far.rx.poll_recv(&mut cx).is_ready());
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    woken.take();
    for pings in 1..=2 {
        advance(TICK).await;
        assert!(woken.take(), "it would sleep for ever");
        assert!(far.rx.poll_recv(&mut cx).is_pending());
        assert_eq!(firsts(&gate.frames()), vec![0x89; pings]);
    }
    advance(TICK).await;
    assert!(woken.take());
    let Poll::Ready(Err(error)) = far.rx.poll_recv(&mut cx) else { panic!("never given up") };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn w4_a_peer_is_asked_before_it_is_given_up_however_short_the_patience() {
    let asked = WsConfig { ping_interval: Some(TICK), ..silent() };
    for (idle, pings) in [(TICK / 60, 1), (TICK, 1), (2 * TICK, 1), (3 * TICK, 2)] {
        let (_peer, gate, mut far) = gated(&WsConfig { idle_timeout: Some(idle), ..asked });
        gate.open(1000);
        let begin = tokio::time::Instant::now();
        assert_eq!(far.rx.recv().await.expect_err("silence").kind(), ErrorKind::TimedOut);
        assert_eq!(firsts(&gate.frames()), vec![0x89; pings], "{idle:?}");
        assert_eq!(begin.elapsed().as_secs(), idle.as_secs());
    }
}

#[tokio::test]
async fn w1_a_sender_that_waits_behind_a_pong_is_woken_though_the_receiver_has_waited_last() {
    let (mut peer, gate, far) = gated(&silent());
    let (mut tx, mut rx) = (far.tx, far.rx);
    let (sender_woken, sender) = Woken::new();
    let (receiver_woken, receiver) = Woken::new();
    let mut receiving = pin!(rx.recv());
    peer.write_all(&masked(0x89, b"one")).await.expect("sent");
    assert!(poll(receiving.as_mut(), &receiver).is_pending());
    let mut sending = pin!(tx.send_message("text"));
    assert!(poll(sending.as_mut(), &sender).is_pending());
    peer.write_all(&masked(0x89, b"two")).await.expect("sent");
    assert!(poll(receiving.as_mut(), &receiver).is_pending());
    sender_woken.take();
    receiver_woken.take();
    gate.open(1000);
    assert!(receiver_woken.take(), "the pong is the receiver's");
    assert!(poll(receiving.as_mut(), &receiver).is_pending());
    assert!(sender_woken.take(), "it would wait for ever");
    assert!(poll(sending.as_mut(), &sender).is_ready());
    assert_eq!(firsts(&gate.frames()), [0x8A, 0x8A, 0x81]);
}

#[tokio::test]
async fn w1_a_receiver_whose_pong_waits_is_woken_though_the_sender_has_waited_last() {
    let (mut peer, gate, far) = gated(&silent());
    let (mut tx, mut rx) = (far.tx, far.rx);
    let (receiver_woken, receiver) = Woken::new();
    let mut receiving = pin!(rx.recv());
    peer.write_all(&masked(0x89, b"one")).await.expect("sent");
    assert!(poll(receiving.as_mut(), &receiver).is_pending());
    {
        // It waits, and is given up.
        let mut sending = pin!(tx.send_message("text"));
        assert!(poll(sending.as_mut(), Waker::noop()).is_pending());
    }
    receiver_woken.take();
    gate.open(1000);
    assert!(receiver_woken.take(), "nobody else writes it");
    assert!(poll(receiving.as_mut(), &receiver).is_pending());
    assert_eq!(firsts(&gate.frames()), [0x8A]);
}

#[tokio::test(start_paused = true)]
async fn w4_pongs_and_pings_go_on_where_a_send_was_dropped_inside_a_frame() {
    let config = WsConfig { ping_interval: Some(TICK), idle_timeout: None, ..silent() };
    let (mut peer, gate, mut far) = gated(&config);
    gate.open(10);
    {
        let mut sending = pin!(far.tx.send_message("a text that is longer than ten bytes"));
        assert!(poll(sending.as_mut(), Waker::noop()).is_pending());
    }
    assert_eq!(far.tx.unsent_len(), 28);
    let (woken, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    peer.write_all(&masked(0x89, b"there?")).await.expect("sent");
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    woken.take();
    gate.open(1000);
    assert!(woken.take());
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    assert_eq!(firsts(&gate.frames()), [0x81, 0x8A], "the frame is whole, and the pong behind it");
    assert_eq!(far.tx.unsent_len(), 0);
    for _ in 0..2 {
        advance(TICK).await;
        assert!(far.rx.poll_recv(&mut cx).is_pending());
    }
    assert_eq!(firsts(&gate.frames()), [0x81, 0x8A, 0x89]);
    far.tx.send_message("and on").await.expect("sent");
    assert_eq!(gate.frames().last().expect("one").payload, b"and on");
}

/// Feeds texts of 100 bytes until there is no room.
fn feed_all(tx: &mut WsSender<Gate>) {
    while poll(pin!(tx.feed_message("x".repeat(100).into())), Waker::noop()).is_ready() {}
}

#[tokio::test]
async fn w4_a_pong_waits_for_no_more_than_is_buffered_while_a_sender_feeds_as_fast_as_it_may() {
    let tcp = TcpConfig { max_buffered: 1000, ..TcpConfig::default() };
    let (mut peer, gate, mut far) = gated(&WsConfig { tcp, ..silent() });
    let mut cx = Context::from_waker(Waker::noop());
    feed_all(&mut far.tx);
    peer.write_all(&masked(0x89, b"there?")).await.expect("sent");
    for _ in 0..30 {
        assert!(far.rx.poll_recv(&mut cx).is_pending());
        gate.open(300);
        feed_all(&mut far.tx);
    }
    gate.open(10_000);
    far.tx.flush().await.expect("flushed");
    let frames = gate.frames();
    assert!(frames.len() > 80, "too little was sent to show anything");
    let before = frames.iter().position(|frame| frame.first == 0x8A).expect("a pong");
    assert!(before <= 10, "a pong behind {before} messages");
}

#[tokio::test(start_paused = true)]
async fn a16_a_violation_is_told_though_the_sender_has_fed_behind_a_frame_that_is_written_in_part() {
    let tcp = TcpConfig { max_buffered: 1000, ..TcpConfig::default() };
    let (mut peer, gate, mut far) = gated(&WsConfig { tcp, ..silent() });
    feed_all(&mut far.tx);
    gate.open(310);
    // It has found room, and does nothing more.
    far.tx.feed_message("never begun".into()).await.expect("accepted");
    peer.write_all(&[0xFF, 0xFF]).await.expect("sent");
    let (woken, waker) = Woken::new();
    let mut receiving = pin!(far.rx.recv());
    assert!(poll(receiving.as_mut(), &waker).is_pending());
    woken.take();
    gate.open(1000);
    assert!(woken.take());
    assert!(poll(receiving.as_mut(), &waker).is_pending());
    let frames = gate.frames();
    assert_eq!(frames.last().and_then(RawFrame::close_code), Some(1002));
    assert!(frames.iter().all(|frame| frame.payload != b"never begun"));
    assert!(gate.ended());
}

#[tokio::test]
async fn w4_a_receiver_whose_input_never_runs_dry_answers_pings() {
    let (mut peer, gate, mut far) = gated(&silent());
    gate.open(1000);
    peer.write_all(&masked(0x89, b"there?")).await.expect("sent");
    let message = masked(0x82, &[7; 1000]);
    peer.write_all(&message.repeat(900)).await.expect("sent");
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..300 {
        let Poll::Ready(Ok(Some(_))) = far.rx.poll_recv(&mut cx) else { panic!("a message is there") };
    }
    assert_eq!(firsts(&gate.frames()), [0x8A], "it has never slept");
}

#[tokio::test]
async fn w1_what_is_sent_behind_a_dropped_send_stands_behind_all_of_it() {
    let (_peer, gate, mut far) = gated(&silent());
    gate.open(10);
    {
        let mut sending = pin!(far.tx.send_message("a text that is longer than ten bytes"));
        assert!(poll(sending.as_mut(), Waker::noop()).is_pending());
    }
    far.tx.feed_message("second".into()).await.expect("accepted");
    assert_eq!(far.tx.unsent_len(), 28 + 8);
    gate.open(1000);
    far.tx.send_message("third").await.expect("sent");
    let payloads: Vec<_> = gate.frames().into_iter().map(|frame| frame.payload).collect();
    assert_eq!(payloads, [&b"a text that is longer than ten bytes"[..], b"second", b"third"]);
    assert_eq!(far.tx.unsent_len(), 0);
}

#[tokio::test]
async fn w1_a_pong_that_the_stream_below_keeps_is_flushed_when_it_can_be() {
    let (mut peer, gate, mut far) = gated(&silent());
    gate.open(1000);
    gate.keep(true);
    let (woken, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    peer.write_all(&masked(0x89, b"there?")).await.expect("sent");
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    assert_eq!(gate.out_len(), 0);
    gate.keep(false);
    woken.take();
    gate.open(0);
    assert!(woken.take());
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    assert_eq!(firsts(&gate.frames()), [0x8A]);
}

#[tokio::test(start_paused = true)]
async fn a16_a_violation_while_output_is_blocked_is_told_behind_the_whole_frame() {
    for dropped in [false, true] {
        let (mut peer, gate, far) = gated(&silent());
        let (mut tx, mut rx) = (far.tx, far.rx);
        gate.open(10);
        let mut sending = Box::pin(tx.send_message("a text that is longer than ten bytes"));
        assert!(poll(sending.as_mut(), Waker::noop()).is_pending());
        let kept = (!dropped).then_some(sending);
        peer.write_all(&[0xFF, 0xFF]).await.expect("sent");
        let (woken, waker) = Woken::new();
        let mut receiving = pin!(rx.recv());
        assert!(poll(receiving.as_mut(), &waker).is_pending());
        assert!(!gate.ended(), "the end of the stream inside a frame");
        woken.take();
        gate.open(1000);
        assert!(woken.take());
        assert!(poll(receiving.as_mut(), &waker).is_pending());
        let frames = gate.frames();
        assert_eq!(firsts(&frames), [0x81, 0x88]);
        assert_eq!(frames[1].close_code(), Some(1002));
        assert!(gate.ended());
        drop(peer);
        let Poll::Ready(Err(error)) = poll(receiving.as_mut(), &waker) else { panic!("never told") };
        assert_eq!(error.kind(), ErrorKind::Protocol);
        drop(kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a16_a_violation_while_output_stays_blocked_is_over_after_the_close_timeout() {
    let (mut peer, gate, mut far) = gated(&silent());
    gate.open(10);
    {
        let mut sending = pin!(far.tx.send_message("a text that is longer than ten bytes"));
        assert!(poll(sending.as_mut(), Waker::noop()).is_pending());
    }
    peer.write_all(&[0xFF, 0xFF]).await.expect("sent");
    assert_eq!(far.rx.recv().await.expect_err("nonsense").kind(), ErrorKind::Protocol);
    assert!(!gate.ended());
}

#[tokio::test]
async fn a16_no_message_follows_the_close_frame_that_tells_a_violation() {
    let (mut peer, gate, mut far) = gated(&silent());
    gate.open(1000);
    far.tx.feed_message("never flushed".into()).await.expect("accepted");
    peer.write_all(&[0xFF, 0xFF]).await.expect("sent");
    assert!(poll(pin!(far.rx.recv()), Waker::noop()).is_pending());
    assert_eq!(far.tx.flush().await.expect_err("too late").kind(), ErrorKind::Closed);
    assert_eq!(firsts(&gate.frames()), [0x88]);
}

#[tokio::test(start_paused = true)]
async fn w4_no_ping_follows_our_own_close_frame_and_a_silent_peer_is_given_up() {
    let config = WsConfig { ping_interval: Some(TICK), idle_timeout: Some(3 * TICK), ..silent() };
    let (_peer, gate, mut far) = gated(&config);
    gate.open(1000);
    far.tx.close(CloseCode::NORMAL, "").await.expect("closed");
    assert_eq!(far.rx.recv().await.expect_err("silence").kind(), ErrorKind::TimedOut);
    assert_eq!(firsts(&gate.frames()), [0x88]);
}

#[tokio::test]
async fn a19_at_most_64_pongs_wait_and_the_last() {
    let (mut peer, gate, mut far) = gated(&silent());
    let pings: Vec<u8> = (0..90_u8).flat_map(|number| masked(0x89, &[number])).collect();
    peer.write_all(&pings).await.expect("sent");
    let (woken, waker) = Woken::new();
    let mut cx = Context::from_waker(&waker);
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    woken.take();
    gate.open(1000);
    assert!(woken.take());
    assert!(far.rx.poll_recv(&mut cx).is_pending());
    let pongs: Vec<u8> = gate.frames().iter().map(|frame| frame.payload[0]).collect();
    assert_eq!(pongs, (0..64).chain([89]).collect::<Vec<u8>>());
}

#[tokio::test]
async fn w3_messages_are_compressed_from_min_len_on() {
    let deflate = DeflateConfig { min_len: 100, ..DeflateConfig::default() };
    let (_peer, gate, mut far) = gated(&WsConfig { deflate: Some(deflate), ..silent() });
    gate.open(1000);
    for len in [99, 100] {
        far.tx.send_message("x".repeat(len)).await.expect("sent");
    }
    let [below, at] = &gate.frames()[..] else { panic!("two messages") };
    assert_eq!((below.first, below.payload.len()), (0x81, 99));
    assert_eq!(at.first, 0xC1, "the bit of compressed messages");
    assert!(at.payload.len() < 20);
}

#[tokio::test]
async fn w3_each_message_is_compressed_or_not_as_its_sender_says() {
    for memory in [DeflateMemory::Dedicated, DeflateMemory::Shared] {
        let deflate = DeflateConfig { memory, ..DeflateConfig::default() };
        let ws = Ws::new(WsConfig { deflate: Some(deflate), ..silent() });
        let (mut near, mut far) = pair(&ws, &ws).await;
        for (number, on) in [true, false, false, true, true, false].into_iter().enumerate() {
            near.tx.set_compression(on);
            let text = format!("{number} the same text ").repeat(100);
            near.tx.send_message(text.as_str()).await.expect("sent");
            assert_eq!(far.rx.recv_message().await.expect("received"), Some(text.into()));
        }
    }
    let (_peer, gate, mut far) = gated(&WsConfig { deflate: Some(DeflateConfig::default()), ..silent() });
    gate.open(10_000);
    for on in [false, true, true, false] {
        far.tx.set_compression(on);
        far.tx.send_message("x".repeat(1000)).await.expect("sent");
    }
    assert_eq!(firsts(&gate.frames()), [0x81, 0xC1, 0xC1, 0x81]);
    let (_peer, gate, mut far) = gated(&silent());
    gate.open(10_000);
    far.tx.set_compression(true);
    far.tx.send_message("x".repeat(1000)).await.expect("sent");
    assert_eq!(firsts(&gate.frames()), [0x81], "not agreed on");
}
