//! A server that pushes more than a slow peer takes, under each policy: bounds hold and counts are exact.

use std::time::Duration;

use net_core::{
    Message, MessageKind, Receiver, Transport,
    memory::{Memory, MemoryConfig},
    testing::{Faults, LinkConfig},
};
use net_messaging::{CloseReason, Delivery, OutboxConfig, Overflow, Session};
use tokio::time::{sleep, timeout};

use crate::{
    books::{Ask, LONGEST_OVERHEAD},
    explore::{Trace, explore},
    world::{Net, World, ms, secs},
};

const LONGEST: usize = 1_000;

async fn push(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let overflow = rng
        .choice([Overflow::Disconnect, Overflow::Refuse, Overflow::DropNewest, Overflow::DropOldest])
        .expect("four");
    let outbox = OutboxConfig {
        max_messages: rng.usize(1..30),
        max_bytes: rng.usize(200..6_000),
        high_water: rng.usize(100..3_000),
        overflow,
    };
    let faults = Faults { delay: ms(rng.u64(0..80)), jitter: ms(rng.u64(0..80)), ..Faults::default() };
    let memory = MemoryConfig { max_buffered: rng.usize(1..2_000), ..MemoryConfig::default() };
    let link =
        Net::new(Memory::new(memory), LinkConfig { max_in_flight: 2_000, ..LinkConfig::both(seed, faults) });
    let mut world = World::new(link.clone());
    world.outbox = outbox;
    world.session.heartbeat = None;
    world.limits.first_message_timeout = None;
    world.limits.stall_timeout = Some(secs(5));
    world.limits.close_timeout = secs(120);
    let server = world.serve().await;
    let mut peer = link.connect(server.local()).await.expect("connects");
    // Some peers are slower than the stall time-out.
    let pause = ms(rng.u64(0..300)) * if rng.u8(..10) == 0 { 40 } else { 1 };
    let session = loop {
        if let Some(session) = server.sessions().pop().filter(Session::is_active) {
            break session;
        }
        sleep(ms(1)).await;
    };

    let (Pushed { accepted, dropped, evicted }, (received, clean)) =
        tokio::join!(push_all(&session, &outbox, &mut rng), read_all(&mut peer.rx, pause));
    let reason = timeout(secs(200), session.closed()).await.expect("ends");
    let stats = session.stats();
    assert!(received.is_sorted_by(|one, next| one < next), "in order, and once: {received:?}");
    assert!(
        received.iter().all(|number| accepted.binary_search(number).is_ok()),
        "what was not accepted arrived"
    );
    assert_eq!(stats.dropped_messages, dropped + evicted, "drops");
    match overflow {
        Overflow::Disconnect | Overflow::Refuse => assert_eq!(stats.dropped_messages, 0),
        Overflow::DropNewest => assert_eq!(evicted, 0),
        Overflow::DropOldest => {}
    }
    if clean {
        let cut = matches!(reason, CloseReason::Stalled);
        assert!(cut || matches!(reason, CloseReason::ByUs), "{reason}");
        // A peer that takes nothing for the stall time-out is cut, and what waited for it is not sent any more.
        let unsent = stats.waiting_messages as u64;
        assert!(
            (unsent == 0 && !cut) || pause >= secs(1),
            "{unsent} were left for a peer that reads every {pause:?}"
        );
        assert_eq!(
            received.len() as u64 + evicted + unsent,
            accepted.len() as u64,
            "accepted and not dropped, but not here: {overflow:?} {outbox:?} {accepted:?} {received:?} {stats:?}"
        );
        assert_eq!(stats.sent_messages, received.len() as u64);
    } else {
        assert!(matches!(reason, CloseReason::Stalled | CloseReason::ByUs), "{reason}");
    }
    drop(peer);
    server.stop().await;
    sleep(secs(200)).await;
    world.server_books.check("server");
    assert_eq!((server.len(), server.connections()), (0, 0));
    let notes = vec![format!("{reason} {} {dropped} {evicted} {received:?}", accepted.len())];
    Trace::new(&link, notes)
}

/// What became of everything that was pushed.
struct Pushed {
    accepted: Vec<u32>,
    /// Dropped instead of being accepted.
    dropped: u64,
    /// Accepted, and dropped later for something newer.
    evicted: u64,
}

/// Pushes numbers, now and then with a pause, and disconnects.
async fn push_all(session: &Session, outbox: &OutboxConfig, rng: &mut fastrand::Rng) -> Pushed {
    let mut pushed = Pushed { accepted: Vec::new(), dropped: 0, evicted: 0 };
    for number in 0..rng.u32(20..150) {
        let payload = Ask { client: 0, number, work: 0 }.encode(rng.usize(0..LONGEST));
        let before = session.stats().dropped_messages;
        let message = Message::from(payload);
        // What is fed waits for the next that is sent, or for the end.
        let pushed_one = if rng.u8(..4) == 0 { session.feed(message) } else { session.send(message) };
        let Ok(delivery) = pushed_one else { break };
        let stats = session.stats();
        let drops = stats.dropped_messages - before;
        match delivery {
            Delivery::Sent | Delivery::Queued => {
                pushed.accepted.push(number);
                pushed.evicted += drops;
            }
            Delivery::Dropped => {
                pushed.dropped += 1;
                pushed.evicted += drops - 1;
            }
            Delivery::Full => assert_eq!(drops, 0, "refused, not dropped"),
        }
        let most = outbox.max_bytes.max(LONGEST + LONGEST_OVERHEAD);
        assert!(stats.waiting_bytes <= most && stats.waiting_messages <= outbox.max_messages, "{stats:?}");
        if rng.u8(..4) == 0 {
            sleep(ms(rng.u64(0..500))).await;
        }
    }
    session.disconnect();
    pushed
}

/// Reads with a pause after each message until the end, and tells whether that was clean.
pub(crate) async fn read_all(rx: &mut impl Receiver, pause: Duration) -> (Vec<u32>, bool) {
    let mut numbers = Vec::new();
    loop {
        match timeout(secs(60), rx.recv()).await.expect("in time") {
            Ok(Some(frame)) => {
                let message = Message::decode(frame).expect("a message");
                assert_eq!(message.kind(), MessageKind::Notification);
                numbers.push(Ask::decode(message.payload()).number);
            }
            end => return (numbers, end.is_ok()),
        }
        sleep(pause).await;
    }
}

#[test]
fn a35_push() {
    explore("push", push);
}
