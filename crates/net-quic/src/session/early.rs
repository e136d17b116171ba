//! The handshake of a session that was given before it was over.

use std::{future::Future, pin::pin, time::Duration};

use net_core::{Error, ErrorKind};
use quinn::{ConnectionError, ZeroRttAccepted};
use tokio::{runtime::Handle, sync::watch, time::sleep};

use crate::{crypto::Failure, error::of_handshake};

/// The handshake of a session that was given before it was over.
pub(crate) struct Early {
    outcome: watch::Receiver<Option<Outcome>>,
    failure: Failure,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Well; whether the server took what was sent before.
    Established(bool),
    /// The connection tells why.
    Failed,
    /// It was waited for in vain.
    GivenUp(ErrorKind),
}

impl Early {
    /// Waits for the handshake of `connection` to end, `patience` at the longest and until `hopeless` says why it never will;
    /// `held` is held until then. TLS leaves its error in `failure`.
    ///
    /// The connection is closed where it is waited for in vain.
    pub(crate) fn new(
        connection: quinn::Connection,
        accepted: ZeroRttAccepted,
        failure: Failure,
        patience: Duration,
        hopeless: impl Future<Output = ErrorKind> + Send + 'static,
        held: impl Send + 'static,
    ) -> Self {
        let (tell, outcome) = watch::channel(None);
        Handle::current().spawn(async move {
            let mut accepted = pin!(accepted);
            let mut late = pin!(sleep(patience));
            let ended = tokio::select! {
                accepted = &mut accepted => match connection.close_reason() {
                    None => Outcome::Established(accepted),
                    Some(_) => Outcome::Failed,
                },
                () = &mut late => Outcome::GivenUp(ErrorKind::TimedOut),
                why = hopeless => Outcome::GivenUp(why),
                // Nobody is left to know. This side's handle must not keep the connection.
                () = tell.closed() => {
                    drop(connection);
                    tokio::select! {
                        _ = accepted => {}
                        () = late => {}
                    }
                    return;
                }
            };
            if let Outcome::GivenUp(_) = ended {
                connection.close(0_u32.into(), b"");
            }
            drop(held);
            // Nobody may be there to know.
            let _ = tell.send(Some(ended));
        });
        Self { outcome, failure }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.outcome.borrow().is_none()
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(*self.outcome.borrow(), Some(Outcome::Established(_)))
    }

    /// Waits until the handshake is over, and tells whether the server took what was sent before.
    ///
    /// # Errors
    ///
    /// Why it failed, met during `operation`.
    pub(crate) async fn established(
        &self,
        connection: &quinn::Connection,
        operation: &'static str,
    ) -> Result<bool, Error> {
        let mut outcome = self.outcome.clone();
        // Nobody tells where the runtime is gone, and with it the connection.
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|ended| *ended);
        match ended {
            Some(Outcome::Established(accepted)) => Ok(accepted),
            Some(Outcome::GivenUp(why)) => Err(Error::new(why, operation)),
            Some(Outcome::Failed) | None => {
                let lost = connection.close_reason().unwrap_or(ConnectionError::LocallyClosed);
                Err(of_handshake(lost, &self.failure, operation))
            }
        }
    }
}
