//! Fuzz targets: no bytes make a decoder panic, spin or disagree with itself, however they are cut.
//!
//! With the other tests the committed corpora are replayed, and a moment of random inputs after them.

use bytes::Bytes;
use net_core::{
    Address, Credentials, ErrorReply, GoAway, Message, Scheme,
    frame::{
        AnyFraming, ByteOrder, Delimiter, FixedSize, Framing, LengthPrefix, Raw, Tlv,
        tlv::{Fields, FieldsBuilder},
    },
};

use crate::chunked::agree;

mod chunked;

/// The first bytes of an input choose the framing and the cuts; the rest is the wire.
fn input(bytes: &[u8]) -> ([u8; 3], Vec<usize>, &[u8]) {
    let (settings, wire) =
        bytes.split_first_chunk::<3>().map_or(([0; 3], bytes), |(head, rest)| (*head, rest));
    // From one byte a piece to all at once; 0 is a call that is repeated.
    let sizes = match settings[2] {
        0 => vec![],
        size => vec![usize::from(size), usize::from(size) / 16, 0, 1],
    };
    (settings, sizes, wire)
}

/// Limits around which things change.
fn limit(choice: u8) -> usize {
    match choice {
        255 => usize::MAX,
        254 => 1 << 20,
        small => usize::from(small),
    }
}

#[test]
fn fuzz_length_prefix() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let ([choice, max, _], sizes, wire) = input(bytes);
        let order = if choice & 8 == 0 { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
        let framing = LengthPrefix::new(choice % 8 + 1, order).with_max_message_len(limit(max));
        agree(&framing, wire, &sizes);
    });
}

#[test]
fn fuzz_delimiter() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let ([choice, max, _], sizes, wire) = input(bytes);
        let marks: [&[u8]; 6] = [b"\n", b"\0", b"\r\n", b"aba", b"--end--", b"aaaa"];
        let framing = match choice % 8 {
            6 => Delimiter::lines(),
            7 => Delimiter::crlf_lines(),
            mark => Delimiter::new(marks[usize::from(mark)]).expect("not empty"),
        };
        let framing = framing.with_unterminated(choice & 8 != 0).with_max_message_len(limit(max));
        let outcome = agree(&framing, wire, &sizes);
        // What was received can be sent, but for lines whose last CR would be taken for a part of the end.
        for message in outcome.messages {
            let sent = framing.encode(&message, &mut bytes::BytesMut::new());
            assert!(
                sent.is_ok() || framing.is_lines() && message.ends_with(b"\r") || choice & 8 != 0,
                "{sent:?}"
            );
        }
    });
}

#[test]
fn fuzz_fixed_size() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let ([choice, _, _], sizes, wire) = input(bytes);
        agree(&FixedSize::new(limit(choice)), wire, &sizes);
    });
}

#[test]
fn fuzz_tlv() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let ([_, max, _], sizes, wire) = input(bytes);
        agree(&Tlv::default().with_max_message_len(limit(max)), wire, &sizes);
    });
}

#[test]
fn fuzz_raw() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let ([_, max, _], sizes, wire) = input(bytes);
        let outcome = agree(&Raw::default().with_max_message_len(limit(max)), wire, &sizes);
        assert_eq!(outcome.joined(), wire);
    });
}

#[test]
fn fuzz_tlv_fields() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(fields) = Fields::parse(bytes) else { return };
        let mut builder = FieldsBuilder::new();
        for field in fields {
            builder.push(field.kind, field.value).expect("it came from one");
        }
        assert_eq!(builder.finish(), bytes, "all of it, and nothing else");
    });
}

#[test]
fn fuzz_message() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(message) = Message::decode(Bytes::copy_from_slice(bytes)) {
            assert_eq!(message.encode(), bytes);
        }
        if let Some(reply) = ErrorReply::decode(bytes) {
            assert_eq!(ErrorReply::decode(&reply.encode()), Some(reply));
        }
    });
}

#[test]
fn fuzz_go_away() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let read = GoAway::decode(bytes);
        assert_eq!(read.is_some(), bytes.len() >= GoAway::LEN);
        if let Some(go_away) = read {
            // What is skipped and what the peer need not have rounded is gone; all that was said is kept.
            assert_eq!(&go_away.encode()[..], &bytes[..GoAway::LEN]);
            assert!(go_away.to_string().len() < 200);
        }
    });
}

#[test]
fn fuzz_credentials() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(credentials) = Credentials::decode(bytes) {
            assert_eq!(credentials.encode().as_deref(), Ok(bytes), "all of it, and nothing else");
        }
    });
}

#[test]
fn fuzz_address() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        for address in [text.parse(), Address::parse_as(Scheme::Tcp, text)].into_iter().flatten() {
            let again: Address = address.to_string().parse().expect("its own text");
            assert_eq!(again, address);
        }
    });
}

#[test]
fn fuzz_framing_spec() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(framing) = text.parse::<AnyFraming>() {
            assert_eq!(framing.to_string().parse(), Ok(framing));
        }
    });
}
