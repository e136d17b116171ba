//! Connections that are cut in each phase: connecting, first message, request, reply, and inside a frame.

use futures_util::future::join_all;
use net_core::testing::LinkConfig;

use crate::{
    crowd::{Talk, talk},
    explore::{Trace, explore},
    wire::Wire,
    world::{World, delayed, ms, secs},
};

const TALK: Talk = Talk { clients: 3, requests: 12, work: 200 };

/// All connections that are open at one moment are cut, which is while they are made or soon after.
async fn connect(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let config =
        LinkConfig { cut_at: Some(ms(rng.u64(0..300))), ..LinkConfig::both(seed, delayed(&mut rng)) };
    let (trace, _, asked) = talk(seed, config, TALK, |_| {}).await;
    let lost = asked.iter().filter(|asked| asked.outcome.is_err()).count();
    // Only what was on its way at that moment: one batch of each client.
    assert!(lost <= 3 * 4, "{lost} requests are lost for one cut");
    trace
}

#[test]
fn a35_cut_connect() {
    explore("cut_connect", connect);
}

/// Every connection breaks at its first message, there or back: nothing gets through, and nobody hangs.
async fn first_message(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = LinkConfig::both(seed, delayed(&mut rng));
    let way = if rng.bool() { &mut config.there } else { &mut config.back };
    way.cut_after = Some(0);
    let (trace, _, asked) = talk(seed, config, Talk { requests: 4, ..TALK }, |_| {}).await;
    assert!(asked.iter().all(|asked| asked.outcome.is_err()), "{asked:?}");
    trace
}

#[test]
fn a35_cut_first_message() {
    explore("cut_first_message", first_message);
}

/// Every connection breaks after some messages of the client: requests are in flight.
async fn request(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = LinkConfig::both(seed, delayed(&mut rng));
    config.there.cut_after = Some(rng.u64(1..12));
    talk(seed, config, TALK, |_| {}).await.0
}

#[test]
fn a35_cut_request() {
    explore("cut_request", request);
}

/// Every connection breaks after some messages of the server: replies are in flight, or what they answer waits.
async fn reply(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = LinkConfig::both(seed, delayed(&mut rng));
    config.back.cut_after = Some(rng.u64(1..12));
    talk(seed, config, TALK, |_| {}).await.0
}

#[test]
fn a35_cut_reply() {
    explore("cut_reply", reply);
}

/// Connections of bytes that end somewhere, mostly inside a frame.
async fn mid_frame(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let wire = Wire::new(seed, rng.u64(1..4_000)..rng.u64(4_001..12_000));
    let mut world = World::new(wire);
    world.request_timeout = secs(20);
    let server = world.serve().await;
    let talking = (0..TALK.clients).map(|me| {
        let world = &world;
        async move {
            let client = world.client().await;
            let asked = world.asks(&client, me, TALK.requests, seed, TALK.work).await;
            client.disconnect().await;
            asked
        }
    });
    let asked: Vec<_> = join_all(talking).await.into_iter().flatten().collect();
    let mut notes = world.check(&server, &asked).await;
    notes.push(format!("{} connections", world.server_books.opened()));
    Trace { events: Vec::new(), notes }
}

#[test]
fn a35_cut_mid_frame() {
    explore("cut_mid_frame", mid_frame);
}
