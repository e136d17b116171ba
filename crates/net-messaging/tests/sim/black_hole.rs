//! Paths on which long messages vanish: who meets one is given up in time, and short messages go on elsewhere.

use futures_util::future::join_all;
use net_core::testing::{Faults, LinkConfig};
use net_messaging::Heartbeat;
use tokio::time::{sleep, timeout};

use crate::{
    books::Ask,
    explore::{Trace, explore},
    world::{World, ms, secs},
};

const CLIENTS: u32 = 3;
const REQUESTS: u32 = 8;

async fn black_hole(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let interval = ms(rng.u64(500..2_000));
    let longest = rng.usize(100..400);
    let base = Faults { delay: ms(rng.u64(0..50)), jitter: ms(rng.u64(0..50)), ..Faults::default() };
    let mut config = LinkConfig::both(seed, base);
    // There, back, or both.
    let way = rng.u8(1..4);
    config.there.black_hole = (way & 1 > 0).then_some(longest);
    config.back.black_hole = (way & 2 > 0).then_some(longest);
    let (link, mut world) = World::over(config);
    world.session.heartbeat = Some(Heartbeat { interval, missed: 3 });
    let server = world.serve().await;
    let clients = join_all((0..CLIENTS).map(|_| world.client())).await;
    // Of up to 600 bytes each.
    let asking = (0..).zip(&clients).map(|(me, client)| world.asks(client, me, REQUESTS, seed, 100));
    let mut asked: Vec<_> = join_all(asking).await.into_iter().flatten().collect();
    let lost = asked.iter().filter(|asked| asked.outcome.is_err()).count();
    assert!(lost > 0, "of {} messages of up to 600 bytes none met the hole at {longest}", asked.len());
    // A session in which nothing arrives any more is given up, and its client comes back.
    sleep(interval * 4 + world.limits.close_timeout + world.reconnect.max_interval + secs(1)).await;
    assert!(world.server_books.opened() > clients.len(), "{lost} requests vanished and nobody came back");
    for (client, me) in clients.iter().zip(CLIENTS..) {
        timeout(secs(1), client.connected()).await.expect("is back").expect("lives");
        let short = world.ask(client, Ask { client: me, number: 0, work: 0 }, 0).await;
        assert_eq!(short.outcome, Ok(()), "a short message on a connection that no long one has stopped");
        asked.push(short);
        client.disconnect().await;
    }
    let notes = world.check(&server, &asked).await;
    Trace::new(&link, notes)
}

#[test]
fn a35_black_hole() {
    explore("black_hole", black_hole);
}
