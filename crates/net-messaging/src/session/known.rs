//! Who the peer of a session is.

use net_core::{Error, ErrorKind, Prefix};

use super::Session;
use crate::Identity;

impl Session {
    /// Returns who the peer is: on a server with an [`Authenticator`](crate::Authenticator) always once its handler
    /// hears of the session; on a client that authenticates, whom the server takes it for, if the server tells.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.rare.get()?.identity.get()
    }

    /// Notes who the peer is.
    pub(crate) fn set_identity(&self, identity: Identity) {
        let name = identity.shared_name().clone();
        // A session is authenticated once.
        let _ = self.0.rare.make().identity.set(identity);
        self.observe(|observer| observer.authenticated(&self.0.info, &name));
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
