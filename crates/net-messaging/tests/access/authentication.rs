//! How a session becomes known, and what it may do until then.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use net_core::{
    Credentials, ErrorCode, ErrorKind, GoAwayReason, Info, Message, MessageKind, Sender, Transport,
    memory::Memory,
};
use net_messaging::{
    Client, CloseReason, Format, Identity, Pool, PoolConfig, Proof, Reconnect, Server, Session, SessionConfig,
};
use net_tcp::Tcp;
use tokio::time::Instant;

use crate::{
    claims::{Claimed, Heard, OneKey, SECRET, attempt, reply, right, shown, wrong},
    rig::{Peer, listen, ms, only, push, quiet, secs, settle, soon},
};

#[tokio::test(start_paused = true)]
async fn m13_a_session_that_is_not_known_reaches_no_handler_and_hears_nothing() {
    let memory = Memory::default();
    let heard = Heard::default();
    let server = listen(Server::builder(memory.clone()).authenticator(OneKey).handler(heard.clone())).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.notify("unheard").await;
    peer.request(7, "unheard").await;
    let answer = peer.recv().await;
    assert_eq!((answer.id(), reply(&answer).code), (7, ErrorCode::Unauthenticated));
    assert_eq!(reply(&attempt(&mut peer, 8, &wrong()).await).code, ErrorCode::Unauthenticated);
    let session = server.sessions().pop().expect("it is there");
    assert_eq!((session.identity(), session.is_active()), (None, false));
    assert_eq!(session.send("for nobody").expect_err("is not known").kind(), ErrorKind::Unauthenticated);
    let asked = session.request("for nobody").await;
    assert_eq!(asked.expect_err("is not known").kind(), ErrorKind::Unauthenticated);
    let report = server.broadcast("for those who are known");
    assert_eq!((report.sent, report.queued, report.dropped, report.full), (0, 0, 0, 0));
    settle().await;
    assert_eq!(peer.arrived(), None);
    peer.expect_end().await;
    let reason = soon("the end", session.closed()).await;
    assert_eq!(reason.error().map(net_core::Error::kind), Some(ErrorKind::TimedOut), "{reason}");
    assert_eq!(heard.all(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn m13_the_right_credentials_let_in_and_both_sides_know_who_it_is() {
    let memory = Memory::default();
    let (heard, told) = (Heard::default(), Heard::default());
    let server = Server::builder(memory.clone()).authenticator(OneKey).observer(told.clone());
    let server = listen(server.handler(heard.clone())).await;
    let client =
        Client::builder(memory).authenticate(right("ann")).connect(server.local()).await.expect("is let in");
    assert_eq!(client.request("hello").await.expect("answers").payload(), "hello");
    let identity = only(&server).await.identity().cloned().expect("is known");
    assert_eq!((identity.name(), identity.proof()), ("ann", Proof::Credentials));
    assert!(identity.has_role("reader"));
    let near = client.session().expect("is connected");
    let near = near.identity().expect("the server tells");
    assert_eq!((near.name(), near.proof()), ("ann", Proof::Server));
    soon("the end", client.disconnect()).await;
    settle().await;
    let expected = ["connected ann", "message ann hello", "disconnected ann the peer finished"];
    assert_eq!(heard.all(), expected);
    assert!(told.all().contains(&"authenticated ann".to_owned()), "{:?}", told.all());
}

#[tokio::test(start_paused = true)]
async fn m13_the_verdict_comes_before_everything_that_the_handler_sends() {
    let memory = Memory::default();
    let server = Server::builder(memory.clone())
        .authenticator(OneKey)
        .on_connected(|session| {
            push(session, "welcome");
            Ok(())
        })
        .on_message(|_, message| async { Ok(message.into_reply()) });
    let server = listen(server).await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    // What stands behind the credentials is served once they are accepted, and in order.
    peer.send(shown(0, &right("ann"))).await;
    for id in 0..100 {
        peer.request(id, "?").await;
    }
    let verdict = peer.recv().await;
    assert_eq!(
        (verdict.kind(), verdict.id(), verdict.payload().as_ref()),
        (MessageKind::Response, 0, &b"ann"[..])
    );
    assert_eq!(peer.text().await, "welcome");
    for id in 0..100 {
        let answer = peer.recv().await;
        assert_eq!((answer.kind(), answer.id()), (MessageKind::Response, id));
    }
}

#[tokio::test(start_paused = true)]
async fn m13_a_client_authenticates_anew_on_each_connection() {
    let memory = Memory::default();
    let tokens = Arc::new(AtomicU32::new(0));
    let server = Server::builder(memory.clone())
        .on_authenticate(|_, credentials: Credentials| {
            let token = credentials.api_key().expose_str().map(str::to_owned);
            async move { Ok(Identity::new(token.unwrap_or_default())) }
        })
        .on_message(|_, message| async { Ok(message.into_reply()) });
    let server = listen(server).await;
    let client = Client::builder(memory)
        .reconnect(Reconnect::default())
        .authenticate_with({
            let tokens = tokens.clone();
            move || {
                let token = tokens.fetch_add(1, Ordering::Relaxed);
                async move {
                    // As one that has to be asked for.
                    tokio::time::sleep(ms(20)).await;
                    Ok(Credentials::new(format!("token {token}")))
                }
            }
        })
        .connect(server.local())
        .await
        .expect("is let in");
    for round in 0..4 {
        // A request that comes while it reconnects waits until it is let in.
        assert_eq!(client.request("hello").await.expect("answers").payload(), "hello");
        let session = only(&server).await;
        assert_eq!(session.identity().map(Identity::name), Some(&*format!("token {round}")));
        session.disconnect();
        soon("the loss", client.session().expect("is connected").closed()).await;
    }
}

/// What a transport tells in the details of a connection.
struct Certificate(&'static str);

/// Believes certificates and keys.
#[derive(Debug)]
struct Both;

impl net_messaging::Authenticator for Both {
    async fn authenticate(
        &self,
        session: &Session,
        credentials: Credentials,
    ) -> Result<Identity, net_messaging::Refusal> {
        OneKey.authenticate(session, credentials).await
    }

    fn identify(&self, info: &Info) -> Option<Identity> {
        info.details::<Certificate>().map(|certificate| Identity::new(certificate.0))
    }
}

#[tokio::test(start_paused = true)]
async fn m13_what_the_transport_proves_is_an_identity_too() {
    let transport = Claimed::new(|number, info: Info| match number {
        0 => info.with_details(Certificate("ann")),
        1 => info.with_details(Certificate("bob")),
        _ => info,
    });
    let heard = Heard::default();
    let server = listen(Server::builder(transport.clone()).authenticator(Both).handler(heard.clone())).await;
    // One without credentials, one with both, one with credentials alone, one with nothing.
    let plain = Client::builder(transport.clone()).connect(server.local()).await.expect("is let in");
    plain.request("1").await.expect("answers");
    let both = Client::builder(transport.clone()).authenticate(right("cleo")).connect(server.local());
    let both = both.await.expect("is let in");
    both.request("2").await.expect("answers");
    let near = both.session().expect("is connected");
    assert_eq!(near.identity().map(Identity::name), Some("bob"), "what the transport proved stands");
    let token = Client::builder(transport.clone()).authenticate(right("dan")).connect(server.local());
    let token = token.await.expect("is let in");
    token.request("3").await.expect("answers");
    let mut proofs: Vec<_> = server
        .sessions()
        .iter()
        .filter_map(|session| {
            session.identity().map(|identity| (identity.name().to_owned(), identity.proof()))
        })
        .collect();
    proofs.sort_by(|one, other| one.0.cmp(&other.0));
    let (by_transport, by_credentials) = (Proof::Transport, Proof::Credentials);
    let expected = [("ann", by_transport), ("bob", by_transport), ("dan", by_credentials)]
        .map(|(n, p)| (n.to_owned(), p));
    assert_eq!(proofs, expected);
    let mut nobody = Peer::connect(&transport, server.local()).await;
    nobody.request(1, "?").await;
    assert_eq!(reply(&nobody.recv().await).code, ErrorCode::Unauthenticated);
}

#[tokio::test(start_paused = true)]
async fn m13_the_raw_format_has_identities_of_the_transport_alone() {
    let transport =
        Claimed::new(|number, info: Info| if number == 0 { info.with_details(7_u8) } else { info });
    let raw = SessionConfig { format: Format::Raw, ..quiet() };
    let builder = || Server::builder(transport.clone()).session(raw);
    let refused = builder().authenticator(OneKey).listen("mem://server").await.expect_err("cannot be");
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    let refused = Client::builder(transport.clone()).session(raw).authenticate(wrong());
    let refused = refused.connect("mem://server").await.expect_err("cannot be");
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);

    let heard = Heard::default();
    let by_number = |info: &Info| info.details::<u8>().map(|number| Identity::new(number.to_string()));
    let server = listen(builder().on_identify(by_number).handler(heard.clone())).await;
    let mut known = transport.connect(server.local()).await.expect("connects");
    known.send("hello").await.expect("sends");
    assert_eq!(soon("the echo", known.recv()).await.expect("receives").as_deref(), Some(&b"hello"[..]));
    let mut unknown = transport.connect(server.local()).await.expect("connects");
    unknown.send("unheard").await.expect("sends");
    assert!(matches!(soon("the end", unknown.recv()).await, Ok(None)));
    assert_eq!(heard.all(), ["connected 7", "message 7 hello"]);
}

#[tokio::test(start_paused = true)]
async fn m13_a_pool_shows_credentials_on_each_of_its_connections() {
    let memory = Memory::default();
    let heard = Heard::default();
    let server = listen(Server::builder(memory.clone()).authenticator(OneKey).handler(heard.clone())).await;
    let pool = Pool::new([server.local()], PoolConfig::default(), move || {
        Client::builder(memory.clone()).authenticate(right("pool"))
    });
    let pool = pool.expect("is valid");
    let (one, other) = tokio::join!(pool.acquire(), pool.acquire());
    one.expect("a connection").request("1").await.expect("answers");
    other.expect("a connection").request("2").await.expect("answers");
    assert_eq!(heard.all().iter().filter(|line| *line == "connected pool").count(), 2);
}

#[tokio::test]
async fn m13_it_holds_over_tcp_and_for_the_blocking_client() {
    let heard = Heard::default();
    let server = Server::builder(Tcp::default()).authenticator(OneKey).handler(heard.clone());
    let server = server.listen("tcp://127.0.0.1:0").await.expect("listens");
    let to = server.local().clone();
    let blocking = tokio::task::spawn_blocking(move || {
        // A thread without a runtime, as the blocking client asks for.
        std::thread::spawn(move || {
            let client = Client::builder(Tcp::default()).authenticate(right("ann")).connect_blocking(&to)?;
            let answer = client.request("hello")?;
            client.disconnect()?;
            let refused = Client::builder(Tcp::default()).authenticate(wrong()).connect_blocking(&to);
            Ok::<_, net_core::Error>((answer, refused.expect_err("is refused").kind()))
        })
        .join()
        .expect("does not panic")
    });
    let (answer, refused) = soon("the client", blocking).await.expect("runs").expect("is let in");
    assert_eq!((answer.payload().as_ref(), refused), (&b"hello"[..], ErrorKind::Unauthenticated));
    // Bytes of a foreign client: the frame, the kind, the id, key, no metadata.
    let mut peer = Peer::connect(&Tcp::default(), server.local()).await;
    let mut payload = vec![0, u8::try_from(SECRET.len()).expect("short")];
    payload.extend_from_slice(SECRET.as_bytes());
    payload.push(0);
    peer.send(Message::new(MessageKind::Authenticate, u64::MAX, payload)).await;
    let verdict = peer.recv().await;
    assert_eq!(
        (verdict.kind(), verdict.id(), verdict.payload().as_ref()),
        (MessageKind::Response, u64::MAX, &b"nobody"[..])
    );
    peer.request(1, "hello").await;
    assert_eq!(peer.text().await, "hello");
    // Its session may still come to its end.
    let (connected, messages): (Vec<_>, Vec<_>) = heard
        .all()
        .into_iter()
        .filter(|line| !line.starts_with("disconnected"))
        .partition(|line| line.starts_with("connected"));
    assert_eq!(connected, ["connected ann", "connected nobody"]);
    assert_eq!(messages, ["message ann hello", "message nobody hello"]);
}

#[tokio::test(start_paused = true)]
async fn m13_what_else_ends_a_session_ends_it_before_it_is_known_too() {
    for what in ["drain", "panic", "disconnect", "loss", "garbage"] {
        let memory = Memory::default();
        let heard = Heard::default();
        let server = Server::builder(memory.clone())
            .on_authenticate(move |_, _| async move {
                assert!(what != "panic", "an authenticator panics");
                pending().await
            })
            .handler(heard.clone());
        let server = listen(server).await;
        let mut peer = Peer::connect(&memory, server.local()).await;
        settle().await;
        let session = server.sessions().pop().expect("it is there");
        if what == "drain" {
            assert_eq!(soon("the drain", server.drain(secs(0)..=secs(5))).await.cut, 0);
        } else if what == "disconnect" {
            peer.send(shown(1, &right("ann"))).await;
            settle().await;
            session.disconnect();
        } else if what == "loss" {
            drop(peer);
        } else if what == "garbage" {
            peer.0.tx.send("no message").await.expect("sends");
        } else {
            peer.send(shown(1, &right("ann"))).await;
        }
        let reason = soon(what, session.closed()).await;
        let expected = match what {
            "drain" => matches!(reason, CloseReason::Drained),
            "panic" => matches!(reason, CloseReason::Panicked),
            "disconnect" => matches!(reason, CloseReason::ByUs),
            "loss" => matches!(reason, CloseReason::ByPeer),
            _ => matches!(&reason, CloseReason::Failed(error) if error.kind() == ErrorKind::Protocol),
        };
        assert!(expected, "{what}: {reason}");
        assert_eq!(heard.all(), Vec::<String>::new(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn m13_who_becomes_known_while_the_server_drains_is_told_to_go() {
    // By credentials, and by what the transport proves.
    for by_transport in [false, true] {
        let memory = Memory::default();
        let heard = Heard::default();
        let server = Server::builder(memory.clone()).handler(heard);
        let server = if by_transport {
            listen(server.on_identify(|_| Some(Identity::new("ann")))).await
        } else {
            listen(server.authenticator(OneKey)).await
        };
        // Nobody has accepted the late ones yet: the server's loop has not run since.
        let mut early = Peer::connect(&memory, server.local()).await;
        settle().await;
        let mut late = Peer::connect(&memory, server.local()).await;
        let draining = tokio::spawn({
            let server = server.clone();
            async move { server.drain(secs(2)..=secs(5)).await }
        });
        settle().await;
        for peer in [&mut early, &mut late] {
            if !by_transport {
                let verdict = attempt(peer, 0, &right("ann")).await;
                assert_eq!(verdict.kind(), MessageKind::Response, "the verdict comes first");
            }
            assert_eq!(peer.sent_away().await.reason, GoAwayReason::Draining);
            peer.request(1, "hello").await;
            assert_eq!(peer.text().await, "hello");
            settle().await;
            assert_eq!(peer.arrived(), None, "it is told once");
        }
        drop((early, late));
        let report = soon("the drain", draining).await.expect("runs");
        assert_eq!((report.active, report.cut), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn m13_a_client_that_is_let_in_while_the_server_drains_goes_to_the_next_one() {
    let memory = Memory::default();
    let decide = Arc::new(tokio::sync::Semaphore::new(0));
    let server = Server::builder(memory.clone()).session(quiet()).on_authenticate({
        let decide = decide.clone();
        move |_, _: Credentials| {
            let decide = decide.clone();
            async move {
                decide.acquire().await.expect("is not closed").forget();
                Ok(Identity::new("ann"))
            }
        }
    });
    let server = listen(server).await;
    let reconnect = Reconnect { interval: ms(100), jitter: false, ..Reconnect::default() };
    let connecting = tokio::spawn({
        let client = Client::builder(memory.clone()).authenticate(right("ann")).reconnect(reconnect);
        let to = server.local().clone();
        async move { client.connect(&to).await }
    });
    settle().await;
    let began = Instant::now();
    let draining = tokio::spawn({
        let server = server.clone();
        async move { server.drain(secs(60)..=secs(100)).await }
    });
    settle().await;
    decide.add_permits(1);
    let report = soon("the drain", draining).await.expect("runs");
    assert!(began.elapsed() < secs(1), "it leaves at once, not after {:?}", began.elapsed());
    assert_eq!((report.active, report.cut), (1, 0));
    drop(connecting);
}
