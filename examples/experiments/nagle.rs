//! Nagle against delayed acknowledgements: a request in two small writes waits for 40 ms.
//!
//! With `TCP_NODELAY`, or in one write, it does not.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    error::Error,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const ROUNDS: usize = 40;
const HEADER: &[u8] = &[0, 0, 0, 16];
const PAYLOAD: &[u8] = b"sixteen bytes it";

/// Answers each request of 20 bytes by 20 bytes, until the peer has finished.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = [0; 20];
    while stream.read_exact(&mut request).is_ok() {
        stream.write_all(&request)?;
    }
    Ok(())
}

/// Returns the median and the longest round trip of requests that `send` writes.
fn measure(
    nodelay: bool,
    send: impl Fn(&mut TcpStream) -> io::Result<()>,
) -> Result<(Duration, Duration), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_nodelay(nodelay)?;
    let far = listener.accept()?.0;
    let serving = thread::spawn(move || serve(far));
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        send(&mut stream)?;
        stream.read_exact(&mut [0; 20])?;
        times.push(began.elapsed());
    }
    drop(stream);
    serving.join().map_err(|_| "the server panicked")??;
    times.sort();
    let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
    Ok((median, times.last().copied().unwrap_or_default()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let two_writes = |stream: &mut TcpStream| {
        stream.write_all(HEADER)?;
        stream.write_all(PAYLOAD)
    };
    let one_write = |stream: &mut TcpStream| stream.write_all(&[HEADER, PAYLOAD].concat());

    // The kernel holds the payload back until the header is acknowledged; the peer, having nothing to say before it
    // has the payload, delays that acknowledgement.
    let (nagle, longest) = measure(false, two_writes)?;
    println!("two writes, Nagle's algorithm: median {nagle:?}, longest {longest:?}");
    let (nodelay, longest) = measure(true, two_writes)?;
    println!("two writes, TCP_NODELAY:       median {nodelay:?}, longest {longest:?}");
    let (coalesced, longest) = measure(false, one_write)?;
    println!("one write, Nagle's algorithm:  median {coalesced:?}, longest {longest:?}");
    let (both, longest) = measure(true, one_write)?;
    println!("one write, TCP_NODELAY:        median {both:?}, longest {longest:?}");
    println!("waiting costs a factor of {:.0}", nagle.as_secs_f64() / both.as_secs_f64());
    // Three orders of magnitude apart: no load of this machine turns that round.
    assert!(nagle > both && nagle > coalesced, "the kernel did not wait for the acknowledgement");
    Ok(())
}
