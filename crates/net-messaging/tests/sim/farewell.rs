//! Last words: what was sent before an orderly end arrives, in order and once, however slow the other side is.

use std::collections::{BTreeSet, VecDeque};

use net_core::{
    Message, MessageKind, Receiver, Sender, Transport,
    memory::{Memory, MemoryConfig},
    testing::{Faults, LinkConfig},
};
use tokio::time::{sleep, timeout};

use crate::{
    books::Ask,
    explore::{Trace, explore},
    world::{Net, World, ms, secs},
};

fn world(seed: u64, rng: &mut fastrand::Rng) -> (Net, World<Net>) {
    let faults = Faults {
        delay: ms(rng.u64(0..80)),
        jitter: ms(rng.u64(0..80)),
        loss: if rng.bool() { 0.1 } else { 0.0 },
        ..Faults::default()
    };
    let config = LinkConfig { max_in_flight: rng.usize(500..20_000), ..LinkConfig::both(seed, faults) };
    let memory = MemoryConfig { max_buffered: rng.usize(1..4_000), ..MemoryConfig::default() };
    let link = Net::new(Memory::new(memory), config);
    let world = World::new(link.clone());
    (link, world)
}

/// A client sends notifications and disconnects: all are handled, in order.
async fn client(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (link, mut world) = world(seed, &mut rng);
    // The peer of a session that ends reads as slowly as its handler works.
    world.limits.close_timeout = secs(60);
    let server = world.serve().await;
    let client = world.client().await;
    let session = client.session().expect("is connected");
    let count = rng.u32(1..80);
    for number in 0..count {
        let ask = Ask { client: 0, number, work: if rng.u8(..8) == 0 { rng.u32(0..200) } else { 0 } };
        client.send_wait(Message::from(ask.encode(rng.usize(0..500)))).await.expect("sends");
    }
    client.disconnect().await;
    session.closed().await;
    timeout(secs(120), async {
        while !server.is_empty() {
            sleep(ms(10)).await;
        }
    })
    .await
    .expect("the session ends");
    assert_eq!(world.server_books.notified(0), (0..count).collect::<Vec<_>>(), "last words");
    let sent = session.stats().sent_messages;
    assert_eq!(world.server_books.carried().0, sent, "all that was sent has arrived");
    assert_eq!(server.len(), 0);
    let notes = world.check(&server, &[]).await;
    Trace::new(&link, notes)
}

#[test]
fn a35_farewell() {
    explore("farewell", client);
}

/// A peer asks many things at once, finishes in the same breath, and reads slowly: each answer comes, once.
async fn finished_peer(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (link, mut world) = world(seed, &mut rng);
    world.limits.close_timeout = secs(60);
    // Handlers that run at once answer in any order, and leave more replies to the end.
    world.session.max_concurrent = rng.choice([1, 4]).expect("two");
    let in_order = world.session.max_concurrent == 1;
    let server = world.serve().await;
    let mut peer = link.connect(server.local()).await.expect("connects");
    let count = rng.u32(1..60);
    let mut asks: VecDeque<_> = (0..count)
        .map(|number| {
            let work = if rng.u8(..8) == 0 { rng.u32(0..100) } else { 0 };
            (number, Ask { client: 0, number, work }.encode(rng.usize(0..500)))
        })
        .collect();
    let mut awaited = asks.clone();
    let pause = ms(rng.u64(0..100));
    let asking = async {
        while let Some((number, payload)) = asks.pop_front() {
            peer.tx
                .feed(Message::new(MessageKind::Request, number.into(), payload).encode())
                .await
                .expect("takes it");
        }
        peer.tx.finish().await.expect("finishes");
    };
    let reading = async {
        while let Some(frame) = timeout(secs(60), peer.rx.recv()).await.expect("in time").expect("not broken")
        {
            let answer = Message::decode(frame).expect("a message");
            if answer.kind() != MessageKind::Heartbeat {
                let place = awaited.iter().position(|(number, _)| u64::from(*number) == answer.id());
                let place = place.expect("an answer to a request that waits for one");
                assert!(place == 0 || !in_order, "{} is answered before {:?}", answer.id(), awaited.front());
                let (_, payload) = awaited.remove(place).expect("it was found");
                assert_eq!(answer.payload(), &payload);
            }
            sleep(pause).await;
        }
        assert_eq!(awaited.len(), 0, "requests without an answer");
    };
    tokio::join!(asking, reading);
    drop(peer);
    assert_eq!(world.server_books.begun_in_all(), count as usize);
    server.stop().await;
    sleep(secs(60)).await;
    world.server_books.check("server");
    assert_eq!((server.len(), server.connections()), (0, 0));
    Trace::new(&link, Vec::new())
}

#[test]
fn a35_finished_peer() {
    explore("finished_peer", finished_peer);
}

/// A server disconnects a peer that asks much and reads slowly: whatever was handled is answered before the end.
async fn dismissed_peer(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (link, mut world) = world(seed, &mut rng);
    world.limits.close_timeout = secs(60);
    world.limits.stall_timeout = None;
    world.session.max_concurrent = rng.choice([1, 4]).expect("two");
    let server = world.serve().await;
    let mut peer = link.connect(server.local()).await.expect("connects");
    let count = rng.u32(1..60);
    let payloads: Vec<_> =
        (0..count).map(|number| Ask { client: 0, number, work: 0 }.encode(rng.usize(0..500))).collect();
    let (pause, at) = (ms(rng.u64(0..100)), ms(rng.u64(0..3_000)));
    let asking = async {
        for (id, payload) in (0..).zip(payloads) {
            let request = Message::new(MessageKind::Request, id, payload).encode();
            // The server may have gone.
            if peer.tx.send(request).await.is_err() {
                return;
            }
        }
    };
    let dismissing = async {
        sleep(at).await;
        server.sessions().iter().for_each(net_messaging::Session::disconnect);
    };
    let reading = async {
        let mut answered = BTreeSet::new();
        while let Some(frame) = timeout(secs(60), peer.rx.recv()).await.expect("in time").expect("not broken")
        {
            let answer = Message::decode(frame).expect("a message");
            if answer.kind() != MessageKind::Heartbeat {
                assert!(answered.insert(answer.id()), "{} was answered twice", answer.id());
            }
            sleep(pause).await;
        }
        answered
    };
    let ((), (), answered) = tokio::join!(asking, dismissing, reading);
    assert_eq!(answered.len(), world.server_books.begun_in_all(), "handled, and answered");
    drop(peer);
    server.stop().await;
    sleep(secs(60)).await;
    world.server_books.check("server");
    assert_eq!((server.len(), server.connections()), (0, 0));
    Trace::new(&link, vec![format!("{answered:?}")])
}

#[test]
fn a35_dismissed_peer() {
    explore("dismissed_peer", dismissed_peer);
}
