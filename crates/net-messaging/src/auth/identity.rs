//! Who a peer is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Who a peer is, whatever proved it: credentials, or the transport, as by a certificate.
///
/// # Examples
///
/// ```
/// use net_messaging::Identity;
///
/// let ann = Identity::new("ann").with_role("reader").with_attribute("tenant", "acme");
/// assert_eq!(ann.name(), "ann");
/// assert!(ann.has_role("reader") && !ann.has_role("admin"));
/// assert_eq!(ann.attribute("tenant"), Some("acme"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: Arc<str>,
    proof: Proof,
    roles: BTreeSet<Box<str>>,
    attributes: BTreeMap<Box<str>, Box<str>>,
}

/// What proved an [`Identity`].
///
/// # Examples
///
/// ```
/// use net_core::{Credentials, memory::Memory};
/// use net_messaging::{Client, Identity, Proof, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let memory = Memory::default();
/// let server = Server::builder(memory.clone())
///     .on_authenticate(|_, _| async { Ok(Identity::new("ann")) })
///     .listen("mem://proof")
///     .await?;
/// let client = Client::builder(memory).authenticate(Credentials::new("s3cret")).connect(server.local()).await?;
/// let (near, far) = (client.connected().await?, server.sessions().remove(0));
/// assert_eq!(near.identity().map(Identity::proof), Some(Proof::Server));
/// assert_eq!(far.identity().map(Identity::proof), Some(Proof::Credentials));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Proof {
    /// Credentials that the peer showed.
    Credentials,
    /// The transport, as by the certificate of mutual TLS.
    Transport,
    /// The server's word: on a client, whom the server takes it for.
    Server,
}

impl Identity {
    /// Creates an identity. The name tells identities apart; what proved it is filled in by the session.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            proof: Proof::Credentials,
            roles: BTreeSet::new(),
            attributes: BTreeMap::new(),
        }
    }

    /// Adds a role.
    #[must_use]
    pub fn with_role(mut self, role: impl Into<Box<str>>) -> Self {
        self.roles.insert(role.into());
        self
    }

    /// Adds an attribute, in place of what stood under its name.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    pub(crate) fn with_proof(self, proof: Proof) -> Self {
        Self { proof, ..self }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns what proved it.
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// Tells whether it has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// Returns its roles, in order.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &str> {
        self.roles.iter().map(AsRef::as_ref)
    }

    /// Returns the attribute under `name`, where there is one.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(AsRef::as_ref)
    }

    /// Returns its attributes, in the order of their names.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (&**name, &**value))
    }
}
