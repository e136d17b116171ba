//! Servers that drain while requests are in flight, over links that hold and links that are cut.

use futures_util::future::join_all;
use net_core::testing::{Faults, LinkConfig};
use tokio::time::{Instant, sleep};

use crate::{
    explore::{Trace, explore},
    world::{World, ms, secs},
};

async fn drain(seed: u64, cut: bool) -> Trace {
    const CLIENTS: u32 = 4;
    let mut rng = fastrand::Rng::with_seed(seed);
    let faults = Faults { delay: ms(rng.u64(0..60)), jitter: ms(rng.u64(0..60)), ..Faults::default() };
    let at = ms(rng.u64(0..3_000));
    let cut_at = cut.then(|| at + ms(rng.u64(0..2_000)));
    let (link, mut world) = World::over(LinkConfig { cut_at, ..LinkConfig::both(seed, faults) });
    world.session.max_concurrent = rng.usize(1..=3);
    world.request_timeout = secs(60);
    // Who is told to go stays away: what is in flight is looked at, not what comes back.
    world.reconnect.max_attempts = Some(1);
    let (start, end) = (ms(rng.u64(0..1_500)), ms(rng.u64(0..6_000)));
    let server = world.serve().await;
    let clients = join_all((0..CLIENTS).map(|_| world.client())).await;
    let asking = join_all((0..).zip(&clients).map(|(me, client)| world.asks(client, me, 12, seed, 700)));
    let draining = async {
        sleep(at).await;
        let began = Instant::now();
        let report = server.drain(start..=end.max(start)).await;
        let took = began.elapsed();
        assert!(took <= end.max(start) + ms(600), "{took:?} for a drain within {start:?} to {end:?}");
        assert!(report.cut <= report.active && report.active <= CLIENTS as usize, "{report:?}");
        assert_eq!((server.len(), server.connections()), (0, 0), "{report:?}");
        report
    };
    let (asked, report) = tokio::join!(asking, draining);
    let asked: Vec<_> = asked.into_iter().flatten().collect();
    if report.cut == 0 && !cut {
        for asked in &asked {
            let begun = world.server_books.begun(asked.ask.client, asked.ask.number);
            assert!(
                asked.outcome.is_ok() || begun == 0,
                "{asked:?} was handled, and its answer is lost: {report:?}"
            );
        }
    }
    for client in &clients {
        client.disconnect().await;
    }
    let mut notes = world.check(&server, &asked).await;
    notes.push(format!("{report:?}"));
    Trace::new(&link, notes)
}

#[test]
fn a35_drain() {
    explore("drain", |seed| drain(seed, false));
}

#[test]
fn a35_cut_drain() {
    explore("cut_drain", |seed| drain(seed, true));
}
