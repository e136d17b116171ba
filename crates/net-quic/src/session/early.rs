//! The handshake of a session that was given before it was over.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use net_core::{Error, ErrorKind};
use quinn::{ConnectionError, RecvStream, SendStream, StoppedError, ZeroRttAccepted};
use tokio::{runtime::Handle, sync::watch, time::sleep};

use crate::{crypto::Failure, error::of_handshake};

/// The handshake of a session that was given before it was over.
pub(crate) struct Early {
    outcome: watch::Receiver<Option<Outcome>>,
    failure: Failure,
    /// Held while a stream is opened, or one is ended that may be rejected: their numbers may be the same.
    turn: Mutex<()>,
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
        Self { outcome, failure, turn: Mutex::default() }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.outcome.borrow().is_none()
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(*self.outcome.borrow(), Some(Outcome::Established(_)))
    }

    /// Tells whether the server took what was sent before.
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(*self.outcome.borrow(), Some(Outcome::Established(true)))
    }

    /// Opens a stream, in the handshake or behind it.
    pub(crate) async fn open_bi(
        &self,
        connection: &quinn::Connection,
    ) -> Result<(SendStream, RecvStream), ConnectionError> {
        loop {
            let is_running = self.is_running();
            let mut outcome = self.outcome.clone();
            let mut opening = pin!(connection.open_bi());
            let opened = poll_fn(|cx| self.in_turn(|| opening.as_mut().poll(cx)));
            tokio::select! {
                opened = opened => return opened,
                // There may be room for more then; who waits already is not told by quinn.
                known = outcome.wait_for(Option::is_some), if is_running => if known.is_err() {
                    // Nobody tells where the runtime is gone, and with it the connection.
                    return Err(connection.close_reason().unwrap_or(ConnectionError::LocallyClosed));
                }
            }
        }
    }

    /// Ends a stream that was opened in the handshake, unless it is rejected: quinn would end the one that has its number.
    pub(crate) fn finish(&self, stream: &mut SendStream) {
        self.in_turn(|| {
            if !is_rejected(stream) {
                // It is reset or closed already, and told of elsewhere.
                let _ = stream.finish();
            }
        });
    }

    fn in_turn<T>(&self, act: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        act()
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

/// Tells whether the server did not take a stream that was opened in the handshake.
pub(crate) fn is_rejected(stream: &SendStream) -> bool {
    let stopped = pin!(stream.stopped()).poll(&mut Context::from_waker(Waker::noop()));
    matches!(stopped, Poll::Ready(Err(StoppedError::ZeroRttRejected)))
}
