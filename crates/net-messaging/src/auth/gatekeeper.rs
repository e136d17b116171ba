//! What a server or a client keeps for authentication and rate limits.

use std::time::Duration;

use net_core::{Credentials, ErrorCode, ErrorReply, Info, Message};
use tokio::time::timeout;

use super::{AuthenticationConfig, BoxAuthenticator, Identity, Refusal, Source, lockout::Failures};
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
        let failures = config.lockout.map(|lockout| Failures::new(lockout, clock));
        Self { authenticator, config, failures }
    }

    pub(crate) fn identify(&self, info: &Info) -> Option<Identity> {
        self.authenticator.0.identify(info)
    }

    pub(crate) fn takes_credentials(&self) -> bool {
        self.authenticator.takes_credentials()
    }

    /// Decides about the credentials in `message`, once no more decisions run for the peer's addresses than may still
    /// fail. Dropped before the decision, the attempt counts as failed.
    pub(crate) async fn decide(&self, session: &Session, message: Message) -> Decision {
        let credentials = Credentials::decode(message.payload());
        drop(message);
        let attempt = match (&self.failures, session.prefix()) {
            (Some(failures), Some(prefix)) => match failures.begin(prefix).await {
                Ok(attempt) => Some(attempt),
                Err(wait) => return Decision::LockedOut(wait),
            },
            _ => None,
        };
        let decided = match credentials {
            Ok(credentials) => {
                let deciding = self.authenticator.0.authenticate(session, credentials);
                let late = || Refusal::from(ErrorReply::new(ErrorCode::TimedOut, "no decision in time"));
                timeout(self.config.decision_timeout, deciding).await.unwrap_or_else(|_| Err(late()))
            }
            Err(error) => Err(ErrorReply::new(ErrorCode::Invalid, error.to_string()).into()),
        };
        if let Some(attempt) = attempt {
            attempt.end(decided.as_ref().is_err_and(Refusal::is_failure));
        }
        Decision::Made(decided)
    }
}

/// What comes of credentials.
pub(crate) enum Decision {
    Made(Result<Identity, Refusal>),
    /// Nobody was asked: from the peer's addresses too many attempts have failed. For so long they are locked out.
    LockedOut(Duration),
}
