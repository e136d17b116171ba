//! Faults that only real sockets have.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use net_core::{ErrorKind, Message, MessageKind, frame::Delimiter};
use net_messaging::{
    Client, CloseReason, DataRate, Format, HandlerResult, Heartbeat, Limits, Server, ServerConfig,
    SessionConfig,
};
use net_tcp::{Tcp, TcpConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::rig::{Ruled, Rules, for_ever, frame, only, patient, push, quiet, secs, soon, unlimited};

async fn echo(session: impl Into<Rules>) -> (Server, SocketAddr) {
    let server = Server::builder(Tcp::default())
        .rules(session)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an IP address");
    (server, to)
}

#[tokio::test]
async fn requests_and_fin_in_one_segment_lose_nothing() {
    let (_server, to) = echo(patient()).await;
    let wire: Vec<u8> = (0..1_000).flat_map(|id| frame(id, b"payload")).collect();
    // A blocking socket on the runtime's own thread: the server reads only when all is there, the end too.
    let mut stream = std::net::TcpStream::connect(to).expect("connects");
    stream.write_all(&wire).expect("writes");
    stream.shutdown(Shutdown::Write).expect("half-closes");
    stream.set_nonblocking(true).expect("sets it");
    let mut stream = TcpStream::from_std(stream).expect("registers");
    let mut answers = Vec::new();
    soon("all answers", stream.read_to_end(&mut answers)).await.expect("a clean end");
    assert_eq!(answers.len(), wire.len());
    for (id, answer) in answers.chunks(frame(0, b"payload").len()).enumerate() {
        let answer = Message::decode(answer.get(4..).expect("a frame").to_vec().into()).expect("a message");
        assert_eq!((answer.kind(), answer.id()), (MessageKind::Response, id as u64));
    }
}

#[tokio::test]
async fn m8_idle_sessions_time_out_by_a_timer_of_the_kernel() {
    let limits = Limits { idle_timeout: Some(Duration::from_millis(50)), ..Limits::default() };
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::builder(Tcp::default())
        .config(ServerConfig { limits, kernel_timer: true, ..ServerConfig::default() })
        .on_message(|_, message| async { Ok(message.into_reply()) })
        .on_disconnected(move |_, reason| tell.send(reason.clone()).expect("is heard"))
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an IP address");
    let mut stream = TcpStream::connect(to).await.expect("connects");
    soon("the end", stream.read_to_end(&mut Vec::new())).await.expect("a clean end");
    assert!(matches!(soon("the reason", told.recv()).await, Some(CloseReason::Idle)));
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_is_one_message() {
    let (server, to) = echo(patient()).await;
    let mut stream = TcpStream::connect(to).await.expect("connects");
    stream.set_nodelay(true).expect("sets it");
    let wire = [frame(1, b"first"), frame(2, b""), frame(3, b"third")].concat();
    for byte in &wire {
        stream.write_all(&[*byte]).await.expect("writes");
        tokio::task::yield_now().await;
    }
    let mut answers = vec![0; wire.len()];
    soon("the answers", stream.read_exact(&mut answers)).await.expect("reads");
    assert_eq!(only(&server).await.stats().received_messages, 3);
}

#[tokio::test]
async fn a_disconnect_destroys_no_message_though_input_is_unread() {
    let server = Server::builder(Tcp::default())
        .rules(patient())
        .on_message(|session, _| {
            push(session, vec![7; 100_000]);
            push(session, "bye");
            session.disconnect();
            async { HandlerResult::Ok(None::<Message>) }
        })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an IP address");
    for _ in 0..20 {
        let mut stream = std::net::TcpStream::connect(to).expect("connects");
        // What follows the first message stays unread by the handler.
        for id in 0..200 {
            stream.write_all(&frame(id, &[7; 100])).expect("writes");
        }
        stream.set_nonblocking(true).expect("sets it");
        let mut stream = TcpStream::from_std(stream).expect("registers");
        let mut answers = Vec::new();
        soon("the end", stream.read_to_end(&mut answers)).await.expect("a clean end, no reset");
        assert!(answers.ends_with(b"bye"), "{} bytes", answers.len());
        assert!(answers.len() > 100_000);
    }
}

#[tokio::test]
async fn a_reset_by_the_peer_drops_its_handler_and_tells_why() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let server = Server::builder(Tcp::default())
        .rules(patient())
        .on_message({
            let dropped = dropped.clone();
            move |_, _| for_ever(&dropped)
        })
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let mut stream =
        TcpStream::connect(server.local().socket().expect("an IP address")).await.expect("connects");
    stream.write_all(&frame(1, b"")).await.expect("writes");
    let session = only(&server).await;
    stream.set_zero_linger().expect("sets it");
    drop(stream);
    let reason = soon("the end", session.closed()).await;
    assert_eq!(reason.error().expect("it broke").kind(), ErrorKind::Reset);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a10_an_announced_length_beyond_the_cap_ends_the_session_at_once() {
    for len in [u32::MAX, 1 << 31, (1 << 20) + 1] {
        let (server, to) = echo(patient()).await;
        let mut stream = TcpStream::connect(to).await.expect("connects");
        let session = only(&server).await;
        stream.write_all(&len.to_be_bytes()).await.expect("writes");
        let reason = soon("the end", session.closed()).await;
        assert_eq!(reason.error().expect("it broke").kind(), ErrorKind::MessageTooLong, "{reason:?}");
    }
}

#[tokio::test]
async fn a36_who_waits_in_the_systems_queue_when_a_drain_begins_is_served() {
    let (server, to) = echo(patient()).await;
    // The runtime's thread is busy here: nobody accepts meanwhile.
    let mut streams: Vec<_> = (0..50_u64)
        .map(|id| {
            let mut stream = std::net::TcpStream::connect(to).expect("connects");
            stream.write_all(&frame(id, b"in time")).expect("writes");
            stream.shutdown(Shutdown::Write).expect("half-closes");
            stream
        })
        .collect();
    let report = soon("the drain", server.drain(secs(5)..=secs(10))).await;
    assert_eq!((report.active, report.cut), (50, 0));
    for (id, stream) in streams.iter_mut().enumerate() {
        let mut answer = Vec::new();
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("sets it");
        stream.read_to_end(&mut answer).expect("a clean end");
        // The notice to go away stands in front of it.
        let notice = 4 + Message::HEAD_LEN + net_core::GoAway::LEN;
        assert_eq!(answer.len(), notice + frame(id as u64, b"in time").len());
    }
    assert_eq!(
        std::net::TcpStream::connect(to).expect_err("is closed").kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn m9_the_longest_messages_pass_in_both_directions_at_once() {
    let (server, _) = echo(SessionConfig { max_concurrent: 8, ..quiet() }).await;
    let client = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
    let mut asking = Vec::new();
    for n in 0..32_u8 {
        let client = client.clone();
        asking.push(tokio::spawn(async move {
            let payload = vec![n; (1 << 20) - 9 - usize::from(n)];
            assert_eq!(client.request(payload.clone()).await.expect("answers").payload(), &payload);
        }));
    }
    for asked in asking {
        soon("an answer", asked).await.expect("runs");
    }
}

#[tokio::test]
async fn a33_a_server_that_is_killed_fails_what_was_asked_with_a_reason() {
    let server = Server::builder(Tcp::default())
        .rules(patient())
        .on_message(|_, _| std::future::pending::<HandlerResult>())
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let client = Client::builder(Tcp::default()).connect(server.local()).await.expect("connects");
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.request("?").await.expect_err("is lost") })
        })
        .collect();
    let session = only(&server).await;
    soon("a request", async {
        while session.stats().received_messages == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(server);
    for asked in asking {
        let error = soon("the loss", asked).await.expect("runs");
        assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
    }
    assert!(matches!(soon("the end", session.closed()).await, CloseReason::Drained));
}

#[tokio::test]
async fn what_the_framing_cannot_mark_is_dropped_and_counted_and_ends_nothing() {
    let lines = Tcp::with_framing(TcpConfig::default(), Delimiter::lines());
    let session = SessionConfig { format: Format::Raw, ..quiet() };
    let server =
        Server::builder(lines)
            .rules(session)
            .on_message(|session, message| {
                // Neither is one line.
                push(session, "pushed\nin two lines");
                let broken = message.payload().as_ref() == b"break";
                async move {
                    Ok(if broken { message.reply("answered\nin two lines") } else { message.into_reply() })
                }
            })
            .listen("tcp://127.0.0.1:0")
            .await
            .expect("listens");
    let to = server.local().socket().expect("an IP address");
    let mut stream = TcpStream::connect(to).await.expect("connects");
    stream.write_all(b"break\nwhole\n").await.expect("writes");
    let mut answer = [0; 6];
    soon("the answer", stream.read_exact(&mut answer)).await.expect("is served on");
    assert_eq!(&answer, b"whole\n");
    assert_eq!(only(&server).await.stats().dropped_messages, 3);
}

/// A server that echoes over a socket, and why each of its sessions ended.
async fn told_echo(rules: impl Into<Rules>) -> (Server, SocketAddr, mpsc::UnboundedReceiver<CloseReason>) {
    let (tell, told) = mpsc::unbounded_channel();
    let server = Server::builder(Tcp::default())
        .rules(rules)
        .on_message(|_, message| async { Ok(message.into_reply()) })
        // Those who still listen are gone where the test is over.
        .on_disconnected(move |_, reason| drop(tell.send(reason.clone())))
        .listen("tcp://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an IP address");
    (server, to, told)
}

/// Waits until one session has ended while another client of the server is served, and returns why it did.
async fn ended_beside_others(
    server: &Server,
    client: &Client,
    told: &mut mpsc::UnboundedReceiver<CloseReason>,
) -> CloseReason {
    let mut served = 0;
    let reason = soon("the end", async {
        loop {
            tokio::select! {
                biased;
                reason = told.recv() => break reason.expect("the server lives"),
                answer = client.request("hello") => {
                    assert_eq!(answer.expect("others are served").payload(), "hello");
                    served += 1;
                }
            }
        }
    })
    .await;
    assert_eq!(client.request("hello").await.expect("others are served").payload(), "hello");
    assert!(served > 0 && server.sessions().iter().all(|session| session.close_reason().is_none()));
    reason
}

async fn other(server: &Server, rules: impl Into<Rules>) -> Client {
    Client::builder(Tcp::default()).rules(rules).connect(server.local()).await.expect("connects")
}

#[tokio::test]
async fn a8_a10_a_frame_that_dribbles_over_a_socket_is_cut_by_the_data_rate_and_others_are_served() {
    // No machine is so fast that what dribbles keeps this rate.
    let rate = DataRate { bytes_per_second: 1 << 20, grace: Duration::from_millis(200) };
    let limits = Limits { min_data_rate: Some(rate), ..unlimited() };
    let (server, to, mut told) = told_echo(limits).await;
    let client = other(&server, patient()).await;
    let mut stream = TcpStream::connect(to).await.expect("connects");
    stream.set_nodelay(true).expect("sets it");
    let dribbling = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        for byte in frame(1, &vec![7; 100_000]) {
            pace.tick().await;
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let reason = ended_beside_others(&server, &client, &mut told).await;
    assert!(matches!(reason, CloseReason::TooSlow), "{reason:?}");
    soon("the peer learns of it", dribbling).await.expect("runs");
}

#[tokio::test]
async fn a10_a_part_of_a_frame_and_silence_over_a_socket_end_at_the_deadline_and_others_are_served() {
    let limits = Limits { message_timeout: Some(Duration::from_millis(300)), ..unlimited() };
    let (server, to, mut told) = told_echo(limits).await;
    let client = other(&server, patient()).await;
    let mut stream = TcpStream::connect(to).await.expect("connects");
    let wire = [frame(1, b"whole"), frame(2, &[7; 1_000])].concat();
    let (whole, _) = wire.split_at(frame(1, b"whole").len());
    stream.write_all(&wire[..wire.len() - 1]).await.expect("writes");
    let reason = ended_beside_others(&server, &client, &mut told).await;
    assert!(matches!(reason, CloseReason::MessageTimeout), "{reason:?}");
    // What was whole was served.
    let mut answer = Vec::new();
    let end = soon("the end", stream.read_to_end(&mut answer)).await;
    assert!(end.is_err() || answer.len() == whole.len(), "{end:?}");
}

#[tokio::test]
async fn m8_a_peer_that_neither_reads_nor_sends_over_a_socket_is_dead_after_the_missed_heartbeats() {
    let heartbeat = Heartbeat { interval: Duration::from_millis(500), missed: 4 };
    let rules = SessionConfig { heartbeat: Some(heartbeat), ..SessionConfig::default() };
    let (server, to, mut told) = told_echo(rules).await;
    let client = other(&server, rules).await;
    let mut silent = TcpStream::connect(to).await.expect("connects");
    silent.write_all(&frame(1, b"the last sign of life")).await.expect("writes");
    let reason = ended_beside_others(&server, &client, &mut told).await;
    assert!(matches!(reason, CloseReason::HeartbeatMissed), "{reason:?}");

    // So a client finds its server dead.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let to = listener.local_addr().expect("an address");
    let (client, accepted) = tokio::join!(
        Client::builder(Tcp::default()).rules(rules).connect(format!("tcp://{to}")),
        listener.accept()
    );
    let client = client.expect("connects");
    let session = client.session().expect("is connected");
    let reason = soon("the end", session.closed()).await;
    assert!(matches!(reason, CloseReason::HeartbeatMissed), "{reason:?}");
    drop((silent, accepted));
}
