//! Early data (0-RTT): what may travel in the first flight of a resumed session.

use std::fmt;

use bytes::Bytes;
use net_core::Result;

use crate::{QuicSession, RecvStream};

/// A message that its sender declares to do no harm where it is handled twice.
///
/// What travels in the first flight can be recorded and sent again by an attacker (RFC 8446 §8, RFC 9001 §9.2). So only what
/// is declared travels there: a lookup is, a payment is not.
///
/// # Examples
///
/// ```
/// use net_quic::Idempotent;
///
/// let lookup = Idempotent::new("GET balance");
/// assert_eq!(lookup.message(), "GET balance".as_bytes());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotent(Bytes);

impl Idempotent {
    /// Declares that `message` does no harm where it is handled twice.
    pub fn new(message: impl Into<Bytes>) -> Self {
        Self(message.into())
    }

    /// Returns the message.
    pub fn message(&self) -> &Bytes {
        &self.0
    }
}

/// A client's session whose handshake may still run; made by [`Quic::connect_early`](crate::Quic::connect_early).
///
/// # Examples
///
/// ```no_run
/// use net_quic::{EarlyData, Idempotent, Quic};
///
/// # async fn example(quic: Quic) -> net_core::Result<Vec<u8>> {
/// let early = quic.connect_early(&"quic://example.org:4433".parse()?).await?;
/// let lookup = Idempotent::new("GET balance");
/// let mut answer = early.send(&lookup).await?;
/// let (session, outcome) = early.established().await?;
/// if outcome == EarlyData::Rejected {
///     // The server has no ticket of ours any more: nothing of it was seen.
///     let (mut tx, rx) = session.open_bi().await?;
///     tx.write_all(lookup.message()).await?;
///     answer = rx;
/// }
/// answer.read_to_end(64 * 1024).await
/// # }
/// ```
pub struct EarlySession<F> {
    session: QuicSession<F>,
}

/// What became of early data.
///
/// # Examples
///
/// ```no_run
/// use net_quic::{EarlyData, EarlySession, QuicSession};
///
/// # async fn example(early: EarlySession<net_core::frame::LengthPrefix>) -> net_core::Result<QuicSession> {
/// let (session, outcome) = early.established().await?;
/// match outcome {
///     EarlyData::None | EarlyData::Accepted => {}
///     EarlyData::Rejected => println!("it has to be sent again"),
/// }
/// # Ok(session)
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyData {
    /// The handshake was over before anything was sent: there was no ticket, or the configuration does not allow it.
    None,
    /// The server took it.
    Accepted,
    /// The server did not take it, and saw nothing of it: what was sent is to be sent again.
    Rejected,
}

impl<F> EarlySession<F> {
    pub(crate) fn new(session: QuicSession<F>) -> Self {
        Self { session }
    }

    /// Tells whether what is sent now is early data.
    pub fn is_early(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Sends a message on a stream of its own, and returns where the answer comes.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the peer may see a part of the message.
    pub async fn send(&self, message: &Idempotent) -> Result<RecvStream> {
        let (mut tx, rx) = self.session.open_early().await?;
        tx.write_chunk(message.message().clone()).await?;
        tx.end();
        Ok(rx)
    }

    /// Waits until the handshake is over, and returns the session for everything else.
    ///
    /// # Errors
    ///
    /// As [`Quic::open`](crate::Quic::open); [`ErrorKind::TimedOut`](net_core::ErrorKind::TimedOut) where the handshake
    /// is not over [`connect_timeout`](crate::QuicConfig::connect_timeout) after connecting began.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropping the future drops the session.
    pub async fn established(self) -> Result<(QuicSession<F>, EarlyData)> {
        let outcome = self.session.early_data().await?;
        Ok((self.session, outcome))
    }
}

impl<F> fmt::Debug for EarlySession<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlySession").field("session", &self.session).finish()
    }
}
