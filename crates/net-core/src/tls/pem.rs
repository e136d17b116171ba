//! Where certificates, keys and revocation lists come from.

use std::{
    borrow::Cow,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{Error as PemError, PemObject},
};

use crate::{Error, ErrorKind, Result};

/// PEM text (RFC 7468): a file, which a reload reads again, or bytes.
///
/// # Examples
///
/// ```
/// use net_core::tls::Pem;
///
/// let file = Pem::file("/etc/app/server.pem");
/// let bytes = Pem::bytes(b"-----BEGIN CERTIFICATE-----\n...".to_vec());
/// // What the bytes are may be a secret.
/// assert_eq!(format!("{file:?} {bytes:?}"), "/etc/app/server.pem PEM bytes");
/// ```
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(Arc<Path>),
    Bytes(Arc<[u8]>),
}

impl Pem {
    /// Reads the file at `path`, now and at each reload.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Source::File(path.as_ref().into()))
    }

    /// Takes the bytes of a PEM text.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Source::Bytes(bytes.into().into()))
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Source::File(path) => Some(path),
            Source::Bytes(_) => None,
        }
    }

    /// Reads a certificate and those that lead from it to the root: at least one.
    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        self.all("certificate")
    }

    /// Reads revocation lists: at least one.
    pub(super) fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>> {
        self.all("revocation list")
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            PemError::NoItemsFound if contains(&text, b"ENCRYPTED PRIVATE KEY") => {
                self.mistake("the private key is encrypted; store it decrypted, readable by its user alone")
            }
            PemError::NoItemsFound => self.mistake("no private key in it"),
            error => self.mistake(error),
        })
    }

    fn all<T: PemObject>(&self, what: &str) -> Result<Vec<T>> {
        let text = self.read()?;
        let items = T::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|error| self.mistake(error))?;
        if items.is_empty() {
            return Err(self.mistake(format_args!("no {what} in it")));
        }
        Ok(items)
    }

    fn read(&self) -> Result<Cow<'_, [u8]>> {
        match &self.0 {
            Source::File(path) => fs::read(path).map(Cow::Owned).map_err(|error| self.mistake(error)),
            Source::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// Makes the error of settings in which this text is wrong.
    pub(super) fn mistake(&self, what: impl fmt::Display) -> Error {
        mistake(format_args!("{self:?}: {what}"))
    }
}

/// Makes the error of settings that are wrong.
pub(super) fn mistake(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidConfig, "set up TLS").because(what.to_string())
}

/// Returns the files among `sources`.
pub(super) fn files<'a>(sources: impl Iterator<Item = &'a Pem>) -> Vec<PathBuf> {
    sources.filter_map(Pem::path).map(Path::to_owned).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Bytes(_) => f.write_str("PEM bytes"),
        }
    }
}
