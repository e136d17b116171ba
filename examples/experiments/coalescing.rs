//! Coalesced and split messages: "HELLO" and "WORLD" arrive as one piece, or as three.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    error::Error,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use net_core::{
    blocking::{FrameReader, FrameWriter},
    frame::LengthPrefix,
};

/// Returns both ends of a connection.
fn connection() -> Result<(TcpStream, TcpStream), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    // Each write leaves at once, so that what is seen is the stream's nature and not Nagle's algorithm.
    near.set_nodelay(true)?;
    Ok((near, listener.accept()?.0))
}

/// Waits until `len` bytes have arrived, without reading them.
fn arrived(stream: &TcpStream, len: usize) -> Result<(), Box<dyn Error>> {
    let mut seen = vec![0; len];
    while stream.peek(&mut seen)? < len {
        std::thread::yield_now();
    }
    Ok(())
}

fn read(stream: &mut TcpStream) -> Result<String, Box<dyn Error>> {
    let mut buffer = [0; 100];
    let len = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut near, mut far) = connection()?;
    near.write_all(b"HELLO")?;
    near.write_all(b"WORLD")?;
    arrived(&far, 10)?;
    let together = read(&mut far)?;
    println!("two writes, one read: {together:?}");
    assert_eq!(together, "HELLOWORLD");

    let mut pieces = Vec::new();
    for part in ["HEL", "LOWO", "RLD"] {
        near.write_all(part.as_bytes())?;
        arrived(&far, part.len())?;
        pieces.push(read(&mut far)?);
    }
    println!("split on its way, three reads: {pieces:?}");
    assert_eq!(pieces, ["HEL", "LOWO", "RLD"]);

    // With a framing the reader gets what the writer sent.
    let (near, far) = connection()?;
    let mut writer = FrameWriter::new(&near, LengthPrefix::default());
    writer.send(b"HELLO")?;
    writer.send(b"WORLD")?;
    arrived(&far, 2 * (4 + 5))?;
    let mut reader = FrameReader::new(&far, LengthPrefix::default());
    let messages = [reader.recv()?, reader.recv()?];
    println!("framed, two messages: {messages:?}");
    assert_eq!(messages.map(Option::unwrap_or_default), [&b"HELLO"[..], b"WORLD"]);
    Ok(())
}
