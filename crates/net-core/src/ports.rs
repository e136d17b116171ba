//! Ports that listeners of this process have left, where something still keeps the socket open for a moment.
//!
//! A server that has stopped can so be started again on its port at once.
//!
//! # Examples
//!
//! ```
//! use std::{net::UdpSocket, sync::Arc, time::Duration};
//!
//! use net_core::ports;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
//! let (at, kept) = (socket.local_addr()?, Arc::downgrade(&socket));
//! ports::leave(at.port(), move || kept.strong_count() > 0);
//! tokio::spawn(async move { drop(socket) }); // a moment later
//!
//! ports::outwait(at.port(), Duration::from_secs(10), || UdpSocket::bind(at)).await?;
//! # Ok(())
//! # }
//! ```

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

/// How often it is looked whether a port is free; nobody tells.
const LOOK: Duration = Duration::from_millis(5);

/// Those of all listeners of this process, as ports are the process's.
static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());

struct Left {
    port: u16,
    is_open: Box<dyn Fn() -> bool + Send>,
}

/// Notes that the listener at `port` is gone, and its socket not before `is_open` gives `false`.
///
/// It may give so just before the socket is closed. It is called under a lock: it must not wait, nor call this module.
pub fn leave(port: u16, is_open: impl Fn() -> bool + Send + 'static) {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|other| (other.is_open)());
    left.push(Left { port, is_open: Box::new(is_open) });
}

/// Calls `bind`, which binds `port`, and again for as long as that is in use because a listener of this process has just left it,
/// `patience` at the most.
///
/// Port 0, a port that no listener has left and, outside a runtime, any port is not waited for.
///
/// # Errors
///
/// Those of `bind`.
///
/// # Cancel safety
///
/// Cancel safe: `bind` is no longer called.
pub async fn outwait<T>(
    port: u16,
    patience: Duration,
    mut bind: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let began = Instant::now();
    loop {
        let may_wait = port > 0 && is_left(port) && began.elapsed() < patience;
        match (bind(), Handle::try_current()) {
            (Err(error), Ok(runtime)) if error.kind() == io::ErrorKind::AddrInUse && may_wait => {
                // Not by its timer, which a runtime need not have. It fails as the runtime ends, and nobody waits then.
                let _ = runtime.spawn_blocking(|| thread::sleep(LOOK)).await;
            }
            (bound, _) => return bound,
        }
    }
}

/// Tells whether a listener of this process has left `port`, and its socket may not be closed yet.
fn is_left(port: u16) -> bool {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_left = left.iter().any(|left| left.port == port);
    // One that is gone by now is told once more: it may be just closing.
    left.retain(|left| (left.is_open)());
    is_left
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Left").field("port", &self.port).finish_non_exhaustive()
    }
}
