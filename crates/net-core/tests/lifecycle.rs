//! The life of a server: its loops end when it closes, and its drain keeps to its phases and bounds.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use net_core::{
    Active, Connection, ErrorKind, Incoming, IncomingConnection, Lifecycle, Listener, Phase, Receiver,
    Sender, Transport,
    memory::{Memory, MemoryListener, MemoryReceiver, MemorySender},
};
use proptest::prelude::*;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How the server's connections behave that a test has.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    /// Ends when it is asked to go.
    Heeds,
    /// Ends when it is drained.
    Finishes,
    /// Ends so many milliseconds after it was accepted.
    Leaves(u64),
    /// Is there until it is cut.
    Stays,
}

/// The connections of a server, told of its phases.
struct Kept {
    began: Instant,
    /// Of each in turn; who comes later stays.
    behaviours: Vec<Behaviour>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    held: Vec<(Behaviour, Instant, Connection<MemorySender, MemoryReceiver>)>,
    entered: usize,
    /// What it was told, and after how many milliseconds.
    told: Vec<(&'static str, u128)>,
}

impl Kept {
    fn new(behaviours: &[Behaviour]) -> Self {
        Self {
            began: Instant::now(),
            behaviours: behaviours.to_vec(),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is locked")
    }

    fn keep(&self, incoming: IncomingConnection<MemorySender, MemoryReceiver>) {
        let Incoming::Ready(connection) = incoming else { panic!("memory has no handshakes") };
        let mut state = self.state();
        let behaviour = self.behaviours.get(state.entered).copied().unwrap_or(Behaviour::Stays);
        state.entered += 1;
        state.held.push((behaviour, Instant::now(), connection));
    }

    fn tell(&self, what: &'static str, ends: fn(Behaviour) -> bool) {
        let mut state = self.state();
        state.told.push((what, self.began.elapsed().as_millis()));
        state.held.retain(|(behaviour, ..)| !ends(*behaviour));
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Active for Kept {
    type Cut = usize;

    fn census(&self) -> (usize, usize) {
        let state = self.state();
        (state.held.len(), state.entered)
    }

    fn go_away(&self) {
        self.tell("go away", |behaviour| matches!(behaviour, Behaviour::Heeds));
    }

    fn drain(&self) {
        self.tell("drain", |behaviour| matches!(behaviour, Behaviour::Heeds | Behaviour::Finishes));
    }

    fn cut(&self) -> usize {
        let left = self.census().0;
        self.tell("cut", |_| true);
        left
    }

    async fn emptied(&self) {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut state = self.state();
                let now = Instant::now();
                let end = |since: Instant, after| since + Duration::from_millis(after);
                state.held.retain(|(behaviour, since, _)| {
                    !matches!(behaviour, Behaviour::Leaves(after) if end(*since, *after) <= now)
                });
                if state.held.is_empty() {
                    return;
                }
                let ends = state.held.iter().filter_map(|(behaviour, since, _)| match behaviour {
                    Behaviour::Leaves(after) => Some(end(*since, *after)),
                    _ => None,
                });
                ends.min().unwrap_or_else(|| now + Duration::from_hours(1))
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(next) => {}
            }
        }
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn listening(memory: &Memory) -> MemoryListener {
    memory.listen(&"mem://server".parse().expect("an address")).await.expect("listens")
}

#[tokio::test(start_paused = true)]
async fn a36_who_waits_is_accepted_first_and_each_phase_has_its_time() {
    let memory = Memory::default();
    let listener = listening(&memory).await;
    let to = listener.local().clone();
    let life = Lifecycle::new();
    assert!(!life.is_accepting(), "nothing listens yet");
    let kept = Kept::new(&[Behaviour::Finishes, Behaviour::Leaves(2_000)]);
    let accepting = life.accept(listener, |incoming| kept.keep(incoming));
    assert!(life.is_accepting(), "before the first poll");
    // Nobody has accepted these.
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(memory.connect(&to).await.expect("connects"));
    }
    let (end, drained) = tokio::join!(accepting, life.drain(secs(3)..=secs(5), &kept));
    end.expect("it was closed");
    assert_eq!((drained.active, drained.cut, drained.took), (3, Some(1), secs(5)));
    assert_eq!(kept.state().told, [("go away", 0), ("drain", 3_000), ("cut", 5_000)]);
    assert_eq!(life.phase(), Phase::Stopped);
    for mut peer in peers {
        assert_eq!(peer.rx.recv().await.expect("a clean end"), None);
    }
    assert_eq!(memory.connect(&to).await.expect_err("nobody listens").kind(), ErrorKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn it_is_over_as_soon_as_none_is_left_and_may_drain_again() {
    let memory = Memory::default();
    let listener = listening(&memory).await;
    let to = listener.local().clone();
    let (life, kept) = (Lifecycle::new(), Kept::new(&[Behaviour::Heeds]));
    let accepting = life.accept(listener, |incoming| kept.keep(incoming));
    tokio::pin!(accepting);
    let mut peer = memory.connect(&to).await.expect("connects");
    peer.tx.send("hello").await.expect("sent");
    tokio::select! {
        biased;
        _ = &mut accepting => panic!("nobody closed it"),
        () = tokio::task::yield_now() => {}
    }
    let (_, drained) = tokio::join!(accepting, life.drain(secs(60)..=secs(120), &kept));
    assert_eq!((drained.active, drained.cut, drained.took), (1, None, Duration::ZERO));
    let again = life.drain(secs(60)..=secs(120), &kept).await;
    assert_eq!((again.active, again.cut, again.took), (0, None, Duration::ZERO));
    life.closed().await.expect("it was closed");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_stops_drops_its_listener_and_a_server_goes_on_without_one() {
    let memory = Memory::default();
    let (life, kept) = (Lifecycle::new(), Kept::new(&[]));
    let listener = listening(&memory).await;
    let to = listener.local().clone();
    let first = life.accept(listener, |incoming| kept.keep(incoming));
    let other = memory.listen(&"mem://other".parse().expect("an address")).await.expect("listens");
    let second = life.accept(other, |_| ());
    drop(second);
    assert!(life.is_accepting(), "one is left");
    let peer = memory.connect(&to).await.expect("connects");
    let stopping = async {
        while kept.census().0 == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(life.stop(&kept), 1);
    };
    let (end, ()) = tokio::join!(first, stopping);
    end.expect("it was stopped");
    life.enter(Phase::Closing);
    assert_eq!(life.phase(), Phase::Stopped, "there is no way back");
    drop((peer, memory.listen(&to).await.expect("the address is free")));
}

#[tokio::test(start_paused = true)]
async fn loops_that_are_dropped_leave_a_server_that_does_not_accept() {
    let memory = Memory::default();
    let life = Lifecycle::new();
    drop(life.accept(listening(&memory).await, |_| ()));
    assert!(!life.is_accepting());
    assert_eq!(life.closed().await.expect_err("nobody closed it").kind(), ErrorKind::Io);
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        Just(Behaviour::Heeds),
        Just(Behaviour::Finishes),
        (0..8_000_u64).prop_map(Behaviour::Leaves),
        Just(Behaviour::Stays),
    ]
}

/// Drains a server with `behaviours`, and checks who was cut and when it returned.
async fn drained(behaviours: &[Behaviour], start: u64, end: u64) {
    let memory = Memory::default();
    let listener = listening(&memory).await;
    let to = listener.local().clone();
    let count = behaviours.len();
    let (life, kept) = (Lifecycle::new(), Kept::new(behaviours));
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(memory.connect(&to).await.expect("connects"));
    }
    let accepting = life.accept(listener, |incoming| kept.keep(incoming));
    let within = Duration::from_millis(start)..=Duration::from_millis(end);
    let (_, drained) = tokio::join!(accepting, life.drain(within, &kept));
    let stays = |behaviour: &Behaviour| match behaviour {
        Behaviour::Heeds | Behaviour::Finishes => 0,
        Behaviour::Leaves(after) => *after,
        Behaviour::Stays => u64::MAX,
    };
    let cut = behaviours.iter().filter(|behaviour| stays(behaviour) > end).count();
    assert!(drained.took <= Duration::from_millis(end + 2), "{:?}", drained.took);
    // Who leaves in the moment of the end may be on either side of it.
    let of_the_moment = behaviours.iter().filter(|behaviour| stays(behaviour) == end).count();
    let reported = drained.cut.unwrap_or(0);
    assert!((cut..=cut + of_the_moment).contains(&reported), "{reported} cut of {behaviours:?}");
    assert_eq!(drained.active, count);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_stays_longer_than_the_end_is_cut_and_nobody_else(
        behaviours in prop::collection::vec(behaviour(), 0..12),
        start in 0..3_000_u64,
        longer in 0..5_000_u64,
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime")
            .block_on(drained(&behaviours, start, start + longer));
    }
}
