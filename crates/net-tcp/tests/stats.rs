//! Statistics of connections, held against real ones.
#![cfg(all(feature = "stats", target_os = "linux"))]

mod rig;

use std::time::Duration;

use futures_util::FutureExt;
use net_core::{Address, ErrorKind, Info, Listener, Receiver, Scheme, Sender, Transport};
use net_tcp::{Tcp, TcpStats};
use rig::{at, pair, round_trip, soon};

/// Asks until the figures are as `wanted`: what was sent is on its way for a moment, though both sides are on this machine.
async fn until(info: &Info, wanted: impl Fn(&TcpStats) -> bool) -> TcpStats {
    soon("the figures", async {
        loop {
            let stats = TcpStats::of(info).expect("statistics");
            if wanted(&stats) {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn s12_an_idle_connection_has_empty_queues_and_a_round_trip_time() {
    let (mut near, mut far) = pair().await;
    near.send("hello").await.expect("sent");
    assert!(far.recv().await.expect("received").is_some());
    far.send("hello back").await.expect("sent");
    assert!(near.recv().await.expect("received").is_some());
    for (side, sent) in [(&near.info, 9), (&far.info, 14)] {
        let stats = TcpStats::of(side).expect("statistics");
        assert!(stats.round_trip > Duration::ZERO && stats.round_trip < Duration::from_secs(1), "{stats:?}");
        assert!(stats.round_trip_variance > Duration::ZERO, "{stats:?}");
        assert!(stats.retransmission_timeout >= Duration::from_millis(100), "{stats:?}");
        assert!(stats.congestion_window > 0 && stats.max_segment_len > 500, "{stats:?}");
        assert!(stats.peer_window > 0, "{stats:?}");
        assert_eq!(stats.recv_queue_len, 0);
        assert_eq!(stats.bytes_received, 23 - sent);
    }
    // The second message carried the acknowledgement of the first.
    assert_eq!(TcpStats::of(&near.info).expect("statistics").bytes_acknowledged, 9 + 1);
}

#[tokio::test]
async fn s12_what_is_not_read_shows_in_the_queues() {
    let (mut near, mut far) = pair().await;
    near.send(vec![1; 10_000]).await.expect("sent");
    let stats = until(&far.info, |stats| stats.recv_queue_len >= 10_004).await;
    assert_eq!((stats.recv_queue_len, stats.bytes_received), (10_004, 10_004));

    while near.tx.feed(vec![1; 60_000]).now_or_never().is_some() {}
    until(&near.info, |stats| stats.send_queue_len > 0 && stats.peer_window < 1 << 20).await;
    until(&far.info, |stats| stats.recv_queue_len > 60_000).await;
    assert!(far.rx.recv().await.expect("received").is_some());
}

#[tokio::test]
async fn s12_every_family_of_addresses_is_known() {
    for (listen, host) in [("[::1]", "[::1]"), ("", "127.0.0.1"), ("", "[::1]")] {
        let mut listener = Tcp::default().listen(&at(&format!("tcp://{listen}:0"))).await.expect("listening");
        let port = listener.local().port().expect("a port");
        let mut near =
            Tcp::default().connect(&at(&format!("tcp://{host}:{port}"))).await.expect("connecting");
        let far = listener.accept().await.expect("a connection");
        near.send("hello").await.expect("sent");
        assert_eq!(until(&far.info, |stats| stats.recv_queue_len >= 9).await.recv_queue_len, 9);
        assert_eq!(TcpStats::of(&near.info).expect("statistics").recv_queue_len, 0);
    }
}

#[tokio::test]
async fn s12_a_connection_that_is_gone_or_no_tcp_has_no_statistics() {
    let (near, far) = pair().await;
    let info = near.info.clone();
    let mut far = far;
    far.tx.feed("cut").await.expect("accepted");
    drop((near, far));
    assert_eq!(TcpStats::of(&info).expect_err("gone").kind(), ErrorKind::Closed);

    let unix = Address::from_path(Scheme::Unix, "/x");
    let error = TcpStats::of(&Info::new(unix.clone(), unix)).expect_err("no TCP");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn s12_sampling_disturbs_nothing() {
    let (listener, to) = rig::loopback().await;
    rig::echo(listener);
    let mut near = Tcp::default().connect(&to).await.expect("connecting");
    for _ in 0..100 {
        round_trip(&mut near, "hello").await;
        assert!(TcpStats::of(&near.info).is_ok());
    }
}
