//! What the accept loop and the engine tell to those who watch.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crate::{Address, Error, ErrorReply, Info, Limit};

/// Watches connections: logs, metrics, tests.
///
/// Every method does nothing unless written. They are called from the tasks that serve connections, so they must be
/// quick and must not block. Received and sent messages are told once a batch, not once a message.
///
/// Several observers compose as a tuple or as a `Vec<Arc<dyn Observer>>`.
///
/// A panic of an observer ends the call in which it came, and nothing else: servers and clients hold theirs in a [`Contained`].
/// What was told is lost, also to the observers that stand behind the one that panicked.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use net_core::{Info, Observer};
///
/// #[derive(Debug, Default)]
/// struct Opened(AtomicUsize);
///
/// impl Observer for Opened {
///     fn opened(&self, _: &Info) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// ```
#[allow(unused_variables, reason = "the names are documentation for those who implement a method")]
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A raw connection was accepted, before its handshake.
    fn accepted(&self, peer: &Address) {}

    /// The system could not give a connection; accepting goes on.
    fn accept_failed(&self, error: &io::Error) {}

    /// A server's listener at `at` has failed for good: it accepts no more, and the sessions that it has go on.
    fn listener_failed(&self, at: &Address, error: &Error) {}

    /// A connection was refused because a limit is reached.
    fn rejected(&self, peer: &Address, limit: Limit) {}

    /// A handshake failed, was too slow, or was dropped in favour of a newer one.
    fn handshake_failed(&self, peer: &Address, error: &Error) {}

    /// A session began.
    fn opened(&self, info: &Info) {}

    /// Messages arrived, with so many bytes of payload in all.
    fn received(&self, info: &Info, messages: u64, bytes: u64) {}

    /// Messages were handed to the transport, with so many bytes of payload in all.
    fn sent(&self, info: &Info, messages: u64, bytes: u64) {}

    /// A request that this side sent was answered after `elapsed`, from its way into the outbox to its answer.
    fn request_finished(&self, info: &Info, elapsed: Duration) {}

    /// Messages for this peer were dropped: its outbox was full, or no message of the connection could carry
    /// them.
    fn dropped(&self, info: &Info, messages: u64) {}

    /// A session reached a limit; what follows of it is told by other methods.
    fn limited(&self, info: &Info, limit: Limit) {}

    /// Messages of this peer were refused because a limit is reached: requests are answered by an error,
    /// notifications are dropped.
    fn refused(&self, info: &Info, limit: Limit, messages: u64) {}

    /// The peer was taken for `name`.
    fn authenticated(&self, info: &Info, name: &str) {}

    /// The peer was not believed, or did not show who it is; it was told `why`.
    fn authentication_failed(&self, info: &Info, why: &ErrorReply) {}

    /// A client waits for `delay` before its `attempt`th attempt to connect again; the first is 1.
    fn reconnecting(&self, to: &Address, attempt: u32, delay: Duration) {}

    /// A client has given up after so many attempts to connect again; one by hand, of a client that makes none by itself, is 1.
    fn exhausted(&self, to: &Address, attempts: u32) {}

    /// A server has drained: so many sessions ended by themselves, so many were cut.
    fn drained(&self, finished: usize, cut: usize) {}

    /// A runtime that sessions run on was kept from its work for `late`: a handler blocks it.
    fn runtime_blocked(&self, late: Duration) {}

    /// A session ended; without an error where the end was clean.
    fn closed(&self, info: &Info, error: Option<&Error>) {}
}

/// Watches nothing.
impl Observer for () {}

macro_rules! forward {
    ($self:ident, $each:ident => $call:expr) => {
        fn accepted(&$self, peer: &Address) { $call(&|$each| $each.accepted(peer)); }
        fn accept_failed(&$self, error: &io::Error) { $call(&|$each| $each.accept_failed(error)); }
        fn listener_failed(&$self, at: &Address, error: &Error) { $call(&|$each| $each.listener_failed(at, error)); }
        fn rejected(&$self, peer: &Address, limit: Limit) { $call(&|$each| $each.rejected(peer, limit)); }
        fn handshake_failed(&$self, peer: &Address, error: &Error) { $call(&|$each| $each.handshake_failed(peer, error)); }
        fn opened(&$self, info: &Info) { $call(&|$each| $each.opened(info)); }
        fn received(&$self, info: &Info, messages: u64, bytes: u64) { $call(&|$each| $each.received(info, messages, bytes)); }
        fn sent(&$self, info: &Info, messages: u64, bytes: u64) { $call(&|$each| $each.sent(info, messages, bytes)); }
        fn request_finished(&$self, info: &Info, elapsed: Duration) { $call(&|$each| $each.request_finished(info, elapsed)); }
        fn dropped(&$self, info: &Info, messages: u64) { $call(&|$each| $each.dropped(info, messages)); }
        fn limited(&$self, info: &Info, limit: Limit) { $call(&|$each| $each.limited(info, limit)); }
        fn refused(&$self, info: &Info, limit: Limit, messages: u64) { $call(&|$each| $each.refused(info, limit, messages)); }
        fn authenticated(&$self, info: &Info, name: &str) { $call(&|$each| $each.authenticated(info, name)); }
        fn authentication_failed(&$self, info: &Info, why: &ErrorReply) { $call(&|$each| $each.authentication_failed(info, why)); }
        fn reconnecting(&$self, to: &Address, attempt: u32, delay: Duration) { $call(&|$each| $each.reconnecting(to, attempt, delay)); }
        fn exhausted(&$self, to: &Address, attempts: u32) { $call(&|$each| $each.exhausted(to, attempts)); }
        fn drained(&$self, finished: usize, cut: usize) { $call(&|$each| $each.drained(finished, cut)); }
        fn runtime_blocked(&$self, late: Duration) { $call(&|$each| $each.runtime_blocked(late)); }
        fn closed(&$self, info: &Info, error: Option<&Error>) { $call(&|$each| $each.closed(info, error)); }
    };
}

type Tell<'a> = &'a dyn Fn(&dyn Observer);

impl<A: Observer, B: Observer> Observer for (A, B) {
    forward!(self, each => |tell: Tell<'_>| { tell(&self.0); tell(&self.1); });
}

impl Observer for Vec<Arc<dyn Observer>> {
    forward!(self, each => |tell: Tell<'_>| self.iter().for_each(|one| tell(&**one)));
}

/// An observer whose panics end the call in which they came, and not what is told: a session, or the loop of a server.
///
/// Servers and clients wrap theirs by themselves.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use net_core::{Contained, Observer};
///
/// #[derive(Debug)]
/// struct Careless;
///
/// impl Observer for Careless {
///     fn runtime_blocked(&self, _: Duration) {
///         panic!("no runtime of mine is blocked");
///     }
/// }
///
/// Contained::new(Careless).runtime_blocked(Duration::from_secs(1));
/// ```
#[derive(Debug)]
pub struct Contained<O>(O);

impl<O: Observer> Contained<O> {
    /// Contains the panics of `observer`.
    pub fn new(observer: O) -> Self {
        Self(observer)
    }
}

impl<O: Observer> Observer for Contained<O> {
    forward!(self, each => |tell: &dyn Fn(&O)| {
        // The panic hook has told of it, and what it leaves behind is the observer's own.
        let _ = catch_unwind(AssertUnwindSafe(|| tell(&self.0)));
    });
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    forward!(self, each => |tell: &dyn Fn(&O)| tell(self));
}
