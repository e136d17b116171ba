//! Which of several certificates a server shows: the one for the name that the client asks for.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{AlternativeName, certificate::Leaf};

/// Certificates by the names in them. The first is shown where no name fits, or none is asked for.
#[derive(Debug, Default)]
pub(super) struct ServerNames {
    default: Option<Arc<CertifiedKey>>,
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl ServerNames {
    /// Adds a certificate; of two for one name, the first is shown.
    pub(super) fn add(&mut self, key: CertifiedKey, leaf: &Leaf) {
        let key = Arc::new(key);
        self.default.get_or_insert_with(|| key.clone());
        for name in &leaf.names {
            let AlternativeName::Dns(name) = name else { continue };
            let name = name.to_ascii_lowercase();
            let (names, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent.into()),
                None => (&mut self.exact, name.into()),
            };
            names.entry(name).or_insert_with(|| key.clone());
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        // A wildcard stands for one label (RFC 9525 §6.3).
        self.exact.get(&*name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

impl ResolvesServerCert for ServerNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.default.as_ref()).cloned()
    }
}
