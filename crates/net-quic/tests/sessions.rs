//! Sessions: streams in both directions, their ends, priorities, limits, figures, closing.

mod rig;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, poll};
use net_core::{
    Admission, ErrorKind, Limits, Listener, Sender, Transport,
    frame::{Delimiter, LengthPrefix},
    testing::RelayConfig,
    tls::TlsInfo,
};
use net_quic::{ABORTED, Quic, QuicCode, QuicConfig, QuicSession, QuicStreams, REFUSED};
use rig::{at, connect, quic, quic_with, session, session_over, soon};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn q1_streams_go_both_ways_many_at_once() {
    const STREAMS: usize = 500;
    let (near, far, _sessions) = session(&quic()).await;
    let echo = tokio::spawn(async move {
        for _ in 0..STREAMS {
            let (mut tx, mut rx) = far.accept_bi().await.expect("a stream");
            tokio::spawn(async move {
                let all = rx.read_to_end(100_000).await.expect("all");
                tx.write_all(&all).await.expect("written");
                tx.finish().await.expect("acknowledged");
            });
        }
        far
    });
    let mut running = tokio::task::JoinSet::new();
    for number in 0..STREAMS {
        let near = near.clone();
        running.spawn(async move {
            // More than the peer allows at once: the others wait.
            let (mut tx, mut rx) = near.open_bi().await.expect("a stream");
            let sent = vec![number.to_be_bytes()[7]; 1 + number * 37];
            tx.write_all(&sent).await.expect("written");
            tx.end();
            assert_eq!(rx.read_to_end(100_000).await.expect("all"), sent);
            (tx.id(), rx.id())
        });
    }
    let ids = soon("all streams", running.join_all()).await;
    let unique: std::collections::HashSet<_> = ids.iter().map(|(tx, _)| *tx).collect();
    assert_eq!(unique.len(), STREAMS);
    assert!(ids.iter().all(|(tx, rx)| tx == rx));
    drop(echo.await.expect("no panic"));
}

#[tokio::test]
async fn q1_streams_of_one_direction_come_from_either_side() {
    let (near, far, _sessions) = session(&quic()).await;
    for (from, to) in [(&near, &far), (&far, &near)] {
        let mut tx = from.open_uni().await.expect("a stream");
        tx.write_chunk(Bytes::from_static(b"one way")).await.expect("written");
        tx.end();
        let mut rx = soon("the stream", to.accept_uni()).await.expect("a stream");
        assert_eq!(rx.read_to_end(100).await.expect("all"), b"one way");
        assert_eq!(rx.id(), tx.id());
    }
}

#[tokio::test]
async fn q1_a_higher_priority_goes_first() {
    // Little may be on its way, so that what waits is chosen from.
    let config = QuicConfig { send_window: 1 << 20, ..QuicConfig::default() };
    let (near, far, _sessions) = session(&quic_with(config, LengthPrefix::default())).await;
    let low = near.open_uni().await.expect("a stream");
    let high = near.open_uni().await.expect("a stream");
    low.set_priority(-1);
    high.set_priority(1);
    let ids = [low.id(), high.id()];
    // Both wait in the sender before either has left: nothing is sent until this task waits.
    for mut tx in [low, high] {
        tx.write_all(&vec![7; 200_000]).await.expect("written");
        tx.end();
    }
    let mut ends = Vec::new();
    let mut reading = tokio::task::JoinSet::new();
    for _ in ids {
        let mut rx = soon("a stream", far.accept_uni()).await.expect("a stream");
        reading.spawn(async move {
            rx.read_to_end(200_000).await.expect("all");
            rx.id()
        });
    }
    while let Some(id) = soon("an end", reading.join_next()).await {
        ends.push(id.expect("no panic"));
    }
    assert_eq!(ends, [ids[1], ids[0]], "the one of higher priority is there first");
}

#[tokio::test]
async fn q1_codes_of_reset_and_stop_reach_the_other_side() {
    let (near, far, _sessions) = session(&quic()).await;
    let (mut tx, rx) = near.open_bi().await.expect("a stream");
    tx.write_all(b"begun").await.expect("written");
    let (far_tx, mut far_rx) = soon("the stream", far.accept_bi()).await.expect("a stream");
    let mut begun = [0; 5];
    far_rx.read(&mut begun).await.expect("read");
    tx.reset(77);
    let error = soon("the cut", far_rx.read(&mut begun)).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Reset);
    assert_eq!(QuicCode::of(&error), Some(QuicCode::Reset(77)), "{}", error.report());

    let mut rx = rx;
    rx.stop(78);
    assert_eq!(soon("the stop", far_tx.stopped()).await.expect("connected"), Some(78));
    let mut far_tx = far_tx;
    let error = far_tx.write(b"more").await.expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(QuicCode::of(&error), Some(QuicCode::Stopped(78)), "{}", error.report());
    let error = soon("the end", far_tx.finish()).await.expect_err("nobody reads");
    assert_eq!(QuicCode::of(&error), Some(QuicCode::Stopped(78)), "{}", error.report());
    assert_eq!(QuicCode::of(&error).map(QuicCode::get), Some(78));

    // The session is as it was.
    let mut tx = near.open_uni().await.expect("a stream");
    tx.write_all(b"next").await.expect("written");
    tx.finish().await.expect("acknowledged");
    let error = tx.write(b"late").await.expect_err("it has ended");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn q1_a_session_listens_to_the_streams_of_its_peer() {
    let (near, mut far, _sessions) = session(&quic()).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        let mut client = near.open_messages().await.expect("a stream");
        let mut server = soon("the stream", far.accept()).await.expect("a message connection");
        // The server speaks first.
        server.send(format!("hello {number}")).await.expect("sent");
        let heard = soon("a message", client.recv()).await.expect("received");
        assert_eq!(heard.as_deref(), Some(format!("hello {number}").as_bytes()));
        client.send("and you").await.expect("sent");
        assert_eq!(
            soon("a message", server.recv()).await.expect("received").as_deref(),
            Some(&b"and you"[..])
        );
        ids.extend([client.info.id, server.info.id]);
        assert_eq!(server.info.remote, client.info.local);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each stream has a number of its own");
    Listener::close(&mut far);
    let error = soon("Closed", far.accept()).await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn q1_every_stream_of_every_session_is_a_connection_of_one_listener() {
    let quic = quic();
    let listener = QuicStreams::new(quic.clone()).listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);
    let sessions = [soon("a session", quic.open(&to)).await, soon("a session", quic.open(&to)).await];
    for session in sessions {
        let session = session.expect("connected");
        let mut connections = Vec::new();
        for number in 0..10 {
            let mut near = session.open_messages().await.expect("a stream");
            near.send(format!("hello {number}")).await.expect("sent");
            connections.push(near);
        }
        for (number, near) in connections.iter_mut().enumerate() {
            let echoed = soon("the echo", near.recv()).await.expect("received");
            assert_eq!(echoed.as_deref(), Some(format!("hello {number}").as_bytes()));
        }
    }
    let mut near = soon("a connection", quic.connect(&to)).await.expect("connected");
    near.send("and one of my own").await.expect("sent");
    assert!(soon("the echo", near.recv()).await.expect("received").is_some());
}

#[tokio::test]
async fn a2_streams_over_a_limit_are_refused() {
    let (near, mut far, _sessions) = session(&quic()).await;
    let limits = Limits { max_connections: 1, ..Limits::default() };
    far.set_admission(std::sync::Arc::new(Admission::new(limits, None)));
    let mut first = near.open_messages().await.expect("a stream");
    let held = soon("the stream", far.accept()).await.expect("a message connection");
    let refused = near.open_messages().await.expect("a stream");
    let mut refused = refused;
    let error = soon("the refusal", async {
        tokio::select! {
            accepted = far.accept() => panic!("one is enough: {accepted:?}"),
            told = refused.recv() => told.expect_err("refused"),
        }
    })
    .await;
    assert_eq!(QuicCode::of(&error), Some(QuicCode::Reset(REFUSED.into())), "{}", error.report());
    assert_eq!((error.kind(), REFUSED), (ErrorKind::Reset, 2));
    drop(held);
    assert!(soon("an end", first.recv()).await.is_ok_and(|end| end.is_none()));
}

#[tokio::test]
async fn q4_datagrams_know_their_maximum_and_count_what_is_dropped() {
    let (near, far, _sessions) = session(&quic()).await;
    let max = near.max_datagram_len().expect("datagrams are on");
    assert!(max >= 1150, "{max}");
    assert!(near.send_datagram(vec![1; max].into()).expect("sent"));
    assert_eq!(soon("a datagram", far.recv_datagram()).await.expect("received").len(), max);
    let error = near.send_datagram(vec![1; 60_000].into()).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLong);

    // Nothing leaves while this task does not wait: what finds no room is dropped, and counted.
    let results: Vec<bool> =
        (0..2000).map(|_| near.send_datagram(vec![2; 1000].into()).expect("connected")).collect();
    let refused = results.iter().filter(|sent| !**sent).count() as u64;
    assert!(refused > 0 && refused < 2000);
    assert_eq!(near.stats().datagrams_refused, refused);

    // What arrives and is not read makes room for what is newer.
    let sent = 2001 - refused;
    soon("all of them to leave", async {
        while near.stats().datagrams_sent < sent {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..2000 {
        near.send_datagram_wait(vec![3; 1000].into()).await.expect("sent");
    }
    // A datagram may be lost on a busy machine, the last one too: some more of it.
    for _ in 0..50 {
        tokio::task::yield_now().await;
        near.send_datagram_wait(Bytes::from_static(b"last")).await.expect("sent");
    }
    while soon("a datagram", far.recv_datagram()).await.expect("received") != "last" {}
    // The count is known when none waits.
    while far.recv_datagram().now_or_never().is_some() {}
    let stats = far.stats();
    assert!(stats.datagrams_unread > 0, "{stats:?}");
    assert!(stats.datagrams_received >= stats.datagrams_unread, "{stats:?}");
}

#[tokio::test]
async fn q4_datagrams_that_are_off_are_unsupported() {
    let config = QuicConfig { datagram_recv_buffer_len: None, ..QuicConfig::default() };
    let (near, _far, _sessions) = session(&quic_with(config, LengthPrefix::default())).await;
    assert_eq!(near.max_datagram_len(), None);
    let error = near.send_datagram(Bytes::from_static(b"none")).expect_err("off");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn the_longest_datagram_finds_room_in_the_smallest_buffers() {
    let mtu = 1472;
    let least = 2048;
    let config = QuicConfig {
        initial_mtu: mtu,
        max_mtu: Some(mtu),
        datagram_recv_buffer_len: Some(least),
        datagram_send_buffer_len: least,
        ..QuicConfig::default()
    };
    let (near, far, _sessions) = session(&quic_with(config, LengthPrefix::default())).await;
    for (tx, rx) in [(&near, &far), (&far, &near)] {
        let max = tx.max_datagram_len().expect("datagrams are on");
        assert!(max > 1400, "{max}");
        tx.send_datagram_wait(vec![1; max].into()).await.expect("sent");
        assert_eq!(soon("a datagram", rx.recv_datagram()).await.expect("received").len(), max);
    }
    let less = QuicConfig { datagram_recv_buffer_len: Some(1200), ..QuicConfig::default() };
    let quic = quic_with(less, LengthPrefix::default());
    let error = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect_err("1150 bytes have no room");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{}", error.report());
}

#[tokio::test]
async fn q4_figures_tell_of_the_path_and_what_it_carries() {
    let (near, far, _sessions) = session(&quic()).await;
    let receiving = tokio::spawn(async move {
        let mut rx = far.accept_uni().await.expect("a stream");
        rx.read_to_end(2_000_000).await.expect("all");
        far
    });
    let mut tx = near.open_uni().await.expect("a stream");
    tx.write_all(&vec![1; 1_000_000]).await.expect("written");
    soon("an acknowledgement", tx.finish()).await.expect("acknowledged");
    let far = receiving.await.expect("no panic");
    let stats = near.stats();
    assert!(stats.round_trip > Duration::ZERO && stats.min_round_trip <= stats.round_trip, "{stats:?}");
    assert!(stats.bytes_sent > 1_000_000 && far.stats().bytes_received > 1_000_000, "{stats:?}");
    assert!(stats.congestion_window > 10_000, "{stats:?}");
    // The path's maximum is found by what is sent and acknowledged.
    soon("the path's maximum", async {
        while near.stats().mtu < 1452 {
            let mut tx = near.open_uni().await.expect("a stream");
            tx.finish().await.expect("acknowledged");
            far.accept_uni().await.expect("a stream").read_to_end(0).await.expect("its end");
        }
    })
    .await;
    let fixed = QuicConfig { max_mtu: None, ..QuicConfig::default() };
    let (near, _far, _sessions) = session(&quic_with(fixed, LengthPrefix::default())).await;
    assert_eq!(near.stats().mtu, 1200);
}

/// Loopback carries whatever UDP does.
#[tokio::test]
async fn q4_a_path_is_used_to_what_both_sides_take() {
    let authority = rig::authority::Authority::new("mtu");
    let with = |max_mtu, initial_mtu| {
        Quic::new(QuicConfig { max_mtu, initial_mtu, ..QuicConfig::default() })
            .with_server_tls(authority.server().build().expect("settings"))
            .with_client_tls(authority.client().build().expect("settings"))
    };
    let (long, usual) = (with(Some(9000), 1200), with(Some(1452), 1200));
    for (client, server, least, most) in
        [(&long, &long, 4000, 9000), (&long, &usual, 1300, 1472), (&usual, &long, 1300, 1452)]
    {
        let mut sessions = server.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
        let (near, far) = connect(client, &mut sessions).await;
        // The first steps of the search: one that meets a loss on a busy machine ends below the maximum.
        soon("more than at first", async {
            while near.stats().mtu < least {
                let mut tx = near.open_uni().await.expect("a stream");
                tx.finish().await.expect("acknowledged");
                far.accept_uni().await.expect("a stream").read_to_end(0).await.expect("its end");
            }
        })
        .await;
        assert!(near.stats().mtu <= most, "no more than both sides take: {:?}", near.stats());
        // What fills a packet arrives.
        let longest = near.max_datagram_len().expect("both take datagrams");
        assert!(longest > usize::from(least) - 100, "{longest} bytes");
        near.send_datagram(vec![7; longest].into()).expect("room");
        assert_eq!(soon("a datagram", far.recv_datagram()).await.expect("received").len(), longest);
    }
    let first = with(Some(9000), 4000);
    let (near, _far, _sessions) = session(&first).await;
    assert!(near.stats().mtu >= 4000, "{:?}", near.stats());
}

#[tokio::test]
async fn q1_finish_and_wait_loses_nothing() {
    const STREAMS: usize = 100;
    let (near, far, _sessions) = session(&quic()).await;
    let receiving = tokio::spawn(async move {
        let mut bytes = 0;
        for _ in 0..STREAMS {
            let mut rx = far.accept_uni().await.expect("a stream");
            bytes += rx.read_to_end(100_000).await.expect("all").len();
        }
        (bytes, far.ended().await)
    });
    let late = near.open_uni().await.expect("a stream");
    for _ in 1..STREAMS {
        let mut tx = near.open_uni().await.expect("a stream");
        tx.write_all(&vec![9; 50_000]).await.expect("written");
        // Dropped, so that nobody but the session waits for it.
    }
    let finishing = near.finish_and_wait(Duration::from_secs(10));
    let still_writing = async {
        let mut late = late;
        late.write_all(&vec![9; 50_000]).await.expect("written");
    };
    let (finished, ()) = tokio::join!(finishing, still_writing);
    finished.expect("all is there");
    let (bytes, why) = soon("everything", receiving).await.expect("no panic");
    assert_eq!(bytes, STREAMS * 50_000);
    assert_eq!(why.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn finish_and_wait_loses_nothing_of_streams_that_are_ended_and_held() {
    const LEN: usize = 4 << 20;
    for ends in [true, false] {
        let (near, far, _sessions) = session(&quic()).await;
        let receiving = tokio::spawn(async move {
            let mut rx = far.accept_uni().await.expect("a stream");
            rx.read_to_end(LEN).await.map(|all| all.len())
        });
        let mut tx = near.open_uni().await.expect("a stream");
        tx.write_all(&vec![9; LEN]).await.expect("written");
        if ends {
            tx.end();
        } else {
            assert!(tx.finish().now_or_never().is_none(), "not all of it can be there; it is given up");
        }
        near.finish_and_wait(Duration::from_secs(10)).await.expect("all is there");
        let received = soon("everything", receiving).await.expect("no panic");
        assert_eq!(received.expect("a clean end"), LEN);
        tx.finish().await.expect("it was acknowledged");
    }
}

#[tokio::test]
async fn finish_and_wait_does_not_wait_for_what_is_reset_after_it_ended() {
    let (near, far, _sessions) = session(&quic()).await;
    let mut tx = near.open_uni().await.expect("a stream");
    // Until there is no room.
    while tx.write(&[9; 10_000]).now_or_never().is_some() {}
    tx.end();
    let mut finishing = pin!(near.finish_and_wait(Duration::from_secs(30)));
    assert!(poll!(&mut finishing).is_pending(), "it is not acknowledged");
    let mut rx = soon("the stream", far.accept_uni()).await.expect("a stream");
    tx.reset(7);
    let cut = async { while !matches!(rx.read(&mut [0; 1000]).await, Ok(0) | Err(_)) {} };
    let (finished, ()) = soon("the end", async { tokio::join!(finishing, cut) }).await;
    finished.expect("there is nothing to wait for");
}

#[tokio::test]
async fn a_stream_that_could_not_be_finished_says_so_again() {
    let (near, far, _sessions) = session(&quic()).await;
    let mut tx = near.open_uni().await.expect("a stream");
    tx.write_all(b"never mind").await.expect("written");
    soon("the stream", far.accept_uni()).await.expect("a stream").stop(9);
    assert_eq!(soon("the stop", tx.stopped()).await.expect("connected"), Some(9));
    for _ in 0..3 {
        let error = soon("the code", tx.finish()).await.expect_err("nobody wants it");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(QuicCode::of(&error), Some(QuicCode::Stopped(9)), "{}", error.report());
        tx.shutdown().await.expect_err("it is the same");
    }
    let mut lost = near.open_uni().await.expect("a stream");
    lost.write_all(b"too late").await.expect("written");
    near.close(0, "");
    for _ in 0..3 {
        assert_eq!(lost.finish().await.expect_err("it did not arrive").kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn nothing_more_is_heard_of_a_stream_that_this_side_reset() {
    let (near, _far, _sessions) = session(&quic()).await;
    let mut tx = near.open_uni().await.expect("a stream");
    tx.write_all(b"begun").await.expect("written");
    tx.reset(1);
    let stopped = tx.stopped().now_or_never().expect("there is nothing to wait for");
    assert_eq!(stopped.expect("connected"), None);
}

#[tokio::test]
async fn a_stream_that_has_ended_is_told_of_until_it_is_dropped() {
    let (near, far, _sessions) = session(&quic()).await;
    let mut tx = near.open_uni().await.expect("a stream");
    let id = tx.id();
    // Until there is no room, so that not all of it arrives.
    while tx.write(&[9; 10_000]).now_or_never().is_some() {}
    tx.end();
    assert_eq!(tx.id(), id);
    soon("the stream", far.accept_uni()).await.expect("a stream").stop(7);
    assert_eq!(soon("the code", tx.stopped()).await.expect("open"), Some(7));
    let error = soon("the code", tx.finish()).await.expect_err("nobody wants it");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn finish_and_wait_gives_up_in_time_and_leaves_the_session_open() {
    let (near, far, _sessions) = session(&quic()).await;
    let mut open = near.open_uni().await.expect("a stream");
    open.write_all(b"never ended").await.expect("written");
    let error = near.finish_and_wait(Duration::from_millis(50)).await.expect_err("a stream is open");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    open.end();
    let mut rx = soon("the stream", far.accept_uni()).await.expect("a stream");
    assert_eq!(rx.read_to_end(100).await.expect("all"), b"never ended");
    near.finish_and_wait(Duration::from_secs(5)).await.expect("all is there");
}

#[tokio::test]
async fn finish_and_wait_tells_that_datagrams_never_left() {
    let idle_timeout = Some(Duration::from_millis(500));
    let config = QuicConfig { idle_timeout, keepalive_interval: None, ..QuicConfig::default() };
    let quic = quic_with(config, LengthPrefix::default());
    let (near, _far, relay, _sessions) = session_over(&quic, RelayConfig::default()).await;
    drop(relay);
    // More than may be on its way before an answer comes, of which there will be none.
    while near.send_datagram(vec![1; 1000].into()).expect("connected") {}
    let error = near.finish_and_wait(Duration::from_secs(10)).await.expect_err("most have not left");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.report());
    assert_eq!(near.ended().await.kind(), ErrorKind::TimedOut, "the path was dead, and nobody closed");
    assert!(near.stats().datagrams_sent < 200, "{:?}", near.stats());
}

#[tokio::test]
async fn finish_and_wait_tells_that_this_side_closed_before_datagrams_left() {
    let (near, _far, _sessions) = session(&quic()).await;
    // Nothing leaves while this task does not wait.
    assert!(near.send_datagram(Bytes::from_static(b"too late")).expect("connected"));
    near.close(0, "");
    let error = near.finish_and_wait(Duration::from_secs(10)).await.expect_err("it has not left");
    assert_eq!(error.kind(), ErrorKind::Closed, "{}", error.report());
}

#[tokio::test]
async fn why_a_session_has_ended_stays_known_whoever_closes_it_afterwards() {
    let (near, far, _sessions) = session(&quic()).await;
    far.close(7, "");
    let closed = |error: net_core::Error| {
        assert_eq!(QuicCode::of(&error), Some(QuicCode::Closed(7)), "{}", error.report());
    };
    closed(soon("the end", near.ended()).await);
    closed(near.finish_and_wait(Duration::from_secs(10)).await.expect_err("it was not done"));
    near.close(0, "");
    closed(near.ended().await);
}

#[tokio::test]
async fn finish_and_wait_is_done_where_the_peer_has_all_and_closed_first() {
    let (near, far, _sessions) = session(&quic()).await;
    near.open_uni().await.expect("a stream").finish().await.expect("acknowledged");
    far.finish_and_wait(Duration::from_secs(10)).await.expect("it has sent nothing");
    soon("the end", near.ended()).await;
    // There is nothing to wait for: nobody is told any more.
    for side in [near, far] {
        let finished = side.finish_and_wait(Duration::from_secs(10)).now_or_never();
        finished.expect("at once").expect("nothing was lost");
    }
}

#[tokio::test]
async fn dropping_everything_delivers_what_was_written() {
    let (near, far, _sessions) = session(&quic()).await;
    let mut tx = near.open_uni().await.expect("a stream");
    let sending = tokio::spawn(async move {
        tx.write_all(&vec![5; 3_000_000]).await.expect("written");
        drop((tx, near));
    });
    let mut rx = soon("the stream", far.accept_uni()).await.expect("a stream");
    let all = soon("everything", rx.read_to_end(4_000_000)).await.expect("all");
    assert_eq!(all.len(), 3_000_000);
    sending.await.expect("no panic");
    assert_eq!(soon("the end", far.ended()).await.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn closing_tells_a_code_and_a_reason() {
    let (near, far, _sessions) = session(&quic()).await;
    near.close(4711, "enough");
    let error = soon("the end", far.ended()).await;
    assert_eq!(error.kind(), ErrorKind::Reset);
    assert_eq!(QuicCode::of(&error), Some(QuicCode::Closed(4711)), "{}", error.report());
    assert!(error.report().contains("enough"), "{}", error.report());
    let error = near.open_uni().await.expect_err("closed");
    assert_eq!((error.kind(), QuicCode::of(&error)), (ErrorKind::Closed, None), "it was this side");
}

#[tokio::test]
async fn a_message_connection_has_a_session() {
    let quic = quic();
    let mut listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (near, far) =
        soon("a connection", async { tokio::join!(quic.connect(&to), listener.accept()) }).await;
    let (mut near, far) = (near.expect("connected"), far.expect("accepted"));
    let (session, other) = (QuicSession::of(&near.tx), QuicSession::of(&far.tx));
    session.send_datagram(Bytes::from_static(b"beside")).expect("sent");
    assert_eq!(soon("a datagram", other.recv_datagram()).await.expect("received"), "beside");
    // Its streams are for its messages.
    assert!(session.open_uni().now_or_never().is_none(), "its client may open no other");
    let mut keys = [[0; 32]; 2];
    session.export_keying_material(&mut keys[0], b"label", b"context").expect("keys");
    other.export_keying_material(&mut keys[1], b"label", b"context").expect("keys");
    assert_eq!(keys[0], keys[1]);
    near.send("still there").await.expect("sent");
    let mut far = far;
    assert!(soon("a message", far.recv()).await.expect("received").is_some());
    assert!(session.open_uni().now_or_never().is_none() && session.open_bi().now_or_never().is_none());
    // What was not flushed is given up, and the peer is told so.
    near.tx.feed("never flushed").await.expect("room");
    drop(near);
    let error = soon("the end", far.recv()).await.expect_err("it was cut");
    assert_eq!(QuicCode::of(&error), Some(QuicCode::Reset(u64::from(ABORTED))), "{}", error.report());
    assert_eq!(ABORTED, 1, "as docs/wire.md says");
}

#[tokio::test]
async fn what_a_handshake_agreed_on_is_told_as_tls_tells_it() {
    let quic = quic();
    let (near, far, mut sessions) = session(&quic).await;
    for side in [&near, &far] {
        let tls = side.info().details::<TlsInfo>().expect("TLS");
        assert_eq!(tls.version.to_string(), "1.3");
        assert!(tls.cipher_suite.as_str().starts_with("TLS_"), "{tls:?}");
        assert_eq!(tls.alpn.as_deref(), Some(&b"net"[..]));
        assert_eq!(tls.group.as_ref().map(net_core::tls::AlgorithmName::as_str), Some("X25519MLKEM768"));
        assert!(!tls.resumed);
    }
    assert!(near.info().details::<TlsInfo>().is_some_and(|tls| tls.verified));
    // The tickets come behind the handshake.
    let mut tx = near.open_uni().await.expect("a stream");
    tx.finish().await.expect("acknowledged");
    let (near, far) = connect(&quic, &mut sessions).await;
    for side in [&near, &far] {
        assert!(side.info().details::<TlsInfo>().is_some_and(|tls| tls.resumed), "the second one is resumed");
    }
}

#[tokio::test]
async fn protocols_that_do_not_meet_are_refused() {
    let server = rig::authority::Authority::new("alpn");
    let with = |alpn: &str| QuicConfig { alpn: vec![alpn.to_owned()], ..QuicConfig::default() };
    let listening = Quic::new(with("one")).with_server_tls(server.server().build().expect("settings"));
    let mut listener = listening.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let other = Quic::new(with("other")).with_client_tls(server.client().build().expect("settings"));
    let error = soon("a refusal", other.connect(&to)).await.expect_err("no protocol in common");
    assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.report());
    let same = Quic::new(with("one")).with_client_tls(server.client().build().expect("settings"));
    soon("a connection", same.connect(&to)).await.expect("a protocol in common");
}

#[tokio::test]
async fn an_idle_connection_ends_unless_it_is_kept_alive() {
    let quiet = QuicConfig {
        idle_timeout: Some(Duration::from_millis(600)),
        keepalive_interval: None,
        ..QuicConfig::default()
    };
    let kept = QuicConfig { keepalive_interval: Some(Duration::from_millis(50)), ..quiet.clone() };
    let (kept, kept_far, _kept_sessions) = session(&quic_with(kept, LengthPrefix::default())).await;
    // As long as two that are not kept alive live, one after the other.
    for _ in 0..2 {
        let (near, far, _sessions) = session(&quic_with(quiet.clone(), LengthPrefix::default())).await;
        assert_eq!(soon("the end", near.ended()).await.kind(), ErrorKind::TimedOut);
        assert_eq!(soon("the end", far.ended()).await.kind(), ErrorKind::TimedOut);
    }
    assert!(kept.ended().now_or_never().is_none() && kept_far.ended().now_or_never().is_none(), "it lives");
    kept.open_uni().await.expect("a stream").finish().await.expect("acknowledged");
}

#[tokio::test]
async fn where_streams_are_connections_none_of_one_direction_is_let_in() {
    let quic = quic();
    let listener = QuicStreams::new(quic.clone()).listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);
    let session = soon("a session", quic.open(&to)).await.expect("connected");
    let mut near = session.open_messages().await.expect("a stream");
    near.send("hello").await.expect("sent");
    assert!(soon("the echo", near.recv()).await.expect("received").is_some());
    assert!(session.open_uni().now_or_never().is_none(), "nobody would take it");
}

#[tokio::test]
async fn streams_that_begin_while_a_listener_drains_are_refused() {
    let quic = quic();
    let mut listener =
        QuicStreams::new(quic.clone()).listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let opening = async {
        let session = quic.open(&to).await.expect("connected");
        let mut first = session.open_messages().await.expect("a stream");
        first.send("before").await.expect("sent");
        (session, first)
    };
    let ((session, mut first), far) =
        soon("a stream", async { tokio::join!(opening, listener.accept()) }).await;
    let mut far = far.expect("accepted");
    listener.close();
    let error = soon("Closed", listener.accept()).await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    // As often as the client was allowed before it learns of the end.
    for _ in 0..3 {
        let mut late = soon("a stream", session.open_messages()).await.expect("connected");
        let _ = late.send("after").await;
        let error = soon("the refusal", late.recv()).await.expect_err("nobody takes it");
        assert_eq!(QuicCode::of(&error), Some(QuicCode::Reset(REFUSED.into())), "{}", error.report());
    }
    // What was begun goes on, with the listener and without it.
    drop(listener);
    far.send("still here").await.expect("sent");
    assert!(soon("a message", first.recv()).await.expect("received").is_some());
    let mut late = soon("a stream", session.open_messages()).await.expect("connected");
    soon("the refusal", late.recv()).await.expect_err("nobody takes it");
    // And ends the session with it.
    drop((first, far));
    assert_eq!(soon("the end", session.ended()).await.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn streams_that_begin_after_a_session_takes_no_more_are_refused() {
    let (near, mut far, _sessions) = session(&quic()).await;
    let mut first = near.open_messages().await.expect("a stream");
    let mut taken = soon("the stream", far.accept()).await.expect("a message connection");
    Listener::close(&mut far);
    assert_eq!(soon("Closed", far.accept()).await.expect_err("closed").kind(), ErrorKind::Closed);
    let mut late = soon("a stream", near.open_messages()).await.expect("connected");
    let error = soon("the refusal", late.recv()).await.expect_err("nobody takes it");
    assert_eq!(error.kind(), ErrorKind::Reset);
    taken.send("still here").await.expect("sent");
    assert!(soon("a message", first.recv()).await.expect("received").is_some());
    drop((taken, far));
    assert_eq!(soon("the end", near.ended()).await.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_watch_of_the_path_keeps_no_session_open() {
    let (near, far, _sessions) = session(&quic()).await;
    let mut watch = near.watch_path();
    let watching = tokio::spawn(async move { while watch.changed().await.is_ok() {} });
    drop(near);
    assert_eq!(soon("the end", far.ended()).await.kind(), ErrorKind::Closed);
    soon("the end of the watch", watching).await.expect("no panic");
}

#[tokio::test]
async fn the_session_of_a_message_connection_has_its_framing() {
    let quic = quic_with(QuicConfig::default(), Delimiter::lines());
    let listener = QuicStreams::new(quic.clone()).listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);
    let mut near = soon("a connection", quic.connect(&to)).await.expect("connected");
    near.send("one").await.expect("sent");
    assert_eq!(soon("the echo", near.recv()).await.expect("received").as_deref(), Some(&b"one"[..]));
    // The server of this connection lets more streams in than the one.
    let mut other = QuicSession::of(&near.tx).open_messages().await.expect("a stream");
    other.send("two").await.expect("sent");
    assert_eq!(soon("the echo", other.recv()).await.expect("received").as_deref(), Some(&b"two"[..]));
}

#[tokio::test]
async fn a2_a_clone_of_a_session_is_held_to_its_limits_and_closed_with_it() {
    let (near, mut far, _sessions) = session(&quic()).await;
    let limits = Limits { max_connections: 1, ..Limits::default() };
    far.set_admission(std::sync::Arc::new(Admission::new(limits, None)));
    let mut clone = far.clone();
    let _first = near.open_messages().await.expect("a stream");
    let _held = soon("the stream", clone.accept()).await.expect("a message connection");
    let mut second = near.open_messages().await.expect("a stream");
    let refused = soon("the refusal", async {
        tokio::select! {
            accepted = clone.accept() => panic!("one is enough: {accepted:?}"),
            told = second.recv() => told.expect_err("refused"),
        }
    })
    .await;
    assert_eq!(refused.kind(), ErrorKind::Reset);
    Listener::close(&mut far);
    assert_eq!(soon("Closed", far.clone().accept()).await.expect_err("closed").kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_stream_that_the_peer_stopped_makes_room_for_the_next() {
    let few = QuicConfig { max_bidi_streams: 2, max_uni_streams: 2, ..QuicConfig::default() };
    let (near, far, _sessions) = session(&quic_with(few, LengthPrefix::default())).await;
    for number in 0..10 {
        let (mut tx, mut rx) = soon("a stream", near.open_bi()).await.expect("connected");
        tx.write_all(b"never mind").await.expect("written");
        let (far_tx, far_rx) = soon("the stream", far.accept_bi()).await.expect("a stream");
        rx.stop(number);
        assert_eq!(soon("the stop", far_tx.stopped()).await.expect("connected"), Some(number));
        // Nothing was written to it, and nothing is any more.
        drop((far_tx, far_rx));

        let mut tx = soon("a stream", near.open_uni()).await.expect("connected");
        tx.write_all(b"one way").await.expect("written");
        let mut far_rx = soon("the stream", far.accept_uni()).await.expect("a stream");
        far_rx.stop(number);
        assert_eq!(soon("the stop", tx.stopped()).await.expect("connected"), Some(number));
    }
}

#[tokio::test]
async fn streams_that_the_peer_stopped_make_room_though_nothing_else_ends() {
    let few = QuicConfig { max_bidi_streams: 2, ..QuicConfig::default() };
    let (near, far, _sessions) = session(&quic_with(few, LengthPrefix::default())).await;
    // As none has arrived when they end, twice as many would have to end before those that have are forgotten.
    end_at_once(&far, &near, 40).await;
    stop_thrice(&near, &far, 2).await;
}

#[tokio::test]
async fn streams_that_the_peer_stopped_make_room_however_many_others_have_ended() {
    const MANY: usize = 64;
    let few = u32::try_from(MANY).expect("few");
    let config = QuicConfig { max_bidi_streams: few, max_uni_streams: few, ..QuicConfig::default() };
    let (near, far, _sessions) = session(&quic_with(config, LengthPrefix::default())).await;
    end_at_once(&far, &near, MANY).await;
    stop_thrice(&near, &far, MANY).await;
}

/// Ends `count` streams of `from` at once, so that none is known to have arrived when the last one ends, and reads them.
async fn end_at_once(from: &QuicSession, to: &QuicSession, count: usize) {
    let mut ended = Vec::new();
    for _ in 0..count {
        let mut tx = soon("a stream", from.open_uni()).await.expect("connected");
        tx.write_all(b"all of it").await.expect("written");
        ended.push(tx);
    }
    drop(ended);
    for _ in 0..count {
        let mut rx = soon("a stream", to.accept_uni()).await.expect("a stream");
        assert_eq!(soon("its end", rx.read_to_end(100)).await.expect("all"), b"all of it");
    }
}

/// Opens as many streams as there is room for and stops what comes back on them, three times.
async fn stop_thrice(near: &QuicSession, far: &QuicSession, room: usize) {
    for _ in 0..3 {
        let mut stopped = Vec::new();
        for _ in 0..room {
            let (mut tx, mut rx) = soon("a stream", near.open_bi()).await.expect("connected");
            tx.write_all(b"never mind").await.expect("written");
            let (far_tx, _) = soon("the stream", far.accept_bi()).await.expect("a stream");
            rx.stop(1);
            assert_eq!(soon("the stop", far_tx.stopped()).await.expect("connected"), Some(1));
            stopped.push(far_tx);
        }
        // Each ends without a word more.
        drop(stopped);
    }
}
