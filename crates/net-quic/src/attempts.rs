//! What was tried to connect or to listen: every address, and why it failed.

use std::{error::Error as StdError, fmt, net::SocketAddr};

use net_core::{Error, ErrorKind};

/// Every address that was tried, and why it failed: the source of the error of `connect` and `listen`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// use std::{error::Error, time::Duration};
/// use net_core::{Transport, tls::ClientTls};
/// use net_quic::{Attempts, Quic, QuicConfig};
///
/// # let closed = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
/// # let closed = format!("quic://{closed}").parse()?;
/// let tls = ClientTls::builder().danger_accept_any_certificate().build()?;
/// let config = QuicConfig { connect_timeout: Duration::from_secs(2), ..QuicConfig::default() };
/// let error = Quic::new(config).with_client_tls(tls).connect(&closed).await.expect_err("nobody listens there");
/// let attempts = error.source().and_then(|source| source.downcast_ref::<Attempts>());
/// assert_eq!(attempts.map(|attempts| attempts.iter().count()), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Attempts(Vec<Attempt>);

/// One address that was tried.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The address.
    pub address: SocketAddr,
    /// Why it failed; `None` where it had not answered when the deadline passed.
    pub error: Option<Error>,
}

impl Attempts {
    /// Returns the attempts in the order in which they began.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Attempt> {
        self.0.iter()
    }

    /// Notes the beginning of an attempt, and returns its place.
    pub(crate) fn begin(&mut self, address: SocketAddr) -> usize {
        self.0.push(Attempt { address, error: None });
        self.0.len() - 1
    }

    /// Notes why the attempt at `place` failed.
    pub(crate) fn fail(&mut self, place: usize, error: Error) {
        if let Some(attempt) = self.0.get_mut(place) {
            attempt.error = Some(error);
        }
    }

    /// Makes the error of an operation of which every attempt failed.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        // What a host answered says more than that there is no way to another one.
        let kinds = self.0.iter().filter_map(|attempt| attempt.error.as_ref()).map(Error::kind);
        let kind = kinds.reduce(|first, next| if first == ErrorKind::Unreachable { next } else { first });
        Error::new(kind.unwrap_or(ErrorKind::TimedOut), operation).because(self)
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the name was not resolved in time");
        }
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
            Some(error) => write!(f, "{}: {}", self.address, error.kind()),
            None => write!(f, "{}: no answer", self.address),
        }
    }
}

impl StdError for Attempts {}
