//! Messages that are lost and sent again, and links that stand still for a while.

use net_core::testing::{Faults, LinkConfig};

use crate::{
    crowd::{Talk, talk},
    explore::{Trace, explore},
    world::{ms, secs},
};

/// Any mixture of delay, loss and stalls that are shorter than anybody's patience: everything is answered.
async fn loss(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let faults = Faults {
        delay: ms(rng.u64(0..120)),
        jitter: ms(rng.u64(0..120)),
        loss: rng.f64() * 0.2,
        stall: rng.f64() * 0.1,
        stall_time: ms(rng.u64(0..800)),
        ..Faults::default()
    };
    let said = Talk { clients: 3, requests: 20, work: 100 };
    let (trace, world, asked) = talk(seed, LinkConfig::both(seed, faults), said, |world| {
        world.request_timeout = secs(300);
        world.session.heartbeat = None;
        world.limits.idle_timeout = None;
    })
    .await;
    assert!(asked.iter().all(|asked| asked.outcome.is_ok()), "{asked:?}");
    assert_eq!(world.server_books.opened(), 3, "{:?}", world.server_books.reasons());
    trace
}

#[test]
fn a35_loss() {
    explore("loss", loss);
}

/// Stalls longer than what heartbeats and requests wait for: sessions are given up, requests time out, nothing is
/// handled twice.
async fn stall(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut faults = || Faults {
        delay: ms(rng.u64(0..40)),
        stall: rng.f64() * 0.15,
        stall_time: secs(rng.u64(1..60)),
        ..Faults::default()
    };
    let (there, back) = (faults(), faults());
    // Little room on the way, so that a stall is felt at the sender too.
    let max_in_flight = if seed.is_multiple_of(2) { 2_000 } else { 1 << 20 };
    let config = LinkConfig { seed, there, back, max_in_flight, ..LinkConfig::default() };
    talk(seed, config, Talk { clients: 3, requests: 15, work: 500 }, |_| {}).await.0
}

#[test]
fn a35_stall() {
    explore("stall", stall);
}
