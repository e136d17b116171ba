//! States of a connection as it ends: `CLOSE_WAIT` where a program closes late, `TIME_WAIT` at who closed first.
//!
//! Read from /proc/net/tcp, which is where `ss` and `netstat` may look, too; Linux only.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::error::Error;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn Error>> {
    linux::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn Error>> {
    println!("this system has no /proc/net/tcp");
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        error::Error,
        fs,
        io::{ErrorKind, Read},
        net::{Shutdown, SocketAddr, TcpListener, TcpStream},
        thread,
        time::{Duration, Instant},
    };

    use socket2::{Domain, Socket, Type};

    const STATES: [(&str, &str); 9] = [
        ("01", "ESTABLISHED"),
        ("04", "FIN_WAIT1"),
        ("05", "FIN_WAIT2"),
        ("06", "TIME_WAIT"),
        ("07", "CLOSE"),
        ("08", "CLOSE_WAIT"),
        ("09", "LAST_ACK"),
        ("0A", "LISTEN"),
        ("0B", "CLOSING"),
    ];

    /// Returns the state of the socket with these two ports; `none` where there is no such socket.
    fn state(local: u16, remote: u16) -> Result<&'static str, Box<dyn Error>> {
        let port =
            |address: &str| address.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
            let mut fields = line.split_whitespace().skip(1);
            let (Some(from), Some(to), Some(number)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if port(from) == Some(local) && port(to) == Some(remote) {
                let known = STATES.iter().find(|(code, _)| *code == number);
                return Ok(known.map_or("another state", |(_, name)| name));
            }
        }
        Ok("none")
    }

    /// Waits until both ends of a connection are in these states.
    fn expect(
        what: &str,
        (near, far): (SocketAddr, SocketAddr),
        expected: (&str, &str),
    ) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        loop {
            let states = (state(near.port(), far.port())?, state(far.port(), near.port())?);
            if states == expected {
                println!("{what}: {} at the client, {} at the server", states.0, states.1);
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(10) {
                return Err(format!("{what}: {states:?} instead of {expected:?}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        let near = TcpStream::connect(at)?;
        let (mut far, peer) = listener.accept()?;
        let both = (peer, at);
        expect("connected", both, ("ESTABLISHED", "ESTABLISHED"))?;

        near.shutdown(Shutdown::Write)?;
        assert_eq!(far.read(&mut [0; 1])?, 0, "the server has seen the end");
        expect("the client has finished, the server closes late", both, ("FIN_WAIT2", "CLOSE_WAIT"))?;
        drop(far);
        expect("the server has closed", both, ("TIME_WAIT", "none"))?;
        drop(near);
        expect("the client has closed, too", both, ("TIME_WAIT", "none"))?;

        // A program that forgets to close keeps a descriptor for each peer that has left.
        let mut forgotten = Vec::new();
        for _ in 0..5 {
            drop(TcpStream::connect(at)?);
            forgotten.push(listener.accept()?);
        }
        let mut waiting = 0;
        for (far, peer) in &mut forgotten {
            assert_eq!(far.read(&mut [0; 1])?, 0);
            waiting += usize::from(state(at.port(), peer.port())? == "CLOSE_WAIT");
        }
        println!("5 peers have left, nobody closed: {waiting} in CLOSE_WAIT");
        assert_eq!(waiting, 5);
        drop((forgotten, listener));

        // Where the server closes first, TIME_WAIT is at its port, and a new server needs SO_REUSEADDR.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        let mut near = TcpStream::connect(at)?;
        let (far, peer) = listener.accept()?;
        drop((far, listener));
        assert_eq!(near.read(&mut [0; 1])?, 0);
        drop(near);
        expect("the server has closed first", (peer, at), ("none", "TIME_WAIT"))?;
        let bind = |reuse| -> std::io::Result<()> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(reuse)?;
            socket.bind(&at.into())?;
            socket.listen(16)
        };
        let without = bind(false).map_err(|error| error.kind());
        let with = bind(true).map_err(|error| error.kind());
        println!("listening there again: {without:?} without SO_REUSEADDR, {with:?} with it");
        assert_eq!((without, with), (Err(ErrorKind::AddrInUse), Ok(())));
        Ok(())
    }
}
