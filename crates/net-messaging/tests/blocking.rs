//! The blocking client, used from plain threads against a server on a runtime of its own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use net_core::{
    Address, ErrorKind, Info, Listener, Message, MessageKind, Observer, Transport, memory::Memory,
};
use net_messaging::{Client, ClientState, CloseReason, Heartbeat, Limits, Server, SessionConfig, blocking};
use tokio::runtime::{Builder, Runtime};

/// Longer than anything here takes: a wait this long is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn sender<T>() -> (Mutex<Sender<T>>, Receiver<T>) {
    let (tx, rx) = channel();
    (Mutex::new(tx), rx)
}

fn tell<T>(to: &Mutex<Sender<T>>, value: T) {
    // A test that has seen enough listens no more.
    let _ = to.lock().expect("not poisoned").send(value);
}

/// A server that answers requests, tells notifications, and tells how sessions end.
struct Rig {
    memory: Memory,
    server: Server,
    told: Receiver<Message>,
    ends: Receiver<CloseReason>,
    _runtime: Runtime,
}

impl Rig {
    fn start() -> Self {
        let (memory, runtime) = (Memory::default(), runtime());
        let ((tell_message, told), (tell_end, ends)) = (sender(), sender());
        let builder = Server::builder(memory.clone())
            .on_message(move |_, message| {
                let answer = (message.kind() == MessageKind::Request).then(|| message.clone().into_reply());
                if answer.is_none() {
                    tell(&tell_message, message);
                }
                async move { Ok(answer) }
            })
            .on_disconnected(move |_, reason| tell(&tell_end, reason.clone()));
        let server = runtime.block_on(builder.listen("mem://blocking")).expect("listens");
        Self { memory, server, told, ends, _runtime: runtime }
    }

    fn connect(&self) -> blocking::Client {
        Client::builder(self.memory.clone()).connect_blocking(self.server.local()).expect("connects")
    }
}

#[test]
fn m3_every_operation_has_a_blocking_form() {
    let rig = Rig::start();
    let (tell_push, pushed) = sender();
    let client = Client::builder(rig.memory.clone())
        .on_message(move |_, message| {
            tell(&tell_push, message);
            async { Ok(None) }
        })
        .connect_blocking("mem://blocking")
        .expect("connects");
    assert!(client.is_connected());
    assert_eq!(client.server(), rig.server.local());
    assert_eq!(client.request("hello").expect("answers").payload(), "hello");
    assert_eq!(client.request_within("again", PATIENCE).expect("answers").payload(), "again");

    assert!(client.send("one").expect("connected").is_accepted());
    client.send_wait("two").expect("connected");
    assert!(client.feed("three").expect("connected").is_accepted());
    client.flush();
    for expected in ["one", "two", "three"] {
        assert_eq!(rig.told.recv_timeout(PATIENCE).expect("arrives").payload(), expected);
    }

    assert_eq!(rig.server.broadcast("news").sent, 1);
    assert_eq!(pushed.recv_timeout(PATIENCE).expect("the handler runs").payload(), "news");

    client.disconnect().expect("not in a runtime");
    assert_eq!(client.state(), ClientState::Disconnected);
    assert!(!client.is_connected() && client.session().is_none());
    assert_eq!(client.send("late").expect_err("is closed").kind(), ErrorKind::Closed);
    assert_eq!(client.request("late").expect_err("is closed").kind(), ErrorKind::Closed);
    assert_eq!(client.connected(PATIENCE).expect_err("is closed").kind(), ErrorKind::Closed);
    assert!(matches!(rig.ends.recv_timeout(PATIENCE), Ok(CloseReason::ByPeer)));

    client.reconnect();
    while client.connected(PATIENCE).is_err() {
        thread::yield_now();
    }
    assert_eq!(client.request("back").expect("answers").payload(), "back");
}

#[test]
fn m3_a_request_that_nobody_answers_times_out() {
    let runtime = runtime();
    let memory = Memory::default();
    let _server = runtime.block_on(Server::builder(memory.clone()).listen("mem://silent")).expect("listens");
    let client = Client::builder(memory).connect_blocking("mem://silent").expect("connects");
    let error = client.request_within("?", Duration::from_millis(50)).expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(client.is_connected());
}

#[test]
fn m3_why_there_is_no_connection_is_told() {
    let refused = Client::builder(Memory::default()).connect_blocking("mem://nobody").expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Refused);
    let wrong = Client::builder(Memory::default()).connect_blocking("nowhere").expect_err("no address");
    assert_eq!(wrong.kind(), ErrorKind::InvalidAddress);
}

/// Counts the batches that arrived, and tells each.
#[derive(Debug)]
struct Arrivals(Mutex<Sender<()>>);

impl Observer for Arrivals {
    fn received(&self, _: &Info, _: u64, _: u64) {
        tell(&self.0, ());
    }
}

#[test]
fn m8_heartbeats_go_on_between_calls() {
    let runtime = runtime();
    let memory = Memory::default();
    let (tell_arrival, arrivals) = sender();
    // Many may be late on a busy machine before either side takes the other for dead.
    let heartbeat = Some(Heartbeat { interval: Duration::from_millis(20), missed: 500 });
    let session = SessionConfig { heartbeat, ..SessionConfig::default() };
    let builder = Server::builder(memory.clone()).session(session).observer(Arrivals(tell_arrival));
    let server = runtime.block_on(builder.listen("mem://beats")).expect("listens");
    let client = Client::builder(memory).session(session).connect_blocking(server.local()).expect("connects");
    for _ in 0..10 {
        arrivals.recv_timeout(PATIENCE).expect("a heartbeat arrives while this thread calls nothing");
    }
    assert!(client.is_connected());
    assert_eq!(server.len(), 1);
}

#[test]
fn m3_inside_a_runtime_every_wait_is_an_error_and_nothing_panics() {
    let rig = Rig::start();
    let client = rig.connect();
    let second = rig.connect();
    let memory = rig.memory.clone();
    let inside = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let kinds = inside.block_on(async move {
        let connected = Client::builder(memory).connect_blocking("mem://blocking").map(drop);
        assert_eq!(
            client.request("?").expect_err("inside").report(),
            "request mem://blocking: unsupported: this thread belongs to an async runtime, which a blocking call \
             would stop; use net_messaging::Client there"
        );
        let kinds = [
            connected,
            client.request_within("?", PATIENCE).map(drop),
            client.send_wait("?"),
            client.connected(PATIENCE).map(drop),
            client.disconnect(),
        ];
        // What waits for nothing works, and the last handle may be dropped here.
        assert!(client.send("sent").expect("connected").is_accepted());
        drop(client);
        kinds.map(|result| result.expect_err("inside").kind())
    });
    assert_eq!(kinds, [ErrorKind::Unsupported; 5]);
    assert_eq!(rig.told.recv_timeout(PATIENCE).expect("arrives").payload(), "sent");
    assert!(matches!(rig.ends.recv_timeout(PATIENCE), Ok(CloseReason::ByPeer)));
    assert_eq!(second.request("outside").expect("answers").payload(), "outside");
}

#[test]
fn m3_dropping_the_last_handle_sends_what_was_accepted() {
    let rig = Rig::start();
    let client = rig.connect();
    let clone = client.clone();
    drop(client);
    for n in 0..100_u8 {
        assert!(clone.send(vec![n]).expect("connected").is_accepted());
    }
    drop(clone);
    for n in 0..100 {
        assert_eq!(rig.told.recv_timeout(PATIENCE).expect("arrives").payload()[..], [n]);
    }
    assert!(matches!(rig.ends.recv_timeout(PATIENCE), Ok(CloseReason::ByPeer)));
}

#[test]
fn m3_dropping_ends_in_bounded_time_whatever_the_peer_does() {
    let runtime = runtime();
    let memory = Memory::default();
    let at: Address = "mem://stuck".parse().expect("an address");
    let mut listener = runtime.block_on(memory.listen(&at)).expect("listens");
    let limits = Limits { close_timeout: Duration::from_millis(100), ..Limits::default() };
    let client = Client::builder(memory).limits(limits).connect_blocking(&at).expect("connects");
    // It is accepted and never read, and more waits for it than the connection takes.
    let _stuck = runtime.block_on(listener.accept()).expect("accepts");
    while client.send(vec![0; 100_000]).expect("connected").is_accepted() {}
    let began = Instant::now();
    drop(client);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn m17_threads_share_a_client() {
    static_assertions::assert_impl_all!(blocking::Client: Send, Sync, Clone);
    let rig = Rig::start();
    let client = rig.connect();
    let answered = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 0..4_u8 {
            let (client, answered) = (client.clone(), answered.clone());
            scope.spawn(move || {
                for m in 0..100 {
                    let answer = client.request(vec![n, m]).expect("answers");
                    assert_eq!(answer.payload()[..], [n, m]);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(answered.load(Ordering::Relaxed), 400);
    assert_eq!(rig.server.len(), 1);
}
