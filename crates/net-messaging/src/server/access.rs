//! How a server is told who may come in and how often they may ask.

use std::future::Future;

use net_core::{Credentials, Info};

use super::ServerBuilder;
use crate::{
    Authenticator, Format, Identity, RateKey, RateLimit, Refusal, ServerConfig, Session,
    auth::{Access, BoxAuthenticator, ByCredentials, ByTransport, Gatekeeper},
    bucket::EngineClock,
    rate_limit::Limiters,
};

impl<T, H> ServerBuilder<T, H> {
    /// Sets who decides about peers, before the handler hears of them. Unless set, everybody may come in.
    ///
    /// Its bounds are those of [`ServerConfig::authentication`].
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(BoxAuthenticator::new(authenticator));
        self
    }

    /// Decides about peers by a closure that looks at their credentials.
    ///
    /// # Examples
    ///
    /// ```
    /// use net_core::{ApiKey, Credentials, memory::Memory};
    /// use net_messaging::{Identity, Refusal, Server};
    ///
    /// let expected = ApiKey::from("s3cret");
    /// let builder = Server::builder(Memory::default()).on_authenticate(move |_, credentials: Credentials| {
    ///     let right = credentials.api_key().matches(&expected);
    ///     async move {
    ///         if right { Ok(Identity::new("ann")) } else { Err(Refusal::unauthenticated("unknown key")) }
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_authenticate<F, Fut>(self, decide: F) -> Self
    where
        F: Fn(&Session, Credentials) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Identity, Refusal>> + Send,
    {
        self.authenticator(ByCredentials(decide))
    }

    /// Decides about peers by what their transport has proved and nothing else, as by the certificates of mutual TLS:
    /// whoever it does not identify is turned away. This works in [`Format::Raw`] too.
    ///
    /// # Examples
    ///
    /// ```
    /// use net_core::{Info, memory::Memory};
    /// use net_messaging::{Identity, Server};
    ///
    /// /// What a transport tells in the details of a connection.
    /// struct Certificate {
    ///     subject: String,
    /// }
    ///
    /// let builder = Server::builder(Memory::default()).on_identify(|info: &Info| {
    ///     info.details::<Certificate>().map(|certificate| Identity::new(certificate.subject.as_str()))
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_identify(self, identify: impl Fn(&Info) -> Option<Identity> + Send + Sync + 'static) -> Self {
        self.authenticator(ByTransport(identify))
    }

    /// Adds a limit to how often peers may ask.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.config.rate_limits.push(limit);
        self
    }
}

/// Joins what was set, or tells what contradicts itself.
pub(super) fn access(
    authenticator: Option<BoxAuthenticator>,
    config: &ServerConfig,
) -> Result<Access, &'static str> {
    let clock = EngineClock::start();
    config.authentication.check()?;
    if let Some(authenticator) = &authenticator {
        if config.session.format == Format::Raw && authenticator.takes_credentials() {
            return Err("the raw format cannot carry credentials, and the authenticator asks for them");
        }
    } else if config.rate_limits.iter().any(|limit| limit.key == RateKey::Identity) {
        return Err("a rate limit for each identity needs an authenticator");
    }
    let gatekeeper =
        authenticator.map(|authenticator| Gatekeeper::new(authenticator, config.authentication, clock));
    Ok(Access {
        gatekeeper: gatekeeper.map(Box::new),
        source: None,
        limiters: Limiters::new(&config.rate_limits, clock),
    })
}
