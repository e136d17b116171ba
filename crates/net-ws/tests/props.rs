//! Whatever is sent arrives as it was sent: any messages, any settings, however the bytes are cut.

#[path = "../../net-core/tests/chunked/mod.rs"]
#[allow(dead_code, reason = "the framings of net-core are tested there")]
mod chunked;
mod over;
mod rig;

use net_core::{ErrorKind, Sender};
use net_ws::{DeflateConfig, DeflateMemory, Fragment, Kind, Ws, WsConfig, WsMessage};
use over::Side;
use proptest::prelude::*;
use rig::{
    pair,
    raw::{masked, unmasked},
    soon,
};

fn messages() -> impl Strategy<Value = Vec<WsMessage>> {
    let len = prop_oneof![0..130_usize, 0..70_000_usize];
    let one = (any::<bool>(), len, any::<u8>()).prop_map(|(text, len, seed)| {
        let bytes = (b'a'..=b'w')
            .cycle()
            .skip(usize::from(seed))
            .step_by(usize::from(seed % 7) + 1)
            .take(len)
            .collect::<Vec<_>>();
        if text { WsMessage::from(String::from_utf8(bytes).expect("ASCII")) } else { WsMessage::from(bytes) }
    });
    proptest::collection::vec(one, 1..12)
}

fn configs() -> impl Strategy<Value = WsConfig> {
    let memory = prop_oneof![
        Just(DeflateMemory::Dedicated),
        Just(DeflateMemory::Shared),
        Just(DeflateMemory::NoTakeover)
    ];
    let deflate = (memory, 1..=9_u8, 8..=15_u8, 8..=15_u8, 1..2000_usize).prop_map(
        |(memory, level, send_window_bits, recv_window_bits, min_len)| DeflateConfig {
            level,
            min_len,
            memory,
            send_window_bits,
            recv_window_bits,
        },
    );
    proptest::option::of(deflate).prop_map(|deflate| WsConfig { deflate, ..WsConfig::default() })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn w1_w3_messages_arrive_as_they_were_sent_whatever_both_sides_agree_on(
        sent in messages(), client in configs(), server in configs(), from_server: bool,
    ) {
        runtime().block_on(async {
            let (near, far) = pair(&Ws::new(client), &Ws::new(server)).await;
            let (mut from, mut to) = if from_server { (far, near) } else { (near, far) };
            let sending = async {
                for message in &sent {
                    from.tx.feed_message(message.clone()).await.expect("accepted");
                }
                from.tx.finish().await.expect("finished");
                from
            };
            let receiving = async {
                for message in &sent {
                    let got = soon("a message", to.rx.recv_message()).await.expect("received");
                    assert_eq!(got.as_ref(), Some(message));
                }
                assert_eq!(to.rx.recv_message().await.expect("a clean end"), None);
            };
            tokio::join!(sending, receiving);
        });
    }

    #[test]
    fn w1_fragments_are_one_message_however_they_and_the_bytes_are_cut(
        payload: Vec<u8>, cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..5),
        sizes in proptest::collection::vec(0..40_usize, 0..5),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(payload.len());
        for side in [Side::Server, Side::Client] {
            let frame = if side == Side::Server { masked } else { unmasked };
            let (mut wire, mut from) = (Vec::new(), 0);
            for (index, to) in cuts.iter().copied().enumerate() {
                let last = if index + 1 == cuts.len() { 0x80 } else { 0 };
                wire.extend(frame(last | if index == 0 { 2 } else { 0 }, &payload[from..to]));
                // Control frames may stand between fragments.
                wire.extend(frame(0x8A, b"pong"));
                from = to;
            }
            wire.extend(frame(0x88, &[]));
            let outcome = over::agree(side, &WsConfig::default(), false, &wire, &sizes);
            prop_assert_eq!(outcome.error, None);
            prop_assert_eq!(&outcome.messages[..], &[&payload[..]]);
        }
    }

    #[test]
    fn a16_garbage_is_an_error_and_the_same_however_it_is_cut(
        wire: Vec<u8>, sizes in proptest::collection::vec(0..40_usize, 0..5), deflates: bool,
    ) {
        let config = WsConfig { max_message_len: 5000, ..WsConfig::default() };
        for side in [Side::Server, Side::Client] {
            let outcome = over::agree(side, &config, deflates, &wire, &sizes);
            if outcome.error.is_none() {
                prop_assert!(wire.contains(&0x88), "an end without a Close frame is an error");
            }
        }
    }
}

#[test]
fn w1_an_end_inside_a_message_is_an_error() {
    for (side, wire) in [(Side::Server, masked(0x02, b"begun")), (Side::Client, unmasked(0x02, b"begun"))] {
        let outcome = over::agree(side, &WsConfig::default(), false, &wire, &[1]);
        assert_eq!(outcome.error, Some(ErrorKind::UnexpectedEnd), "{side:?}");
    }
}

#[test]
fn a16_each_side_refuses_the_frames_of_its_own_kind_however_they_are_cut() {
    for (side, own, other) in [
        (Side::Server, unmasked(0x82, b"x"), masked(0x82, b"y")),
        (Side::Client, masked(0x82, b"x"), unmasked(0x82, b"y")),
    ] {
        let wire = [other, own].concat();
        let outcome = over::agree(side, &WsConfig::default(), false, &wire, &[1]);
        assert_eq!(
            (outcome.error, &outcome.messages[..]),
            (Some(ErrorKind::Protocol), &["y".into()][..]),
            "{side:?}"
        );
    }
}

#[tokio::test]
async fn w1_between_fragments_no_message_is_sent_and_the_connection_is_intact() {
    let (mut near, mut far) = pair(&Ws::default(), &Ws::default()).await;
    let first = Fragment { kind: Kind::Binary, payload: "be".into(), last: false };
    near.tx.feed_fragment(first.clone()).await.expect("accepted");
    let error = near.tx.feed("whole").await.expect_err("inside a message");
    assert_eq!(error.kind(), ErrorKind::InvalidMessage);
    let other = Fragment { kind: Kind::Text, ..first.clone() };
    assert_eq!(
        near.tx.feed_fragment(other).await.expect_err("another kind").kind(),
        ErrorKind::InvalidMessage
    );
    near.tx.feed_fragment(Fragment { payload: "gun".into(), last: true, ..first }).await.expect("accepted");
    near.tx.send("whole").await.expect("sent");
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"begun"[..]));
    assert_eq!(far.recv().await.expect("received").as_deref(), Some(&b"whole"[..]));
}
