//! Who may come in: what a server asks of its peers before any handler sees them.

use std::{fmt, future::Future, pin::Pin};

use net_core::{Credentials, Info};

use crate::Session;

mod config;
mod gatekeeper;
mod identity;
mod lockout;
mod refusal;
mod source;

pub use config::{AuthenticationConfig, Lockout};
pub(crate) use gatekeeper::{Access, Decision, Gatekeeper};
pub use identity::{Identity, Proof};
pub use refusal::Refusal;
pub(crate) use refusal::is_final;
pub(crate) use source::Source;

/// Decides who may come in.
///
/// Until it has let a session in, no handler hears of it: neither `connected` nor `message` nor `disconnected` is
/// called, nothing can be sent to it, and it may use no more than [`AuthenticationConfig`] allows.
///
/// # Examples
///
/// ```
/// use net_core::{ApiKey, Credentials, ErrorKind, memory::Memory};
/// use net_messaging::{Authenticator, Client, Identity, Refusal, Server, Session};
///
/// #[derive(Debug)]
/// struct OneKey(ApiKey);
///
/// impl Authenticator for OneKey {
///     async fn authenticate(&self, _: &Session, credentials: Credentials) -> Result<Identity, Refusal> {
///         if !credentials.api_key().matches(&self.0) {
///             return Err(Refusal::unauthenticated("unknown key"));
///         }
///         Ok(Identity::new(credentials.get("user").unwrap_or("anonymous")).with_role("reader"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let server = Server::builder(memory.clone())
///     .authenticator(OneKey("s3cret".into()))
///     .on_message(|session, message| {
///         let name = session.identity().map_or_else(String::new, |identity| identity.name().to_owned());
///         async move { Ok(message.reply(name)) }
///     })
///     .listen("mem://authenticator")
///     .await?;
/// let credentials = Credentials::new("s3cret").with_metadata("user", "ann");
/// let client = Client::builder(memory.clone()).authenticate(credentials).connect(server.local()).await?;
/// assert_eq!(client.request("who am I?").await?.payload(), "ann");
///
/// let wrong = Client::builder(memory).authenticate(Credentials::new("guess")).connect(server.local()).await;
/// assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Unauthenticated);
/// # Ok(())
/// # }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Decides whether `credentials` prove an identity.
    ///
    /// What the transport knows of the peer stands in `session.info()`. Keys are compared by
    /// [`ApiKey::matches`](net_core::ApiKey::matches). The future is dropped where it takes longer than the
    /// [decision time-out](AuthenticationConfig::decision_timeout); the client may try again then.
    fn authenticate(
        &self,
        session: &Session,
        credentials: Credentials,
    ) -> impl Future<Output = Result<Identity, Refusal>> + Send;

    /// Returns who the peer is by what its transport has proved, such as the certificate of mutual TLS: such a
    /// session need not show credentials, and if it does, they are not looked at. By default nobody is known so.
    fn identify(&self, info: &Info) -> Option<Identity> {
        let _ = info;
        None
    }

    /// Tells whether credentials are looked at. Where not, a session that the transport does not identify is turned
    /// away at once, and [`Format::Raw`](crate::Format::Raw) is allowed, which cannot carry credentials. Default: true.
    fn takes_credentials(&self) -> bool {
        true
    }
}

type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Identity, Refusal>> + Send + 'a>>;

/// An [`Authenticator`] of some type.
trait AnyAuthenticator: Send + Sync {
    fn authenticate<'a>(&'a self, session: &'a Session, credentials: Credentials) -> Deciding<'a>;
    fn identify(&self, info: &Info) -> Option<Identity>;
    fn takes_credentials(&self) -> bool;
}

impl<A: Authenticator> AnyAuthenticator for A {
    fn authenticate<'a>(&'a self, session: &'a Session, credentials: Credentials) -> Deciding<'a> {
        Box::pin(Authenticator::authenticate(self, session, credentials))
    }

    fn identify(&self, info: &Info) -> Option<Identity> {
        Authenticator::identify(self, info)
    }

    fn takes_credentials(&self) -> bool {
        Authenticator::takes_credentials(self)
    }
}

/// An authenticator whose type is forgotten: it is asked once for each connection.
pub(crate) struct BoxAuthenticator(Box<dyn AnyAuthenticator>);

impl BoxAuthenticator {
    pub(crate) fn new(authenticator: impl Authenticator) -> Self {
        Self(Box::new(authenticator))
    }

    pub(crate) fn takes_credentials(&self) -> bool {
        self.0.takes_credentials()
    }
}

impl fmt::Debug for BoxAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

/// A closure that looks at credentials.
pub(crate) struct ByCredentials<F>(pub(crate) F);

impl<F, Fut> Authenticator for ByCredentials<F>
where
    F: Fn(&Session, Credentials) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Identity, Refusal>> + Send,
{
    fn authenticate(
        &self,
        session: &Session,
        credentials: Credentials,
    ) -> impl Future<Output = Result<Identity, Refusal>> + Send {
        (self.0)(session, credentials)
    }
}

/// A closure that looks at what the transport has proved, and at nothing else.
pub(crate) struct ByTransport<F>(pub(crate) F);

impl<F: Fn(&Info) -> Option<Identity> + Send + Sync + 'static> Authenticator for ByTransport<F> {
    async fn authenticate(&self, _: &Session, _: Credentials) -> Result<Identity, Refusal> {
        Err(Refusal::unauthenticated("credentials are not looked at"))
    }

    fn identify(&self, info: &Info) -> Option<Identity> {
        (self.0)(info)
    }

    fn takes_credentials(&self) -> bool {
        false
    }
}
