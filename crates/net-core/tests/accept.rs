//! The accept loop: limits before handshakes, handshakes off the path, and what it survives.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::poll_immediate;
use net_core::{Admission, ErrorKind, Limits};
use proptest::prelude::*;
use tokio::{sync::oneshot, time::Instant};

#[path = "accept/incoming.rs"]
mod incoming;
#[path = "accept/rig.rs"]
mod rig;

use rig::{Plan, Ready, Rig};

/// `EMFILE` and `ENFILE` on Linux, macOS and the BSDs.
const SHORTAGES: [i32; 2] = [24, 23];

fn limits() -> Limits {
    Limits::default()
}

#[tokio::test(start_paused = true)]
async fn a2_a_connection_over_the_limit_costs_no_handshake() {
    let mut rig = Rig::new(&Limits { max_connections: 2, ..limits() });
    let first = (rig.arrive(1, "10.0.0.1", Plan::Done), rig.accept().await.expect("within the limit"));
    let _second = (rig.arrive(2, "10.0.0.2", Plan::Answered), rig.accept().await.expect("within the limit"));
    let gone = rig.arrive(3, "10.0.0.3", Plan::Answered);
    rig.settle().await;
    gone.await.expect_err("its socket is dropped");
    assert_eq!(rig.handshakes.load(Ordering::Relaxed), 2);
    assert_eq!(rig.notes.take().last().expect("a note"), "rejected tcp://10.0.0.3:3 max_connections");
    drop(first);
    let _gone = rig.arrive(4, "10.0.0.4", Plan::Done);
    assert_eq!(rig.accept_name().await, 4, "a place that is free again");
}

#[tokio::test(start_paused = true)]
async fn a2_listeners_share_the_limits_of_their_admission() {
    let mut one = Rig::new(&Limits { max_connections: 1, ..limits() });
    let mut other = Rig::under(one.admission.clone(), one.notes.clone());
    let (_a, _b) = (one.arrive(1, "127.0.0.1", Plan::Done), other.arrive(2, "127.0.0.1", Plan::Done));
    let held = one.accept().await.expect("within the limit");
    other.settle().await;
    drop(held);
    let _c = other.arrive(3, "127.0.0.1", Plan::Done);
    assert_eq!(other.accept_name().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a3_a_stalled_handshake_blocks_nobody_and_ends_at_its_deadline() {
    let mut rig = Rig::new(&limits());
    let start = Instant::now();
    let mut stalled = rig.arrive(1, "10.0.0.1", Plan::Silent);
    let mut ready = Vec::new();
    for name in 2..50 {
        let plan = if name % 2 == 0 { Plan::Answered } else { Plan::Done };
        let _gone = rig.arrive(name, "10.0.0.2", plan);
        ready.push(rig.accept().await.expect("the stalled one is not in the way"));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    stalled.try_recv().expect_err("it runs yet");
    assert_eq!(rig.admission.active(), 49, "it holds its place");
    rig.notes.take();
    let nobody = tokio::time::timeout(Duration::from_hours(1), rig.accept()).await;
    assert!(nobody.is_err(), "the stalled one is never given");
    assert_eq!(rig.notes.take(), ["handshake tcp://10.0.0.1:1 timed out"]);
    stalled.await.expect_err("its socket is dropped");
    assert_eq!(rig.admission.active(), 48);
}

#[tokio::test(start_paused = true)]
async fn a3_the_deadline_is_the_configured_one() {
    let mut rig = Rig::new(&Limits { handshake_timeout: Duration::from_millis(1_500), ..limits() });
    let start = Instant::now();
    let gone = rig.arrive(1, "10.0.0.1", Plan::Silent);
    let accepting = tokio::spawn(async move { rig.accept().await });
    gone.await.expect_err("its socket is dropped");
    assert_eq!(start.elapsed(), Duration::from_millis(1_500));
    accepting.abort();
}

#[tokio::test(start_paused = true)]
async fn a3_handshakes_that_begin_one_after_another_each_have_their_own_deadline() {
    for limit in [300, 1_500, 10_000].map(Duration::from_millis) {
        let mut rig = Rig::new(&Limits { handshake_timeout: limit, ..limits() });
        let start = Instant::now();
        let mut ended = Vec::new();
        // The last one begins long after the first has ended.
        for (name, begins) in (1..).zip([0, 40, 700, 2_400, 30_000].map(Duration::from_millis)) {
            let until = start + begins;
            // Nobody is ever ready, so that this only drives it.
            let nobody = tokio::time::timeout_at(until, rig.accept()).await;
            nobody.expect_err("all of them are silent");
            let gone = rig.arrive(name, "127.0.0.1", Plan::Silent);
            ended.push(tokio::spawn(async move {
                gone.await.expect_err("its socket is dropped");
                Instant::now() - until
            }));
        }
        let accepting = tokio::spawn(async move { rig.accept().await });
        for ended in ended {
            assert_eq!(ended.await.expect("no panic"), limit);
        }
        accepting.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a3_a_full_set_drops_its_oldest_handshake() {
    let mut rig = Rig::new(&Limits { max_handshakes: 4, ..limits() });
    // Loopback is no prefix of its own: one machine's proxy may bring everybody.
    let mut stalled: Vec<_> = (1..=4).map(|name| rig.arrive(name, "127.0.0.1", Plan::Silent)).collect();
    rig.settle().await;
    assert!(stalled.iter_mut().all(|gone| gone.try_recv() == Err(oneshot::error::TryRecvError::Empty)));
    rig.notes.take();
    let _gone = rig.arrive(5, "127.0.0.1", Plan::Answered);
    assert_eq!(rig.accept_name().await, 5, "newcomers are served");
    rig.settle().await;
    let open: Vec<bool> =
        stalled.iter_mut().map(|gone| gone.try_recv() == Err(oneshot::error::TryRecvError::Empty)).collect();
    assert_eq!(open, [false, true, true, true], "the oldest is dropped and no other");
    assert_eq!(rig.notes.take(), ["accepted tcp://127.0.0.1:5", "handshake tcp://127.0.0.1:1 limit reached"]);
    assert_eq!(rig.admission.active(), 3);
}

#[tokio::test(start_paused = true)]
async fn a36_handshakes_that_run_as_an_acceptor_is_dropped_end_with_it_and_are_counted() {
    let mut rig = Rig::new(&limits());
    let stalled = [1, 2].map(|name| rig.arrive(name, "127.0.0.1", Plan::Silent));
    rig.settle().await;
    // One that waits in the queue is ready at once, and is not taken either.
    let _gone = rig.arrive(3, "127.0.0.1", Plan::Done);
    rig.acceptor.close();
    rig.notes.take();
    drop(rig.acceptor);
    for gone in stalled {
        gone.await.expect_err("its socket is dropped");
    }
    assert_eq!(rig.admission.handshakes_cut(), 3);
    assert_eq!(rig.notes.take(), [1, 2, 3].map(|name| format!("handshake tcp://127.0.0.1:{name} closed")));
    assert_eq!(rig.admission.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn a3_one_prefix_holds_a_quarter_of_the_handshakes() {
    let mut rig = Rig::new(&Limits { max_handshakes: 8, ..limits() });
    let _stalled = [1, 2].map(|name| rig.arrive(name, "10.0.0.1", Plan::Silent));
    let over = rig.arrive(3, "10.0.0.1", Plan::Answered);
    let _v6 = [4, 5].map(|name| rig.arrive(name, "[2001:db8:0:1::1]", Plan::Silent));
    let over_v6 = rig.arrive(6, "[2001:db8:0:2::1]", Plan::Answered);
    rig.settle().await;
    over.await.expect_err("its socket is dropped");
    over_v6.await.expect_err("one /56 is one prefix");
    let notes = rig.notes.take();
    let rejected: Vec<_> = notes.iter().filter(|note| note.starts_with("rejected")).collect();
    assert_eq!(
        rejected,
        [
            "rejected tcp://10.0.0.1:3 max_handshakes_per_prefix",
            "rejected tcp://[2001:db8:0:2::1]:6 max_handshakes_per_prefix"
        ]
    );
    let _other = rig.arrive(7, "10.0.0.2", Plan::Answered);
    assert_eq!(rig.accept_name().await, 7, "another prefix is not affected");
    let _loopback: Vec<_> = (8..11).map(|name| rig.arrive(name, "127.0.0.1", Plan::Silent)).collect();
    let _answered = rig.arrive(11, "127.0.0.1", Plan::Answered);
    assert_eq!(rig.accept_name().await, 11, "loopback is not counted");
}

#[tokio::test(start_paused = true)]
async fn a3_one_ipv6_48_holds_half_of_the_handshakes() {
    let mut rig = Rig::new(&Limits { max_handshakes: 8, ..limits() });
    // Each is of another /56.
    let stalled =
        [1, 2, 3, 4].map(|name| rig.arrive(name, &format!("[2001:db8:0:{name}00::1]"), Plan::Silent));
    let over = rig.arrive(5, "[2001:db8:0:500::1]", Plan::Answered);
    rig.settle().await;
    over.await.expect_err("its socket is dropped");
    let rejected = "rejected tcp://[2001:db8:0:500::1]:5 max_handshakes_per_prefix".to_owned();
    assert_eq!(rig.notes.take().pop(), Some(rejected));
    let _other = rig.arrive(6, "[2001:db8:1::1]", Plan::Answered);
    assert_eq!(rig.accept_name().await, 6, "another site is not affected");
    for mut gone in stalled {
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Empty), "nobody gives way");
    }
}

#[tokio::test(start_paused = true)]
async fn a3_listeners_share_the_handshakes_of_their_admission() {
    let mut one = Rig::new(&Limits { max_handshakes: 4, ..limits() });
    let mut other = Rig::under(one.admission.clone(), one.notes.clone());
    let [first, _second] = [1, 2].map(|name| one.arrive(name, "127.0.0.1", Plan::Silent));
    one.settle().await;
    let _stalled = [3, 4].map(|name| other.arrive(name, "127.0.0.1", Plan::Silent));
    other.settle().await;
    one.notes.take();
    let _gone = other.arrive(5, "127.0.0.1", Plan::Answered);
    assert_eq!(other.accept_name().await, 5, "newcomers are served");
    first.await.expect_err("the oldest is dropped, whichever listener it is of");
    assert_eq!(one.notes.take(), ["accepted tcp://127.0.0.1:5", "handshake tcp://127.0.0.1:1 limit reached"]);
    // One closes while the other's run on, and waits for its own alone.
    one.acceptor.close();
    tokio::time::advance(Duration::from_secs(1)).await;
    other.arrive(6, "127.0.0.1", Plan::Silent);
    other.settle().await;
    let start = Instant::now();
    assert_eq!(one.accept().await.expect_err("the last one ends").kind(), ErrorKind::Closed);
    assert_eq!(start.elapsed(), Duration::from_secs(9), "its own deadline, not the other's");
}

#[tokio::test(start_paused = true)]
async fn a3_one_prefix_holds_a_quarter_of_the_handshakes_of_all_listeners() {
    let mut one = Rig::new(&Limits { max_handshakes: 8, ..limits() });
    let mut other = Rig::under(one.admission.clone(), one.notes.clone());
    let _stalled = [1, 2].map(|name| one.arrive(name, "10.0.0.1", Plan::Silent));
    one.settle().await;
    let over = other.arrive(3, "10.0.0.1", Plan::Answered);
    other.settle().await;
    over.await.expect_err("its socket is dropped");
    let rejected = "rejected tcp://10.0.0.1:3 max_handshakes_per_prefix".to_owned();
    assert_eq!(one.notes.take().pop(), Some(rejected));
    drop(one);
    let _served = other.arrive(4, "10.0.0.1", Plan::Answered);
    assert_eq!(other.accept_name().await, 4, "what a dropped listener held is free again");
}

#[tokio::test(start_paused = true)]
async fn a1_d5_a_shortage_of_descriptors_is_survived_with_a_pause() {
    for code in SHORTAGES {
        let mut rig = Rig::new(&limits());
        let start = Instant::now();
        rig.fail(code);
        // The peer at the head of the queue is refused with the reserve, the next one waits for the pause.
        let shed = rig.arrive(1, "10.0.0.1", Plan::Done);
        let _gone = rig.arrive(2, "10.0.0.2", Plan::Done);
        assert_eq!(rig.accept_name().await, 2);
        assert!(start.elapsed() >= Duration::from_millis(10), "a pause of {:?}", start.elapsed());
        shed.await.expect_err("refused, rather than left waiting");
        let rejected = "rejected tcp://10.0.0.1:1 descriptors".to_owned();
        let accepted = "accepted tcp://10.0.0.2:2".to_owned();
        assert_eq!(rig.notes.take(), [format!("failed Some({code})"), rejected, accepted]);
    }
}

#[tokio::test(start_paused = true)]
async fn a1_pauses_grow_to_a_second_and_start_anew_after_a_success() {
    let mut rig = Rig::new(&limits());
    let mut pauses = Vec::new();
    for name in 1..=2 {
        // ENOMEM: nothing that a reserved descriptor could help.
        for _ in 0..9 {
            rig.fail(12);
        }
        let _gone = rig.arrive(name, "10.0.0.1", Plan::Done);
        let start = Instant::now();
        assert_eq!(rig.accept_name().await, name);
        pauses.push(start.elapsed().as_millis());
    }
    // 10 + 20 + 40 + 80 + 160 + 320 + 640 + 1000 + 1000
    assert_eq!(pauses, [3_270, 3_270]);
}

#[tokio::test(start_paused = true)]
async fn a1_handshakes_go_on_during_a_pause() {
    let mut rig = Rig::new(&limits());
    let (tell, told) = oneshot::channel();
    let _gone = rig.arrive(1, "10.0.0.1", Plan::When(told));
    rig.settle().await;
    (0..9).for_each(|_| rig.fail(12));
    rig.settle().await;
    let start = Instant::now();
    tell.send(()).expect("it waits");
    assert_eq!(rig.accept_name().await, 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a1_d5_one_peers_fault_neither_ends_accepting_nor_delays_others() {
    let mut rig = Rig::new(&limits());
    let start = Instant::now();
    // ECONNABORTED, EINTR, EPROTO, EHOSTUNREACH: of one peer, or of a signal.
    for code in [103, 4, 71, 113] {
        rig.fail(code);
    }
    let _refused = rig.arrive(1, "10.0.0.1", Plan::Refused);
    let _panics = rig.arrive(2, "10.0.0.2", Plan::Panics);
    let _gone = rig.arrive(3, "10.0.0.3", Plan::Done);
    assert_eq!(rig.accept_name().await, 3);
    rig.settle().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        rig.notes.take(),
        [
            "failed Some(103)",
            "failed Some(4)",
            "failed Some(71)",
            "failed Some(113)",
            "accepted tcp://10.0.0.1:1",
            "handshake tcp://10.0.0.1:1 protocol violation",
            "accepted tcp://10.0.0.2:2",
            "accepted tcp://10.0.0.3:3",
            "handshake tcp://10.0.0.2:2 input/output error",
        ]
    );
    assert_eq!(rig.admission.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn a2_a_flood_of_refused_connections_leaves_others_their_turn() {
    let mut rig = Rig::new(&Limits { max_connections: 1, ..limits() });
    let (tell, told) = oneshot::channel();
    let _held = rig.arrive(0, "127.0.0.1", Plan::When(told));
    for name in 1..10_000 {
        let _gone = rig.arrive(name, "127.0.0.1", Plan::Done);
    }
    for turn in 0..10 {
        let polled = std::future::poll_fn(|cx| Poll::Ready(rig.acceptor.poll_accept(cx))).await;
        assert!(polled.is_pending());
        let refused = rig.notes.take().len();
        assert!((1..=64).contains(&refused), "{refused} in turn {turn}");
        tokio::task::yield_now().await;
    }
    tell.send(()).expect("it waits");
    assert_eq!(rig.accept_name().await, 0, "a handshake that ends is given, whatever the flood");
    assert!(rig.notes.take().len() < 9_000, "and is given before the flood ends");
    // Each turn asks for the next one: nothing else would wake the task.
    let flooded = tokio::time::timeout(Duration::from_secs(1), rig.accept()).await;
    assert!(flooded.expect("a place is free again").is_ok());
}

#[tokio::test(start_paused = true)]
async fn close_gives_what_waits_then_closed() {
    let mut rig = Rig::new(&Limits { max_handshakes: 2_000, ..limits() });
    let (tell, told) = oneshot::channel();
    let _running = rig.arrive(0, "127.0.0.1", Plan::When(told));
    let _stalled = rig.arrive(1, "127.0.0.1", Plan::Silent);
    rig.settle().await;
    // More than the budget that the runtime gives to one turn of a task, with errors in between.
    for name in 2..1_000 {
        let plan = if name % 3 == 0 { Plan::Answered } else { Plan::Done };
        let _gone = rig.arrive(name, "127.0.0.1", plan);
        if name % 100 == 0 {
            rig.fail(103);
        }
    }
    rig.acceptor.close();
    assert!(rig.arrivals.is_closed(), "nobody can connect any more");
    rig.acceptor.close();
    tell.send(()).expect("it runs yet");
    let mut names = Vec::new();
    let start = Instant::now();
    let closed = loop {
        match rig.accept().await {
            Ok(ready) => names.push(ready.name),
            Err(error) => break error,
        }
    };
    names.sort_unstable();
    assert!(names.into_iter().eq((0..1_000).filter(|name| *name != 1)), "each that waited is given");
    assert_eq!((closed.kind(), closed.operation()), (ErrorKind::Closed, "accept"));
    assert_eq!(start.elapsed(), Duration::from_secs(10), "the stalled one is waited for until its deadline");
    assert_eq!(rig.accept().await.expect_err("it is final").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn close_gives_what_became_ready_to_a_task_whose_budget_is_used_up() {
    let mut rig = Rig::new(&limits());
    let (tell, told) = oneshot::channel();
    let _gone = rig.arrive(1, "127.0.0.1", Plan::When(told));
    rig.settle().await;
    rig.acceptor.close();
    rig.settle().await;
    tell.send(()).expect("it runs");
    // The handshake's task has its turn.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    // The budget is that of one poll, so that nothing may wait between these.
    while poll_immediate(tokio::task::consume_budget()).await.is_some() {}
    let ready = poll_immediate(rig.accept()).await;
    assert_eq!(ready.expect("it is there").expect("and no end").name, 1);
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_pause() {
    let mut rig = Rig::new(&limits());
    (0..9).for_each(|_| rig.fail(12));
    rig.settle().await;
    let start = Instant::now();
    rig.acceptor.close();
    assert_eq!(rig.accept().await.expect_err("closed").kind(), ErrorKind::Closed);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[test]
fn close_outside_of_a_runtime_is_no_panic() {
    let mut rig = Rig::new(&limits());
    let _done = rig.arrive(1, "127.0.0.1", Plan::Done);
    let _running = rig.arrive(2, "127.0.0.1", Plan::Answered);
    rig.acceptor.close();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(matches!(rig.acceptor.poll_accept(&mut cx), Poll::Ready(Ok(Ready { name: 1, .. }))));
    assert!(matches!(rig.acceptor.poll_accept(&mut cx), Poll::Ready(Err(_))));
    assert_eq!(rig.notes.take().last().expect("a note"), "handshake tcp://127.0.0.1:2 closed");
}

#[tokio::test(start_paused = true)]
async fn dropping_an_acceptor_drops_its_handshakes() {
    let mut rig = Rig::new(&limits());
    let gone = rig.arrive(1, "127.0.0.1", Plan::Silent);
    rig.settle().await;
    let admission = rig.admission.clone();
    drop(rig);
    gone.await.expect_err("its socket is dropped");
    assert_eq!(admission.active(), 0);
}

#[test]
fn d1_the_count_is_exact_under_churn_of_many_threads() {
    let admission = Arc::new(Admission::new(Limits { max_connections: 50, ..limits() }, None));
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let admission = &admission;
            scope.spawn(move || {
                let mut held = Vec::new();
                for turn in 0..20_000_u32 {
                    let ip = [10, 0, thread % 2, (turn % 7) as u8].into();
                    held.extend(admission.admit(Some(ip)));
                    assert!(admission.active() <= 50);
                    if turn % 3 == 0 {
                        held.clear();
                    }
                }
            });
        }
    });
    assert_eq!(admission.active(), 0);
}

/// One step of a server's life.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        ip: u8,
        plan: u8,
    },
    Drop {
        which: prop::sample::Index,
    },
    Wait {
        millis: u16,
    },
    /// The system is short of descriptors.
    Shortage,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u8, 0..5_u8).prop_map(|(ip, plan)| Step::Arrive { ip, plan }),
        3 => any::<prop::sample::Index>().prop_map(|which| Step::Drop { which }),
        1 => (1..15_000_u16).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Shortage),
    ]
}

async fn churn(steps: Vec<Step>) {
    let config = Limits { max_connections: 12, max_connections_per_prefix: 5, max_handshakes: 8, ..limits() };
    let mut rig = Rig::new(&config);
    let (mut open, mut arrived, mut given) = (Vec::new(), 0, 0);
    for step in steps {
        match step {
            Step::Arrive { ip, plan } => {
                arrived += 1;
                // 127.0.0.1 for 0, which is no prefix.
                let ip = if ip == 0 { "127.0.0.1".to_owned() } else { format!("10.0.0.{ip}") };
                let _gone = rig.arrive(arrived, &ip, Plan::numbered(plan));
            }
            Step::Drop { .. } if open.is_empty() => {}
            Step::Drop { which } => drop(open.swap_remove(which.index(open.len()))),
            Step::Shortage => rig.fail(SHORTAGES[0]),
            Step::Wait { millis } => tokio::time::advance(Duration::from_millis(millis.into())).await,
        }
        // Turns for the tasks of the handshakes, and for what a panic or a deadline ends.
        for _ in 0..4 {
            while let Poll::Ready(ready) =
                std::future::poll_fn(|cx| Poll::Ready(rig.acceptor.poll_accept(cx))).await
            {
                open.push(ready.expect("it is open"));
                given += 1;
            }
            tokio::task::yield_now().await;
        }
        assert!(rig.admission.active() <= 12);
        assert!(rig.admission.active() >= open.len());
    }
    rig.acceptor.close();
    while let Ok(ready) = rig.accept().await {
        open.push(ready);
        given += 1;
    }
    assert_eq!(rig.admission.active(), open.len(), "what is open is what is counted");
    drop(open);
    assert_eq!(rig.admission.active(), 0);
    rig.assert_each_was_told_once(given);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn d1_the_count_is_exact_whatever_becomes_of_connections(steps in prop::collection::vec(step(), 0..120)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(churn(steps));
    }
}
