//! Fuzz target: whatever is sent together arrives as it is, whoever it is for, however the kernel cuts and joins it.
//!
//! Nothing that a peer writes is parsed here: a payload is opaque, and where one ends is told by the system. So what is
//! fuzzed is what is joined before the system takes it, and what is cut apart after. With the other tests the committed
//! corpus is replayed, and a moment of random inputs after it.

use std::collections::VecDeque;

use bytes::Bytes;
use net_udp::{Ecn, RecvBatch, SendBatch, UdpSocket};

mod rig;

use rig::{bound, soon};

/// How many bytes are sent at once: as many as every system keeps for a socket.
const MAX_LEN: usize = 60_000;
/// How many datagrams: each takes the kernel some hundred bytes.
const MAX_COUNT: usize = 128;

/// A datagram: whom it is for, its mark, and its length.
#[derive(Clone, Copy, Debug)]
struct Step {
    to_second: bool,
    ecn: Option<Ecn>,
    len: usize,
}

/// Reads steps of three bytes each: the peer, the mark and whether the one before is repeated; and the length.
fn steps(bytes: &[u8]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut total = 0;
    for [flags, high, low] in bytes.as_chunks().0 {
        let ecn = match flags >> 1 & 3 {
            0 => None,
            1 => Some(Ecn::Ect0),
            2 => Some(Ecn::Ect1),
            _ => Some(Ecn::Ce),
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let step = Step { to_second: flags & 1 == 1, ecn, len };
        for _ in 0..=flags >> 3 {
            total += len;
            if total > MAX_LEN || steps.len() == MAX_COUNT {
                return steps;
            }
            steps.push(step);
        }
    }
    steps
}

fn payload(len: usize, number: usize) -> Bytes {
    (0..len).map(|index| (index.wrapping_mul(31) ^ number).to_le_bytes()[0]).collect()
}

async fn exchange(near: &UdpSocket, far: &[UdpSocket; 2], steps: &[Step]) {
    let mut batch = SendBatch::new();
    let [first, second] = far;
    let mut expected = [VecDeque::new(), VecDeque::new()];
    let [of_first, of_second] = &mut expected;
    for (number, step) in steps.iter().enumerate() {
        let payload = payload(step.len, number);
        let (to, expected) = if step.to_second { (second, &mut *of_second) } else { (first, &mut *of_first) };
        match step.ecn {
            Some(ecn) => batch.push_marked(to.local(), ecn, payload.clone()),
            None => batch.push(to.local(), payload.clone()),
        }
        expected.push_back((payload, step.ecn));
    }
    assert_eq!(batch.len(), steps.len());
    near.send_batch(&mut batch).await.expect("sent");
    assert!(batch.is_empty());
    for (far, mut expected) in far.iter().zip(expected) {
        let mut arrived = RecvBatch::new();
        while !expected.is_empty() {
            soon("datagrams", far.recv_batch(&mut arrived)).await.expect("received");
            for datagram in arrived.by_ref() {
                let (payload, ecn) = expected.pop_front().expect("no more than were sent");
                assert_eq!((datagram.payload, datagram.ecn), (payload, ecn));
                assert_eq!(datagram.peer, near.local());
            }
        }
    }
}

#[test]
fn fuzz_batches() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (near, far) = runtime.block_on(async { (bound(), [bound(), bound()]) });
    // One joins, and the other one does not.
    far[1].set_joins(true).expect("an option");
    let exchange = |bytes: &[u8]| runtime.block_on(exchange(&near, &far, &steps(bytes)));
    let exchange = std::panic::AssertUnwindSafe(exchange);
    bolero::check!().for_each(move |bytes: &[u8]| exchange(bytes));
}
