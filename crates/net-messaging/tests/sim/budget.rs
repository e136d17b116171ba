//! Peers that read slowly or never: what waits for all of them stays within the memory budget, and is given back.

use futures_util::future::join_all;
use net_core::{
    Transport,
    memory::{Memory, MemoryConfig},
    testing::{Faults, LinkConfig},
};
use net_messaging::{CloseReason, OutboxConfig, Overflow, Session, SessionState};
use tokio::time::{sleep, timeout};

use crate::{
    books::{Ask, LONGEST_OVERHEAD},
    explore::{Trace, explore},
    push::read_all,
    world::{Net, World, ms, secs},
};

/// What of each session is not counted, and the steps in which the rest is.
const UNCOUNTED: usize = 4 << 10;
const STEP: usize = 16 << 10;

async fn budget(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let overflow = rng
        .choice([Overflow::Disconnect, Overflow::Refuse, Overflow::DropNewest, Overflow::DropOldest])
        .expect("four");
    let outbox = OutboxConfig {
        max_messages: rng.usize(2..40),
        max_bytes: rng.usize(1..200) << 10,
        high_water: rng.usize(1..50) << 10,
        overflow,
    };
    let (budget, count) = (rng.usize(64..400) << 10, rng.usize(3..12));
    let faults = Faults { delay: ms(rng.u64(0..80)), jitter: ms(rng.u64(0..80)), ..Faults::default() };
    let memory = MemoryConfig { max_buffered: rng.usize(1..20_000), ..MemoryConfig::default() };
    let config = LinkConfig { max_in_flight: 20_000, ..LinkConfig::both(seed, faults) };
    let link = Net::new(Memory::new(memory), config);
    let mut world = World::new(link.clone());
    world.outbox = outbox;
    world.limits.memory_budget = Some(budget);
    world.limits.first_message_timeout = None;
    world.limits.stall_timeout = Some(secs(5));
    world.session.heartbeat = None;
    let server = world.serve().await;
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(link.connect(server.local()).await.expect("connects"));
    }
    while server.sessions().iter().filter(|session| session.is_active()).count() < count {
        sleep(ms(1)).await;
    }
    let sessions = server.sessions();

    // Some peers are slower than the stall time-out.
    let pauses: Vec<_> =
        (0..count).map(|_| ms(rng.u64(0..300)) * if rng.u8(..4) == 0 { 40 } else { 1 }).collect();
    let reading = peers.iter_mut().zip(pauses).map(|(peer, pause)| read_all(&mut peer.rx, pause));
    let pushing = async {
        let mut full = 0;
        for number in 0..rng.u32(50..200) {
            let session = rng.choice(&sessions).expect("some");
            let payload = Ask { client: 0, number, work: 0 }.encode(rng.usize(0..30_000));
            // One that was cut is told of no more.
            full += u32::from(session.send(payload).is_ok_and(|delivery| !delivery.is_accepted()));
            check(&sessions, budget, &outbox);
            if rng.u8(..8) == 0 {
                sleep(ms(rng.u64(0..500))).await;
                check(&sessions, budget, &outbox);
            }
        }
        sessions.iter().for_each(Session::disconnect);
        full
    };
    let (full, received) = tokio::join!(pushing, join_all(reading));
    let mut notes = vec![format!("{full} found no room")];
    for (session, (received, _)) in sessions.iter().zip(&received) {
        let reason = timeout(secs(200), session.closed()).await.expect("ends");
        assert!(
            matches!(reason, CloseReason::ByUs | CloseReason::Stalled | CloseReason::MemoryBudget),
            "{reason}"
        );
        assert!(received.is_sorted_by(|one, next| one < next), "in order, and once: {received:?}");
        notes.push(format!("{reason} {received:?}"));
    }
    drop((sessions, peers));

    // Whoever comes now has all of the budget that its outbox allows.
    let last = link.connect(server.local()).await.expect("connects");
    let session = loop {
        if let Some(session) = server.sessions().pop().filter(Session::is_active) {
            break session;
        }
        sleep(ms(1)).await;
    };
    let most = outbox.max_bytes.min(budget - STEP) - LONGEST_OVERHEAD - 12;
    let delivery = session.send(Ask { client: 0, number: 0, work: 0 }.encode(most)).expect("is open");
    assert!(delivery.is_accepted(), "{most} of {budget} bytes: {delivery:?}");
    drop(last);
    server.stop().await;
    sleep(secs(200)).await;
    world.server_books.check("server");
    assert_eq!((server.len(), server.connections()), (0, 0));
    Trace::new(&link, notes)
}

/// What waits stays within the bounds of each session and of all.
fn check(sessions: &[Session], budget: usize, outbox: &OutboxConfig) {
    let open = sessions.iter().filter(|session| session.state() < SessionState::Closed);
    let mut held = 0;
    for stats in open.map(Session::stats) {
        assert!(
            stats.waiting_messages <= outbox.max_messages
                && (stats.waiting_bytes <= outbox.max_bytes || stats.waiting_messages == 1),
            "{stats:?} {outbox:?}"
        );
        held += stats.waiting_bytes;
    }
    let most = budget + sessions.len() * UNCOUNTED;
    assert!(held <= most, "{held} bytes wait, of {most}");
}

#[test]
fn a35_a9_budget() {
    explore("budget", budget);
}
