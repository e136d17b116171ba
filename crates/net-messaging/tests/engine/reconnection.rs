//! How clients lose connections and come back.

use std::sync::{Arc, Mutex};

use net_core::{
    Address, ErrorKind, Listener, Transport,
    memory::{Memory, MemoryListener},
    testing::{Faults, Link, LinkConfig},
};
use net_messaging::{Client, ClientState, Reconnect, Server};
use net_tcp::Tcp;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::rig::{Peer, Ruled, Told, ms, pair, patient, secs, settle, soon};

fn steady(max_attempts: Option<u32>) -> Reconnect {
    Reconnect { interval: secs(1), multiplier: 2.0, jitter: false, max_attempts, ..Reconnect::default() }
}

/// A state, in short.
fn short(state: &ClientState) -> String {
    match state {
        ClientState::Connecting { attempt } => format!("connecting {attempt}"),
        ClientState::Connected(_) => "connected".into(),
        ClientState::Waiting { attempt, delay } => format!("waiting {attempt} {}", delay.as_secs()),
        ClientState::Disconnected => "disconnected".into(),
        ClientState::Exhausted => "exhausted".into(),
        other => format!("{other:?}"),
    }
}

/// Writes down the states of a client from now on.
fn record(client: &Client) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let states = Arc::new(Mutex::new(vec![short(&client.state())]));
    let mut watched = client.watch_state();
    watched.mark_unchanged();
    let task = tokio::spawn({
        let states = states.clone();
        async move {
            while watched.changed().await.is_ok() {
                let state = short(&watched.borrow_and_update());
                states.lock().expect("not poisoned").push(state);
            }
        }
    });
    (states, task)
}

async fn reach(client: &Client, what: &str, wanted: impl FnMut(&ClientState) -> bool) {
    let mut watched: watch::Receiver<ClientState> = client.watch_state();
    let reached = tokio::time::timeout(secs(36_000), watched.wait_for(wanted)).await;
    drop(reached.unwrap_or_else(|_| panic!("never {what}: {:?}", client.state())).expect("the client lives"));
}

async fn bind(memory: &Memory) -> MemoryListener {
    memory.listen(&"mem://server".parse().expect("an address")).await.expect("listens")
}

async fn connect(
    memory: &Memory,
    listener: &mut MemoryListener,
    reconnect: Option<Reconnect>,
) -> (Client, Peer) {
    let mut builder = Client::builder(memory.clone()).rules(patient());
    if let Some(reconnect) = reconnect {
        builder = builder.reconnect(reconnect);
    }
    let (client, peer) = tokio::join!(builder.connect("mem://server"), Peer::accept(listener));
    (client.expect("connects"), peer)
}

#[tokio::test(start_paused = true)]
async fn m4_the_states_of_a_lost_connection_are_seen_in_order() {
    let memory = Memory::default();
    // Connecting takes a moment, so that whoever watches sees it too.
    let far = Faults { delay: ms(10), ..Faults::default() };
    let link = Link::new(memory.clone(), LinkConfig::both(0, far));
    let mut listener = bind(&memory).await;
    let builder = Client::builder(link).rules(patient()).reconnect(steady(None));
    let (client, peer) = tokio::join!(builder.connect("mem://server"), Peer::accept(&mut listener));
    let client = client.expect("connects");
    let (states, _task) = record(&client);
    drop(listener);
    drop(peer);
    reach(&client, "waiting", |state| matches!(state, ClientState::Waiting { attempt: 3, .. })).await;
    let mut listener = bind(&memory).await;
    let _peer = Peer::accept(&mut listener).await;
    reach(&client, "connected", |state| matches!(state, ClientState::Connected(_))).await;
    settle().await;
    let expected = [
        "connected",
        "waiting 1 1",
        "connecting 1",
        "waiting 2 2",
        "connecting 2",
        "waiting 3 4",
        "connecting 3",
        "connected",
    ];
    assert_eq!(*states.lock().expect("not poisoned"), expected);
}

#[tokio::test(start_paused = true)]
async fn m4_attempts_are_limited_and_then_exhausted() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    let (client, peer) = connect(&memory, &mut listener, Some(steady(Some(4)))).await;
    drop(listener);
    let began = Instant::now();
    drop(peer);
    reach(&client, "exhausted", |state| *state == ClientState::Exhausted).await;
    assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4 + 8);
    assert!(!client.is_connected());
    for error in [
        client.request("?").await.expect_err("does not come back"),
        client.send_wait("x").await.expect_err("does not come back"),
        client.send("x").expect_err("is not connected"),
        client.connected().await.expect_err("does not come back"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    // By hand it can begin anew, with all attempts.
    let mut listener = bind(&memory).await;
    client.reconnect();
    let peer = Peer::accept(&mut listener).await;
    soon("the connection", client.connected()).await.expect("connects");
    drop((listener, peer));
    reach(&client, "waiting again", |state| matches!(state, ClientState::Waiting { attempt: 1, .. })).await;
}

#[tokio::test(start_paused = true)]
async fn m4_a_reconnection_by_hand_that_fails_is_told_as_given_up() {
    let (memory, told) = (Memory::default(), Arc::new(Told::default()));
    let (client, peer, listener) = pair(&memory, |builder| builder.observer(told.clone())).await;
    drop((peer, listener));
    reach(&client, "disconnected", |state| *state == ClientState::Disconnected).await;
    assert_eq!(told.take(), Vec::<String>::new(), "it was not to come back");
    client.reconnect();
    reach(&client, "exhausted", |state| *state == ClientState::Exhausted).await;
    assert_eq!(told.take(), ["exhausted after 1"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_reconnect_setting_a_lost_connection_stays_lost() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    let (client, peer) = connect(&memory, &mut listener, None).await;
    drop(peer);
    reach(&client, "disconnected", |state| *state == ClientState::Disconnected).await;
    tokio::time::sleep(secs(3_600)).await;
    assert_eq!(client.state(), ClientState::Disconnected);
    client.reconnect();
    let _peer = Peer::accept(&mut listener).await;
    soon("the connection", client.connected()).await.expect("connects");
}

#[tokio::test(start_paused = true)]
async fn m4_reconnect_by_hand_ends_the_wait() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    let long = Reconnect { interval: secs(3_600), max_interval: secs(3_600), ..steady(None) };
    let (client, peer) = connect(&memory, &mut listener, Some(long)).await;
    drop(peer);
    reach(&client, "waiting", |state| matches!(state, ClientState::Waiting { .. })).await;
    let began = Instant::now();
    client.reconnect();
    let _peer = Peer::accept(&mut listener).await;
    soon("the connection", client.connected()).await.expect("connects");
    assert!(began.elapsed() < secs(1));
}

#[tokio::test(start_paused = true)]
async fn m4_reconnect_by_hand_replaces_the_present_connection() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    let (client, mut first) = connect(&memory, &mut listener, None).await;
    let session = client.session().expect("is connected");
    session.send_wait("a last word").await.expect("sends");
    client.reconnect();
    assert_eq!(first.text().await, "a last word");
    first.expect_end().await;
    drop(first);
    let mut second = Peer::accept(&mut listener).await;
    reach(
        &client,
        "connected anew",
        |state| matches!(state, ClientState::Connected(other) if *other != session && other.is_active()),
    )
    .await;
    client.send_wait("hello again").await.expect("sends");
    assert_eq!(second.text().await, "hello again");
}

#[tokio::test(start_paused = true)]
async fn m4_disconnect_stops_what_it_finds() {
    // While connected, while waiting, and while connecting.
    for found in ["connected", "waiting", "connecting"] {
        let memory = Memory::default();
        let mut listener = bind(&memory).await;
        let (client, peer) = connect(&memory, &mut listener, Some(steady(None))).await;
        if found != "connected" {
            drop(peer);
            reach(&client, found, |state| short(state).starts_with("waiting")).await;
        }
        if found == "connecting" {
            client.reconnect();
        }
        soon("it", client.disconnect()).await;
        assert_eq!(client.state(), ClientState::Disconnected);
        tokio::time::sleep(secs(3_600)).await;
        assert_eq!(client.state(), ClientState::Disconnected, "{found}");
        assert_eq!(client.request("?").await.expect_err("is disconnected").kind(), ErrorKind::Closed);
        soon("a second one", client.disconnect()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_anew_only_after_a_stable_period() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    let reconnect = Reconnect { stable_after: secs(30), ..steady(None) };
    let (client, peer) = connect(&memory, &mut listener, Some(reconnect)).await;
    let mut peer = Some(peer);
    // A server that accepts and drops at once does not reset the count, however often it does.
    for attempt in 1..=4 {
        tokio::time::sleep(secs(1)).await;
        drop(peer.take());
        reach(
            &client,
            "waiting",
            |state| matches!(state, ClientState::Waiting { attempt: n, .. } if *n == attempt),
        )
        .await;
        peer = Some(Peer::accept(&mut listener).await);
        reach(&client, "connected", |state| matches!(state, ClientState::Connected(_))).await;
    }
    tokio::time::sleep(secs(31)).await;
    drop(peer.take());
    reach(&client, "waiting anew", |state| matches!(state, ClientState::Waiting { attempt: 1, .. })).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_that_is_dropped_ends_the_connection() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    for lost in [false, true] {
        let (client, peer) = connect(&memory, &mut listener, Some(steady(None))).await;
        let other = client.clone();
        client.send_wait("a last word").await.expect("sends");
        let watched = client.watch_state();
        drop(client);
        settle().await;
        assert!(other.is_connected());
        let mut peer = Some(peer);
        if lost {
            drop(peer.take());
            reach(&other, "waiting", |state| matches!(state, ClientState::Waiting { .. })).await;
        }
        drop(other);
        if let Some(mut peer) = peer {
            assert_eq!(peer.text().await, "a last word");
            peer.expect_end().await;
        }
        tokio::time::sleep(secs(3_600)).await;
        assert!(watched.has_changed().is_err(), "its task has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a32_clients_that_lost_one_server_come_back_one_by_one() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    let reconnect = Reconnect { interval: secs(10), min_interval: ms(50), ..Reconnect::default() };
    let mut clients = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..200 {
        let (client, peer) = connect(&memory, &mut listener, Some(reconnect)).await;
        clients.push(client);
        peers.push(peer);
    }
    let lost = Instant::now();
    drop(peers);
    let mut arrivals = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..200 {
        peers.push(Peer::accept(&mut listener).await);
        arrivals.push(lost.elapsed());
    }
    assert!(*arrivals.last().expect("200") <= secs(11), "{:?}", arrivals.last());
    // In no second more than a fifth of them, where all at once or an even back-off would give all.
    for second in 0..10 {
        let within = secs(second)..secs(second + 1);
        let count = arrivals.iter().filter(|arrival| within.contains(arrival)).count();
        assert!((2..=40).contains(&count), "{count} in second {second}");
    }
    for client in &clients {
        soon("its connection", client.connected()).await.expect("comes back");
    }
}

#[tokio::test]
async fn d7_connecting_to_a_closed_port_fails_with_the_reason() {
    let listener =
        Tcp::default().listen(&"tcp://127.0.0.1:0".parse().expect("an address")).await.expect("listens");
    let to: Address = listener.local().clone();
    drop(listener);
    for reconnect in [None, Some(Reconnect::default())] {
        let mut builder = Client::builder(Tcp::default());
        if let Some(reconnect) = reconnect {
            builder = builder.reconnect(reconnect);
        }
        let error = soon("the refusal", builder.connect(&to)).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.report().contains(&to.to_string()), "{}", error.report());
    }
}

async fn echo(at: Address) -> Server {
    let server = Server::builder(Tcp::default())
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen(at)
        .await;
    server.expect("listens")
}

#[tokio::test]
async fn m4_a_client_comes_back_to_a_server_that_is_started_again_on_its_port() {
    let mut server = echo("tcp://127.0.0.1:0".parse().expect("an address")).await;
    let to = server.local().clone();
    let quick =
        Reconnect { interval: ms(5), max_interval: ms(50), min_interval: ms(1), ..Reconnect::default() };
    let client = Client::builder(Tcp::default()).reconnect(quick).connect(&to).await.expect("connects");
    for stopped in ["gently", "at once", "gently"] {
        let session = soon("a connection", client.connected()).await.expect("comes back");
        assert_eq!(client.request("hello").await.expect("answers").payload(), "hello");
        match stopped {
            "gently" => assert_eq!(soon("the stop", server.stop()).await.cut, 0),
            // The last handle is dropped: sessions are cut.
            _ => drop(server),
        }
        soon("the loss", session.closed()).await;
        // The port is free at once, though connections of the old server may linger.
        server = echo(to.clone()).await;
    }
    let session = soon("the connection", client.connected()).await.expect("comes back");
    assert_eq!(soon("an answer", session.request("again")).await.expect("answers").payload(), "again");
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn m4_who_disconnects_is_not_kept_waiting_by_one_who_connects_anew() {
    let memory = Memory::default();
    let mut listener = bind(&memory).await;
    let (client, mut peer) = connect(&memory, &mut listener, None).await;
    let other = client.clone();
    let disconnecting = tokio::spawn(async move { other.disconnect().await });
    peer.expect_end().await;
    // It has begun to end, and waits for this peer to finish too.
    client.reconnect();
    settle().await;
    drop(peer);
    soon("the end of the connection", disconnecting).await.expect("no panic");
    let _peer = Peer::accept(&mut listener).await;
    soon("the next connection", client.connected()).await.expect("connects");
}
