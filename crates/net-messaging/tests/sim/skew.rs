//! Clocks that run at different speeds: neither side takes the other for dead, and each keeps its own deadlines.

use futures_util::future::join_all;
use net_core::testing::{Faults, LinkConfig};
use net_messaging::Heartbeat;
use tokio::time::sleep;

use crate::{
    explore::{Trace, explore},
    partition::{Way, long},
    world::{World, ms, secs},
};

/// How much slower the clocks of the clients are; a side gives up after three intervals of its own.
fn skew(seed: u64) -> f64 {
    0.5 + fastrand::Rng::with_seed(seed ^ 0x5ce3).f64() * 1.4
}

/// Clients that talk, fall silent for a minute, and talk again: no session ends.
async fn silence(seed: u64) -> Trace {
    const CLIENTS: u32 = 3;
    let mut rng = fastrand::Rng::with_seed(seed);
    let interval = ms(rng.u64(1_000..5_000));
    let faults = Faults { delay: ms(rng.u64(0..50)), jitter: ms(rng.u64(0..50)), ..Faults::default() };
    let (link, mut world) = World::over(LinkConfig::both(seed, faults));
    world.session.heartbeat = Some(Heartbeat { interval, missed: 3 });
    world.skew = skew(seed);
    let server = world.serve().await;
    let clients = join_all((0..CLIENTS).map(|_| world.client())).await;
    let mut asked = Vec::new();
    for round in 0..2 {
        let asking =
            (0..).zip(&clients).map(|(me, client)| world.asks(client, me + round * CLIENTS, 6, seed, 300));
        asked.extend(join_all(asking).await.into_iter().flatten());
        sleep(secs(60)).await;
    }
    assert!(asked.iter().all(|asked| asked.outcome.is_ok()), "{asked:?}");
    assert_eq!(
        world.server_books.opened(),
        clients.len(),
        "no session ended: {:?}",
        world.server_books.reasons()
    );
    for client in &clients {
        client.disconnect().await;
    }
    let notes = world.check(&server, &asked).await;
    Trace::new(&link, notes)
}

#[test]
fn a35_clock_skew() {
    explore("clock_skew", silence);
}

#[test]
fn a35_clock_skew_partition() {
    explore("clock_skew_partition", |seed| {
        let way = match seed % 3 {
            0 => Way::Both,
            1 => Way::There,
            _ => Way::Back,
        };
        long(seed, way, skew(seed))
    });
}
