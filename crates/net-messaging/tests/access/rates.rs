//! How often peers may ask.

use std::{num::NonZeroU32, time::Duration};

use net_core::{ErrorCode, ErrorKind, Message, MessageKind, Sender, Transport, memory::Memory};
use net_messaging::{
    Client, CloseReason, Format, Limits, OutboxConfig, RateKey, RateLimit, Server, ServerConfig,
    SessionConfig,
};
use net_tcp::Tcp;
use tokio::time::Instant;

use crate::{
    claims::{Claimed, Heard, OneKey, reply, right},
    rig::{Peer, Ruled, listen, ms, narrow, only, patient, quiet, secs, settle, soon, unlimited},
};

fn limit(key: RateKey, per_second: u32, burst: u32) -> RateLimit {
    let number = |n| NonZeroU32::new(n).expect("not 0");
    RateLimit { burst: number(burst), ..RateLimit::per_second(key, number(per_second)) }
}

#[tokio::test(start_paused = true)]
async fn m14_a_request_over_the_limit_is_answered_by_an_error_that_tells_when_to_retry() {
    let memory = Memory::default();
    let (told, heard) = (Heard::default(), Heard::default());
    let server = Server::builder(memory.clone()).rules(patient()).observer(told.clone());
    let server = listen(server.rate_limit(limit(RateKey::Session, 2, 3)).handler(heard.clone())).await;
    let client = Client::builder(memory).rules(patient()).connect(server.local()).await.expect("connects");
    for _ in 0..3 {
        client.request("?").await.expect("is within the burst");
    }
    for _ in 0..10 {
        let error = client.request("too soon").await.expect_err("is over the limit");
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Rejected, Some(ms(500))));
        assert_eq!(error.reply().map(|reply| reply.code), Some(ErrorCode::RateLimited));
        assert!(error.is_retryable());
    }
    // Who keeps to what it is told is served each time.
    for _ in 0..5 {
        tokio::time::sleep(ms(500)).await;
        client.request("in time").await.expect("is within the rate");
    }
    let far = only(&server).await;
    assert_eq!(far.stats().limited_messages, 10);
    let refused: u64 = told
        .all()
        .iter()
        .filter_map(|line| line.strip_prefix("limited rate_limits ")?.parse::<u64>().ok())
        .sum();
    assert_eq!(refused, 10);
    assert_eq!(heard.all().iter().filter(|line| line.contains("too soon")).count(), 0);
    assert_eq!(heard.all().iter().filter(|line| line.starts_with("message")).count(), 8);
}

#[tokio::test(start_paused = true)]
async fn m14_a_notification_over_the_limit_is_dropped_and_counted() {
    let memory = Memory::default();
    let heard = Heard::default();
    let server = Server::builder(memory.clone()).rules(patient()).handler(heard.clone());
    let server = listen(server.rate_limit(limit(RateKey::Session, 1, 5))).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for _ in 0..100 {
        peer.notify("x").await;
    }
    for _ in 0..5 {
        assert_eq!(peer.text().await, "x");
    }
    settle().await;
    assert_eq!(peer.arrived(), None);
    assert_eq!(only(&server).await.stats().limited_messages, 95);
}

#[tokio::test(start_paused = true)]
async fn m14_heartbeats_and_answers_never_count() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone()).rules(patient()).on_message(|session, _| {
        let session = session.clone();
        async move {
            // Many requests of the server, whose answers must all arrive.
            for _ in 0..50 {
                session.request("what?").await?;
            }
            Ok(Message::from("done"))
        }
    });
    let server = listen(server.rate_limit(limit(RateKey::Session, 1, 2))).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for _ in 0..100 {
        peer.send(Message::new(MessageKind::Heartbeat, 0, "")).await;
    }
    peer.notify("go").await;
    for _ in 0..50 {
        let asked = peer.recv().await;
        peer.send(asked.into_reply()).await;
    }
    assert_eq!(peer.text().await, "done");
    assert_eq!(only(&server).await.stats().limited_messages, 0);
}

/// Asks until it is limited, and returns how often it was served.
async fn served(client: &Client) -> u32 {
    let mut served = 0;
    while client.request("?").await.is_ok() {
        served += 1;
        assert!(served < 1_000, "it is not limited at all");
    }
    served
}

#[tokio::test(start_paused = true)]
async fn m14_the_key_tells_who_shares_a_limit() {
    // Two clients of each of two users, each user from a network of its own.
    let expected = [
        (RateKey::Session, [4, 4, 4, 4]),
        (RateKey::Identity, [4, 0, 4, 0]),
        (RateKey::IpPrefix, [4, 4, 0, 0]),
        (RateKey::Global, [4, 0, 0, 0]),
    ];
    for (key, expected) in expected {
        let transport = Claimed::from_ips(|number| format!("10.0.0.{}", number % 2));
        let server = Server::builder(transport.clone()).authenticator(OneKey);
        let server = server.on_message(|_, message| async { Ok(message.into_reply()) });
        let server = listen(server.rate_limit(limit(key, 1, 4))).await;
        let mut clients = Vec::new();
        for user in ["ann", "ann", "bob", "bob"] {
            let client = Client::builder(transport.clone()).authenticate(right(user));
            clients.push(client.connect(server.local()).await.expect("is let in"));
        }
        let mut counts = Vec::new();
        for client in &clients {
            counts.push(served(client).await);
        }
        assert_eq!(counts, expected, "{key:?}");
        // A new session does not begin anew where the key is wider than a session.
        let again = Client::builder(transport).authenticate(right("ann")).connect(server.local()).await;
        let again = served(&again.expect("is let in")).await;
        assert_eq!(again, if key == RateKey::Session { 4 } else { 0 }, "{key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn m14_several_limits_hold_at_once_and_the_narrowest_first() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone())
        .rate_limit(limit(RateKey::Global, 1, 10))
        .rate_limit(limit(RateKey::Session, 1, 4))
        .on_message(|_, message| async { Ok(message.into_reply()) });
    let server = listen(server).await;
    let mut counts = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let client = Client::builder(memory.clone()).connect(server.local()).await.expect("connects");
        counts.push(served(&client).await);
        clients.push(client);
    }
    // What a session's own limit refused did not use up what all share.
    assert_eq!(counts, [4, 4, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn m14_in_the_raw_format_what_is_over_the_limit_is_dropped_and_counted() {
    let memory = Memory::default();
    let config = SessionConfig { format: Format::Raw, ..quiet() };
    let server = Server::builder(memory.clone()).rules(config).handler(Heard::default());
    let server = listen(server.rate_limit(limit(RateKey::Session, 1, 5))).await;
    let mut peer = memory.connect(server.local()).await.expect("connects");
    for n in 0..1_000_u32 {
        peer.send(n.to_be_bytes().to_vec()).await.expect("sends");
    }
    for n in 0..5_u32 {
        let echo = soon("the echo", peer.recv()).await.expect("receives").expect("not the end");
        assert_eq!(echo[..], n.to_be_bytes());
    }
    settle().await;
    assert_eq!(only(&server).await.stats().limited_messages, 995);
}

#[tokio::test(start_paused = true)]
async fn m14_a_flood_of_requests_whose_refusals_are_not_read_is_bounded() {
    let memory = narrow();
    let outbox = OutboxConfig { max_messages: 10, ..OutboxConfig::default() };
    let config = Limits { outbox, stall_timeout: Some(secs(10)), ..unlimited() };
    let server = Server::builder(memory.clone()).rules(config).on_message(|_, _| async {
        // While it waits, the driver reads on.
        std::future::pending::<()>().await;
        Ok(None)
    });
    let server = listen(server.rate_limit(limit(RateKey::Session, 1, 1))).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let session = only(&server).await;
    let began = Instant::now();
    let mut most = 0;
    for id in 0.. {
        let body = Message::new(MessageKind::Request, id, "").encode();
        let sent = tokio::time::timeout(secs(1), peer.0.tx.send(body)).await;
        most = most.max(session.stats().waiting_messages);
        if session.close_reason().is_some() {
            break;
        }
        assert!(began.elapsed() < secs(60), "it is still there");
        if sent.is_err() {
            tokio::time::sleep(secs(1)).await;
        } else if id % 100 == 0 {
            tokio::time::sleep(ms(100)).await;
        }
    }
    assert!((1..=10).contains(&most), "{most} answers waited");
    assert!(matches!(session.close_reason(), Some(CloseReason::Stalled)), "{:?}", session.close_reason());
}

#[tokio::test(start_paused = true)]
async fn m14_a_key_that_is_quiet_is_forgotten_and_spoofed_ones_share_the_last_bucket() {
    // Each connection comes from another network.
    let transport =
        Claimed::from_ips(|number| format!("[2001:db8:{:x}:{:x}00::1]", number / 200, number % 200));
    let per_prefix = RateLimit { max_keys: 100, ..limit(RateKey::IpPrefix, 1, 2) };
    let config = ServerConfig {
        session: quiet(),
        limits: unlimited(),
        rate_limits: vec![per_prefix],
        ..ServerConfig::default()
    };
    let server = Server::builder(transport.clone()).config(config).handler(Heard::default());
    let server = listen(server).await;
    let round = async || {
        let mut served = 0;
        for _ in 0..300 {
            let mut peer = Peer::connect(&transport, server.local()).await;
            peer.request(0, "?").await;
            served += u32::from(peer.recv().await.kind() == MessageKind::Response);
        }
        served
    };
    // 100 have a bucket of their own, the others share one with a burst of two.
    assert_eq!(round().await, 102);
    // Those are forgotten, so the next 100 have one of their own.
    tokio::time::sleep(secs(30)).await;
    assert_eq!(round().await, 102);
}

#[tokio::test]
async fn m14_it_holds_over_tcp_for_clients_of_any_kind() {
    let server = Server::builder(Tcp::default())
        .rate_limit(limit(RateKey::IpPrefix, 1, 5))
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let began = Instant::now();
    let mut peer = Peer::connect(&Tcp::default(), server.local()).await;
    for id in 0..100 {
        peer.request(id, "?").await;
    }
    let mut refused = Vec::new();
    for _ in 0..100 {
        let answer = peer.recv().await;
        if answer.kind() == MessageKind::Error {
            let reply = reply(&answer);
            assert_eq!(reply.code, ErrorCode::RateLimited);
            refused.push((answer.id(), reply.retry_after.expect("is told")));
        }
    }
    // Served are the first five, and one more for each second that this machine took.
    let passed = usize::try_from(began.elapsed().as_secs()).expect("few") + 1;
    assert!((95_usize.saturating_sub(passed)..=95).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|(id, wait)| *id >= 5 && *wait <= Duration::from_secs(1)));
    // Loopback counts as one.
    let client = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
    let mut limited = 0;
    for _ in 0..5 {
        limited += u32::from(client.request("?").await.is_err());
    }
    assert!(limited >= 3, "{limited} of 5");
}

#[tokio::test]
async fn m14_a_limit_for_identities_needs_an_authenticator() {
    let server = Server::builder(Memory::default()).rate_limit(limit(RateKey::Identity, 1, 1));
    let error = server.listen("mem://x").await.expect_err("there are no identities");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn m17_identities_and_limits_may_be_used_by_threads() {
    static_assertions::assert_impl_all!(net_messaging::Identity: Send, Sync, Clone);
    static_assertions::assert_impl_all!(net_messaging::Refusal: Send, Sync, Clone);
    static_assertions::assert_impl_all!(RateLimit: Send, Sync, Copy);
    static_assertions::assert_impl_all!(net_core::Credentials: Send, Sync, Clone);
    // A secret has no text and is compared in no other way than its own.
    static_assertions::assert_not_impl_any!(net_core::ApiKey: std::fmt::Display, PartialEq);
}

#[cfg(feature = "serde")]
#[test]
fn m14_limits_and_the_bounds_of_authentication_are_configured_from_a_file() {
    let text = r#"{
        "authentication": { "timeout": "3s", "lockout": { "forgiven_every": "30s" } },
        "rate_limits": [{ "key": "ip-prefix", "per_second": 10, "burst": 20 }]
    }"#;
    let config: ServerConfig = serde_json::from_str(text).expect("a configuration");
    assert_eq!(config.authentication.timeout, secs(3));
    assert_eq!(config.authentication.lockout.expect("is on").forgiven_every, secs(30));
    assert_eq!(config.rate_limits, [limit(RateKey::IpPrefix, 10, 20)]);
    let again = serde_json::to_string(&config).expect("it can be written");
    assert_eq!(serde_json::from_str::<ServerConfig>(&again).expect("a configuration"), config);
    for wrong in
        [r#"{ "key": "session", "per_second": 0, "burst": 1 }"#, r#"{ "key": "session", "burst": 1 }"#]
    {
        serde_json::from_str::<RateLimit>(wrong).expect_err("makes no sense");
    }
}
