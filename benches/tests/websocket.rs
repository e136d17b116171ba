//! The load generator over WebSocket, against servers that are right, and against servers that are wrong in one way each.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use net_benches::load::{self, Common, Format, Load, Shape};

/// The answer for the generator's key, with or without compression.
const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const AGREED: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover\r\n";

/// What tungstenite does, a thread for each connection.
fn tungstenite() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut socket = tungstenite::accept(stream.expect("a connection")).expect("an upgrade");
                while let Ok(message) = socket.read() {
                    if message.is_binary() && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Upgrades by hand, then has `answer` make the answer to each frame out of its first byte and its unmasked payload.
fn server(
    extensions: &'static str,
    answer: impl Fn(u64, u8, Vec<u8>) -> Vec<u8> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || serve(stream.expect("a connection"), extensions, answer));
        }
    });
    address
}

/// Returns when the generator is gone, or says goodbye.
fn serve(
    mut stream: TcpStream,
    extensions: &str,
    answer: impl Fn(u64, u8, Vec<u8>) -> Vec<u8>,
) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.extend(byte);
    }
    stream.write_all(format!("{UPGRADE}{extensions}\r\n").as_bytes()).ok()?;
    for number in 0.. {
        let mut start = [0; 2];
        stream.read_exact(&mut start).ok()?;
        let [first, short] = start;
        assert!(short & 0x80 > 0, "a frame of a client has a mask");
        let len = match short & 0x7F {
            126 => {
                let mut len = [0; 2];
                stream.read_exact(&mut len).ok()?;
                usize::from(u16::from_be_bytes(len))
            }
            short => usize::from(short),
        };
        let mut key = [0; 4];
        stream.read_exact(&mut key).ok()?;
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).ok()?;
        for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        stream.write_all(&answer(number, first, payload)).ok()?;
        if first == 0x88 {
            return Some(());
        }
    }
    None
}

/// A frame without a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if let Ok(short @ ..126) = u8::try_from(payload.len()) {
        frame.push(short);
    } else {
        frame.push(126);
        frame.extend(u16::try_from(payload.len()).expect("a short payload").to_be_bytes());
    }
    frame.extend_from_slice(payload);
    frame
}

fn common(to: SocketAddr, payload: usize) -> Common {
    Common { to, payload, format: Format::Ws, ca: None, any_suite: false, watch: None }
}

fn echo(to: SocketAddr, payload: usize, connections: usize, in_flight: usize) -> Load {
    Load::Echo {
        common: common(to, payload),
        shape: Shape { connections, in_flight },
        duration: Duration::from_millis(50),
        warm_up: Duration::from_millis(5),
    }
}

fn compressed(to: SocketAddr) -> Load {
    Load::Compressed {
        common: common(to, 1_024),
        shape: Shape { connections: 4, in_flight: 16 },
        duration: Duration::from_millis(50),
        warm_up: Duration::from_millis(5),
    }
}

/// What a message says that `body` is compressed to, then, changed by `change`, compressed by other settings.
fn recompress(body: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (mut text, mut again) = (Vec::with_capacity(8_192), Vec::with_capacity(8_192));
    let whole = [body, &[0, 0, 0xFF, 0xFF]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut text, FlushDecompress::Sync).expect("deflate");
    change(&mut text);
    Compress::new(Compression::fast(), false)
        .compress_vec(&text, &mut again, FlushCompress::Sync)
        .expect("deflate");
    again.truncate(again.len() - 4);
    again
}

#[test]
fn a_right_server_has_no_errors_whatever_the_shape() {
    let address = server("", |_, first, payload| frame(first, &payload));
    for (payload, connections, in_flight) in [(0, 1, 1), (64, 1, 256), (64, 8, 16), (16_384, 4, 16)] {
        let outcome = load::run(&echo(address, payload, connections, in_flight)).unwrap();
        assert_eq!((outcome.errors, &outcome.first_error), (0, &None), "{payload} {connections}x{in_flight}");
        assert!(outcome.messages > 0 && outcome.latency.p50 > 0.0, "{outcome:?}");
    }
}

#[test]
fn tungstenite_understands_every_frame_and_is_understood() {
    let address = tungstenite();
    for (payload, connections, in_flight) in [(0, 1, 1), (64, 1, 256), (64, 8, 16), (70_000, 4, 2)] {
        let outcome = load::run(&echo(address, payload, connections, in_flight)).unwrap();
        assert_eq!((outcome.errors, &outcome.first_error), (0, &None), "{payload} {connections}x{in_flight}");
    }
    let idle = Load::Idle { common: common(address, 64), sessions: 20, hold: Duration::from_millis(1) };
    let idle = load::run(&idle).unwrap();
    assert_eq!(idle.messages, 20);
}

#[test]
fn a_session_ends_by_close_frames() {
    let address = server("", |_, first, payload| frame(first, &payload));
    let churn = load::run(&Load::Churn { common: common(address, 64), count: 20, resume: false }).unwrap();
    assert_eq!(churn.messages, 20);

    let late = server("", |_, first, payload| {
        // One message more instead of the answer to the close frame.
        if first == 0x88 { frame(0x82, b"late") } else { frame(first, &payload) }
    });
    let error = load::run(&Load::Churn { common: common(late, 64), count: 1, resume: false }).unwrap_err();
    assert!(error.to_string().contains("more came back"), "{error}");
}

#[test]
fn one_wrong_byte_is_an_error() {
    let address = server("", |number, first, mut payload| {
        if number == 600 {
            payload[63] ^= 1;
        }
        frame(first, &payload)
    });
    let outcome = load::run(&echo(address, 64, 1, 16)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("other bytes")));
}

#[test]
fn an_answer_of_another_kind_or_that_nobody_asked_for_is_an_error() {
    let text = server("", |_, _, payload| frame(0x81, &payload));
    let outcome = load::run(&echo(text, 64, 1, 1)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("other bytes")));

    let twice = server("", |_, first, payload| frame(first, &payload).repeat(2));
    let outcome = load::run(&echo(twice, 64, 1, 1)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("more came back")));
}

#[test]
fn compression_that_was_not_offered_is_an_error() {
    let address = server(AGREED, |_, first, payload| frame(first, &payload));
    let error = load::run(&echo(address, 64, 1, 1)).unwrap_err();
    assert!(error.to_string().contains("extensions"), "{error}");
}

#[test]
fn documents_come_back_compressed_however_that_was_done() {
    let address = server(AGREED, |_, first, payload| frame(first, &recompress(&payload, |_| {})));
    let outcome = load::run(&compressed(address)).unwrap();
    assert_eq!((outcome.errors, &outcome.first_error), (0, &None));
    assert!(outcome.messages > 0 && outcome.bytes == outcome.messages * 1_024, "{outcome:?}");
}

#[test]
fn another_document_or_one_that_is_not_compressed_is_an_error() {
    let wrong = server(AGREED, |number, first, payload| {
        frame(first, &recompress(&payload, |text| text[17] ^= u8::from(number == 40)))
    });
    let outcome = load::run(&compressed(wrong)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("another document")));

    let plain = server(AGREED, |_, _, payload| frame(0x81, &payload));
    let outcome = load::run(&compressed(plain)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("compressed text")));

    let refuses = load::run(&compressed(server("", |_, _, payload| payload))).unwrap_err();
    assert!(refuses.to_string().contains("extensions"), "{refuses}");
}
