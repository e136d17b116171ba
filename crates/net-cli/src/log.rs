//! The log of a server: lines on standard error that cost the connections they tell of next to nothing.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use net_core::{Address, Error, Info, Limit, Observer, Scheme};

use crate::{
    event::{Count, Event},
    output,
};

/// Lines that come within this time of a write are written together: thousands of connections a second are no
/// thousands of system calls.
const PAUSE: Duration = Duration::from_millis(50);
/// Above this many bytes that wait, lines are counted instead of kept.
const MAX_WAITING: usize = 1 << 20;

/// The log of a server. Clones write to the same log.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    shared: Option<Arc<Shared>>,
    json: bool,
}

/// Writes the log for as long as it lives, and what waits when it is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: String,
    lost: u64,
    closed: bool,
}

impl Log {
    /// A log that writes nothing.
    pub(crate) fn silent() -> Self {
        Self { shared: None, json: false }
    }

    /// Starts a log.
    pub(crate) fn start(json: bool) -> io::Result<(Self, Writer)> {
        let shared = Arc::new(Shared::default());
        let writing = shared.clone();
        let thread = thread::Builder::new().name("net-log".into()).spawn(move || writing.write())?;
        Ok((Self { shared: Some(shared.clone()), json }, Writer { shared, thread: Some(thread) }))
    }

    /// Adds a line.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        let Some(shared) = &self.shared else { return };
        let mut waiting = shared.lock();
        if waiting.text.len() >= MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        let idle = waiting.text.is_empty();
        if self.json {
            waiting.text.push_str(&output::json(event));
            waiting.text.push('\n');
        } else {
            // A `String` takes everything.
            let _ = writeln!(waiting.text, "{event}");
        }
        drop(waiting);
        if idle {
            shared.changed.notify_one();
        }
    }

    /// Tells whether anybody reads it.
    pub(crate) fn is_silent(&self) -> bool {
        self.shared.is_none()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        let mut waiting = self.lock();
        loop {
            let idle = |waiting: &mut Waiting| waiting.text.is_empty() && !waiting.closed;
            waiting = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
            if waiting.text.is_empty() {
                return;
            }
            let text = std::mem::take(&mut waiting.text);
            let lost = std::mem::take(&mut waiting.lost);
            drop(waiting);
            output::notes(&text);
            if lost > 0 {
                output::note(format_args!("{} of the log lost: too many at once", Count(lost, "line")));
            }
            // Whatever comes meanwhile wakes nobody; the end of the log ends the pause.
            let open = |waiting: &mut Waiting| !waiting.closed;
            let paused = self.changed.wait_timeout_while(self.lock(), PAUSE, open);
            waiting = paused.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, there would be nowhere to tell.
            let _ = thread.join();
        }
    }
}

impl Observer for Log {
    fn accepted(&self, peer: &Address) {
        if !self.is_silent() {
            self.tell(&Event::Accepted { peer: &shown(peer) });
        }
    }

    fn accept_failed(&self, error: &io::Error) {
        self.tell(&Event::AcceptFailed { error: &error.to_string() });
    }

    fn listener_failed(&self, at: &Address, error: &Error) {
        self.tell(&Event::ListenerFailed { address: &at.to_string(), error: &error.report() });
    }

    fn rejected(&self, peer: &Address, limit: Limit) {
        self.tell(&Event::Rejected { peer: &shown(peer), limit: limit.as_str() });
    }

    fn handshake_failed(&self, peer: &Address, error: &Error) {
        self.tell(&Event::HandshakeFailed { peer: &shown(peer), error: &error.report() });
    }

    fn limited(&self, info: &Info, limit: Limit) {
        self.tell(&Event::Limited { peer: &shown(&info.remote), limit: limit.as_str() });
    }

    fn runtime_blocked(&self, late: Duration) {
        self.tell(&Event::Blocked { milliseconds: late.as_millis() });
    }
}

/// The address of a peer. Clients of a Unix-domain socket have none.
pub(crate) fn shown(peer: &Address) -> String {
    if peer.scheme() == Scheme::Unix && peer.path().is_empty() {
        return "a local process".to_owned();
    }
    peer.to_string()
}
