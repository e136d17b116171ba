//! Batches: whatever is sent together arrives as it is, to whom it is for; and what the kernel joins is taken apart.

use std::{collections::HashMap, net::SocketAddr};

use bytes::Bytes;
use net_udp::{RecvBatch, SendBatch, UdpConfig, UdpSocket};
use proptest::{collection::vec, prelude::*};

mod rig;

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
        assert_eq!(error.expect_err("refused").kind(), net_core::ErrorKind::InvalidConfig);
    }
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
