//! A server that goes down and comes back: its clients return one by one, in bounded time, and none is left out.

use std::time::Duration;

use futures_util::future::join_all;
use net_core::testing::{Faults, LinkConfig};
use net_messaging::{Client, Reconnect, Server};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    books::Books,
    explore::{Trace, explore, explore_few},
    world::{Asked, Net, World, ms, secs},
};

/// How many clients are connecting at a time when a crowd begins.
const AT_ONCE: u32 = 50;
/// The time in which a crowd must not come at once.
const MOMENT: Duration = Duration::from_millis(100);

/// No more than a tenth of a crowd in any moment, but for the accidents of a small one.
fn assert_spread(what: &str, times: impl IntoIterator<Item = Instant>, crowd: usize) {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_unstable();
    let most = crowd / 10 + 12;
    for window in times.windows(most + 1) {
        let within = window[most] - window[0];
        assert!(within > MOMENT, "{what}: {} of {crowd} within {within:?}", most + 1);
    }
}

async fn restart(seed: u64, crowd: u32) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let faults = Faults { delay: ms(rng.u64(0..30)), jitter: ms(rng.u64(0..10)), ..Faults::default() };
    let (link, mut world) = World::over(LinkConfig::both(seed, faults));
    world.reconnect = Reconnect {
        interval: secs(2),
        multiplier: 2.0,
        max_interval: secs(16),
        min_interval: ms(50),
        jitter: true,
        max_attempts: None,
        stable_after: secs(30),
        ..Reconnect::default()
    };
    let mut server = world.serve().await;
    // Each has books of its own, since its attempts are counted.
    let mut clients = Vec::new();
    for group in 0..crowd.div_ceil(AT_ONCE) {
        let connecting = (group * AT_ONCE..crowd.min((group + 1) * AT_ONCE)).map(|_| async {
            let books = Books::default();
            (client(&world, books.clone()).await, books)
        });
        clients.extend(join_all(connecting).await);
    }
    let mut asked = Vec::new();
    let mut next = 0;
    // What the attempts of each client begin from in the next outage.
    let mut counted = vec![0; clients.len()];
    for _ in 0..2 {
        let stable = rng.bool();
        sleep(if stable { secs(60) } else { secs(5) }).await;
        let lived = server.sessions().iter().map(net_messaging::Session::age).min();
        let lived = lived.expect("sessions");
        for (_, books) in &clients {
            books.forget_attempts();
        }
        let lost = Instant::now();
        // A server that is dropped leaves its address a moment later.
        let outage = ms(rng.u64(10..40_000));
        let asking = ask_all(&world, &clients, next, 4, seed);
        let restarting = async {
            if rng.bool() {
                server.stop().await;
            } else {
                drop(server);
            }
            sleep(outage).await;
            world.serve().await
        };
        let (late, again) = tokio::join!(asking, restarting);
        server = again;
        asked.extend(late);
        next += 4;
        come_back(&world, &clients, &server, lost + outage).await;
        let mut first = Vec::new();
        for ((_, books), counted) in clients.iter().zip(&mut counted) {
            let attempts = books.attempts();
            // A client that was lost before this outage has only now lived long enough, or not.
            let fresh = attempts.first().map(|attempt| attempt.number);
            if lived > world.reconnect.stable_after + secs(1) {
                assert_eq!(fresh, Some(1), "a stable connection begins to count anew");
            } else if lived + secs(20) < world.reconnect.stable_after {
                assert_eq!(fresh, Some(*counted + 1), "a short one does not");
            }
            for (attempt, before) in attempts.iter().skip(1).zip(&attempts) {
                assert_eq!(attempt.number, before.number + 1, "{attempts:?}");
            }
            for attempt in &attempts {
                let full = secs(2 << (attempt.number - 1).min(3)).min(world.reconnect.max_interval);
                assert!((ms(50)..=full).contains(&attempt.delay), "{attempt:?} outside {full:?}");
            }
            *counted = attempts.last().map_or(*counted, |attempt| attempt.number);
            first.extend(attempts.first().map(|attempt| attempt.told + attempt.delay));
        }
        assert_spread("first attempts", first, clients.len());
        let accepted = world.server_books.accepted();
        assert_spread("arrivals", accepted.into_iter().filter(|at| *at > lost), clients.len());
        let answered = ask_all(&world, &clients, next, 1, seed).await;
        assert!(answered.iter().all(|asked| asked.outcome.is_ok()), "after the restart");
        asked.extend(answered);
        next += 4;
    }
    for (client, _) in &clients {
        client.disconnect().await;
    }
    let notes = world.check(&server, &asked).await;
    for (_, books) in &clients {
        books.check("client");
    }
    Trace::new(&link, notes)
}

async fn client(world: &World<Net>, books: Books) -> Client {
    Client::builder(world.near(false))
        .session(world.session)
        .limits(world.limits)
        .reconnect(world.reconnect)
        .request_timeout(world.request_timeout)
        .observer((books.clone(), world.client_books.clone()))
        .on_disconnected({
            let all = world.client_books.clone();
            move |session, reason| {
                books.closed(session, reason);
                all.closed(session, reason);
            }
        })
        .connect("mem://server")
        .await
        .expect("connects")
}

/// Has up to ten clients ask some things each.
async fn ask_all(
    world: &World<Net>,
    clients: &[(Client, Books)],
    from: u32,
    count: u32,
    seed: u64,
) -> Vec<Asked> {
    let asking = (0_u32..).zip(clients).take(10).map(|(me, (client, _))| {
        // A number of its own for each time that a client begins to ask.
        world.asks(client, me + 10_000 * (from + 1), count, seed, 200)
    });
    join_all(asking).await.into_iter().flatten().collect()
}

/// Waits until every client is back, which takes at most one full wait from when the server is up.
async fn come_back(world: &World<Net>, clients: &[(Client, Books)], server: &Server, up: Instant) {
    let longest = world.reconnect.max_interval + secs(2);
    let back = async {
        for (client, _) in clients {
            client.connected().await.expect("comes back");
        }
        // Who has just connected is accepted a moment later.
        while server.len() < clients.len() {
            sleep(ms(10)).await;
        }
    };
    let left = (up + longest).saturating_duration_since(Instant::now());
    timeout(left.max(secs(1)), back).await.expect("all are back one full wait after the server is");
    assert_eq!(server.len(), clients.len(), "one session for each");
}

#[test]
fn a35_a32_restart() {
    explore("restart", |seed| restart(seed, 30));
}

#[test]
fn a35_a32_restart_of_a_crowd() {
    explore_few("restart_crowd", |seed| restart(seed, 1_000));
}
