//! The smallest safe blocking echo server and client: `std` sockets and the framings, no runtime.
//!
//! ```sh
//! cargo run -p net-examples --example echo_blocking                            # both, on a free port
//! cargo run -p net-examples --example echo_blocking server 127.0.0.1:9000
//! cargo run -p net-examples --example echo_blocking client 127.0.0.1:9000 hello world
//! ```
//!
//! What makes it safe: frames have a limit, every wait has a deadline, connections have a limit, a peer's fault ends
//! its own connection alone, and each side ends with a half-close, so that nothing sent is lost.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who runs it")]

use std::{
    env, io,
    net::{Shutdown, TcpListener, TcpStream},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use net_core::{
    Error, ErrorKind, Result,
    blocking::{FrameReader, FrameWriter},
    frame::LengthPrefix,
};

/// How many connections are served at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a peer may take for a message, to send it or to take it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => both(),
        ["server", address] => listen(address).and_then(|listener| serve(&listener)),
        ["client", address, ref words @ ..] if !words.is_empty() => ask(address, words),
        _ => {
            eprintln!("usage: echo_blocking [server ADDR:PORT | client ADDR:PORT TEXT...]");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.report());
            ExitCode::FAILURE
        }
    }
}

/// Runs a server on a free port, and a client against it.
fn both() -> Result<()> {
    let listener = listen("127.0.0.1:0")?;
    let address = listener.local_addr().map_err(|error| Error::from_io(error, "listen"))?;
    // It ends with the program.
    thread::spawn(move || serve(&listener));
    ask(&address.to_string(), &["hello", "world"])
}

fn listen(address: &str) -> Result<TcpListener> {
    let listening = TcpListener::bind(address).and_then(|listener| {
        println!("listening {}", listener.local_addr()?);
        Ok(listener)
    });
    listening.map_err(|error| Error::from_io(error, "listen"))
}

/// Accepts for ever; each connection has a thread of its own.
fn serve(listener: &TcpListener) -> Result<()> {
    // One clone for each connection: their number is the number of connections.
    let places = Arc::new(());
    loop {
        match listener.accept() {
            Ok((_, peer)) if Arc::strong_count(&places) > MAX_CONNECTIONS => {
                eprintln!("{peer}: refused, {MAX_CONNECTIONS} are connected");
            }
            Ok((stream, peer)) => {
                let place = places.clone();
                let serving = thread::Builder::new().spawn(move || {
                    match echo(&stream) {
                        Ok(count) => println!("{peer}: echoed {count} bytes"),
                        Err(error) => eprintln!("{peer}: {}", error.report()),
                    }
                    drop(place);
                });
                if let Err(error) = serving {
                    eprintln!("{peer}: refused: {error}");
                }
            }
            // A connection that is gone again, or no descriptor for now: not the end of accepting.
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Sends every message back, and returns how many bytes that were.
fn echo(stream: &TcpStream) -> Result<usize> {
    let mut reader = FrameReader::new(stream, LengthPrefix::default());
    let mut writer = FrameWriter::new(stream, LengthPrefix::default());
    let mut count = 0;
    while let Some(message) = reader.recv_by(Instant::now() + MESSAGE_TIMEOUT)? {
        writer.send_by(&message, Instant::now() + MESSAGE_TIMEOUT)?;
        count += message.len();
    }
    finish(stream)?;
    Ok(count)
}

/// Sends each word as a message, and prints what comes back.
fn ask(address: &str, words: &[&str]) -> Result<()> {
    let stream = TcpStream::connect(address).map_err(|error| Error::from_io(error, "connect"))?;
    stream.set_nodelay(true).map_err(|error| Error::from_io(error, "connect"))?;
    let mut reader = FrameReader::new(&stream, LengthPrefix::default());
    let mut writer = FrameWriter::new(&stream, LengthPrefix::default());
    for word in words {
        writer.send_by(word.as_bytes(), Instant::now() + MESSAGE_TIMEOUT)?;
        let answer = reader.recv_by(Instant::now() + MESSAGE_TIMEOUT)?;
        let answer = answer.ok_or_else(|| Error::new(ErrorKind::UnexpectedEnd, "receive"))?;
        println!("{}", String::from_utf8_lossy(&answer));
    }
    finish(&stream)?;
    match reader.recv_by(Instant::now() + MESSAGE_TIMEOUT)? {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Protocol, "receive")),
    }
}

/// Tells the peer that nothing follows; what it still sends arrives.
fn finish(stream: &TcpStream) -> Result<()> {
    match stream.shutdown(Shutdown::Write) {
        // The peer, having everything, may be gone already.
        Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(Error::from_io(error, "finish")),
        _ => Ok(()),
    }
}
