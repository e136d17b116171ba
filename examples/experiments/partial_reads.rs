//! Partial reads: a stream gives what is there, not what was asked for; a buffer of 4 bytes shows it.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    error::Error,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use net_core::{
    blocking::{FrameReader, FrameWriter, recv_exact},
    frame::LengthPrefix,
};

const TEXT: &[u8] = b"a stream has no messages";

/// Returns both ends of a connection.
fn connection() -> Result<(TcpStream, TcpStream), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut near, mut far) = connection()?;
    near.write_all(TEXT)?;
    near.shutdown(Shutdown::Write)?;
    let (mut buffer, mut reads, mut whole) = ([0; 4], 0, Vec::<u8>::new());
    loop {
        let read = far.read(&mut buffer)?;
        if read == 0 {
            // The peer's end, which is no message either.
            break;
        }
        reads += 1;
        whole.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    println!("{} bytes in one write, {reads} reads of at most 4", TEXT.len());
    assert!(whole == TEXT && reads >= TEXT.len().div_ceil(4));

    // What is asked for may also arrive in parts: one read gives the first of them.
    let (mut near, mut far) = connection()?;
    near.write_all(b"half")?;
    let mut first = [0; 8];
    let read = far.read(&mut first)?;
    println!("asked for 8 bytes, got {read}: the rest is not there yet");
    assert_eq!(read, 4);
    let late = thread::spawn(move || near.write_all(b" and half").map(|()| near));
    let mut rest = [0; 9];
    recv_exact(&mut far, &mut rest)?;
    println!("asked for 9 bytes by recv_exact, got {:?}", String::from_utf8_lossy(&rest));
    late.join().map_err(|_| "the writer panicked")??;

    // A framing makes messages of them, however they arrive.
    let (near, far) = connection()?;
    let sending = thread::spawn(move || FrameWriter::new(near, LengthPrefix::default()).send(TEXT));
    let message = FrameReader::new(Small(far), LengthPrefix::default()).recv()?;
    println!("framed: {:?}", message.as_deref().map(String::from_utf8_lossy));
    sending.join().map_err(|_| "the writer panicked")??;
    assert_eq!(message.as_deref(), Some(TEXT));
    Ok(())
}

/// Reads at most 4 bytes at once, whatever it is asked for.
struct Small(TcpStream);

impl Read for Small {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(4);
        self.0.read(buffer.get_mut(..len).unwrap_or_default())
    }
}
