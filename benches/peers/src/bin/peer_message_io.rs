//! message-io as its users write a foreign framing: its plain TCP transport, one reassembly buffer an endpoint.
//!
//! Its own `FramedTcp` speaks variable-length prefixes, so four-byte lengths have to stand on `Transport::Tcp`. It
//! delivers chunks; complete frames are taken from each and all their replies leave in one `send`.

use std::collections::HashMap;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use message_io::network::{Endpoint, NetEvent, Transport};
use message_io::node;
use net_benches::peer;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let (handler, listener) = node::split::<()>();
    let (_, local) = handler.network().listen(Transport::Tcp, "127.0.0.1:0")?;
    set_nodelay_on_listener()?;
    peer::announce(local)?;
    let mut connections: HashMap<Endpoint, Vec<u8>> = HashMap::new();
    listener.for_each(move |event| match event.network() {
        NetEvent::Connected(..) => {}
        NetEvent::Accepted(endpoint, _) => {
            connections.insert(endpoint, Vec::new());
        }
        NetEvent::Message(endpoint, data) => {
            let Some(rest) = connections.get_mut(&endpoint) else { return };
            if rest.is_empty() {
                // The usual case: whole frames in the chunk, echoed from where they lie.
                let whole = whole_frames(data);
                let (frames, tail) = data.split_at(whole);
                if !frames.is_empty() {
                    handler.network().send(endpoint, frames);
                }
                rest.extend_from_slice(tail);
            } else {
                rest.extend_from_slice(data);
                let whole = whole_frames(rest);
                if let (Some(frames), true) = (rest.get(..whole), whole > 0) {
                    handler.network().send(endpoint, frames);
                    rest.drain(..whole);
                }
            }
        }
        NetEvent::Disconnected(endpoint) => {
            connections.remove(&endpoint);
        }
    });
    Ok(())
}

/// Length of the complete frames at the beginning of `data`.
fn whole_frames(data: &[u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = data.get(at..)
        && let Some(header) = rest.first_chunk::<4>()
    {
        let end = 4 + u32::from_be_bytes(*header) as usize;
        if rest.len() < end {
            break;
        }
        at += end;
    }
    at
}

/// Sets `TCP_NODELAY` on the listening socket, from which Linux hands it to every accepted one.
///
/// message-io neither sets it nor shows its sockets, and without it the comparison would be one of Nagle's
/// algorithm. Any process may copy its own descriptors by number; the copy is the same socket.
fn set_nodelay_on_listener() -> io::Result<()> {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        let Ok(copy) = rustix::process::pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) else { continue };
        if is_listener(&copy) {
            return Ok(rustix::net::sockopt::set_tcp_nodelay(&copy, true)?);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "no listening socket among the descriptors"))
}

fn is_listener(socket: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false)
}
