//! What was tried, address by address, and why it failed.

use std::{error::Error as StdError, fmt, io, net::SocketAddr};

use crate::{Error, ErrorKind};

/// Every address that was tried to connect or to listen, and why it failed: the source of the error of `connect` and
/// `listen`.
///
/// # Examples
///
/// ```
/// use std::{error::Error, io};
/// use net_core::{Attempts, ErrorKind};
///
/// let mut attempts = Attempts::default();
/// let place = attempts.begin(([127, 0, 0, 1], 9).into());
/// attempts.fail(place, io::ErrorKind::ConnectionRefused.into());
/// let error = attempts.into_error("connect");
/// assert_eq!(error.kind(), ErrorKind::Refused);
/// let attempts = error.source().and_then(|source| source.downcast_ref::<Attempts>());
/// assert_eq!(attempts.map(|attempts| attempts.iter().count()), Some(1));
/// ```
#[derive(Debug, Default)]
pub struct Attempts(Vec<Attempt>);

/// One address that was tried.
///
/// # Examples
///
/// ```
/// use std::io;
/// use net_core::Attempts;
///
/// let mut attempts = Attempts::default();
/// let refused = attempts.begin(([127, 0, 0, 1], 9).into());
/// attempts.begin(([127, 0, 0, 1], 10).into());
/// attempts.fail(refused, io::ErrorKind::ConnectionRefused.into());
/// let silent = attempts.iter().find(|attempt| attempt.error.is_none());
/// assert_eq!(silent.map(|attempt| attempt.address.port()), Some(10));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The address.
    pub address: SocketAddr,
    /// Why it failed; `None` where it had not answered when the deadline passed.
    pub error: Option<io::Error>,
}

impl Attempts {
    /// Returns the attempts in the order in which they began.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Attempt> {
        self.0.iter()
    }

    /// Notes the beginning of an attempt, and returns its place.
    pub fn begin(&mut self, address: SocketAddr) -> usize {
        self.0.push(Attempt { address, error: None });
        self.0.len() - 1
    }

    /// Notes why the attempt at `place` failed.
    pub fn fail(&mut self, place: usize, error: io::Error) {
        if let Some(attempt) = self.0.get_mut(place) {
            attempt.error = Some(error);
        }
    }

    /// Makes the error of an operation of which every attempt failed.
    pub fn into_error(self, operation: &'static str) -> Error {
        // What a host answered says more than that there is no way to another one.
        let kinds = self.0.iter().filter_map(|attempt| attempt.error.as_ref()).map(kind);
        let kind = kinds.reduce(|first, next| if first == ErrorKind::Unreachable { next } else { first });
        Error::new(kind.unwrap_or(ErrorKind::TimedOut), operation).because(self)
    }
}

/// Returns the kind of an error of the system.
fn kind(error: &io::Error) -> ErrorKind {
    let same = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
    Error::from_io(same, "").kind()
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, attempt) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{attempt}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{}: {error}", self.address),
            None => write!(f, "{}: no answer", self.address),
        }
    }
}

impl StdError for Attempts {}
