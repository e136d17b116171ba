//! The load generator against servers that are right, and against servers that are wrong in one way each.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use net_benches::certificates::Certificates;
use net_benches::load::{self, Common, Format, Load, Shape};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Serves each connection on a thread of its own with `serve`; the threads end with the test's connections.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream.expect("a connection")));
        }
    });
    address
}

/// Serves TLS, and what is in it by `change`; `resumes` tells whether it resumes sessions.
fn secure(
    resumes: bool,
    change: impl Fn(u64, &mut Vec<u8>) + Clone + Send + 'static,
) -> (SocketAddr, PathBuf) {
    let directory = std::env::temp_dir().join(format!("net-benches-{}", uuid()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let files = Certificates::make(&directory).expect("certificates");
    let chain = vec![CertificateDer::from_pem_file(&files.cert).expect("PEM")];
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("PEM");
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .expect("a pair");
    if !resumes {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    let config = Arc::new(config);
    let address = server(move |stream| {
        let connection = ServerConnection::new(config.clone()).expect("a server");
        let mut stream = StreamOwned::new(connection, stream);
        echo(&mut stream, &change);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    (address, files.ca)
}

/// A name that no other test of this process or another one has.
fn uuid() -> String {
    format!("{}-{:?}", std::process::id(), thread::current().id())
}

/// Echoes what `change` makes of each piece; it is told how many bytes came before.
fn echo(mut stream: impl Read + Write, change: impl Fn(u64, &mut Vec<u8>)) {
    let mut buffer = vec![0; 64 * 1024];
    let mut before = 0;
    while let Ok(read) = stream.read(&mut buffer)
        && read > 0
    {
        let mut piece = buffer.get(..read).unwrap_or_default().to_vec();
        change(before, &mut piece);
        before += read as u64;
        if stream.write_all(&piece).is_err() {
            return;
        }
    }
}

fn common(to: SocketAddr, payload: usize, format: Format) -> Common {
    Common { to, payload, format, ca: None, any_suite: false, watch: None }
}

fn echo_load(common: Common, connections: usize, in_flight: usize) -> Load {
    Load::Echo {
        common,
        shape: Shape { connections, in_flight },
        duration: Duration::from_millis(50),
        warm_up: Duration::from_millis(5),
    }
}

#[test]
fn a_right_server_has_no_errors_whatever_the_shape() {
    let address = server(|stream| echo(stream, |_, _| {}));
    for (payload, connections, in_flight) in [(0, 1, 1), (64, 1, 256), (64, 8, 16), (65_536, 4, 16)] {
        let outcome =
            load::run(&echo_load(common(address, payload, Format::Raw), connections, in_flight)).unwrap();
        assert_eq!((outcome.errors, &outcome.first_error), (0, &None), "{payload} {connections}x{in_flight}");
        assert!(outcome.messages > 0 && outcome.latency.p50 > 0.0, "{outcome:?}");
    }
}

#[test]
fn each_line_is_a_turn() {
    let address = server(|stream| echo(stream, |_, _| {}));
    let mut found = Vec::new();
    let load = echo_load(common(address, 64, Format::Raw), 2, 16);
    let asked = &b"one\ntwo\nthree\n"[..];
    load::take_turns(&load, asked, |outcome| {
        found.push(outcome);
        Ok(())
    })
    .unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|turn| turn.messages > 0 && turn.first_error.is_none()), "{found:?}");
    let common = common(address, 64, Format::Raw);
    let churn = Load::Churn { common: common.clone(), count: 5, resume: false };
    let mut connected = Vec::new();
    load::take_turns(&churn, asked, |outcome| {
        connected.push(outcome.messages);
        Ok(())
    })
    .unwrap();
    assert_eq!(connected, [5; 3]);
    let idle = Load::Idle { common, sessions: 1, hold: Duration::ZERO };
    let refused = load::take_turns(&idle, asked, |_| Ok(())).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn one_flipped_bit_is_an_error() {
    let address = server(|stream| {
        echo(stream, |before, piece| {
            // One byte, a long way into the stream.
            if let Some(at) = 40_000_u64.checked_sub(before).filter(|at| *at < piece.len() as u64) {
                piece[usize::try_from(at).unwrap()] ^= 1;
            }
        });
    });
    let outcome = load::run(&echo_load(common(address, 64, Format::Raw), 1, 16)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("other bytes")));
}

#[test]
fn an_answer_that_nobody_asked_for_is_an_error() {
    let address = server(|stream| echo(stream, |_, piece| piece.push(0)));
    let outcome = load::run(&echo_load(common(address, 64, Format::Raw), 1, 1)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("more came back")));
}

#[test]
fn a_server_that_closes_is_an_error() {
    let address = server(drop);
    let outcome = load::run(&echo_load(common(address, 64, Format::Raw), 2, 1)).unwrap();
    assert_eq!(outcome.errors, 2, "{outcome:?}");
}

#[test]
fn message_format_takes_answers_of_kind_one_only() {
    let right = server(|stream| {
        echo(stream, |before, piece| {
            // With one message in flight each piece is one frame of 4 + 9 + 64 bytes.
            assert!(before.is_multiple_of(77) && piece.len() == 77);
            piece[4] = 1;
        });
    });
    let outcome = load::run(&echo_load(common(right, 64, Format::Message), 2, 1)).unwrap();
    assert_eq!((outcome.errors, &outcome.first_error), (0, &None));

    let mirror = server(|stream| echo(stream, |_, _| {}));
    let outcome = load::run(&echo_load(common(mirror, 64, Format::Message), 1, 1)).unwrap();
    assert_eq!(outcome.errors, 1, "the request's own kind is no answer");
}

#[test]
fn churn_and_idle_count_their_connections() {
    let address = server(|stream| echo(stream, |_, _| {}));
    let churn =
        load::run(&Load::Churn { common: common(address, 64, Format::Raw), count: 30, resume: false })
            .unwrap();
    assert_eq!(churn.messages, 30);
    assert!(churn.connect.is_some_and(|connect| connect.p50 > 0.0));

    // In place of this process, of which a thread that served a connection may end at any moment.
    let mut server = Command::new("sleep").arg("60").spawn().unwrap();
    let mut watched = common(address, 64, Format::Raw);
    watched.watch = Some(server.id());
    let idle = load::run(&Load::Idle { common: watched, sessions: 20, hold: Duration::from_millis(1) });
    server.kill().unwrap();
    server.wait().unwrap();
    let idle = idle.unwrap();
    assert_eq!(idle.idle.map(|idle| idle.sessions), Some(20));
    assert!(idle.memory.is_some_and(|memory| memory.rss_kib > 0));
}

#[test]
fn a_wrong_answer_fails_churn_and_idle() {
    let address = server(|stream| echo(stream, |_, piece| piece.reverse()));
    assert!(
        load::run(&Load::Churn { common: common(address, 64, Format::Raw), count: 3, resume: false })
            .is_err()
    );
    let idle = Load::Idle { common: common(address, 64, Format::Raw), sessions: 3, hold: Duration::ZERO };
    assert!(load::run(&idle).is_err());
}

#[test]
fn a_right_server_over_tls_has_no_errors_whatever_the_shape() {
    let (address, ca) = secure(true, |_, _| {});
    for (payload, connections, in_flight) in [(0, 1, 1), (64, 1, 256), (64, 8, 16), (65_536, 4, 16)] {
        let common = Common { ca: Some(ca.clone()), ..common(address, payload, Format::Raw) };
        let outcome = load::run(&echo_load(common, connections, in_flight)).unwrap();
        assert_eq!((outcome.errors, &outcome.first_error), (0, &None), "{payload} {connections}x{in_flight}");
        assert!(outcome.messages > 0 && outcome.bytes == outcome.messages * payload as u64, "{outcome:?}");
    }
}

#[test]
fn one_flipped_bit_inside_tls_is_an_error() {
    let (address, ca) = secure(true, |before, piece| {
        if let Some(at) = 40_000_u64.checked_sub(before).filter(|at| *at < piece.len() as u64) {
            piece[usize::try_from(at).unwrap()] ^= 1;
        }
    });
    let common = Common { ca: Some(ca), ..common(address, 64, Format::Raw) };
    let outcome = load::run(&echo_load(common, 1, 16)).unwrap();
    assert!(outcome.first_error.is_some_and(|error| error.contains("other bytes")));
}

#[test]
fn handshakes_are_of_the_kind_that_is_asked_for() {
    let (address, ca) = secure(true, |_, _| {});
    let churn = |address, ca: &PathBuf, resume| {
        let common = Common { ca: Some(ca.clone()), ..common(address, 64, Format::Raw) };
        load::run(&Load::Churn { common, count: 20, resume })
    };
    for resume in [false, true] {
        assert_eq!(churn(address, &ca, resume).unwrap().messages, 20);
    }
    let (forgetful, ca) = secure(false, |_, _| {});
    let error = churn(forgetful, &ca, true).unwrap_err();
    assert!(error.to_string().contains("full instead of resumed"), "{error}");
}
