//! Pools of connections: reuse, bounds, health, and what a server's end does to them.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use net_core::{
    Address, Connection, ErrorCode, ErrorKind, ErrorReply, Guarantees, Message, Transport,
    memory::{Memory, MemoryListener, MemoryReceiver, MemorySender},
};
use net_messaging::{Client, HealthCheck, Pool, PoolConfig, PoolStatus, Server, Session};
use tokio::time::{Instant, advance};

/// A server that answers every request by its own name.
async fn server(memory: &Memory, name: &'static str) -> Server {
    let answer = move |_: &Session, message: Message| {
        let reply = message.reply(name);
        async move { Ok(reply) }
    };
    let builder = Server::builder(memory.clone()).on_message(answer);
    builder.listen(format!("mem://{name}")).await.expect("listens")
}

fn pool(memory: &Memory, addresses: &[&str], config: PoolConfig) -> Pool {
    let memory = memory.clone();
    Pool::new(addresses.iter().copied(), config, move || Client::builder(memory.clone())).expect("valid")
}

fn of_size(max_size: usize) -> PoolConfig {
    PoolConfig { max_size, ..PoolConfig::default() }
}

fn session(client: &Client) -> Session {
    client.session().expect("is connected")
}

#[tokio::test]
async fn m15_a_released_connection_is_used_again() {
    let memory = Memory::default();
    let server = server(&memory, "again").await;
    let pool = pool(&memory, &["mem://again"], of_size(2));
    assert_eq!(pool.status().open, 0, "nothing is connected before it is needed");
    let first = pool.acquire().await.expect("connects");
    assert_eq!(first.request("?").await.expect("answers").payload(), "again");
    let id = session(&first).id();
    let second = pool.acquire().await.expect("connects");
    assert_ne!(session(&second).id(), id);
    assert_eq!((pool.status().in_use, pool.status().idle, server.connections()), (2, 0, 2));
    drop(first);
    let third = pool.acquire().await.expect("is there");
    assert_eq!(session(&third).id(), id);
    drop((second, third));
    let PoolStatus { max_size, open, idle, in_use, waiting, .. } = pool.status();
    assert_eq!((max_size, open, idle, in_use, waiting), (2, 2, 2, 0, 0));
}

#[tokio::test]
async fn m15_a_release_serves_who_waits() {
    let memory = Memory::default();
    let _server = server(&memory, "wait").await;
    let pool = pool(&memory, &["mem://wait"], of_size(1));
    let held = pool.acquire().await.expect("connects");
    let id = session(&held).id();
    let (waiter, ()) = tokio::join!(pool.acquire(), async {
        assert_eq!(pool.status().waiting, 1);
        drop(held);
    });
    assert_eq!(session(&waiter.expect("is released")).id(), id);
}

#[tokio::test(start_paused = true)]
async fn m15_waiting_has_an_end() {
    let memory = Memory::default();
    let _server = server(&memory, "end").await;
    let config = PoolConfig { acquire_timeout: Duration::from_secs(2), ..of_size(1) };
    let pool = pool(&memory, &["mem://end"], config);
    let held = pool.acquire().await.expect("connects");
    let began = Instant::now();
    let error = pool.acquire().await.expect_err("none becomes free");
    assert_eq!((error.kind(), began.elapsed().as_secs()), (ErrorKind::TimedOut, 2));
    assert_eq!(error.report(), "acquire: timed out: no connection within 2s, of at most 1");
    drop(held);
    drop(pool.acquire().await.expect("who gave up takes no place"));
}

#[tokio::test]
async fn a33_more_waiters_than_allowed_fail_at_once() {
    let memory = Memory::default();
    let _server = server(&memory, "crowd").await;
    let pool = pool(&memory, &["mem://crowd"], PoolConfig { max_waiting: 3, ..of_size(2) });
    let held = (pool.acquire().await.expect("connects"), pool.acquire().await.expect("connects"));
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.map(drop) })
        })
        .collect();
    while pool.status().waiting < 3 {
        tokio::task::yield_now().await;
    }
    let refused = pool.acquire().now_or_never();
    assert_eq!(refused.expect("at once").expect_err("is refused").kind(), ErrorKind::Overloaded);
    drop(held);
    for waiter in waiting {
        waiter.await.expect("runs").expect("is served");
    }
    drop(pool.acquire().await.expect("there is room again"));
}

#[tokio::test]
async fn a33_a_connection_that_died_while_it_waited_is_replaced() {
    let memory = Memory::default();
    let server = server(&memory, "dead").await;
    let pool = pool(&memory, &["mem://dead"], of_size(4));
    let (one, two) = (pool.acquire().await.expect("connects"), pool.acquire().await.expect("connects"));
    let (first, second) = (session(&one), session(&two));
    drop((one, two));
    assert_eq!(server.disconnect_if(|_| true), 2);
    first.closed().await;
    second.closed().await;
    let client = pool.acquire().await.expect("connects anew");
    assert_eq!(client.request("?").await.expect("answers").payload(), "dead");
    assert_eq!(pool.status().open, 1, "the dead are gone");
}

#[tokio::test]
async fn a33_a_connection_that_died_in_use_makes_room_when_released() {
    let memory = Memory::default();
    let server = server(&memory, "broken").await;
    let pool = pool(&memory, &["mem://broken"], of_size(1));
    let client = pool.acquire().await.expect("connects");
    server.disconnect_if(|_| true);
    session(&client).closed().await;
    assert_eq!(pool.status().open, 1);
    drop(client);
    assert_eq!(pool.status().open, 0);
    pool.acquire().await.expect("connects anew").discard();
    assert_eq!(pool.status().open, 0, "what is discarded does not go back");
}

#[tokio::test]
async fn m15_addresses_are_used_in_turn_and_one_that_fails_is_passed_over() {
    let memory = Memory::default();
    let (left, right) = (server(&memory, "left").await, server(&memory, "right").await);
    let pool = pool(&memory, &["mem://left", "mem://right"], of_size(8));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire().await.expect("connects"));
    }
    assert_eq!((left.connections(), right.connections()), (2, 2));
    left.stop().await;
    drop(left);
    for _ in 0..4 {
        let client = pool.acquire().await.expect("the other address serves");
        assert_eq!(client.request("?").await.expect("answers").payload(), "right");
        held.push(client);
    }
    assert_eq!(right.connections(), 6);
}

#[tokio::test]
async fn a33_all_addresses_down_is_told_with_every_reason() {
    let pool = pool(&Memory::default(), &["mem://one", "mem://two"], of_size(1));
    for _ in 0..3 {
        let error = pool.acquire().await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Refused);
        let report = error.report();
        assert!(report.contains("mem://one") && report.contains("mem://two"), "{report}");
    }
    assert_eq!(pool.status().open, 0);
}

/// Never connects, and never says why.
#[derive(Clone)]
struct BlackHole(Memory);

impl Transport for BlackHole {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;
    type Listener = MemoryListener;

    fn guarantees(&self) -> Guarantees {
        self.0.guarantees()
    }

    async fn connect(&self, to: &Address) -> net_core::Result<Connection<MemorySender, MemoryReceiver>> {
        match to.to_string().as_str() {
            "mem://alive" => self.0.connect(to).await,
            _ => pending().await,
        }
    }

    async fn listen(&self, at: &Address) -> net_core::Result<MemoryListener> {
        self.0.listen(at).await
    }
}

#[tokio::test(start_paused = true)]
async fn a33_addresses_that_do_not_answer_cost_bounded_time() {
    let memory = Memory::default();
    let _server = server(&memory, "alive").await;
    let connect_timeout = Duration::from_secs(3);
    let config = PoolConfig { connect_timeout, acquire_timeout: Duration::from_secs(5), ..of_size(2) };
    let make = |addresses: &[&'static str]| {
        let hole = BlackHole(memory.clone());
        Pool::new(addresses.to_vec(), config.clone(), move || Client::builder(hole.clone())).expect("valid")
    };
    for (addresses, seconds) in [(&["mem://a"][..], 3), (&["mem://a", "mem://b"], 5)] {
        let began = Instant::now();
        let error = make(addresses).acquire().await.expect_err("nobody answers");
        assert_eq!((error.kind(), began.elapsed().as_secs()), (ErrorKind::TimedOut, seconds));
    }
    let began = Instant::now();
    drop(make(&["mem://a", "mem://alive"]).acquire().await.expect("the second one answers"));
    assert_eq!(began.elapsed(), connect_timeout);
}

#[tokio::test]
async fn a33_no_place_leaks() {
    let memory = Memory::default();
    let pool = pool(&memory, &["mem://leak"], PoolConfig { max_waiting: 0, ..of_size(2) });
    for _ in 0..10 {
        pool.acquire().await.expect_err("nobody listens yet");
    }
    let _server = server(&memory, "leak").await;
    for _ in 0..10 {
        // Dropped after its first poll, wherever that came to.
        drop(pool.acquire().now_or_never());
        let panicking = {
            let pool = pool.clone();
            tokio::spawn(async move {
                let _client = pool.acquire().await.expect("connects");
                panic!("on purpose");
            })
        };
        assert!(panicking.await.expect_err("panics").is_panic());
    }
    let both = (pool.acquire().await, pool.acquire().await);
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
}

#[tokio::test(start_paused = true)]
async fn m15_a_ping_finds_a_server_that_hangs() {
    let memory = Memory::default();
    let hangs = Arc::new(AtomicBool::new(false));
    let told = hangs.clone();
    let _server = Server::builder(memory.clone())
        .on_message(move |_, message| {
            let hangs = told.swap(false, Ordering::Relaxed);
            async move {
                if hangs {
                    pending::<()>().await;
                }
                Ok(message.into_reply())
            }
        })
        .listen("mem://hangs")
        .await
        .expect("listens");
    let check = HealthCheck::Ping { payload: "ping".into(), timeout: Duration::from_millis(500) };
    let pool = pool(&memory, &["mem://hangs"], PoolConfig { check, ..of_size(1) });
    let id = session(&pool.acquire().await.expect("connects")).id();
    assert_eq!(session(&pool.acquire().await.expect("answers the ping")).id(), id);
    hangs.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let client = pool.acquire().await.expect("is replaced");
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    assert_ne!(session(&client).id(), id);
}

#[tokio::test]
async fn m15_a_server_that_refuses_a_ping_is_alive() {
    let memory = Memory::default();
    let _server = Server::builder(memory.clone())
        .on_message(
            |_, _| async move { Err::<Message, _>(ErrorReply::new(ErrorCode::Unsupported, "no").into()) },
        )
        .listen("mem://refuses")
        .await
        .expect("listens");
    let check = HealthCheck::Ping { payload: "ping".into(), timeout: Duration::from_secs(5) };
    let pool = pool(&memory, &["mem://refuses"], PoolConfig { check, ..of_size(1) });
    let id = session(&pool.acquire().await.expect("connects")).id();
    assert_eq!(session(&pool.acquire().await.expect("is alive")).id(), id);
}

#[tokio::test(start_paused = true)]
async fn a33_a_clock_that_jumps_costs_at_most_a_connection() {
    let memory = Memory::default();
    let _server = server(&memory, "clock").await;
    let pool = pool(&memory, &["mem://clock"], of_size(1));
    drop(pool.acquire().await.expect("connects"));
    advance(Duration::from_hours(7 * 24)).await;
    for _ in 0..3 {
        let client = pool.acquire().await.expect("connects or is there");
        let answer = client.request("?").await;
        // A connection that both sides find dead only now is lost with its request, and replaced.
        if answer.is_ok() {
            return;
        }
        session_ended(&client).await;
    }
    panic!("no request is answered after the clock has jumped");
}

async fn session_ended(client: &Client) {
    if let Some(session) = client.session() {
        session.closed().await;
    }
}

#[tokio::test]
async fn a33_a_request_whose_connection_is_lost_is_not_sent_again() {
    let memory = Memory::default();
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let _server = Server::builder(memory.clone())
        .on_message(move |session, _| {
            count.fetch_add(1, Ordering::Relaxed);
            session.disconnect();
            async { Ok(None) }
        })
        .listen("mem://once")
        .await
        .expect("listens");
    let pool = pool(&memory, &["mem://once"], of_size(2));
    let client = pool.acquire().await.expect("connects");
    let error = client.request("pay 100").await.expect_err("its connection ends");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(served.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn m15_a_closed_pool_ends_what_waits_and_what_is_released() {
    let memory = Memory::default();
    let server = server(&memory, "closed").await;
    let pool = pool(&memory, &["mem://closed"], of_size(1));
    let held = pool.acquire().await.expect("connects");
    let (waiter, ()) = tokio::join!(pool.acquire(), async { pool.close() });
    assert_eq!(waiter.expect_err("is closed").kind(), ErrorKind::Closed);
    assert_eq!(held.request("?").await.expect("it may finish").payload(), "closed");
    let session = session(&held);
    drop(held);
    session.closed().await;
    assert!(pool.is_closed());
    assert_eq!(pool.acquire().await.expect_err("is closed").kind(), ErrorKind::Closed);
    server.stop().await;
}

#[tokio::test]
async fn a33_a_connection_of_a_runtime_that_is_gone_is_replaced() {
    let memory = Memory::default();
    let _server = server(&memory, "runtime").await;
    let pool = pool(&memory, &["mem://runtime"], of_size(1));
    let elsewhere = pool.clone();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        session(&runtime.block_on(elsewhere.acquire()).expect("connects")).id()
    });
    while !thread.is_finished() {
        tokio::task::yield_now().await;
    }
    let gone = thread.join().expect("runs");
    let client = pool.acquire().await.expect("connects here");
    assert_ne!(session(&client).id(), gone);
    assert_eq!(client.request("?").await.expect("answers").payload(), "runtime");
}

#[test]
fn m15_nonsense_is_refused() {
    let configs =
        [of_size(0), of_size(usize::MAX), PoolConfig { max_waiting: usize::MAX, ..PoolConfig::default() }];
    for config in configs {
        let refused = Pool::new(["mem://x"], config, || Client::builder(Memory::default()));
        assert_eq!(refused.expect_err("nonsense").kind(), ErrorKind::InvalidConfig);
    }
    let none = Pool::new([""; 0], of_size(1), || Client::builder(Memory::default()));
    assert_eq!(none.expect_err("no address").kind(), ErrorKind::InvalidConfig);
    let wrong = Pool::new(["x"], of_size(1), || Client::builder(Memory::default()));
    assert_eq!(wrong.expect_err("no address").kind(), ErrorKind::InvalidAddress);
}

#[test]
fn m17_a_pool_may_be_used_by_threads() {
    static_assertions::assert_impl_all!(Pool: Send, Sync, Clone);
    static_assertions::assert_impl_all!(net_messaging::PooledClient: Send, Sync);
}

#[cfg(feature = "serde")]
#[test]
fn m15_a_pool_is_configured_from_a_file() {
    let text = r#"{ "max_size": 32, "acquire_timeout": "2s", "check": { "ping": { "payload": "?", "timeout": "500ms" } } }"#;
    let config: PoolConfig = serde_json::from_str(text).expect("a configuration");
    let check = HealthCheck::Ping { payload: "?".into(), timeout: Duration::from_millis(500) };
    assert_eq!(config, PoolConfig { acquire_timeout: Duration::from_secs(2), check, ..of_size(32) });
    let again = serde_json::to_string(&config).expect("it can be written");
    assert_eq!(serde_json::from_str::<PoolConfig>(&again).expect("a configuration"), config);
    serde_json::from_str::<PoolConfig>(r#"{ "size": 32 }"#).expect_err("an unknown field is told");
}
