//! What handlers may do, how many run, and what becomes of those that fail, hang or panic.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use net_core::{
    ErrorCode, ErrorKind, ErrorReply, Info, Limit, Message, MessageKind, Observer, Transport, memory::Memory,
};
use net_messaging::{
    Client, CloseReason, Format, Handler, HandlerResult, Limits, Server, Session, SessionConfig, SessionState,
};
use tokio::sync::{Semaphore, mpsc};

use crate::rig::{Peer, Ruled, Rules, feed, listen, ms, patient, push, quiet, secs, settle, soon, unlimited};

#[tokio::test(start_paused = true)]
async fn at_concurrency_1_a_sessions_messages_are_handled_one_after_another() {
    let memory = Memory::default();
    let running = Arc::new(AtomicUsize::new(0));
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message(move |_, message| {
        let running = running.clone();
        async move {
            assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0, "another one runs");
            tokio::time::sleep(ms(10)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(message.into_reply())
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..100 {
        peer.request(id, "").await;
    }
    for id in 0..100 {
        assert_eq!(peer.recv().await.id(), id);
    }
}

#[tokio::test(start_paused = true)]
async fn max_concurrent_handlers_run_at_once_and_no_more() {
    let memory = Memory::default();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let config = SessionConfig { max_concurrent: 5, ..quiet() };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message({
        let most = most.clone();
        move |_, message| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                // Later ones are quicker, so that answers overtake one another.
                tokio::time::sleep(ms(100 - message.id())).await;
                running.fetch_sub(1, Ordering::Relaxed);
                Ok(message.into_reply())
            }
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    for id in 0..100 {
        peer.request(id, "").await;
    }
    let mut order = Vec::new();
    for _ in 0..100 {
        order.push(peer.recv().await.id());
    }
    assert_eq!(most.load(Ordering::Relaxed), 5);
    assert!(!order.is_sorted(), "answers find their requests by id, not by order");
    assert_eq!(order.into_iter().collect::<HashSet<_>>().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn limits_that_contradict_one_another_are_refused_when_the_server_starts() {
    for config in [
        Rules::from(SessionConfig { max_concurrent: 0, ..SessionConfig::default() }),
        Rules::from(Limits { max_in_flight: 0, ..Limits::default() }),
        Rules::from(SessionConfig { max_concurrent: 2, format: Format::Raw, ..SessionConfig::default() }),
    ] {
        let memory = Memory::default();
        let error = Server::builder(memory.clone())
            .rules(config)
            .listen("mem://server")
            .await
            .expect_err("contradicts itself");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let error = Client::builder(memory).rules(config).connect("mem://server").await.expect_err("as well");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
}

#[tokio::test(start_paused = true)]
async fn a30_a_handler_that_never_returns_is_answered_for_with_timed_out_and_the_next_has_its_turn() {
    for max_concurrent in [1, 4] {
        let memory = Memory::default();
        let config = Rules {
            session: SessionConfig { max_concurrent, ..quiet() },
            limits: Limits { handler_timeout: Some(secs(5)), ..unlimited() },
        };
        let server = listen(Server::builder(memory.clone()).rules(config).on_message(|_, message| async {
            if message.payload() == "for ever" {
                std::future::pending::<()>().await;
            }
            Ok(message.into_reply())
        }))
        .await;
        let client = Client::builder(memory).connect(server.local()).await.expect("connects");
        let began = tokio::time::Instant::now();
        let error = client.request("for ever").await.expect_err("times out");
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let source = std::error::Error::source(&error).expect("the peer's words");
        let reply = source.downcast_ref::<ErrorReply>().expect("an error reply");
        assert_eq!(reply.code, ErrorCode::TimedOut);
        assert!((secs(5)..secs(7)).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(client.request("quick").await.expect("answers").payload(), "quick");
    }
}

#[tokio::test(start_paused = true)]
async fn a30_one_handler_that_never_returns_is_dropped_though_others_keep_finishing() {
    let memory = Memory::default();
    let config = Rules {
        session: SessionConfig { max_concurrent: 4, ..quiet() },
        limits: Limits { handler_timeout: Some(secs(5)), ..unlimited() },
    };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(|_, message| async {
        match &message.payload()[..] {
            b"for ever" => std::future::pending::<()>().await,
            _ => tokio::time::sleep(ms(500)).await,
        }
        Ok(message.into_reply())
    }))
    .await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    let began = tokio::time::Instant::now();
    let stuck = tokio::spawn({
        let client = client.clone();
        async move { client.request("for ever").await.expect_err("times out").kind() }
    });
    while !stuck.is_finished() {
        assert_eq!(client.request("busy").await.expect("is not dropped").payload(), "busy");
        assert!(began.elapsed() < secs(20), "it holds a place for ever");
    }
    assert_eq!(stuck.await.expect("runs"), ErrorKind::Rejected);
    assert!((secs(5)..secs(8)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a30_a_handler_beside_one_that_is_dropped_goes_on() {
    let memory = Memory::default();
    let config = Rules {
        session: SessionConfig { max_concurrent: 2, ..quiet() },
        limits: Limits { handler_timeout: Some(secs(5)), ..unlimited() },
    };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(|_, message| async {
        match &message.payload()[..] {
            b"for ever" => std::future::pending::<()>().await,
            _ => tokio::time::sleep(secs(3)).await,
        }
        Ok(message.into_reply())
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    let began = tokio::time::Instant::now();
    peer.request(1, "for ever").await;
    tokio::time::sleep(secs(4)).await;
    // It waits for its own timer and nothing else when the first one is dropped.
    peer.request(2, "slow").await;
    let answers = [peer.recv().await, peer.recv().await].map(|answer| (answer.id(), answer.kind()));
    assert_eq!(answers, [(1, MessageKind::Error), (2, MessageKind::Response)]);
    assert_eq!(began.elapsed().as_secs(), 7, "its timer wakes it, not the next deadline");
}

#[tokio::test(start_paused = true)]
async fn a30_a_handler_that_never_returns_is_dropped_though_no_heartbeat_finds_room() {
    let memory = crate::rig::narrow();
    let heartbeat = Some(net_messaging::Heartbeat { interval: secs(1), missed: 1_000 });
    let config = Rules {
        session: SessionConfig { heartbeat, ..quiet() },
        limits: Limits { handler_timeout: Some(secs(5)), ..unlimited() },
    };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(|session, _| {
        for _ in 0..3 {
            push(session, "in the way");
        }
        std::future::pending::<HandlerResult>()
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    tokio::time::sleep(secs(8)).await;
    let mut kinds = Vec::new();
    while !kinds.contains(&MessageKind::Error) {
        kinds.push(peer.recv().await.kind());
    }
    assert_eq!(kinds.iter().filter(|kind| **kind == MessageKind::Notification).count(), 3, "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a30_a_handler_that_panics_ends_its_session_and_no_other() {
    for max_concurrent in [1, 4] {
        let memory = Memory::default();
        let config = SessionConfig { max_concurrent, ..SessionConfig::default() };
        let (tell, mut told) = mpsc::unbounded_channel();
        let server = listen(
            Server::builder(memory.clone())
                .rules(config)
                .on_message(|_, message| {
                    assert!(message.payload() != "at once", "before it returns a future");
                    async {
                        tokio::task::yield_now().await;
                        assert!(message.payload() != "later", "while it runs");
                        Ok(message.into_reply())
                    }
                })
                .on_disconnected(move |_, reason| tell.send(reason.to_string()).expect("is heard")),
        )
        .await;
        let other = Client::builder(memory.clone()).connect(server.local()).await.expect("connects");
        for text in ["at once", "later"] {
            let client = Client::builder(memory.clone()).connect(server.local()).await.expect("connects");
            let error = client.request(text).await.expect_err("its session ends");
            assert_eq!(error.kind(), ErrorKind::Closed);
            assert_eq!(told.recv().await, Some(CloseReason::Panicked.to_string()));
            assert_eq!(other.request("fine").await.expect("answers").payload(), "fine");
        }
        assert_eq!(server.len(), 1);
    }
}

/// Panics where it is told to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Panics {
    Connected,
    Disconnected,
    DisconnectedBeforeItsFuture,
}

impl Handler for Panics {
    async fn message(&self, _: &Session, message: Message) -> HandlerResult {
        Ok(Some(message.into_reply()))
    }

    async fn connected(&self, _: &Session) -> HandlerResult<()> {
        assert!(*self != Self::Connected, "on purpose");
        Ok(())
    }

    fn disconnected(&self, _: &Session, _: &CloseReason) -> impl Future<Output = ()> + Send {
        let panics = *self;
        assert!(panics != Self::DisconnectedBeforeItsFuture, "on purpose");
        async move { assert!(panics != Self::Disconnected, "on purpose") }
    }
}

#[tokio::test(start_paused = true)]
async fn a30_a_panic_in_any_handler_leaves_no_session_behind() {
    for panics in [Panics::Connected, Panics::Disconnected, Panics::DisconnectedBeforeItsFuture] {
        let memory = Memory::default();
        let server = listen(Server::builder(memory.clone()).handler(panics)).await;
        let client = Client::builder(memory).handler(panics).connect(server.local()).await;
        match client {
            Ok(client) => {
                assert!(panics != Panics::Connected);
                let session = client.session().expect("is connected");
                client.disconnect().await;
                session.closed().await;
                assert!(!client.is_connected());
            }
            Err(error) => assert_eq!((panics, error.kind()), (Panics::Connected, ErrorKind::Closed)),
        }
        settle().await;
        while server.connections() > 0 {
            tokio::time::sleep(ms(100)).await;
        }
        assert!(server.is_empty());
    }
}

#[tokio::test]
async fn a30_a_handler_that_blocks_its_runtime_is_told_to_the_observer() {
    #[derive(Debug)]
    struct Blocked(mpsc::UnboundedSender<std::time::Duration>);
    impl Observer for Blocked {
        fn runtime_blocked(&self, late: std::time::Duration) {
            let _ = self.0.send(late);
        }
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let memory = Memory::default();
    let config = Limits { handler_timeout: Some(ms(400)), ..Limits::default() };
    let server = listen(Server::builder(memory.clone()).limits(config).observer(Blocked(tell)).on_message(
        |_, message| async {
            // What is wrong: it blocks the thread that looks at deadlines.
            std::thread::sleep(ms(600));
            Ok(message.into_reply())
        },
    ))
    .await;
    let client = Client::builder(memory).connect(server.local()).await.expect("connects");
    client.request("").await.expect("answers");
    let late = soon("the observer", told.recv()).await.expect("is told");
    assert!(late > ms(300), "{late:?}");
}

/// Tells that it is told of an idle session or a blocked runtime, and panics.
#[derive(Debug)]
struct Careless(mpsc::UnboundedSender<&'static str>);

impl Observer for Careless {
    fn limited(&self, _: &Info, _: Limit) {
        let _ = self.0.send("limited");
        panic!("on purpose");
    }

    fn runtime_blocked(&self, _: std::time::Duration) {
        let _ = self.0.send("blocked");
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a30_an_observer_that_panics_keeps_no_deadline_from_being_looked_at() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let memory = Memory::default();
    let limits = Limits { idle_timeout: Some(secs(10)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(limits).observer(Careless(tell))).await;
    for _ in 0..2 {
        let (_one, _other) =
            (Peer::connect(&memory, server.local()).await, Peer::connect(&memory, server.local()).await);
        settle().await;
        let idle = server.sessions();
        assert_eq!(idle.len(), 2);
        for session in idle {
            let reason = tokio::time::timeout(secs(60), session.closed()).await.expect("it is looked at");
            assert!(matches!(reason, CloseReason::Idle), "{reason}");
            assert_eq!(told.recv().await, Some("limited"));
        }
        // What is wrong: it blocks the runtime; paused time goes on as if it did.
        tokio::time::advance(secs(5)).await;
        assert_eq!(told.recv().await, Some("blocked"));
    }
}

#[tokio::test(start_paused = true)]
async fn connected_comes_before_any_message_and_refuses_with_an_error() {
    let memory = Memory::default();
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = listen(
        Server::builder(memory.clone())
            .on_connected(|session| {
                assert_eq!(session.state(), SessionState::Created);
                if session.attribute::<()>("never")?.is_none() {
                    push(session, "not today");
                    Err("closed today")?;
                }
                Ok(())
            })
            .on_message(|_, _| async { panic!("a refused session handles nothing") as HandlerResult })
            .on_disconnected(move |_, reason| tell.send(reason.to_string()).expect("is heard")),
    )
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    assert_eq!(peer.text().await, "not today", "what was accepted is sent");
    peer.expect_end().await;
    drop(peer);
    assert_eq!(told.recv().await, Some(CloseReason::Refused.to_string()));
    assert!(server.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_handler_refuses_the_connection_is_not_connected() {
    let memory = Memory::default();
    let server = listen(Server::builder(memory.clone())).await;
    let error = Client::builder(memory)
        .reconnect(net_messaging::Reconnect::default())
        .on_connected(|_| Err("no")?)
        .connect(server.local())
        .await
        .expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

/// Does everything that can be done with a session, and with all sessions, in each of its handlers.
#[derive(Debug)]
struct Everything {
    everyone: net_messaging::Sessions,
    done: mpsc::UnboundedSender<&'static str>,
}

impl Everything {
    async fn try_all(&self, session: &Session, wherefrom: &'static str) {
        session.set_attribute("number", 1_u32);
        assert_eq!(session.attribute::<u32>("number").expect("a number").as_deref(), Some(&1));
        assert!(session.attribute::<u64>("number").is_err());
        assert!(session.remove_attribute("number"));
        let _ = (session.id(), session.info(), session.stats(), session.age(), session.idle_time());
        assert!(self.everyone.list().contains(session) && self.everyone.get(session.id()).is_some());
        assert!(!self.everyone.is_empty());
        let report = self.everyone.broadcast("to all");
        if wherefrom == "disconnected" {
            assert_eq!(session.send("x").expect_err("it ends").kind(), ErrorKind::Closed);
            assert_eq!(session.feed("x").expect_err("it ends").kind(), ErrorKind::Closed);
            assert_eq!(session.send_wait("x").await.expect_err("it ends").kind(), ErrorKind::Closed);
            assert_eq!(session.request("x").await.expect_err("it ends").kind(), ErrorKind::Closed);
        } else {
            assert_eq!(report.sent, 1);
            push(session, "sent");
            feed(session, "fed");
            session.flush();
            session.send_wait("waited").await.expect("sends");
            let answer = session.request("echo me").await.expect("answers");
            assert_eq!(answer.payload(), "echo me");
        }
        if wherefrom == "message" {
            session.disconnect();
            assert!(self.everyone.disconnect(session.id()));
            assert_eq!(self.everyone.disconnect_if(|other| other == session), 1);
            push(session, "after it");
        }
        self.done.send(wherefrom).expect("is heard");
    }
}

impl Handler for Everything {
    async fn message(&self, session: &Session, message: Message) -> HandlerResult {
        self.try_all(session, "message").await;
        Ok(Some(message.into_reply()))
    }

    async fn connected(&self, session: &Session) -> HandlerResult<()> {
        self.try_all(session, "connected").await;
        Ok(())
    }

    async fn disconnected(&self, session: &Session, _: &CloseReason) {
        self.try_all(session, "disconnected").await;
    }
}

#[tokio::test(start_paused = true)]
async fn d3_every_operation_is_allowed_inside_every_handler() {
    for max_concurrent in [1, 4] {
        let memory = Memory::default();
        let (done, mut is_done) = mpsc::unbounded_channel();
        let builder = Server::builder(memory.clone())
            .rules(SessionConfig { max_concurrent, ..SessionConfig::default() });
        let everyone = builder.sessions();
        let server = listen(builder.handler(Everything { everyone, done })).await;
        let client = Client::builder(memory)
            .on_message(|_, message| async {
                Ok((message.kind() == MessageKind::Request).then(|| message.into_reply()))
            })
            .connect(server.local())
            .await
            .expect("connects");
        let began = tokio::time::Instant::now();
        assert_eq!(client.request("reply").await.expect("answers").payload(), "reply");
        for wherefrom in ["connected", "message", "disconnected"] {
            assert_eq!(soon("the handler", is_done.recv()).await, Some(wherefrom));
        }
        assert!(began.elapsed() < secs(2), "something waited for a deadline: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn d3_a_handler_drains_drops_and_stops_its_own_server() {
    let memory = Memory::default();
    let server = Arc::new(std::sync::Mutex::new(None::<Server>));
    let listening = listen(Server::builder(memory.clone()).on_message({
        let server = server.clone();
        move |_, message| {
            let taken = server.lock().expect("not poisoned").take();
            async move {
                if let Some(server) = taken {
                    // Its own session is one of those that are drained: it is cut at the end, or not at all.
                    tokio::spawn(async move { server.drain(secs(0)..=secs(5)).await });
                }
                Ok(message.into_reply())
            }
        }
    }))
    .await;
    let to = listening.local().clone();
    *server.lock().expect("not poisoned") = Some(listening);
    let client = Client::builder(memory).connect(&to).await.expect("connects");
    assert_eq!(client.request("last").await.expect("answers").payload(), "last");
    let session = client.session();
    if let Some(session) = session {
        assert!(matches!(soon("the end", session.closed()).await, CloseReason::ByPeer));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_its_own_sessions_end_is_ended_with_it() {
    let memory = Memory::default();
    let config = Limits { handler_timeout: Some(secs(5)), ..unlimited() };
    let server = listen(Server::builder(memory.clone()).rules(config).on_message(|session, _| {
        let session = session.clone();
        async move {
            session.disconnect();
            session.closed().await;
            Ok(None)
        }
    }))
    .await;
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "").await;
    // It waits for itself; the handler time-out ends that.
    assert_eq!(peer.recv().await.kind(), MessageKind::Error);
    peer.expect_end().await;
    assert!(matches!(only_or_ended(&server).await, None | Some(CloseReason::ByUs)));
}

async fn only_or_ended(server: &Server) -> Option<CloseReason> {
    let session = server.sessions().pop()?;
    Some(session.closed().await)
}

#[tokio::test(start_paused = true)]
async fn a_boxed_transport_serves_the_same_handlers() {
    let memory = Memory::default();
    let server = listen(
        Server::builder(memory.clone().boxed()).on_message(|_, message| async { Ok(message.into_reply()) }),
    )
    .await;
    let client = Client::builder(memory.boxed()).connect(server.local()).await.expect("connects");
    assert_eq!(client.request("x").await.expect("answers").payload(), "x");
}

#[tokio::test(start_paused = true)]
async fn sessions_do_not_wait_for_one_anothers_handlers() {
    let memory = Memory::default();
    let gate = Arc::new(Semaphore::new(0));
    let server = listen(Server::builder(memory.clone()).rules(patient()).on_message({
        let gate = gate.clone();
        move |_, message| {
            let gate = gate.clone();
            async move {
                if message.payload() == "wait" {
                    gate.acquire().await?.forget();
                }
                Ok(message.into_reply())
            }
        }
    }))
    .await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut peer = Peer::connect(&memory, server.local()).await;
        peer.request(1, "wait").await;
        waiting.push(peer);
    }
    let mut peer = Peer::connect(&memory, server.local()).await;
    peer.request(1, "go").await;
    assert_eq!(peer.text().await, "go");
    gate.add_permits(20);
    for peer in &mut waiting {
        assert_eq!(peer.text().await, "wait");
    }
}
