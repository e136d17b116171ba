//! Who the peer of a session is.

use net_core::{Error, ErrorKind, GoAway, Prefix};

use super::Session;
use crate::Identity;

impl Session {
    /// Returns who the peer is: on a server with an [`Authenticator`](crate::Authenticator) always once its handler
    /// hears of the session; on a client that authenticates, whom the server takes it for, if the server tells.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.rare.get()?.identity.get()
    }

    /// Notes who the peer is, and tells it what it was to be told meanwhile.
    pub(crate) fn set_identity(&self, identity: Identity) {
        let (name, held) = (identity.shared_name().clone(), self.0.rare.make());
        let outbox = self.outbox();
        // A session is authenticated once.
        let _ = held.identity.set(identity);
        let notice = held.notice.get();
        drop(outbox);
        self.observe(|observer| observer.authenticated(&self.0.info, &name));
        if let Some(notice) = notice {
            self.tell_to_go(*notice);
        }
    }

    /// Asks the peer to leave: now, or as soon as it is known.
    pub(crate) fn tell_to_go(&self, notice: GoAway) {
        // Under the lock, so that either the peer is known here, or whoever lets it in finds the notice.
        let outbox = self.outbox();
        let known = self.is_known();
        if !known {
            // What it is told first counts.
            let _ = self.0.rare.make().notice.set(notice);
        }
        drop(outbox);
        if known {
            // In the raw format, and to one that ends already, there is nothing to tell; all are drained the same.
            let _ = self.go_away(notice.reason, notice.retry_after);
        }
    }

    /// Tells whether the peer is known, where that is asked for: a session that is not reaches no handler.
    #[inline]
    pub(crate) fn is_known(&self) -> bool {
        !self.settings().access.is_guarded() || self.identity().is_some()
    }

    /// Returns what is counted for the peer's address.
    pub(crate) fn prefix(&self) -> Option<Prefix> {
        self.0.info.remote.socket().and_then(|socket| Prefix::of(socket.ip()))
    }

    /// Returns why nothing can be sent yet.
    #[cold]
    pub(super) fn unknown_error(&self) -> Error {
        Error::new(ErrorKind::Unauthenticated, "send").at(&self.0.info.remote)
    }
}
