//! An authority and the certificate of a server, made anew for each run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// The name that the certificate is for.
pub const NAME: &str = "localhost";

/// Where the files are. Keys are P-256, as `net certs` makes them.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority, for the load.
    pub ca: PathBuf,
    /// The server's certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them in `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn make(directory: &Path) -> io::Result<Self> {
        let files = Self {
            ca: directory.join("ca.pem"),
            cert: directory.join("server.pem"),
            key: directory.join("server.key"),
        };
        let (ca, cert, key) = pem().map_err(io::Error::other)?;
        fs::write(&files.ca, ca)?;
        fs::write(&files.cert, cert)?;
        fs::write(&files.key, key)?;
        Ok(files)
    }
}

fn pem() -> Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut server = CertificateParams::new(vec![NAME.to_owned(), "127.0.0.1".to_owned()])?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let cert = server.signed_by(&key, &authority)?.pem();
    Ok((authority.pem(), cert, key.serialize_pem()))
}
