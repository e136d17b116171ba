//! The practical limit: one thread, level-triggered epoll, bytes echoed in place, nothing parsed.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;

use net_benches::peer;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};

/// The listener's token; connections count up from it and no token is used twice.
const LISTENER: u64 = 0;

fn main() -> io::Result<()> {
    peer::leave_with_parent()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    // The standard library listens with a backlog of 128; listening again only sets it.
    rustix::net::listen(&listener, 4096)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    peer::announce(listener.local_addr()?)?;
    Server { listener, epoll, connections: HashMap::new(), last: LISTENER }.run()
}

struct Server {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: HashMap<u64, Connection>,
    last: u64,
}

struct Connection {
    socket: OwnedFd,
    /// What the kernel had no room for; while there is any the connection is not read.
    rest: Option<Rest>,
}

/// A whole read buffer that a connection keeps, so that what is left in it need not be copied.
struct Rest {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        let mut buffers = Vec::new();
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let token = event.data.u64();
                if token == LISTENER {
                    self.accept()?;
                } else if let Some(connection) = self.connections.get_mut(&token)
                    && connection.serve(&self.epoll, token, &mut buffers).is_err()
                {
                    self.connections.remove(&token);
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
            self.last += 1;
            epoll::add(&self.epoll, &socket, EventData::new_u64(self.last), EventFlags::IN)?;
            self.connections.insert(self.last, Connection { socket, rest: None });
        }
    }
}

impl Connection {
    /// Does what one event allows; an error means that the connection is over.
    fn serve(&mut self, epoll: &OwnedFd, token: u64, buffers: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
        if let Some(rest) = &mut self.rest {
            rest.from += write(&self.socket, rest.buffer.get(rest.from..rest.to).unwrap_or_default())?;
            if rest.from == rest.to {
                buffers.extend(self.rest.take().map(|rest| rest.buffer));
                epoll::modify(epoll, &self.socket, EventData::new_u64(token), EventFlags::IN)?;
            }
            return Ok(());
        }
        let mut buffer = buffers.pop().unwrap_or_else(|| vec![0; peer::READ_BUFFER]);
        let read = match rustix::io::read(&self.socket, &mut *buffer) {
            Ok(0) => Err(Errno::PIPE),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            read => read,
        };
        let written = read.and_then(|read| write(&self.socket, buffer.get(..read).unwrap_or_default()));
        match (read, written) {
            (Ok(to), Ok(from)) if from < to => {
                self.rest = Some(Rest { buffer, from, to });
                epoll::modify(epoll, &self.socket, EventData::new_u64(token), EventFlags::OUT)
            }
            (_, written) => {
                buffers.push(buffer);
                written.map(drop)
            }
        }
    }
}

fn write(socket: &OwnedFd, data: &[u8]) -> Result<usize, Errno> {
    if data.is_empty() {
        return Ok(0);
    }
    match rustix::net::send(socket, data, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        written => written,
    }
}
