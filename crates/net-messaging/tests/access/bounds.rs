//! What somebody may use up who is not known.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use net_core::{Credentials, ErrorCode, ErrorKind, Message, MessageKind, Receiver, Sender, memory::Memory};
use net_messaging::{
    AuthenticationConfig, Client, Identity, Lockout, Reconnect, Refusal, Server, ServerConfig,
};
use net_tcp::Tcp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::Instant,
};

use crate::{
    claims::{Claimed, Heard, OneKey, attempt, reply, right, shown, wrong},
    rig::{Peer, listen, quiet, secs, settle, soon, unlimited},
};

fn bounded(authentication: AuthenticationConfig) -> ServerConfig {
    ServerConfig { session: quiet(), limits: unlimited(), authentication, ..ServerConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn a27_the_attempts_of_a_session_are_limited() {
    let memory = Memory::default();
    let told = Heard::default();
    let server = Server::builder(memory.clone()).authenticator(OneKey).observer(told.clone());
    let server = listen(server).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..3 {
        let answer = attempt(&mut peer, id, &wrong()).await;
        assert_eq!((answer.id(), reply(&answer).code), (id, ErrorCode::Unauthenticated));
    }
    // A fourth one, right as it is, finds nobody.
    peer.expect_end().await;
    let all = told.all();
    assert_eq!(all.iter().filter(|line| line.starts_with("failed")).count(), 3, "{all:?}");
    assert!(all.contains(&"limited authentication.max_attempts 1".to_owned()), "{all:?}");
    // Of three, the last may be right.
    let mut peer = Peer::connect(&memory, server.local()).await;
    attempt(&mut peer, 0, &wrong()).await;
    // Garbage is an attempt.
    peer.send(Message::new(MessageKind::Authenticate, 1, "garbage")).await;
    assert_eq!(reply(&peer.recv().await).code, ErrorCode::Invalid);
    assert_eq!(attempt(&mut peer, 2, &right("ann")).await.kind(), MessageKind::Response);
}

#[tokio::test(start_paused = true)]
async fn a27_messages_before_authentication_are_limited() {
    for kind in
        [MessageKind::Request, MessageKind::Notification, MessageKind::Heartbeat, MessageKind::Response]
    {
        let memory = Memory::default();
        let (heard, told) = (Heard::default(), Heard::default());
        let server = Server::builder(memory.clone()).authenticator(OneKey).handler(heard.clone());
        let server = listen(server.observer(told.clone())).await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        for id in 0..8 {
            peer.send(Message::new(kind, id, "")).await;
            if kind == MessageKind::Request {
                assert_eq!(reply(&peer.recv().await).code, ErrorCode::Unauthenticated);
            }
        }
        settle().await;
        assert_eq!(server.len(), 1, "{kind:?}: eight are allowed");
        peer.send(Message::new(kind, 8, "")).await;
        peer.expect_end().await;
        assert_eq!(heard.all(), Vec::<String>::new());
        assert!(told.all().contains(&"limited authentication.max_bytes 1".to_owned()), "{:?}", told.all());
    }
}

#[tokio::test(start_paused = true)]
async fn a27_bytes_before_authentication_are_limited() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone()).authenticator(OneKey)).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    // Kind and id count too.
    peer.notify(vec![0; 60_000]).await;
    peer.notify(vec![0; 65_536 - 60_000 - 18]).await;
    settle().await;
    assert_eq!(server.len(), 1);
    peer.send(Message::new(MessageKind::Heartbeat, 0, "")).await;
    peer.expect_end().await;
}

#[tokio::test]
async fn a27_a_message_that_is_not_whole_counts_too() {
    let server = Server::builder(Tcp::default()).authenticator(OneKey).listen("tcp://127.0.0.1:0").await;
    let server = server.expect("listens");
    let to = server.local().socket().expect("an IP address");
    let mut stream = tokio::net::TcpStream::connect(to).await.expect("connects");
    // It announces a megabyte, sends a tenth of it, and waits.
    stream.write_all(&[0, 15, 0, 0]).await.expect("writes");
    stream.write_all(&vec![0; 100_000]).await.expect("writes");
    let began = Instant::now();
    let read = soon("the end", stream.read(&mut [0; 100])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(began.elapsed() < secs(8), "it is not the time-out that ends it");
}

#[tokio::test]
async fn a27_an_announcement_alone_is_refused_before_authentication_and_taken_after_it() {
    let told = Heard::default();
    let server = Server::builder(Tcp::default()).authenticator(OneKey).observer(told.clone());
    let server = server.on_message(|_, message| async { Ok(message.into_reply()) });
    let server = server.listen("tcp://127.0.0.1:0").await.expect("listens");
    let to = server.local().socket().expect("an IP address");
    // Four bytes announce a megabyte.
    let mut stream = tokio::net::TcpStream::connect(to).await.expect("connects");
    stream.write_all(&[0, 16, 0, 0]).await.expect("writes");
    let began = Instant::now();
    let read = soon("the end", stream.read(&mut [0; 100])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(began.elapsed() < secs(8), "it is not the time-out that ends it");
    assert!(told.all().contains(&"limited authentication.max_bytes 1".to_owned()), "{:?}", told.all());
    // What is left of the bound counts, not the whole of it.
    let mut peer = Peer::connect(&Tcp::default(), server.local()).await;
    peer.notify(vec![0; 60_000]).await;
    peer.notify(vec![0; 10_000]).await;
    let end = soon("the end", peer.0.rx.recv()).await;
    assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
    // A megabyte right behind the credentials is taken whole.
    let mut peer = Peer::connect(&Tcp::default(), server.local()).await;
    peer.0.tx.feed(shown(0, &right("ann")).encode()).await.expect("feeds");
    let long = vec![7; (1 << 20) - Message::HEAD_LEN];
    peer.request(1, long.clone()).await;
    assert_eq!(peer.recv().await.kind(), MessageKind::Response);
    let answer = peer.recv().await;
    assert_eq!((answer.id(), &answer.payload()[..]), (1, &long[..]));
}

#[tokio::test(start_paused = true)]
async fn a27_the_time_before_authentication_is_limited() {
    for silent in [true, false] {
        let memory = Memory::default();
        let authentication = AuthenticationConfig { timeout: secs(3), ..AuthenticationConfig::default() };
        let server = Server::builder(memory.clone())
            .config(bounded(authentication))
            .on_authenticate(|_, _| pending::<Result<Identity, Refusal>>());
        let server = listen(server).await;
        let began = Instant::now();
        let mut peer = Peer::connect(&memory, server.local()).await;
        if !silent {
            let answer = attempt(&mut peer, 5, &right("ann")).await;
            assert_eq!((answer.id(), reply(&answer).code), (5, ErrorCode::TimedOut));
        }
        peer.expect_end().await;
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a27_a_decision_has_a_deadline_after_which_another_attempt_may_be_made() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone()).on_authenticate(|_, credentials: Credentials| async move {
        match credentials.get("user") {
            Some("slow") => pending().await,
            _ => Ok(Identity::new("quick")),
        }
    });
    let server = listen(server).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let began = Instant::now();
    assert_eq!(reply(&attempt(&mut peer, 1, &right("slow")).await).code, ErrorCode::TimedOut);
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(attempt(&mut peer, 2, &right("ann")).await.payload(), "quick");
}

#[tokio::test(start_paused = true)]
async fn a27_a_prefix_that_guesses_is_locked_out_and_others_are_not() {
    // Guesses come from one IPv6 network, under ever new addresses of it.
    let transport = Claimed::from_ips(|number| match number {
        100.. => "[2001:db8:1::1]".into(),
        _ => format!("[2001:db8:0:{number:x}::1]"),
    });
    let guessed = Arc::new(AtomicU32::new(0));
    let server = Server::builder(transport.clone()).config(bounded(AuthenticationConfig::default()));
    let server = server.on_authenticate({
        let guessed = guessed.clone();
        move |_, credentials: Credentials| {
            guessed.fetch_add(1, Ordering::Relaxed);
            async move {
                match credentials.get("user") {
                    Some(user) => Ok(Identity::new(user)),
                    None => Err(Refusal::unauthenticated("unknown key")),
                }
            }
        }
    });
    let told = Heard::default();
    let server = listen(server.observer(told.clone())).await;
    let began = Instant::now();
    for _ in 0..100 {
        let mut peer = Peer::connect(&transport, server.local()).await;
        for id in 0..3 {
            let refused = reply(&attempt(&mut peer, id, &wrong()).await);
            if refused.code == ErrorCode::RateLimited {
                assert!(refused.retry_after.is_some_and(|wait| wait <= secs(60)), "{refused}");
                peer.expect_end().await;
                break;
            }
        }
    }
    assert!(began.elapsed() < secs(1));
    assert_eq!(guessed.load(Ordering::Relaxed), 10, "of 300 guesses the authenticator saw ten");
    assert!(told.all().contains(&"limited authentication.lockout.max_failures_per_prefix 1".to_owned()));
    // Another network is served.
    let client = Client::builder(transport.clone()).authenticate(right("ann")).connect(server.local());
    client.await.expect("is let in");
}

/// How many decisions an authenticator was asked for.
#[derive(Debug, Default)]
struct Asked {
    /// And has not made.
    undecided: AtomicU32,
    in_all: AtomicU32,
}

/// A server with an authenticator that decides as often as it is permitted to.
async fn undecided(
    transport: &Claimed,
    config: AuthenticationConfig,
) -> (Server, Arc<Semaphore>, Arc<Asked>) {
    let decide = Arc::new(Semaphore::new(0));
    let asked = Arc::new(Asked::default());
    let server = Server::builder(transport.clone()).config(bounded(config)).on_authenticate({
        let (decide, asked) = (decide.clone(), asked.clone());
        move |_, credentials: Credentials| {
            let (decide, asked) = (decide.clone(), asked.clone());
            async move {
                asked.in_all.fetch_add(1, Ordering::Relaxed);
                asked.undecided.fetch_add(1, Ordering::Relaxed);
                decide.acquire().await.expect("is not closed").forget();
                asked.undecided.fetch_sub(1, Ordering::Relaxed);
                let user = credentials.get("user").ok_or_else(|| Refusal::unauthenticated("unknown key"))?;
                Ok(Identity::new(user))
            }
        }
    });
    (listen(server).await, decide, asked)
}

#[tokio::test(start_paused = true)]
async fn a27_guesses_made_at_once_are_as_few_as_those_made_one_by_one() {
    let transport = Claimed::from_ips(|_| "10.0.0.1".into());
    let (server, decide, asked) = undecided(&transport, AuthenticationConfig::default()).await;
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = Peer::connect(&transport, server.local()).await;
        peer.send(shown(0, &wrong())).await;
        peers.push(peer);
    }
    settle().await;
    decide.add_permits(1_000);
    let mut codes = Vec::new();
    for peer in &mut peers {
        codes.push(reply(&peer.recv().await).code);
    }
    let refused = codes.iter().filter(|code| **code == ErrorCode::Unauthenticated).count();
    let locked = codes.iter().filter(|code| **code == ErrorCode::RateLimited).count();
    assert_eq!((refused, locked), (10, 190), "{codes:?}");
    assert_eq!(asked.in_all.load(Ordering::Relaxed), 10, "of 200 guesses the authenticator saw ten");
}

#[tokio::test(start_paused = true)]
async fn a27_who_leaves_before_the_decision_has_guessed_all_the_same() {
    let transport = Claimed::from_ips(|_| "10.0.0.1".into());
    let config = AuthenticationConfig { timeout: secs(3), ..AuthenticationConfig::default() };
    let (server, decide, asked) = undecided(&transport, config).await;
    for round in 0..3 {
        let mut peers = Vec::new();
        for _ in 0..20 {
            let mut peer = Peer::connect(&transport, server.local()).await;
            peer.send(shown(0, &wrong())).await;
            peers.push(peer);
        }
        settle().await;
        assert_eq!(asked.in_all.load(Ordering::Relaxed), 10, "round {round}");
        for mut peer in peers {
            let code = reply(&peer.recv().await).code;
            let expected: &[_] = if round == 0 {
                &[ErrorCode::TimedOut, ErrorCode::RateLimited]
            } else {
                &[ErrorCode::RateLimited]
            };
            assert!(expected.contains(&code), "{code:?} in round {round}");
        }
    }
    // Once one is forgiven, the right one is let in.
    tokio::time::advance(secs(60)).await;
    decide.add_permits(1);
    let client = Client::builder(transport).authenticate(right("ann")).connect(server.local());
    client.await.expect("is let in");
}

#[tokio::test(start_paused = true)]
async fn a27_many_who_know_the_secret_come_in_behind_one_address_ten_decisions_at_once() {
    let transport = Claimed::from_ips(|_| "10.0.0.1".into());
    let (server, decide, asked) = undecided(&transport, AuthenticationConfig::default()).await;
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = Peer::connect(&transport, server.local()).await;
        peer.send(shown(0, &right("ann"))).await;
        peers.push(peer);
    }
    for round in 0..200 {
        settle().await;
        let now = asked.undecided.load(Ordering::Relaxed);
        assert_eq!(now, 10.min(200 - round), "after {round} decisions");
        decide.add_permits(1);
    }
    for peer in &mut peers {
        assert_eq!(peer.recv().await.kind(), MessageKind::Response);
    }
}

#[tokio::test(start_paused = true)]
async fn a27_who_is_locked_out_comes_back_by_itself_when_it_is_told_to() {
    let transport = Claimed::from_ips(|_| "10.0.0.1".into());
    let lockout = Lockout {
        max_failures_per_prefix: std::num::NonZeroU32::MIN,
        forgiven_every: secs(40),
        ..Lockout::default()
    };
    let config = AuthenticationConfig { lockout: Some(lockout), ..AuthenticationConfig::default() };
    let server = Server::builder(transport.clone()).config(bounded(config)).authenticator(OneKey);
    let server = listen(server).await;
    let mut peer = Peer::connect(&transport, server.local()).await;
    attempt(&mut peer, 0, &wrong()).await;
    let began = Instant::now();
    let quick = Reconnect { interval: secs(1), jitter: false, ..Reconnect::default() };
    let client = Client::builder(transport).authenticate(right("ann")).reconnect(quick);
    let connecting = client.connect(server.local());
    let client = tokio::time::timeout(secs(100), connecting).await.expect("in time").expect("is let in");
    assert_eq!(began.elapsed().as_secs(), 40, "at its second attempt");
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a27_settings_without_sense_are_refused() {
    let wrong = AuthenticationConfig { max_messages: 0, ..AuthenticationConfig::default() };
    let server = Server::builder(Memory::default()).config(bounded(wrong)).authenticator(OneKey);
    assert_eq!(server.listen("mem://x").await.expect_err("nobody could").kind(), ErrorKind::InvalidConfig);
}

#[tokio::test(start_paused = true)]
async fn a27_a_peer_that_does_not_read_its_refusals_holds_nothing() {
    let memory = crate::rig::narrow();
    let server = listen(Server::builder(memory.clone()).authenticator(OneKey)).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..2 {
        peer.send(shown(id, &wrong())).await;
    }
    let began = Instant::now();
    while server.connections() > 0 {
        tokio::time::sleep(secs(1)).await;
        assert!(began.elapsed() < secs(60), "it still holds its place");
    }
    drop(peer);
}
