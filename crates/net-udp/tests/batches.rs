//! Batches: whatever is sent together arrives as it is, to whom it is for; and what the kernel joins is taken apart.

use std::{collections::HashMap, net::SocketAddr};
#[cfg(target_os = "linux")]
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use net_core::ErrorKind;
use net_udp::{RecvBatch, SendBatch, UdpConfig, UdpSocket};
#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
use proptest::{collection::vec, prelude::*};

#[cfg(target_os = "linux")]
#[path = "../../net-core/tests/namespace/mod.rs"]
mod namespace;
mod rig;

#[cfg(target_os = "linux")]
use namespace::is_inside;
use rig::{bound, soon};

/// Receives `count` datagrams.
async fn take(socket: &UdpSocket, count: usize) -> Vec<(Bytes, SocketAddr)> {
    let mut batch = RecvBatch::new();
    let mut taken = Vec::new();
    while taken.len() < count {
        let told = soon("datagrams", socket.recv_batch(&mut batch)).await.expect("received");
        let before = taken.len();
        taken.extend(batch.by_ref().map(|datagram| (datagram.payload, datagram.peer)));
        assert_eq!(taken.len() - before, told, "as many as are told");
        assert!(batch.is_empty());
    }
    taken
}

fn payload(len: usize, number: usize) -> Bytes {
    (0..len).map(|index| (index.wrapping_mul(31) ^ number).to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn a_run_of_one_length_is_cut_and_joined_by_the_kernel() {
    let (near, far) = (bound(), bound());
    far.set_joins(true).expect("an option");
    for len in [1, 64, 1_000, 1_200, 1_452] {
        let mut batch = SendBatch::new();
        for number in 0..40 {
            batch.push(far.local(), payload(len, number));
        }
        assert_eq!(batch.len(), 40);
        near.send_batch(&mut batch).await.expect("sent");
        assert!(batch.is_empty());
        let mut received = RecvBatch::new();
        let count = soon("datagrams", far.recv_batch(&mut received)).await.expect("received");
        if cfg!(target_os = "linux") {
            // One call gives 32 buffers; joined, all of them stand in one or two.
            assert_eq!(count, 40, "of {len} bytes");
        }
        for (number, datagram) in received.by_ref().enumerate() {
            assert_eq!((datagram.payload, datagram.peer), (payload(len, number), near.local()));
        }
    }
    assert_eq!((near.stats().sent, far.stats().received), (200, 200));
    assert_eq!(near.stats().sent_bytes, far.stats().received_bytes);
}

#[tokio::test]
async fn what_is_cut_by_the_kernel_arrives_at_who_does_not_join() {
    let (near, far) = (bound(), bound());
    let mut batch = SendBatch::new();
    for number in 0..64 {
        batch.push(far.local(), payload(if number == 63 { 5 } else { 900 }, number));
    }
    near.send_batch(&mut batch).await.expect("sent");
    let mut buffer = [0; 2_000];
    for number in 0..64 {
        let (len, _) = soon("a datagram", far.recv_from(&mut buffer)).await.expect("received");
        assert_eq!(buffer[..len], payload(if number == 63 { 5 } else { 900 }, number));
    }
}

#[tokio::test]
async fn where_datagrams_are_joined_they_are_received_in_batches_alone() {
    let socket = bound();
    socket.set_joins(true).expect("an option");
    let error = socket.recv_from(&mut [0; 10]).await;
    if cfg!(target_os = "linux") {
        assert_eq!(error.expect_err("refused").kind(), ErrorKind::InvalidConfig);
    }
}

/// Sends a run that is joined where it arrives at who joins.
#[cfg(target_os = "linux")]
async fn send_run(near: &UdpSocket, to: SocketAddr) {
    let mut batch = SendBatch::new();
    for number in 0..10 {
        batch.push(to, payload(100, number));
    }
    near.send_batch(&mut batch).await.expect("sent");
}

/// Receives the same run, datagram by datagram.
#[cfg(target_os = "linux")]
async fn take_run(far: &UdpSocket) {
    for (number, (got, _)) in take(far, 10).await.into_iter().enumerate() {
        assert_eq!(got, payload(100, number));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_joined_is_taken_apart_whatever_is_asked_for_later() {
    let (near, far) = (bound(), bound());
    far.set_joins(false).expect("so it is");
    far.set_joins(true).expect("an option");
    send_run(&near, far.local()).await;
    let error = far.set_joins(false).expect_err("its datagrams could not be told apart");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    take_run(&far).await;
    far.set_joins(true).expect("so it is");
    send_run(&near, far.local()).await;
    take_run(&far).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_waits_for_a_single_datagram_gets_none_that_was_joined_meanwhile() {
    let (near, far) = (bound(), bound());
    let mut buffer = [0; 2_000];
    {
        let mut waiting = pin!(far.recv_from(&mut buffer));
        assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await, "nothing is there");
        far.set_joins(true).expect("an option");
        send_run(&near, far.local()).await;
        let error = soon("an answer", waiting).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
    take_run(&far).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_that_joined_where_it_was_made_joins_on() {
    let made = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    setsockopt(&made, UdpGroSegment, &true).expect("an option");
    let near = bound();
    send_run(&near, made.local_addr().expect("an address")).await;
    let far = UdpSocket::from_std(made).expect("taken over");
    let error = far.recv_from(&mut [0; 2_000]).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    take_run(&far).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_arrives_while_a_socket_is_made_is_not_joined() {
    // Nobody else takes the port meanwhile.
    if !is_inside("what_arrives_while_a_socket_is_made_is_not_joined", "ip link set lo up") {
        return;
    }
    let free = bound();
    let at = free.local();
    drop(free);
    let is_over = Arc::new(AtomicBool::new(false));
    let sending = std::thread::spawn({
        let is_over = is_over.clone();
        move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let near = bound();
                while !is_over.load(Ordering::Relaxed) {
                    send_run(&near, at).await;
                }
            });
        }
    });
    let mut buffer = [0; 2_000];
    for number in 0..400 {
        let far = if number % 2 == 0 {
            UdpSocket::bind(at)
        } else {
            UdpSocket::from_std(std::net::UdpSocket::bind(at).expect("a socket"))
        };
        let far = far.expect("a socket");
        for _ in 0..20 {
            let (len, _) = soon("a datagram", far.recv_from(&mut buffer)).await.expect("received");
            assert_eq!(len, 100, "{number}");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    sending.join().expect("it has ended");
}

#[tokio::test]
async fn payloads_outlive_the_batch_and_its_socket() {
    let (near, far) = (bound(), bound());
    far.set_joins(true).expect("an option");
    let mut kept = Vec::new();
    // More than all the buffers of a thread, so that some are copies.
    for number in 0..200 {
        let mut batch = SendBatch::new();
        batch.push(far.local(), payload(20_000, number));
        batch.push(far.local(), payload(30, number));
        near.send_batch(&mut batch).await.expect("sent");
        kept.extend(take(&far, 2).await);
    }
    drop((near, far));
    for (number, pair) in kept.chunks(2).enumerate() {
        assert_eq!((&pair[0].0, &pair[1].0), (&payload(20_000, number), &payload(30, number)));
    }
}

#[tokio::test]
async fn a_batch_goes_to_one_peer_through_a_connected_socket() {
    let far = bound();
    let near = bound().connect(far.local()).expect("a route");
    let mut batch = SendBatch::new();
    let lens = [100, 100, 100, 7, 0, 2_000, 2_000, 100, 100];
    for (number, len) in lens.into_iter().enumerate() {
        batch.push_connected(payload(len, number));
    }
    near.send_batch(&mut batch).await.expect("sent");
    for (number, (got, _)) in take(&far, lens.len()).await.into_iter().enumerate() {
        assert_eq!(got, payload(lens[number], number));
    }
}

/// Lengths as they meet: mostly runs of one length, edges of what is joined, empty ones, long ones.
fn runs() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    let len = prop_oneof![Just(0_usize), Just(1), 2..200_usize, Just(1_452), Just(1_453), 1_400..9_000_usize];
    vec((0..3_usize, len, 1..40_usize), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any lengths to any peers arrive unchanged, at whom they are for, in order.
    #[test]
    fn any_batch_arrives_as_it_was_sent(runs in runs(), joins in any::<[bool; 3]>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // As much as the system gives: nothing is to be lost for want of room.
            let config = UdpConfig { recv_buffer_len: Some(64 << 20), ..UdpConfig::default() };
            let bound = || UdpSocket::bind_with(([127, 0, 0, 1], 0).into(), &config).expect("a socket");
            let (near, far) = (bound(), [bound(), bound(), bound()]);
            for (socket, joins) in far.iter().zip(joins) {
                socket.set_joins(joins).expect("an option");
            }
            let mut expected: HashMap<usize, Vec<Bytes>> = HashMap::new();
            let mut batch = SendBatch::new();
            let mut number = 0;
            for (peer, len, count) in &runs {
                for _ in 0..*count {
                    let payload = payload(*len, number);
                    batch.push(far[*peer].local(), payload.clone());
                    expected.entry(*peer).or_default().push(payload);
                    number += 1;
                }
            }
            assert_eq!(batch.len(), number);
            // Sent before anything is received, as far as the receivers' buffers hold it.
            let sending = near.send_batch(&mut batch);
            let receiving = async {
                for (peer, expected) in &expected {
                    let got: Vec<_> = take(&far[*peer], expected.len()).await.into_iter().map(|(got, _)| got).collect();
                    assert_eq!(&got, expected);
                }
            };
            let (sent, ()) = tokio::join!(sending, receiving);
            sent.expect("sent");
        });
    }
}
