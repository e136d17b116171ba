//! Connections that break while clients authenticate: nobody is served whom nobody knows, and who is refused stays away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use futures_util::future::join_all;
use net_core::{Credentials, ErrorKind, Message, testing::LinkConfig};
use net_messaging::{Authenticator, CloseReason, Handler, HandlerResult, Identity, Refusal, Server, Session};
use tokio::time::sleep;

use crate::{
    books::{Ask, Books},
    explore::{Trace, explore},
    world::{Net, World, delayed, ms, secs},
};

const CLIENTS: u32 = 3;

fn key(client: u32) -> Credentials {
    Credentials::new(format!("key of {client}"))
}

/// Handles what those ask who are known, and notes whoever else comes so far.
#[derive(Clone, Debug)]
struct Known {
    books: Books,
    connected: Arc<AtomicU32>,
}

impl Handler for Known {
    async fn connected(&self, session: &Session) -> HandlerResult<()> {
        self.connected.fetch_add(1, Ordering::Relaxed);
        if session.identity().is_none() {
            self.books.wrong(format!("{} is connected, and nobody knows it", session.id()));
        }
        Ok(())
    }

    async fn message(&self, session: &Session, message: Message) -> HandlerResult {
        let ask = Ask::decode(message.payload());
        let name = session.identity().map(Identity::name);
        if name != Some(&*ask.client.to_string()) {
            self.books.wrong(format!("{ask:?} is served as {name:?}"));
        }
        self.books.message(session, message).await
    }

    async fn disconnected(&self, session: &Session, reason: &CloseReason) {
        self.books.disconnected(session, reason).await;
    }
}

/// Knows clients by their keys, but for one that is revoked; it takes its time.
#[derive(Clone, Debug, Default)]
struct Keys {
    thinks: u64,
    revoked: Arc<AtomicBool>,
    /// How often the first client asked to come in.
    attempts: Arc<AtomicU32>,
}

impl Authenticator for Keys {
    async fn authenticate(&self, _: &Session, credentials: Credentials) -> Result<Identity, Refusal> {
        let key = credentials.api_key().expose_str().map(str::to_owned).unwrap_or_default();
        sleep(ms(self.thinks)).await;
        let name = key.strip_prefix("key of ").ok_or_else(|| Refusal::unauthenticated("no such key"))?;
        if name == "0" {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            if self.revoked.load(Ordering::Relaxed) {
                return Err(Refusal::unauthenticated("revoked"));
            }
        }
        Ok(Identity::new(name))
    }
}

async fn serve(world: &World<Net>, keys: Keys) -> (Server, Known) {
    let known = Known { books: world.server_books.clone(), connected: Arc::default() };
    let server = world.server().authenticator(keys).handler(known.clone()).listen("mem://server").await;
    (server.expect("listens"), known)
}

/// Connections break, or nothing gets through for a while, at any moment of their first messages and later.
async fn broken(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = LinkConfig::both(seed, delayed(&mut rng));
    match seed % 4 {
        0 => config.cut_at = Some(ms(rng.u64(0..600))),
        1 => config.there.cut_after = Some(rng.u64(1..8)),
        2 => config.back.cut_after = Some(rng.u64(1..8)),
        _ => {
            let from = ms(rng.u64(0..400));
            let during = from..from + ms(rng.u64(200..3_000));
            let way = if rng.bool() { &mut config.there } else { &mut config.back };
            way.partitions = vec![during];
        }
    }
    let (link, world) = World::over(config);
    let keys = Keys { thinks: rng.u64(0..300), ..Keys::default() };
    let (server, known) = serve(&world, keys.clone()).await;
    let talking = (0..CLIENTS).map(|me| {
        let world = &world;
        async move {
            let client = world.client_with(|| Some(key(me))).await;
            let asked = world.asks(&client, me, 8, seed, 100).await;
            (client, asked)
        }
    });
    let guessing = async {
        loop {
            let guess = world.connect(Some(Credentials::new("a guess"))).await;
            match guess.expect_err("nobody has that key").kind() {
                ErrorKind::Unauthenticated => break,
                kind => assert!(matches!(kind, ErrorKind::Reset | ErrorKind::Closed), "{kind}"),
            }
        }
    };
    let (talked, ()) = tokio::join!(join_all(talking), guessing);
    let (clients, asked): (Vec<_>, Vec<_>) = talked.into_iter().unzip();
    let asked: Vec<_> = asked.into_iter().flatten().collect();
    assert!(known.connected.load(Ordering::Relaxed) >= CLIENTS);

    // A key that is taken back: its client is refused when it comes again, and does not come a third time.
    keys.revoked.store(true, Ordering::Relaxed);
    server.disconnect_if(|session| session.identity().is_some_and(|identity| identity.name() == "0"));
    sleep(secs(30)).await;
    let attempts = keys.attempts.load(Ordering::Relaxed);
    let refused = clients[0].request("hello").await.expect_err("is refused");
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{}", refused.report());
    sleep(secs(60)).await;
    assert_eq!(keys.attempts.load(Ordering::Relaxed), attempts, "it came again after it was refused");

    for client in &clients {
        client.disconnect().await;
    }
    let notes = world.check(&server, &asked).await;
    Trace::new(&link, notes)
}

#[test]
fn a35_authentication() {
    explore("authentication", broken);
}

/// Every connection breaks at the credentials, or at the answer to them: nobody is let in, and nobody hangs.
async fn cut(seed: u64) -> Trace {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = LinkConfig::both(seed, delayed(&mut rng));
    let there = rng.bool();
    let way = if there { &mut config.there } else { &mut config.back };
    way.cut_after = Some(0);
    let (link, world) = World::over(config);
    let (server, known) = serve(&world, Keys { thinks: rng.u64(0..300), ..Keys::default() }).await;
    for client in 0..CLIENTS {
        let error = world.connect(Some(key(client))).await.expect_err("no verdict arrives");
        assert!(matches!(error.kind(), ErrorKind::Reset | ErrorKind::Closed), "{}", error.report());
    }
    sleep(secs(10)).await;
    assert_eq!(server.len(), 0, "sessions whose connection is cut");
    let connected = known.connected.load(Ordering::Relaxed);
    assert!(connected == 0 || !there, "{connected} are let in whose credentials never arrived");
    assert_eq!(world.server_books.begun_in_all(), 0);
    let notes = world.check(&server, &[]).await;
    Trace::new(&link, notes)
}

#[test]
fn a35_cut_authentication() {
    explore("cut_authentication", cut);
}
