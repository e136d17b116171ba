//! Handlers that take their time, some of them longer than they may.

use net_core::{
    ErrorKind,
    testing::{Faults, LinkConfig},
};

use crate::{
    crowd::{Talk, talk},
    explore::{Trace, explore},
    world::{ms, secs},
};

/// Each request is answered: by its handler, or by an error when the handler took too long.
async fn slow_handler(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let faults = Faults { delay: ms(rng.u64(0..80)), jitter: ms(rng.u64(0..80)), ..Faults::default() };
    let limit = ms(rng.u64(500..3_000));
    let concurrent = rng.usize(1..=4);
    let longest = 4_000;
    let said = Talk { clients: 3, requests: 16, work: longest };
    let (trace, world, asked) = talk(seed, LinkConfig::both(seed, faults), said, |world| {
        world.limits.handler_timeout = Some(limit);
        world.session.max_concurrent = concurrent;
        world.request_timeout = secs(60);
    })
    .await;
    for asked in &asked {
        let work = ms(asked.ask.work.into());
        // Deadlines are kept to within an eighth, and the handler's time begins when it runs.
        if work + ms(20) < limit {
            assert!(asked.outcome.is_ok(), "{asked:?} is quicker than {limit:?}");
        } else if work > limit + limit / 8 + ms(600) {
            assert_eq!(
                asked.outcome,
                Err(ErrorKind::Rejected),
                "{asked:?} is slower than {limit:?}, and is told so"
            );
        }
        assert_eq!(world.server_books.begun(asked.ask.client, asked.ask.number), 1, "{asked:?}");
    }
    assert_eq!(world.server_books.opened(), 3, "a slow handler ends no session");
    trace
}

#[test]
fn a35_slow_handler() {
    explore("slow_handler", slow_handler);
}
