//! Links with faults: they obey the laws, one seed gives one trace, and each fault does what it says.

use std::time::Duration;

use bytes::Bytes;
use net_core::{
    Connection, ErrorKind, Listener, Receiver, Result, Sender, Transport,
    memory::{Memory, MemoryConfig, MemoryReceiver, MemorySender},
    testing::{
        Faults, Link, LinkConfig, laws,
        link::{Direction, Event, Happening, LinkReceiver, LinkSender},
    },
};
use tokio::time::Instant;

type End = Connection<LinkSender<MemorySender>, LinkReceiver<MemoryReceiver>>;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn link(config: LinkConfig) -> Link<Memory> {
    Link::new(Memory::default(), config)
}

async fn conform(config: LinkConfig) {
    laws::conformance(link(config), "mem://x".parse().expect("an address")).await;
}

/// Connects two ends; the listener may go, the connection stays.
async fn ends(link: &Link<Memory>) -> (End, End) {
    let mut listener = link.listen(&"mem://x".parse().expect("an address")).await.expect("a listener");
    let to = listener.local().clone();
    let (near, far) = tokio::join!(link.connect(&to), listener.accept());
    (near.expect("connect"), far.expect("accept"))
}

/// A mixture of everything that a link can do without breaking its promises.
fn rough() -> Faults {
    Faults { delay: ms(5), jitter: ms(7), loss: 0.02, stall: 0.01, stall_time: ms(300), ..Faults::default() }
}

#[tokio::test]
async fn a_link_without_faults_obeys_the_laws() {
    conform(LinkConfig::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_obeys_the_laws() {
    conform(LinkConfig::both(1, Faults { delay: ms(40), ..Faults::default() })).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_obeys_the_laws_boxed() {
    let slow = link(LinkConfig::both(1, Faults { delay: ms(40), ..Faults::default() }));
    laws::conformance(slow.boxed(), "mem://x".parse().expect("an address")).await;
}

#[tokio::test(start_paused = true)]
async fn a_rough_link_obeys_the_laws() {
    for seed in 0..3 {
        conform(LinkConfig::both(seed, rough())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_of_datagrams_obeys_the_laws_that_it_promises() {
    for seed in 0..3 {
        let faults = Faults { reorder: 0.1, duplicate: 0.1, ..rough() };
        conform(LinkConfig { unreliable: true, ..LinkConfig::both(seed, faults) }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn promises_go_only_where_they_are_taken_away() {
    let below = Memory::default().guarantees();
    assert_eq!(link(LinkConfig::both(1, rough())).guarantees(), below);
    let promised = link(LinkConfig { unreliable: true, ..LinkConfig::both(1, rough()) }).guarantees();
    assert!(!promised.reliable && !promised.ordered && !promised.may_duplicate);
    let twice = Faults { duplicate: 0.1, ..Faults::default() };
    let promised = link(LinkConfig { unreliable: true, back: twice, ..LinkConfig::default() }).guarantees();
    assert!(promised.may_duplicate);
}

/// Echoes 50 messages over each of three connections and returns the trace.
async fn echo_trace(seed: u64) -> Vec<Event> {
    let link = link(LinkConfig::both(seed, rough()));
    let mut connections = Vec::new();
    for _ in 0..3 {
        let (mut near, mut far) = ends(&link).await;
        connections.push(tokio::spawn(async move {
            while let Some(message) = far.recv().await? {
                far.send(message).await?;
            }
            far.tx.finish().await
        }));
        connections.push(tokio::spawn(async move {
            for len in 0..50 {
                near.send(vec![b'x'; len]).await?;
            }
            near.tx.finish().await?;
            while near.recv().await?.is_some() {}
            Ok(())
        }));
    }
    for connection in connections {
        connection.await.expect("no panic").expect("no error");
    }
    link.trace()
}

fn in_a_fresh_runtime<O>(future: impl Future<Output = O>) -> O {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(future)
}

#[test]
fn one_seed_gives_one_trace() {
    let [first, again, other] = [7, 7, 8].map(|seed| in_a_fresh_runtime(echo_trace(seed)));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let delivered = first.iter().filter(|event| matches!(event.happening, Happening::Delivered { .. }));
    assert_eq!(delivered.count(), 3 * 2 * 50);
    assert!(first.iter().any(|event| matches!(event.happening, Happening::SentAgain { .. })));
    assert!(first.is_sorted_by_key(|event| event.at));
}

#[tokio::test(start_paused = true)]
async fn a_message_travels_as_long_as_it_is_told() {
    let there = Faults { delay: ms(30), ..Faults::default() };
    let back = Faults { delay: ms(500), ..Faults::default() };
    let (mut near, mut far) = ends(&link(LinkConfig { there, back, ..LinkConfig::default() })).await;
    let start = Instant::now();
    // Messages travel behind one another, not one after another.
    for _ in 0..10 {
        near.send("there").await.expect("send");
    }
    assert_eq!(start.elapsed(), ms(0), "a flush hands over, it does not wait for arrival");
    for _ in 0..10 {
        far.recv().await.expect("receive");
    }
    assert_eq!(start.elapsed(), ms(30));
    far.send("back").await.expect("send");
    near.recv().await.expect("receive");
    assert_eq!(start.elapsed(), ms(530));
}

#[tokio::test(start_paused = true)]
async fn a35_a_partition_holds_back_one_direction_alone() {
    let there = Faults { partitions: vec![ms(100)..ms(60_000)], ..Faults::default() };
    let (mut near, mut far) = ends(&link(LinkConfig { there, ..LinkConfig::default() })).await;
    let start = Instant::now();
    near.send("before").await.expect("send");
    assert_eq!(far.recv().await.expect("receive").as_deref(), Some(&b"before"[..]));
    tokio::time::advance(ms(150)).await;
    near.send("during").await.expect("send");
    far.send("back").await.expect("send");
    assert_eq!(near.recv().await.expect("receive").as_deref(), Some(&b"back"[..]));
    assert_eq!(start.elapsed(), ms(150), "the other direction is open");
    assert_eq!(far.recv().await.expect("receive").as_deref(), Some(&b"during"[..]));
    assert_eq!(start.elapsed(), ms(60_000));
}

#[tokio::test(start_paused = true)]
async fn connecting_waits_for_the_end_of_a_partition() {
    let there = Faults { partitions: vec![ms(0)..ms(5_000)], delay: ms(10), ..Faults::default() };
    let link = link(LinkConfig { there, ..LinkConfig::default() });
    let start = Instant::now();
    ends(&link).await;
    assert_eq!(start.elapsed(), ms(5_010));
}

#[tokio::test(start_paused = true)]
async fn a9_a_partition_does_not_grow_memory() {
    let there = Faults { partitions: vec![ms(1)..ms(60_000)], ..Faults::default() };
    let config = LinkConfig { there, max_in_flight: 100_000, ..LinkConfig::default() };
    let (mut near, mut far) = ends(&link(config)).await;
    tokio::time::advance(ms(10)).await;
    let reading = tokio::spawn(async move {
        let mut count = 0;
        while far.recv().await?.is_some() {
            count += 1;
        }
        Ok::<_, net_core::Error>(count)
    });
    let mut accepted = 0;
    let full = tokio::time::timeout(ms(30_000), async {
        loop {
            near.send(Bytes::from_static(&[b'x'; 1_000])).await.expect("send");
            accepted += 1;
        }
    });
    assert!(full.await.is_err(), "the sender waits");
    // What the link holds, and what the memory transport does.
    assert!((90..500).contains(&accepted), "{accepted} messages of 1000 bytes");
    near.tx.finish().await.expect("finish");
    let received = reading.await.expect("no panic").expect("no error");
    assert!(received == accepted || received == accepted + 1, "{received} of {accepted}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_messages_is_an_abort_for_both() {
    let there = Faults { cut_after: Some(3), ..Faults::default() };
    let link = link(LinkConfig { there, ..LinkConfig::default() });
    let (mut near, mut far) = ends(&link).await;
    for _ in 0..3 {
        near.send("whole").await.expect("before the cut");
    }
    let waiting = tokio::spawn(async move { near.rx.recv().await.map_err(|error| error.kind()) });
    for _ in 0..3 {
        assert_eq!(far.recv().await.expect("before the cut").as_deref(), Some(&b"whole"[..]));
    }
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(near.tx.send("cut").await.expect_err("the cut").kind(), ErrorKind::Reset);
    assert_eq!(near.tx.flush().await.expect_err("it is final").kind(), ErrorKind::Reset);
    assert_eq!(waiting.await.expect("no panic"), Err(ErrorKind::Reset), "a waiting receiver is woken");
    for _ in 0..2 {
        assert!(far.recv().await.is_err(), "never a clean end");
    }
    let cuts = link.trace().into_iter().filter(|event| event.happening == Happening::Cut);
    assert!(cuts.clone().count() >= 1 && cuts.clone().all(|event| event.connection == 0));
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_a_time_wakes_those_who_wait_and_spares_later_connections() {
    let config = LinkConfig { cut_at: Some(ms(1_000)), max_in_flight: 10_000, ..LinkConfig::default() };
    let link = link(config);
    let (mut near, mut far) = ends(&link).await;
    let start = Instant::now();
    let filling = tokio::spawn(async move {
        loop {
            if let Err(error) = near.tx.send(Bytes::from_static(&[b'x'; 1_000])).await {
                return (error.kind(), near.rx);
            }
        }
    });
    let (kind, mut rx) = filling.await.expect("no panic");
    assert_eq!((kind, start.elapsed()), (ErrorKind::Reset, ms(1_000)));
    assert_eq!(rx.recv().await.expect_err("cut").kind(), ErrorKind::Reset);
    assert_eq!(far.recv().await.expect_err("cut").kind(), ErrorKind::Reset);
    assert_eq!(far.send("late").await.expect_err("cut").kind(), ErrorKind::Reset);
    let (mut near, mut far) = ends(&link).await;
    near.send("anew").await.expect("send");
    assert_eq!(far.recv().await.expect("receive").as_deref(), Some(&b"anew"[..]));
}

#[tokio::test(start_paused = true)]
async fn a35_datagrams_are_lost_doubled_and_overtaken() {
    let there = Faults {
        delay: ms(5),
        loss: 0.2,
        duplicate: 0.2,
        reorder: 0.2,
        black_hole: Some(1_200),
        ..Faults::default()
    };
    let link = link(LinkConfig { seed: 5, unreliable: true, there, ..LinkConfig::default() });
    let (mut near, mut far) = ends(&link).await;
    for index in 0..1_000_u32 {
        near.send(index.to_be_bytes().to_vec()).await.expect("send");
        tokio::time::advance(ms(1)).await;
    }
    near.send(vec![0; 1_201]).await.expect("send");
    near.tx.finish().await.expect("finish");
    let mut arrived = Vec::new();
    while let Some(message) = far.recv().await.expect("receive") {
        arrived.push(u32::from_be_bytes(message[..].try_into().expect("four bytes, whole")));
    }
    let mut distinct = arrived.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!((700..900).contains(&distinct.len()), "{} of 1000 at a loss of a fifth", distinct.len());
    assert!((80..250).contains(&(arrived.len() - distinct.len())), "doubled");
    assert!(!arrived.is_sorted(), "overtaken");
    let lost = link.trace().into_iter().filter(|event| matches!(event.happening, Happening::Lost { .. }));
    assert_eq!(lost.count(), 1_001 - distinct.len());
    assert!(link.trace().iter().all(|event| event.direction == Direction::There));
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_meets_a_full_connection_is_no_clean_end() {
    let there = Faults { cut_after: Some(1), ..Faults::default() };
    let small = Memory::new(MemoryConfig { max_buffered: 1, ..MemoryConfig::default() });
    let link = Link::new(small, LinkConfig { there, ..LinkConfig::default() });
    let (mut near, mut far) = ends(&link).await;
    near.send("whole").await.expect("before the cut");
    // Nobody reads yet, so there is no room for the message that is to be cut.
    let cut = tokio::spawn(async move { near.tx.send("cut").await.map_err(|error| error.kind()) });
    tokio::task::yield_now().await;
    assert_eq!(far.recv().await.expect("before the cut").as_deref(), Some(&b"whole"[..]));
    assert_eq!(far.recv().await.expect_err("never a clean end").kind(), ErrorKind::Reset);
    assert_eq!(cut.await.expect("no panic"), Err(ErrorKind::Reset));
}

#[tokio::test(start_paused = true)]
async fn one_message_always_fits_a_link() {
    let link = link(LinkConfig { max_in_flight: 0, ..LinkConfig::both(1, rough()) });
    let (mut near, mut far) = ends(&link).await;
    near.send("hello").await.expect("send");
    let received = tokio::time::timeout(ms(3_600_000), far.recv()).await.expect("it arrives");
    assert_eq!(received.expect("receive").as_deref(), Some(&b"hello"[..]));
}

/// Echoes over a link with faults drawn from `seed`; the invariants hold whatever they are.
async fn invariants(seed: u64) -> Result<()> {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let mut faults = || Faults {
        delay: ms(rng.u64(0..100)),
        jitter: ms(rng.u64(0..100)),
        loss: rng.f64() * 0.3,
        stall: rng.f64() * 0.1,
        stall_time: ms(rng.u64(0..2_000)),
        partitions: {
            let from = rng.u64(0..500);
            vec![ms(from)..ms(from + rng.u64(0..5_000))]
        },
        cut_after: (rng.u8(..) < 64).then(|| rng.u64(0..30)),
        ..Faults::default()
    };
    let (there, back) = (faults(), faults());
    let cut_at = (rng.u8(..) < 32).then(|| ms(rng.u64(1..10_000)));
    let max_in_flight = rng.usize(1..4_000);
    let link = link(LinkConfig { seed, there, back, cut_at, max_in_flight, ..LinkConfig::default() });
    let (near, far) = ends(&link).await;
    let Connection { tx: mut near_tx, rx: mut near_rx, .. } = near;
    let Connection { tx: mut far_tx, rx: mut far_rx, .. } = far;
    let content = |index: u8| vec![index; usize::from(index) * 13 % 300];
    let asking = async {
        for index in 0..20 {
            near_tx.send(content(index)).await?;
        }
        near_tx.finish().await
    };
    let answering = async {
        let answered = async {
            while let Some(message) = far_rx.recv().await? {
                far_tx.send(message).await?;
            }
            far_tx.finish().await
        };
        let answered = answered.await;
        // A side that meets an error leaves, as a program would.
        drop((far_rx, far_tx));
        answered
    };
    let receiving = async {
        for index in 0..20 {
            match near_rx.recv().await? {
                Some(message) => assert_eq!(message, content(index), "seed {seed}: in order, whole, once"),
                None => panic!("seed {seed}: a clean end after {index} of 20 answers"),
            }
        }
        assert_eq!(near_rx.recv().await?, None, "seed {seed}: nothing but what was sent");
        Result::Ok(())
    };
    // An hour of virtual time is a hang.
    let all = async { tokio::join!(asking, answering, receiving) };
    let (asked, answered, received) =
        tokio::time::timeout(ms(3_600_000), all).await.unwrap_or_else(|_| panic!("seed {seed} hangs"));
    asked.and(answered).and(received)
}

#[test]
fn a35_invariants_hold_over_ten_thousand_seeds() {
    let whole = (0..10_000).filter(|seed| in_a_fresh_runtime(invariants(*seed)).is_ok()).count();
    // Neither all nor none are cut, or the faults would prove little.
    assert!((3_000..9_000).contains(&whole), "{whole} of 10000 ended cleanly");
}
