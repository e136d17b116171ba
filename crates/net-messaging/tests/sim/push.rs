//! A server that pushes more than a slow peer takes, under each policy: bounds hold and counts are exact.

use net_core::{
    Message, MessageKind, Receiver, Transport,
    memory::{Memory, MemoryConfig},
    testing::{Faults, LinkConfig},
};
use net_messaging::{CloseReason, Delivery, OutboxConfig, Overflow};
use tokio::time::{sleep, timeout};

use crate::{
    books::Ask,
    explore::{Trace, explore},
    world::{Net, World, ms, secs},
};

/// What a message in the outbox may cost besides its payload.
const OVERHEAD: usize = 128;
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
    world.session.outbox = outbox;
    world.session.heartbeat = None;
    world.session.first_message_timeout = None;
    world.session.stall_timeout = Some(secs(5));
    world.session.close_timeout = secs(120);
    let server = world.serve().await;
    let mut peer = link.connect(server.local()).await.expect("connects");
    // Some peers are slower than the stall time-out.
    let pause = ms(rng.u64(0..300)) * if rng.u8(..10) == 0 { 40 } else { 1 };
    let session = loop {
        if let Some(session) = server.sessions().pop().filter(net_messaging::Session::is_active) {
            break session;
        }
        sleep(ms(1)).await;
    };

    let count = rng.u32(20..150);
    let pushing = async {
        let mut accepted = Vec::new();
        let (mut dropped, mut evicting) = (0, 0);
        for number in 0..count {
            let payload = Ask { client: 0, number, work: 0 }.encode(rng.usize(0..LONGEST));
            let before = session.stats().dropped_messages;
            match session.send(Message::from(payload)) {
                Ok(Delivery::Sent | Delivery::Queued) => {
                    accepted.push(number);
                    evicting += session.stats().dropped_messages - before;
                }
                Ok(Delivery::Dropped) => {
                    dropped += 1;
                    evicting += session.stats().dropped_messages - before - 1;
                }
                Ok(Delivery::Full) => {
                    assert_eq!(session.stats().dropped_messages, before, "refused, not dropped")
                }
                Err(_) => break,
            }
            let (stats, most) = (session.stats(), outbox.max_bytes.max(LONGEST + OVERHEAD));
            assert!(
                stats.waiting_bytes <= most && stats.waiting_messages <= outbox.max_messages,
                "{stats:?}"
            );
            if rng.u8(..4) == 0 {
                sleep(ms(rng.u64(0..500))).await;
            }
        }
        session.disconnect();
        (accepted, dropped, evicting)
    };
    let reading = async {
        let mut numbers = Vec::new();
        loop {
            match timeout(secs(60), peer.rx.recv()).await.expect("in time") {
                Ok(Some(frame)) => {
                    let message = Message::decode(frame).expect("a message");
                    assert_eq!(message.kind(), MessageKind::Notification);
                    numbers.push(Ask::decode(message.payload()).number);
                }
                Ok(None) => break (numbers, true),
                Err(_) => break (numbers, false),
            }
            sleep(pause).await;
        }
    };
    let ((accepted, dropped, evicted), (received, clean)) = tokio::join!(pushing, reading);
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

#[test]
fn a35_push() {
    explore("push", push);
}
