//! What every peer server does at its start: announces itself, and leaves with the process that started it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use rustix::process::{Signal, set_parent_process_death_signal};
use socket2::SockRef;

/// The buffer of one read in the peers that choose it themselves, the same for all so that what differs is the server.
///
/// Tried from 32 to 256 KiB: with 64 KiB messages every one of them is a tenth to a third cheaper than with 64 KiB, and
/// nothing gets dearer.
pub const READ_BUFFER: usize = 128 * 1024;

/// Asks the kernel to end this process when the one that started it ends, so that no run leaves a server behind.
///
/// # Errors
/// As the system call gives them.
pub fn leave_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// What the kernel is to keep of datagrams that have arrived, as much as our own server asks for.
pub const DATAGRAM_BUFFER: usize = 4 << 20;

/// Binds a socket for datagrams to a free port of loopback, that receives into `recv_buffer` bytes, or into what the system gives.
///
/// # Errors
/// As the system calls give them.
pub fn datagram_socket(recv_buffer: Option<usize>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    if let Some(len) = recv_buffer {
        SockRef::from(&socket).set_recv_buffer_size(len)?;
    }
    Ok(socket)
}

/// Prints the line by which a server of datagrams says that it is there.
///
/// # Errors
/// When standard output is closed.
pub fn announce_datagrams(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening udp://{address}")?;
    out.flush()
}

/// Prints the line by which a server says that it accepts.
///
/// # Errors
/// When standard output is closed.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening tcp://{address}")?;
    out.flush()
}
