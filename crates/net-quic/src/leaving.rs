//! Sockets of listeners that are gone: their last connections keep them, and so their ports, for a moment.

use std::{
    io,
    sync::{Mutex, PoisonError, Weak},
    time::Duration,
};

use quinn::AsyncUdpSocket;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

/// How often it is looked whether a port is free; nobody tells.
const LOOK: Duration = Duration::from_millis(5);

/// Those of all listeners of this process, as ports are the process's.
static LEAVING: Mutex<Vec<Leaving>> = Mutex::new(Vec::new());

struct Leaving {
    port: u16,
    socket: Weak<dyn AsyncUdpSocket>,
}

/// Notes that the listener of a socket is gone.
pub(crate) fn note(socket: &Weak<dyn AsyncUdpSocket>) {
    let Some(port) = socket.upgrade().and_then(|socket| socket.local_addr().ok()).map(|at| at.port()) else {
        return;
    };
    let mut leaving = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    leaving.retain(|other| other.socket.strong_count() > 0);
    leaving.push(Leaving { port, socket: socket.clone() });
}

/// Tells whether a listener of this process has left `port`, and its socket may not be closed yet.
fn is_left(port: u16) -> bool {
    let mut leaving = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    let is_left = leaving.iter().any(|left| left.port == port);
    // One that is gone by now is told once more: it may be just closing.
    leaving.retain(|left| left.socket.strong_count() > 0);
    is_left
}

/// Calls `bind`, which binds `port`, and again for as long as that is in use because a listener of this process has just left it,
/// `patience` at the most.
///
/// A server that is stopped has told its clients, and answers for three of their time-outs whoever has not heard it (RFC 9000
/// §10.2); some 80 ms nearby. It can be started again on its port at once all the same.
pub(crate) async fn outwait<T>(
    port: u16,
    patience: Duration,
    mut bind: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let began = Instant::now();
    loop {
        let may_wait =
            port > 0 && is_left(port) && began.elapsed() < patience && Handle::try_current().is_ok();
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && may_wait => sleep(LOOK).await,
            bound => return bound,
        }
    }
}
