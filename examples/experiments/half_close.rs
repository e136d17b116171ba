//! Half-close: one side has finished, and the other still speaks; and what shutting the read side does.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

/// Returns both ends of a connection.
fn connection() -> Result<(TcpStream, TcpStream), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}

fn main() -> Result<(), Box<dyn Error>> {
    // The end of the request is the end of the stream; the answer comes after it.
    let (mut near, mut far) = connection()?;
    let serving = thread::spawn(move || -> std::io::Result<()> {
        let mut request = String::new();
        far.read_to_string(&mut request)?;
        far.write_all(request.to_uppercase().as_bytes())
    });
    near.write_all(b"a request without a length")?;
    near.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    near.read_to_string(&mut answer)?;
    serving.join().map_err(|_| "the server panicked")??;
    println!("after our FIN, the answer still arrives: {answer:?}");
    assert_eq!(answer, "A REQUEST WITHOUT A LENGTH");

    let late = near.write(b"late").map_err(|error| error.kind());
    println!("sending after one's own FIN is an error value: {late:?}");
    assert_eq!(late, Err(ErrorKind::BrokenPipe));

    // The read side shut: nothing more is read, but the peer learns nothing of it, and sending goes on.
    let (mut near, mut far) = connection()?;
    near.shutdown(Shutdown::Read)?;
    let read = near.read(&mut [0; 16])?;
    near.write_all(b"still speaking")?;
    let mut heard = [0; 14];
    far.read_exact(&mut heard)?;
    println!(
        "SHUT_RD: our read gives {read} at once, our words arrive: {:?}",
        String::from_utf8_lossy(&heard)
    );
    assert_eq!((read, &heard), (0, b"still speaking"));
    let told = far.write(b"unheard").map_err(|error| error.kind());
    println!("SHUT_RD: the peer's write succeeds all the same: {told:?}");
    assert_eq!(told, Ok(7));

    // A close with unread input is an abort: the peer's next calls fail, by a value and without a signal.
    let (near, mut far) = connection()?;
    far.write_all(b"never read")?;
    let mut peeked = [0; 10];
    while near.peek(&mut peeked)? < peeked.len() {}
    drop(near);
    let reset = far.read(&mut [0; 16]).map_err(|error| error.kind());
    println!("closing with unread input resets the connection: {reset:?}");
    assert_eq!(reset, Err(ErrorKind::ConnectionReset));
    let write = far.write(b"anybody?").map_err(|error| error.kind());
    println!("writing to who has gone: {write:?}");
    assert_eq!(write, Err(ErrorKind::BrokenPipe));
    Ok(())
}
