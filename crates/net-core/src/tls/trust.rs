//! Whom a server or a client trusts: roots, revocation lists, or for a client anybody.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{
    DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

use super::{Pem, certificate::Leaf, pem::mistake};
use crate::Result;

/// A certificate with its key, as the settings name them.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) chain: Pem,
    pub(super) key: Pem,
}

impl Pair {
    /// Reads both, and checks that they belong together and are of use today.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<(CertifiedKey, Leaf)> {
        let chain = self.chain.chain()?;
        let leaf = chain.first().and_then(Leaf::parse);
        let leaf = leaf.ok_or_else(|| self.chain.mistake("the first certificate cannot be read"))?;
        if let Some(flaw) = leaf.flaw(SystemTime::now()) {
            return Err(self.chain.mistake(flaw));
        }
        let key = self.key.key()?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| self.key.mistake(error))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A key whose public part is not known is found out by the first handshake.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(self
                    .key
                    .mistake(format_args!("not the key of the certificate in {:?}", self.chain)));
            }
            Err(error) => return Err(self.chain.mistake(error)),
        }
        Ok((certified, leaf))
    }
}

/// Reads a bundle of certificates of authorities.
pub(super) fn roots(bundles: &[Pem]) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for bundle in bundles {
        for certificate in bundle.chain()? {
            roots.add(certificate).map_err(|error| bundle.mistake(error))?;
        }
    }
    Ok(Arc::new(roots))
}

/// Reads revocation lists.
pub(super) fn revoked(lists: &[Pem]) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let mut all = Vec::new();
    for list in lists {
        all.extend(list.revocation_lists()?);
    }
    Ok(all)
}

/// Verifies by what the platform trusts.
pub(super) fn platform(extra: &[Pem], provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let mut roots = Vec::new();
    for bundle in extra {
        roots.extend(bundle.chain()?);
    }
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider);
    Ok(Arc::new(verifier.map_err(|error| mistake(format_args!("the platform's roots: {error}")))?))
}

/// Accepts any certificate of a server; whoever holds its key may be anybody.
pub(super) struct Anybody(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}
