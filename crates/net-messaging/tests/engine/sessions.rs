//! Sessions: their numbers, figures and attributes, and many senders at once.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use net_core::{ErrorKind, Info, Message, MessageKind, Observer, memory::Memory};
use net_messaging::{
    Client, ClientBuilder, ClientState, CloseReason, Server, ServerBuilder, Session, SessionConfig,
    SessionState, SessionStats, Sessions,
};
use net_tcp::Tcp;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tokio::sync::mpsc;

use crate::rig::{Peer, Ruled, echo, listen, ms, only, patient, push, secs, settle, soon, turn};

assert_impl_all!(Server: Send, Sync, Clone);
assert_impl_all!(Client: Send, Sync, Clone);
assert_impl_all!(Session: Send, Sync, Clone);
assert_impl_all!(Sessions: Send, Sync, Clone);
assert_impl_all!(Message: Send, Sync, Clone);
assert_impl_all!(ClientState: Send, Sync);
assert_impl_all!(CloseReason: Send, Sync);
assert_impl_all!(ServerBuilder<Tcp>: Send, Sync);
assert_impl_all!(ClientBuilder<Tcp>: Send, Sync);
assert_not_impl_any!(Session: Copy);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d1_ids_are_unique_and_the_count_is_exact_under_churn() {
    let memory = Memory::default();
    let ids = Arc::new(Mutex::new(HashSet::new()));
    let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = listen(
        Server::builder(memory.clone())
            .on_connected({
                let (ids, opened) = (ids.clone(), opened.clone());
                move |session| {
                    assert!(ids.lock().expect("not poisoned").insert(session.id()), "{} again", session.id());
                    opened.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            })
            .on_disconnected({
                let closed = closed.clone();
                move |_, _| {
                    closed.fetch_add(1, Ordering::Relaxed);
                }
            })
            .on_message(|_, message| async { Ok(message.into_reply()) }),
    )
    .await;
    let stay: Vec<_> = {
        let mut tasks = Vec::new();
        for worker in 0..8_u32 {
            let (memory, to) = (memory.clone(), server.local().clone());
            tasks.push(tokio::spawn(async move {
                let mut stay = Vec::new();
                for n in 0..100_u32 {
                    let client = Client::builder(memory.clone()).connect(&to).await.expect("connects");
                    client.request("hello").await.expect("answers");
                    match (worker + n) % 4 {
                        0 => stay.push(client),
                        1 => client.disconnect().await,
                        2 => client.session().expect("is connected").disconnect(),
                        _ => drop(client),
                    }
                }
                stay
            }));
        }
        let mut stay = Vec::new();
        for task in tasks {
            stay.extend(soon("the clients", task).await.expect("runs"));
        }
        stay
    };
    assert_eq!(stay.len(), 200);
    soon("those that left", async {
        // A handler hears of the end before the session is no longer found.
        while closed.load(Ordering::Relaxed) < 600 || server.connections() > 200 || server.len() > 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((server.len(), server.sessions().len(), server.connections()), (200, 200, 200));
    assert_eq!(ids.lock().expect("not poisoned").len(), 800);
    let listed: HashSet<_> = server.sessions().iter().map(Session::id).collect();
    assert_eq!(listed.len(), 200);
    assert!(listed.iter().all(|id| server.get(*id).is_some_and(|session| session.id() == *id)));
    // Those that stay can still be reached.
    for client in &stay {
        client.request("still here").await.expect("answers");
    }
    drop(stay);
    soon("the last", async {
        while !server.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(opened.load(Ordering::Relaxed), 800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d2_concurrent_senders_stay_whole_messages_in_the_order_of_each() {
    const SENDERS: u32 = 8;
    const EACH: u32 = 500;
    let server =
        Server::builder(Tcp::default()).rules(patient()).listen("tcp://127.0.0.1:0").await.expect("listens");
    let mut peer = Peer::connect(&Tcp::default(), server.local()).await;
    let session = soon("the session", only(&server)).await;
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let (session, server) = (session.clone(), server.clone());
        senders.push(tokio::spawn(async move {
            for n in 0..EACH {
                // Its length and every byte tell whose message it is; some are copied, some kept as they are.
                let len = 8 + (n as usize * 37) % 12_000;
                let mut payload = vec![u8::try_from(sender).expect("few"); len];
                payload[..4].copy_from_slice(&sender.to_be_bytes());
                payload[4..8].copy_from_slice(&n.to_be_bytes());
                match n % 3 {
                    0 => session.send_wait(payload).await.expect("sends"),
                    1 => loop {
                        if session.send(payload.clone()).expect("sends").is_accepted() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    },
                    _ => loop {
                        let report = server.broadcast(payload.clone());
                        if report.sent + report.queued == 1 {
                            break;
                        }
                        tokio::task::yield_now().await;
                    },
                }
            }
        }));
    }
    let mut next = HashMap::new();
    for _ in 0..SENDERS * EACH {
        let message = peer.recv().await;
        let payload = message.payload();
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        let (sender, n) = (number(0), number(4));
        let expected = next.entry(sender).or_insert(0);
        assert_eq!(n, *expected, "of sender {sender}");
        *expected += 1;
        assert_eq!(payload.len(), 8 + (n as usize * 37) % 12_000);
        assert!(payload[8..].iter().all(|byte| u32::from(*byte) == sender), "bytes of another message");
    }
    for sender in senders {
        sender.await.expect("sends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m17_a_server_a_client_and_a_message_are_shared_by_many_threads() {
    let memory = Memory::default();
    let server = listen(
        Server::builder(memory.clone())
            .rules(SessionConfig { max_concurrent: 32, ..SessionConfig::default() })
            .on_message(|_, message| async { Ok(message.into_reply()) }),
    )
    .await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    let shared = Message::from("shared");
    let mut tasks = Vec::new();
    for thread in 0..16 {
        let (client, server, shared) = (client.clone(), server.clone(), shared.clone());
        tasks.push(tokio::spawn(async move {
            for n in 0..200 {
                let text = format!("{thread} {n}");
                assert_eq!(client.request(text.clone()).await.expect("answers").payload(), &text);
                assert_eq!(server.broadcast(shared.clone()).full, 0);
            }
        }));
    }
    for task in tasks {
        soon("a thread", task).await.expect("runs");
    }
    assert_eq!(client.session().expect("is connected").stats().requests_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn m6_attributes_are_typed_and_a_wrong_type_is_an_error() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone())).await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    assert_eq!(session.attribute::<String>("name").expect("nothing is no error"), None);
    session.set_attribute("name", String::from("first"));
    session.set_attribute("name", String::from("second"));
    session.set_attribute("number", 7_u32);
    let same = server.get(session.id()).expect("it lives");
    assert_eq!(same.attribute::<String>("name").expect("a string").expect("set").as_str(), "second");
    let error = session.attribute::<u32>("name").expect_err("another type");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.report().contains("\"name\"") && error.report().contains("u32"), "{}", error.report());
    assert!(session.remove_attribute("name") && !session.remove_attribute("name"));
    assert_eq!(session.attribute::<u32>("number").expect("a number").as_deref(), Some(&7));
    // They last as long as anybody holds the session, also after its end.
    session.disconnect();
    settle().await;
    assert_eq!(session.attribute::<u32>("number").expect("a number").as_deref(), Some(&7));
}

#[tokio::test(start_paused = true)]
async fn m6_sessions_are_listed_and_disconnected_one_by_one_and_by_predicate() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let mut peers = Vec::new();
    for n in 0..10_u32 {
        peers.push(Peer::connect(&memory, server.local()).await);
        while server.sessions().iter().filter(|session| session.is_active()).count() <= n as usize {
            tokio::task::yield_now().await;
        }
        for session in server.sessions() {
            if session.attribute::<u32>("n").expect("typed").is_none() {
                session.set_attribute("n", n);
            }
        }
    }
    let number = |session: &Session| *session.attribute::<u32>("n").expect("typed").expect("set");
    let odd = server.disconnect_if(|session| number(session) % 2 == 1);
    assert_eq!(odd, 5);
    let mut even = Vec::new();
    for (n, mut peer) in peers.into_iter().enumerate() {
        match n % 2 {
            1 => peer.expect_end().await,
            _ => even.push(peer),
        }
    }
    let id = server.sessions().iter().find(|session| number(session) == 4).expect("it stays").id();
    assert!(server.disconnect(id));
    even.remove(2).expect_end().await;
    while server.len() > 4 {
        tokio::time::sleep(ms(10)).await;
    }
    assert!(!server.disconnect(id), "it is gone");
    let mut left: Vec<_> = server.sessions().iter().map(number).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 2, 6, 8]);
}

#[tokio::test(start_paused = true)]
async fn m6_age_and_idle_time_are_told() {
    let memory = Memory::default();
    let server = echo(&memory, patient()).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    tokio::time::sleep(secs(60)).await;
    assert_eq!((session.age().as_secs(), session.idle_time().as_secs()), (60, 60));
    peer.request(1, "").await;
    peer.recv().await;
    assert!(session.idle_time() < secs(1));
    tokio::time::sleep(secs(30)).await;
    push(&session, "x");
    settle().await;
    assert!(session.idle_time() < secs(1), "what is sent counts");
    assert_eq!(session.age().as_secs(), 90);
    assert_eq!(session.info().remote, *server.local());
    assert_eq!(session.info().id, session.id());
}

/// Adds up what observers are told.
#[derive(Debug, Default)]
struct Totals(Mutex<(u64, u64, u64, u64)>);

impl Observer for Totals {
    fn received(&self, _: &Info, messages: u64, bytes: u64) {
        let mut totals = self.0.lock().expect("not poisoned");
        (totals.0, totals.1) = (totals.0 + messages, totals.1 + bytes);
    }

    fn sent(&self, _: &Info, messages: u64, bytes: u64) {
        let mut totals = self.0.lock().expect("not poisoned");
        (totals.2, totals.3) = (totals.2 + messages, totals.3 + bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn m6_figures_are_exact_on_both_sides() {
    let memory = Memory::default();
    let totals = Arc::new(Totals::default());
    let server = listen(
        Server::builder(memory.clone())
            .observer(totals.clone())
            .rules(patient())
            .on_message(|_, message| async { Ok(message.into_reply()) }),
    )
    .await;
    let client = Client::builder(memory).rules(patient()).connect(server.local()).await.expect("connects");
    let mut sum = 0;
    for n in 0..1_000_usize {
        let len = n * 7 % 3_000;
        client.request(vec![0; len]).await.expect("answers");
        sum += len as u64;
    }
    let (near, far) = (client.session().expect("is connected"), only(&server).await);
    settle().await;
    let SessionStats { received_messages, received_bytes, sent_messages, sent_bytes, .. } = far.stats();
    assert_eq!((received_messages, received_bytes, sent_messages, sent_bytes), (1_000, sum, 1_000, sum));
    let SessionStats { received_messages, received_bytes, sent_messages, sent_bytes, .. } = near.stats();
    assert_eq!((received_messages, received_bytes, sent_messages, sent_bytes), (1_000, sum, 1_000, sum));
    let told = *totals.0.lock().expect("not poisoned");
    assert_eq!(told, (1_000, sum, 1_000, sum));
}

#[tokio::test(start_paused = true)]
async fn m5_a_session_goes_through_its_states_in_order() {
    let memory = Memory::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = listen(
        Server::builder(memory.clone())
            .on_connected({
                let tell = tell.clone();
                move |session| Ok(tell.send(session.state())?)
            })
            .on_message({
                let tell = tell.clone();
                move |session, _| {
                    tell.send(session.state()).expect("is heard");
                    async { Ok(None) }
                }
            })
            .on_disconnected(move |session, _| tell.send(session.state()).expect("is heard")),
    )
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.send(Message::new(MessageKind::Notification, 0, "")).await;
    let session = only(&server).await;
    settle().await;
    drop(peer);
    session.closed().await;
    let mut seen = Vec::new();
    while let Ok(state) = told.try_recv() {
        seen.push(state);
    }
    assert_eq!(seen, [SessionState::Created, SessionState::Active, SessionState::Disconnecting]);
    assert_eq!(session.state(), SessionState::Closed);
}

/// Counts the sessions that are open, as a metric does.
#[derive(Debug, Default)]
struct Gauge(std::sync::atomic::AtomicIsize, AtomicUsize);

impl Observer for Gauge {
    fn opened(&self, _: &Info) {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn closed(&self, _: &Info, _: Option<&net_core::Error>) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_are_told_of_as_many_ends_as_beginnings() {
    let memory = Memory::default();
    let gauge = Arc::new(Gauge::default());
    let turn = AtomicUsize::new(0);
    let server = listen(Server::builder(memory.clone()).observer(gauge.clone()).on_connected(move |_| {
        match turn.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Ok(()),
            1 => Err("refused")?,
            _ => panic!("on purpose"),
        }
    }))
    .await;
    for _ in 0..9 {
        let peer = Peer::connect(&memory, server.local()).await;
        settle().await;
        drop(peer);
        settle().await;
    }
    while server.connections() > 0 {
        tokio::time::sleep(ms(100)).await;
    }
    assert_eq!((gauge.0.load(Ordering::Relaxed), gauge.1.load(Ordering::Relaxed)), (0, 9));
}

#[tokio::test(start_paused = true)]
async fn observers_are_told_of_no_end_of_a_session_that_never_began() {
    let memory = Memory::default();
    let gauge = Arc::new(Gauge::default());
    let server = listen(Server::builder(memory.clone()).observer(gauge.clone())).await;
    let stopping = tokio::spawn({
        let mut peers = Vec::new();
        for _ in 0..9 {
            peers.push(Peer::connect(&memory, server.local()).await);
        }
        async move {
            while server.is_empty() {
                turn().await;
            }
            // They are accepted, and their tasks have not run yet.
            drop((server, peers));
        }
    });
    soon("the stop", stopping).await.expect("stops");
    settle().await;
    assert_eq!((gauge.0.load(Ordering::Relaxed), gauge.1.load(Ordering::Relaxed)), (0, 0));
}

/// Looks at its session when it is dropped.
struct Nosy(Session);

impl Drop for Nosy {
    fn drop(&mut self) {
        let seen = self.0.attribute::<u32>("seen").expect("a number").map_or(0, |seen| *seen);
        self.0.set_attribute("seen", seen + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn d3_an_attribute_may_use_its_session_when_it_is_dropped() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).rules(patient())).await;
    let _peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    session.set_attribute("nosy", Nosy(session.clone()));
    session.set_attribute("nosy", Nosy(session.clone()));
    assert!(session.remove_attribute("nosy"));
    assert_eq!(session.attribute::<u32>("seen").expect("a number").as_deref(), Some(&2));
}
