//! What a server or a client keeps for authentication and rate limits.

use net_core::{Credentials, Info, Prefix};
use std::time::Duration;

use super::{AuthenticationConfig, BoxAuthenticator, Deciding, Identity, Source, lockout::Failures};
use crate::{Session, bucket::EngineClock, rate_limit::Limiters};

/// Who may come in, and how often they may ask.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// On a server: who decides.
    pub(crate) gatekeeper: Option<Box<Gatekeeper>>,
    /// On a client: what it shows.
    pub(crate) source: Option<Source>,
    /// On a server: how often peers may ask.
    pub(crate) limiters: Option<Limiters>,
}

impl Access {
    /// Tells whether sessions begin with authentication.
    #[inline]
    pub(crate) fn is_guarded(&self) -> bool {
        self.gatekeeper.is_some() || self.source.is_some()
    }

    /// Forgets keys that have been quiet for long enough; called at each sweep.
    pub(crate) fn prune(&self) {
        if let Some(limiters) = &self.limiters {
            limiters.prune();
        }
        if let Some(failures) = self.gatekeeper.as_ref().and_then(|gatekeeper| gatekeeper.failures.as_ref()) {
            failures.prune();
        }
    }
}

/// Decides who may come in, and counts who failed.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    authenticator: BoxAuthenticator,
    pub(crate) config: AuthenticationConfig,
    failures: Option<Failures>,
}

impl Gatekeeper {
    pub(crate) fn new(
        authenticator: BoxAuthenticator,
        config: AuthenticationConfig,
        clock: EngineClock,
    ) -> Self {
        let failures = config.lockout.and_then(|lockout| Failures::new(&lockout, clock));
        Self { authenticator, config, failures }
    }

    pub(crate) fn authenticate<'a>(&'a self, session: &'a Session, credentials: Credentials) -> Deciding<'a> {
        self.authenticator.0.authenticate(session, credentials)
    }

    pub(crate) fn identify(&self, info: &Info) -> Option<Identity> {
        self.authenticator.0.identify(info)
    }

    pub(crate) fn takes_credentials(&self) -> bool {
        self.authenticator.takes_credentials()
    }

    /// Returns for how long a prefix is still locked out.
    pub(crate) fn locked(&self, prefix: Option<Prefix>) -> Option<Duration> {
        self.failures.as_ref()?.locked(prefix?)
    }

    /// Counts a failed attempt.
    pub(crate) fn count_failure(&self, prefix: Option<Prefix>) {
        if let (Some(failures), Some(prefix)) = (&self.failures, prefix) {
            failures.count(prefix);
        }
    }
}
