//! Handshakes that run in the tasks of those who ask for them.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::future::poll_immediate;
use net_core::{Address, Admission, Error, ErrorKind, Handshaking, Incoming, Limit, Limits, Observer};
use proptest::prelude::*;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, advance},
};

use crate::rig::{Notes, Plan, Ready, Rig};

fn limits() -> Limits {
    Limits::default()
}

/// A rig whose handshakes have no timers of their own.
fn swept(limits: &Limits) -> Rig {
    let notes = Arc::new(Notes::default());
    Rig::under(Arc::new(Admission::new(*limits, Some(notes.clone())).with_sweep()), notes)
}

async fn next(rig: &mut Rig) -> Incoming<Ready> {
    poll_fn(|cx| rig.acceptor.poll_incoming(cx)).await.expect("it is open")
}

/// Takes the next one, which is not ready for use.
async fn handshaking(rig: &mut Rig) -> Handshaking<Ready> {
    match next(rig).await {
        Incoming::Handshaking(handshaking) => handshaking,
        Incoming::Ready(ready) => panic!("{ready:?} has no handshake"),
    }
}

#[tokio::test(start_paused = true)]
async fn a3_who_asks_runs_the_handshake_and_others_need_not_wait_for_it() {
    let mut rig = Rig::new(&limits());
    let (tell, told) = oneshot::channel();
    let _gone = rig.arrive(1, "10.0.0.1", Plan::When(told));
    let _other = rig.arrive(2, "10.0.0.2", Plan::Done);
    let first = handshaking(&mut rig).await;
    assert!(matches!(next(&mut rig).await, Incoming::Ready(Ready { name: 2, .. })));
    let mut running = pin!(first.run(|ready| ready.name));
    assert_eq!(poll_immediate(running.as_mut()).await, None, "it waits for its peer");
    tell.send(()).expect("it waits");
    assert_eq!(running.await, Some(1));
    assert_eq!(rig.notes.take(), ["accepted tcp://10.0.0.1:1", "accepted tcp://10.0.0.2:2"]);
}

#[tokio::test(start_paused = true)]
async fn a3_a_handshake_has_a_timer_or_is_swept() {
    let limit = Duration::from_millis(1_500);
    let limits = Limits { handshake_timeout: limit, ..limits() };
    let mut rig = Rig::new(&limits);
    let _gone = rig.arrive(1, "10.0.0.1", Plan::Silent);
    let start = Instant::now();
    assert!(handshaking(&mut rig).await.run(drop).await.is_none());
    assert_eq!(start.elapsed(), limit);
    assert_eq!(rig.notes.take(), ["accepted tcp://10.0.0.1:1", "handshake tcp://10.0.0.1:1 timed out"]);

    let mut rig = swept(&limits);
    let gone = [1, 2].map(|name| rig.arrive(name, "127.0.0.1", Plan::Silent));
    let mut first = pin!(handshaking(&mut rig).await.run(drop));
    assert!(poll_immediate(first.as_mut()).await.is_none());
    advance(limit / 2).await;
    let mut second = pin!(handshaking(&mut rig).await.run(drop));
    assert!(poll_immediate(second.as_mut()).await.is_none());
    rig.admission.sweep();
    advance(limit / 2).await;
    assert!(poll_immediate(first.as_mut()).await.is_none(), "nobody has looked yet");
    rig.notes.take();
    rig.admission.sweep();
    assert_eq!(rig.notes.take(), ["handshake tcp://127.0.0.1:1 timed out"]);
    assert_eq!(poll_immediate(first).await, Some(None), "it is over");
    assert!(poll_immediate(second.as_mut()).await.is_none(), "its time has not come");
    advance(limit / 2).await;
    rig.admission.sweep();
    assert_eq!(second.await, None, "and its task was woken");
    for gone in gone {
        gone.await.expect_err("its socket is dropped");
    }
    assert_eq!((rig.admission.active(), rig.admission.handshakes_cut()), (0, 0));
}

/// Panics whatever it is told.
#[derive(Debug)]
struct Careless;

impl Observer for Careless {
    fn accepted(&self, _: &Address) {
        panic!("on purpose");
    }

    fn rejected(&self, _: &Address, _: Limit) {
        panic!("on purpose");
    }

    fn handshake_failed(&self, _: &Address, _: &Error) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a30_an_observer_that_panics_keeps_no_place_and_ends_no_accepting() {
    let limits = Limits { max_connections: 3, ..limits() };
    let admission = Admission::new(limits, Some(Arc::new(Careless))).with_sweep();
    let mut rig = Rig::under(Arc::new(admission), Arc::default());
    let [late, panicking, cut] = [(1, Plan::Silent), (2, Plan::Panics), (3, Plan::Silent)]
        .map(|(name, plan)| rig.arrive(name, "127.0.0.1", plan));
    let running = tokio::spawn(handshaking(&mut rig).await.run(drop));
    let panicked = tokio::spawn(handshaking(&mut rig).await.run(drop)).await;
    panicked.expect_err("the handshake panics, and the observer on top of it");
    drop(handshaking(&mut rig).await);
    turns().await;
    advance(limits.handshake_timeout).await;
    rig.admission.sweep();
    assert_eq!(running.await.expect("no panic"), None, "its task was woken");
    for gone in [late, panicking, cut] {
        gone.await.expect_err("its socket is dropped");
    }
    assert_eq!(rig.admission.active(), 0);
    let _open = [4, 5, 6].map(|name| rig.arrive(name, "127.0.0.1", Plan::Done));
    let _held = [next(&mut rig).await, next(&mut rig).await, next(&mut rig).await];
    let over = rig.arrive(7, "127.0.0.1", Plan::Done);
    assert!(poll_immediate(next(&mut rig)).await.is_none(), "it goes on");
    over.await.expect_err("its socket is dropped");
}

#[tokio::test(start_paused = true)]
async fn a3_a_full_set_ends_the_oldest_in_its_task() {
    let mut rig = Rig::new(&Limits { max_handshakes: 2, ..limits() });
    let gone = rig.arrive(1, "127.0.0.1", Plan::Silent);
    let oldest = tokio::spawn(handshaking(&mut rig).await.run(|ready| ready.name));
    let _gone = [2, 3].map(|name| rig.arrive(name, "127.0.0.1", Plan::Answered));
    let others = [handshaking(&mut rig).await, handshaking(&mut rig).await];
    gone.await.expect_err("its socket is dropped");
    assert_eq!(oldest.await.expect("no panic"), None);
    for (other, name) in others.into_iter().zip([2, 3]) {
        assert_eq!(other.run(|ready| ready.name).await, Some(name));
    }
    let notes = rig.notes.take();
    assert_eq!(notes.last().expect("a note"), "handshake tcp://127.0.0.1:1 limit reached");
}

#[tokio::test(start_paused = true)]
async fn a36_who_is_in_a_handshake_as_its_listener_is_dropped_is_cut_wherever_it_runs() {
    let mut rig = Rig::new(&limits());
    let gone = [1, 2, 3].map(|name| rig.arrive(name, "127.0.0.1", Plan::Silent));
    let running = tokio::spawn(handshaking(&mut rig).await.run(drop));
    let waiting = handshaking(&mut rig).await;
    drop(handshaking(&mut rig).await);
    assert_eq!(rig.admission.handshakes_cut(), 1, "one that nobody runs");
    tokio::task::yield_now().await;
    drop(rig.acceptor);
    assert_eq!(rig.admission.handshakes_cut(), 3);
    assert!(running.await.expect("no panic").is_none());
    assert!(waiting.run(drop).await.is_none());
    for gone in gone {
        gone.await.expect_err("its socket is dropped");
    }
    assert_eq!((rig.admission.active(), rig.admission.handshakes_cut()), (0, 3));
    assert_eq!(rig.notes.take().iter().filter(|note| note.ends_with("closed")).count(), 3, "each once");
}

#[tokio::test(start_paused = true)]
async fn close_waits_until_the_last_connection_is_in_other_hands() {
    let mut rig = Rig::new(&limits());
    let _gone = [1, 2].map(|name| rig.arrive(name, "127.0.0.1", Plan::Answered));
    let running = handshaking(&mut rig).await;
    rig.acceptor.close();
    let waited = handshaking(&mut rig).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut is_closed = || rig.acceptor.poll_incoming(&mut cx).is_ready();
    assert!(!is_closed());
    assert!(running.run(|_| assert!(!is_closed(), "the hand-over is a part of it")).await.is_some());
    assert!(!is_closed(), "one is left");
    // Its end wakes who waits for it.
    let closed = async { poll_fn(|cx| rig.acceptor.poll_incoming(cx)).await.expect_err("closed").kind() };
    let (closed, last) = tokio::join!(closed, waited.run(|ready| ready.name));
    assert_eq!((closed, last), (ErrorKind::Closed, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn d5_a_handshake_that_panics_or_fails_is_told() {
    let mut rig = Rig::new(&limits());
    let _gone = [rig.arrive(1, "127.0.0.1", Plan::Panics), rig.arrive(2, "127.0.0.1", Plan::Refused)];
    let panicked = tokio::spawn(handshaking(&mut rig).await.run(drop)).await;
    assert!(panicked.expect_err("it panics").is_panic());
    let (reset, told) = oneshot::channel();
    let _gone = rig.arrive(3, "127.0.0.1", Plan::When(told));
    drop(reset);
    assert!(handshaking(&mut rig).await.run(drop).await.is_none());
    let failed: Vec<_> = rig.notes.take().into_iter().filter(|note| note.starts_with("handshake")).collect();
    assert_eq!(
        failed,
        [
            "handshake tcp://127.0.0.1:1 input/output error",
            "handshake tcp://127.0.0.1:2 protocol violation",
            "handshake tcp://127.0.0.1:3 connection reset",
        ]
    );
    assert_eq!((rig.admission.active(), rig.admission.handshakes_cut()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn both_ways_of_accepting_share_what_comes() {
    let mut rig = Rig::new(&limits());
    let (tell, told) = oneshot::channel();
    let _first = rig.arrive(1, "127.0.0.1", Plan::When(told));
    rig.settle().await;
    let _second = rig.arrive(2, "127.0.0.1", Plan::Answered);
    let second = handshaking(&mut rig).await;
    tell.send(()).expect("it runs in a task of its own");
    assert!(matches!(next(&mut rig).await, Incoming::Ready(Ready { name: 1, .. })));
    assert_eq!(second.run(|ready| ready.name).await, Some(2));
}

/// What a test does with a handshake that it was given.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Run,
    /// Its task ends before it.
    Aborted,
    Dropped,
}

fn arrivals() -> impl Strategy<Value = Vec<(u8, Fate, u16)>> {
    let fate = prop_oneof![6 => Just(Fate::Run), 1 => Just(Fate::Aborted), 1 => Just(Fate::Dropped)];
    prop::collection::vec((0..5_u8, fate, prop_oneof![3 => Just(0), 1 => 1..15_000_u16]), 0..80)
}

async fn churn(mut rig: Rig, arrivals: Vec<(u8, Fate, u16)>) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut given = 0;
    let take = |incoming, fate| match (incoming, fate) {
        (Incoming::Ready(ready), _) => tell.send(ready).expect("it is heard"),
        (Incoming::Handshaking(_), Fate::Dropped) => {}
        (Incoming::Handshaking(handshaking), fate) => {
            let tell = tell.clone();
            let task = tokio::spawn(handshaking.run(move |ready| tell.send(ready).expect("it is heard")));
            if matches!(fate, Fate::Aborted) {
                task.abort();
            }
        }
    };
    let mut count = |given: &mut usize| *given += std::iter::from_fn(|| told.try_recv().ok()).count();
    for (name, (plan, fate, pause)) in (1..).zip(arrivals) {
        let _gone = rig.arrive(name, "127.0.0.1", Plan::numbered(plan));
        while let Some(incoming) = poll_immediate(poll_fn(|cx| rig.acceptor.poll_incoming(cx))).await {
            take(incoming.expect("it is open"), fate);
        }
        advance(Duration::from_millis(pause.into())).await;
        rig.admission.sweep();
        // Those that are over give their places free.
        turns().await;
        count(&mut given);
    }
    rig.acceptor.close();
    advance(rig.admission.limits().handshake_timeout).await;
    rig.admission.sweep();
    let closed = poll_fn(|cx| rig.acceptor.poll_incoming(cx)).await;
    assert_eq!(closed.expect_err("none is left").kind(), ErrorKind::Closed);
    // Tasks that were aborted, or lost their place, come to their end.
    turns().await;
    count(&mut given);
    assert_eq!(rig.admission.active(), 0, "none is left");
    rig.assert_each_was_told_once(given);
}

/// Lets all tasks have their turns.
async fn turns() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn d1_each_connection_is_given_or_told_whatever_becomes_of_its_task(
        arrivals in arrivals(),
        with_timers in any::<bool>(),
    ) {
        let limits = Limits { max_connections: 12, max_handshakes: 8, ..limits() };
        let rig = if with_timers { Rig::new(&limits) } else { swept(&limits) };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(churn(rig, arrivals));
    }
}
