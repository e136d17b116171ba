//! What holds for every framing and every address, whatever the bytes and however they are cut.

use bytes::{Bytes, BytesMut};
use net_core::{
    Address, Batch, Credentials, CredentialsError, ErrorKind, Scheme, Sender,
    blocking::FrameWriter,
    frame::{
        AnyFraming, ByteOrder, Delimiter, FixedSize, Framing, LengthPrefix, Raw, Tlv,
        tlv::{Fields, FieldsBuilder},
    },
    framed::FrameSender,
};
use proptest::{collection::vec, prelude::*};

use crate::chunked::{Chunked, agree, block_on};

mod chunked;

/// Every kind of framing, with limits that random messages reach.
fn framing() -> impl Strategy<Value = AnyFraming> {
    let limit = prop_oneof![0..300_usize, Just(1 << 20)];
    let order = prop_oneof![Just(ByteOrder::BigEndian), Just(ByteOrder::LittleEndian)];
    // Letters of few kinds, so that delimiters overlap with themselves and with messages.
    let mark = vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'\r'), any::<u8>()], 1..4);
    prop_oneof![
        (1..=8_u8, order, limit.clone())
            .prop_map(|(width, order, max)| LengthPrefix::new(width, order).with_max_message_len(max).into()),
        (any::<bool>(), any::<bool>(), limit.clone()).prop_map(|(crlf, unterminated, max)| {
            let lines = if crlf { Delimiter::crlf_lines() } else { Delimiter::lines() };
            lines.with_unterminated(unterminated).with_max_message_len(max).into()
        }),
        (mark, any::<bool>(), limit.clone()).prop_map(|(mark, unterminated, max)| {
            let delimiter = Delimiter::new(&mark).expect("at least one byte");
            delimiter.with_unterminated(unterminated).with_max_message_len(max).into()
        }),
        (1..100_usize).prop_map(|size| FixedSize::new(size).into()),
        limit.clone().prop_map(|max| Tlv::default().with_max_message_len(max).into()),
        limit.prop_map(|max| Raw::default().with_max_message_len(max).into()),
    ]
}

fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..len),
        vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'\r'), Just(b'\n'), Just(0)], 0..len),
    ]
}

/// Messages for `framing`: short ones, some of them long enough to keep their own memory.
fn messages(framing: &AnyFraming) -> BoxedStrategy<Vec<Vec<u8>>> {
    let size = match framing {
        AnyFraming::FixedSize(fixed) => Some(fixed.size()),
        _ => None,
    };
    let message = prop_oneof![8 => bytes(40), 2 => bytes(400), 1 => (any::<u8>(), 8000..20_000_usize).prop_map(|(byte, len)| vec![byte; len])];
    let fit = move |mut message: Vec<u8>| {
        message.resize(size.unwrap_or(message.len()), b'.');
        message
    };
    vec(message.prop_map(fit), 0..12).boxed()
}

fn framing_and_messages() -> impl Strategy<Value = (AnyFraming, Vec<Vec<u8>>)> {
    framing().prop_flat_map(|framing| {
        let messages = messages(&framing);
        (Just(framing), messages)
    })
}

/// Sizes of pieces; 0 stands for a call that has to be repeated.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![0..8_usize, 0..100_usize, Just(10_000)], 0..12)
}

proptest! {
    #[test]
    fn s7_what_is_accepted_arrives_however_it_is_cut((framing, messages) in framing_and_messages(), sizes in sizes()) {
        let mut wire = BytesMut::new();
        let mut accepted = Vec::new();
        for message in messages {
            let before = wire.len();
            if framing.encode(&message, &mut wire).is_ok() {
                accepted.push(Bytes::from(message));
            } else {
                prop_assert_eq!(wire.len(), before, "a refused message leaves nothing behind");
            }
        }
        let outcome = agree(&framing, &wire, &sizes);
        prop_assert_eq!(outcome.error, None);
        if framing.preserves_messages() {
            prop_assert_eq!(outcome.messages, accepted);
        } else {
            prop_assert_eq!(outcome.joined(), accepted.concat());
        }
    }

    #[test]
    fn s7_bytes_of_a_stranger_give_messages_or_an_error(framing in framing(), wire in bytes(600), sizes in sizes()) {
        agree(&framing, &wire, &sizes);
    }

    #[test]
    fn c6_a_cut_frame_is_an_error((framing, messages) in framing_and_messages(), sizes in sizes(), cut in any::<prop::sample::Index>()) {
        let mut wire = BytesMut::new();
        let mut ends = vec![0];
        for message in messages {
            if framing.encode(&message, &mut wire).is_ok() {
                ends.push(wire.len());
            }
        }
        wire.truncate(cut.index(wire.len() + 1));
        let outcome = agree(&framing, &wire, &sizes);
        let whole = ends.iter().filter(|end| **end <= wire.len()).count() - 1;
        match framing {
            AnyFraming::Raw(_) => prop_assert_eq!(outcome.joined(), &wire[..]),
            // What is left may be allowed to be a message, and a lone CR at the end may be a CRLF that was cut.
            AnyFraming::Delimiter(_) => prop_assert!(outcome.messages.len() >= whole),
            _ => {
                prop_assert_eq!(outcome.messages.len(), whole);
                let expected = (!ends.contains(&wire.len())).then_some(ErrorKind::UnexpectedEnd);
                prop_assert_eq!(outcome.error, expected);
            }
        }
    }

    #[test]
    fn s7_async_and_blocking_senders_write_what_the_codec_says(
        (framing, messages) in framing_and_messages(),
        sizes in sizes(),
        heads in vec(0..20_usize, 1..4),
        limit in 1..100_000_usize,
    ) {
        let mut wire = BytesMut::new();
        let mut writer = FrameWriter::new(Chunked::new(&[], &sizes), framing.clone());
        let mut sender = FrameSender::new(Chunked::new(&[], &sizes), framing.clone()).with_max_buffered(limit);
        let mut copied = FrameSender::new(Chunked::new(&[], &sizes), framing.clone()).with_max_buffered(limit);
        let mut batched = FrameSender::new(Chunked::new(&[], &sizes), framing.clone()).with_max_buffered(limit);
        block_on(async {
            for (message, head) in messages.into_iter().zip(heads.iter().cycle()) {
                let expected = framing.encode(&message, &mut wire).is_ok();
                let fed = loop {
                    match writer.feed(&message) {
                        Err(error) if error.is_timeout() => {}
                        other => break other.is_ok(),
                    }
                };
                assert_eq!(fed, expected);
                // The message in two parts, as one with a header in front.
                let message = Bytes::from(message);
                let mut body = message.clone();
                let head = body.split_to((*head).min(body.len()));
                let sent = std::future::poll_fn(|cx| copied.poll_send_copy(cx, &head, &body)).await;
                assert_eq!(sent.is_ok(), expected);
                let sent = std::future::poll_fn(|cx| sender.poll_send_parts(cx, &head, &mut body)).await;
                assert_eq!(sent.is_ok(), expected);
                let mut batch = Batch::new(8, 1 << 20);
                batch.push(message);
                let sent = std::future::poll_fn(|cx| batched.poll_send_many(cx, &mut batch)).await;
                assert_eq!((sent.is_ok(), batch.is_empty()), (expected, expected));
            }
            while writer.flush().is_err_and(|error| error.is_timeout()) {}
            sender.finish().await.expect("written");
            copied.finish().await.expect("written");
            batched.finish().await.expect("written");
        });
        prop_assert_eq!(&writer.get_ref().bytes, &wire);
        prop_assert_eq!(&sender.get_ref().bytes, &wire);
        prop_assert_eq!(&copied.get_ref().bytes, &wire);
        prop_assert_eq!(&batched.get_ref().bytes, &wire);
    }

    #[test]
    fn what_a_framing_prints_parses_to_the_same(framing in framing()) {
        let again: AnyFraming = framing.to_string().parse().expect("its own text");
        prop_assert_eq!(again.to_string(), framing.to_string());
        let _ = framing.to_string().replace(':', "").parse::<AnyFraming>();
    }

    #[test]
    fn no_text_of_a_framing_panics(text in "(length|lines|fixed|delimiter|tlv|none|.{0,9})(:.{0,9}){0,4}") {
        if let Ok(framing) = text.parse::<AnyFraming>() {
            prop_assert_eq!(framing.to_string().parse(), Ok(framing));
        }
    }

    #[test]
    fn s6_fields_are_read_as_they_were_built(fields in vec((any::<u8>(), bytes(300)), 0..9), cut in 1..400_usize) {
        let mut builder = FieldsBuilder::new();
        for (kind, value) in &fields {
            builder.push(*kind, value).expect("short enough");
        }
        let message = builder.finish();
        let read: Vec<_> = Fields::parse(&message)
            .expect("well-formed")
            .map(|field| (field.kind, field.value.to_vec()))
            .collect();
        prop_assert_eq!(&read, &fields);
        // Without its last bytes it is well-formed only where the cut falls between two fields.
        let cut = &message[..message.len().saturating_sub(cut)];
        if let Ok(read) = Fields::parse(cut) {
            prop_assert_eq!(read.map(|field| 3 + field.value.len()).sum::<usize>(), cut.len());
        }
    }

    #[test]
    fn what_an_address_prints_parses_to_the_same(
        text in "(tcp|TCPS|udp|ws|wss|quic|unix|mem|http|grpcs)://([a-z0-9.-]{0,12}|[0-9.]{7,15}|\\[[0-9a-f:.%]{2,20}\\])(:[0-9]{0,6})?(/[ -~é]{0,9})?"
    ) {
        if let Ok(address) = text.parse::<Address>() {
            let again: Address = address.to_string().parse().expect("its own text");
            prop_assert_eq!(again, address);
        }
    }

    #[test]
    fn no_text_of_an_address_panics(text in ".{0,40}|[a-z]{0,5}://.{0,40}|tcp://[\\[\\]:%@.0-9a-f/-]{0,30}") {
        let implied = [Scheme::Tcp, Scheme::Mem, Scheme::Unix].map(|scheme| Address::parse_as(scheme, &text));
        for address in implied.into_iter().chain([text.parse()]).flatten() {
            let again: Address = address.to_string().parse().expect("its own text");
            prop_assert_eq!(again, address);
        }
    }

    #[test]
    fn every_socket_has_an_address_that_parses(ip in any::<std::net::IpAddr>(), port in any::<u16>(), scope in any::<u32>()) {
        let socket = match ip {
            std::net::IpAddr::V4(_) => (ip, port).into(),
            std::net::IpAddr::V6(v6) => std::net::SocketAddrV6::new(v6, port, 0, scope).into(),
        };
        let address = Address::from_socket(Scheme::Udp, socket);
        let again: Address = address.to_string().parse().expect("its own text");
        prop_assert_eq!(&again, &address);
        prop_assert_eq!(again.port(), Some(port));
    }
}

/// Credentials within the bounds: names are unlike each other.
fn credentials() -> impl Strategy<Value = Credentials> {
    let metadata = proptest::collection::btree_map(".{1,60}", ".{0,60}", 0..20);
    (vec(any::<u8>(), 0..=4096), metadata).prop_map(|(key, metadata)| {
        metadata
            .into_iter()
            .filter(|(name, _)| name.len() <= 255)
            .fold(Credentials::new(key), |credentials, (name, value)| credentials.with_metadata(name, value))
    })
}

proptest! {
    #[test]
    fn m13_credentials_arrive_as_they_were_sent(credentials in credentials()) {
        let payload = credentials.encode().expect("within the bounds");
        let received = Credentials::decode(&payload).expect("its own bytes");
        prop_assert!(received.api_key().matches(credentials.api_key()));
        prop_assert!(received.metadata().eq(credentials.metadata()));
        // Of less than all of it nothing is taken.
        for len in 0..payload.len().min(300) {
            prop_assert_eq!(Credentials::decode(&payload[..len]).err(), Some(CredentialsError::UnexpectedEnd));
        }
    }

    #[test]
    fn m13_garbage_is_no_credentials_or_exactly_some(bytes in bytes(200)) {
        if let Ok(credentials) = Credentials::decode(&bytes) {
            let encoded = credentials.encode();
            prop_assert_eq!(encoded.as_deref(), Ok(&bytes[..]));
        }
    }
}
