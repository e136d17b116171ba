//! Partitions: short ones that nobody notices, long ones and half-open connections that heartbeats find.

use std::time::Duration;

use futures_util::future::join_all;
use net_core::testing::{Faults, LinkConfig};
use net_messaging::Heartbeat;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    crowd::{Talk, talk},
    explore::{Trace, explore},
    world::{World, ms, secs},
};

/// Which directions a partition takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Both,
    There,
    Back,
}

fn faults(way: Way, from: Duration, to: Duration, base: &Faults) -> (Faults, Faults) {
    let cut = Faults { partitions: vec![from..to], ..base.clone() };
    match way {
        Way::Both => (cut.clone(), cut),
        Way::There => (cut, base.clone()),
        Way::Back => (base.clone(), cut),
    }
}

/// A partition shorter than the patience of both sides: everything is late, and no session ends.
async fn short(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let interval = ms(rng.u64(1_000..5_000));
    let from = ms(rng.u64(0..4_000));
    let way = rng.choice([Way::Both, Way::There, Way::Back]).expect("three");
    let base = Faults { delay: ms(rng.u64(0..50)), jitter: ms(rng.u64(0..50)), ..Faults::default() };
    let (there, back) = faults(way, from, from + interval, &base);
    let config = LinkConfig { seed, there, back, ..LinkConfig::default() };
    let said = Talk { clients: 3, requests: 12, work: 300 };
    let (trace, world, asked) = talk(seed, config, said, |world| {
        world.session.heartbeat = Some(Heartbeat { interval, missed: 3 });
        world.request_timeout = secs(30);
    })
    .await;
    assert!(asked.iter().all(|asked| asked.outcome.is_ok()), "nothing is lost: {asked:?}");
    assert_eq!(world.server_books.opened(), 3, "no session ended: {:?}", world.server_books.reasons());
    trace
}

#[test]
fn a35_partition_short() {
    explore("partition_short", short);
}

/// A long partition in both directions or in one: each side that hears nothing gives the session up in time, and clients
/// come back when it is over.
///
/// Where the clocks of the clients are `skew` times as slow, their patience is so much longer.
pub(crate) async fn long(seed: u64, way: Way, skew: f64) -> Trace {
    const CLIENTS: u32 = 3;
    let mut rng = fastrand::Rng::with_seed(seed);
    let interval = ms(rng.u64(500..3_000));
    let patience = (interval * 3).mul_f64(skew.max(1.0));
    let base = Faults { delay: ms(rng.u64(0..50)), jitter: ms(rng.u64(0..50)), ..Faults::default() };
    let from = secs(10) + ms(rng.u64(0..4_000));
    let to = from + patience * 2 + secs(rng.u64(5..60));
    let (there, back) = faults(way, from, to, &base);
    let (link, mut world) = World::over(LinkConfig { seed, there, back, ..LinkConfig::default() });
    world.session.heartbeat = Some(Heartbeat { interval, missed: 3 });
    world.skew = skew;
    let start = Instant::now();
    let server = world.serve().await;
    let clients = join_all((0..CLIENTS).map(|_| world.client())).await;
    let mut asked = Vec::new();
    for (me, client) in (0..).zip(&clients) {
        asked.extend(world.asks(client, me, 2, seed, 50).await);
    }
    assert!(asked.iter().all(|asked| asked.outcome.is_ok()), "before the partition: {asked:?}");
    assert!(start.elapsed() < from && server.len() == CLIENTS as usize);

    // A heartbeat may just have arrived, and deadlines are kept to within an eighth.
    let found = start + from + patience + patience / 8 + world.limits.close_timeout + secs(2);
    sleep_until(found).await;
    if way != Way::Back {
        assert_eq!(server.len(), 0, "the server heard nothing and keeps {:?}", server.sessions());
    }
    if way != Way::There {
        assert!(
            clients.iter().all(|client| !client.is_connected()),
            "clients that hear nothing are connected"
        );
    }
    // An attempt waits for the end of the partition, the one behind it for its turn.
    sleep_until(start + to + world.reconnect.max_interval + patience + secs(5)).await;
    for (me, client) in (CLIENTS..).zip(&clients) {
        timeout(secs(1), client.connected()).await.expect("is back").expect("lives");
        asked.extend(world.asks(client, me, 2, seed, 50).await);
    }
    assert!(asked.iter().all(|asked| asked.outcome.is_ok()), "after the partition: {asked:?}");
    assert_eq!(server.len(), CLIENTS as usize, "one session for each client that is back");
    for client in &clients {
        client.disconnect().await;
    }
    let notes = world.check(&server, &asked).await;
    Trace::new(&link, notes)
}

#[test]
fn a35_partition() {
    explore("partition", |seed| long(seed, Way::Both, 1.0));
}

#[test]
fn a35_half_open() {
    explore("half_open", |seed| long(seed, if seed.is_multiple_of(2) { Way::There } else { Way::Back }, 1.0));
}
