//! Short writes: a slow reader fills the buffers, and a write takes a part of what it is given.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use net_core::blocking::{TransferFault, send_all, send_all_by};

const LEN: usize = 16 << 20;

/// Returns both ends of a connection.
fn connection() -> Result<(TcpStream, TcpStream), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}

fn main() -> Result<(), Box<dyn Error>> {
    let data = vec![7; LEN];

    // A non-blocking writer is told how much was taken, and then that there is no room.
    let (mut near, far) = connection()?;
    near.set_nonblocking(true)?;
    let (mut writes, mut taken) = (0, 0);
    let ended = loop {
        match near.write(data.get(taken..).unwrap_or_default()) {
            Ok(len) => {
                writes += 1;
                taken += len;
            }
            Err(error) => break error,
        }
    };
    println!("{taken} of {LEN} bytes were taken, calls of write: {writes}, then: {:?}", ended.kind());
    assert!(ended.kind() == ErrorKind::WouldBlock && taken > 0 && taken < LEN);

    // The same as an error that tells how far it came; nothing spins.
    let error = send_all(&mut near, &data).map_err(|error| (error.transferred(), error.to_string()));
    println!("send_all on a non-blocking socket: {error:?}");
    assert!(error.is_err());
    drop((near, far));

    // A blocking writer waits for a reader that takes a little at a time.
    let (mut near, mut far) = connection()?;
    let reading = thread::spawn(move || {
        let (mut buffer, mut reads, mut read) = (vec![0; 64 * 1024], 0, 0);
        while read < LEN {
            match far.read(&mut buffer)? {
                0 => break,
                len => (reads, read) = (reads + 1, read + len),
            }
        }
        Ok::<_, std::io::Error>((reads, read))
    });
    let began = Instant::now();
    send_all(&mut near, &data)?;
    let (reads, read) = reading.join().map_err(|_| "the reader panicked")??;
    println!("send_all to a reader: all {read} bytes, in {reads} reads, {:?}", began.elapsed());
    assert_eq!(read, LEN);

    // Against one that does not read at all, a deadline ends it.
    let (mut near, _far) = connection()?;
    let error = send_all_by(&mut near, &data, Instant::now() + Duration::from_millis(100));
    let Err(error) = error else { return Err("16 MiB fit into the buffers".into()) };
    println!("with a deadline to one that does not read: {error}");
    assert!(matches!(error.fault(), TransferFault::TimedOut) && error.transferred() < LEN);
    Ok(())
}
