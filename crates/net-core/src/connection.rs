//! A connection: two halves, and what is known of it.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use crate::{Address, BoxReceiver, BoxSender, Error, ErrorKind, Receiver, Result, Sender};

/// A connection: two halves, and what is known of it.
///
/// It is split by moving its fields out. `Connection` without parameters is the form that is chosen at run time.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let (mut near, mut far) = net_core::memory::pair();
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection<S = BoxSender, R = BoxReceiver> {
    /// The sending half.
    pub tx: S,
    /// The receiving half.
    pub rx: R,
    /// What is known of it.
    pub info: Info,
}

impl<S, R> Connection<S, R> {
    /// Joins two halves.
    pub fn new(tx: S, rx: R, info: Info) -> Self {
        Self { tx, rx, info }
    }
}

impl<S: Sender, R: Receiver> Connection<S, R> {
    /// Sends one message and flushes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::MessageTooLong`] and [`ErrorKind::InvalidMessage`] with the connection intact, or why the connection
    /// is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the message was accepted whole or not at all.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<()> {
        self.tx.send(message.into()).await
    }

    /// Waits for the next message; `None` once the peer finished.
    ///
    /// # Errors
    ///
    /// Why the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message that was not returned stays queued.
    pub async fn recv(&mut self) -> Result<Option<Bytes>> {
        self.rx.recv().await
    }

    /// Closes gracefully: finishes sending, then reads and discards until the peer finished too.
    ///
    /// A socket that is closed with unread input resets the connection and destroys replies already flushed, so the
    /// rest of the input is read first, for `timeout` at the longest.
    ///
    /// # Errors
    ///
    /// Why sending could not be finished; [`ErrorKind::TimedOut`] where the peer did not finish in time.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropping the future drops the connection.
    pub async fn close(mut self, timeout: Duration) -> Result<()> {
        let closing = async {
            self.tx.finish().await?;
            // An abort by the peer ends the wait as well as a clean end does.
            self.closed().await;
            Ok(())
        };
        tokio::time::timeout(timeout, closing)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "close").at(&self.info.remote)))
    }

    /// Waits until the peer has finished or the connection is broken, discarding what arrives.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, but what arrived meanwhile is discarded.
    pub async fn closed(&mut self) {
        while let Ok(Some(_)) = self.rx.recv().await {
            // Messages that are always at hand must keep neither a deadline nor other tasks waiting.
            tokio::task::consume_budget().await;
        }
    }

    /// Erases the types, one allocation a half; none is needed for a message.
    pub fn boxed(self) -> Connection {
        Connection { tx: Box::new(self.tx), rx: Box::new(self.rx), info: self.info }
    }
}

/// The number of a connection, unique for the life of the process.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
/// use net_core::{ConnectionId, memory};
///
/// let (near, far) = memory::pair();
/// let names = HashMap::from([(near.info.id, "near"), (far.info.id, "far")]);
/// assert_eq!(names.get(&far.info.id), Some(&"far"));
/// assert_eq!(names.get(&ConnectionId::next()), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Returns a number that no connection of this process has had.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the number itself.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a connection.
///
/// # Examples
///
/// ```
/// use net_core::Info;
///
/// /// What a transport of one's own knows of its peers.
/// struct Tenant(&'static str);
///
/// let (local, remote) = ("tcp://127.0.0.1:9000".parse()?, "tcp://127.0.0.1:50000".parse()?);
/// let info = Info::new(local, remote).with_details(Tenant("acme"));
/// assert_eq!(info.remote.port(), Some(50_000));
/// assert_eq!(info.details::<Tenant>().map(|tenant| tenant.0), Some("acme"));
/// # Ok::<(), net_core::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Info {
    /// Its number, unique for the life of the process.
    pub id: ConnectionId,
    /// The address of this side.
    pub local: Address,
    /// The address of the other side.
    pub remote: Address,
    /// What the layers of the transport have to add, such as the identity that a certificate proved.
    details: Option<Arc<Details>>,
}

/// What one layer has to add, and those below it.
struct Details {
    below: Option<Arc<Self>>,
    own: Box<dyn Any + Send + Sync>,
}

impl Info {
    /// Creates what is known of a new connection between `local` and `remote`.
    pub fn new(local: Address, remote: Address) -> Self {
        Self { id: ConnectionId::next(), local, remote, details: None }
    }

    /// Adds what only this transport knows, or one layer of it: what is there already stays, one of each type.
    #[must_use]
    pub fn with_details<T: Any + Send + Sync>(mut self, details: T) -> Self {
        self.details = Some(Arc::new(Details { below: self.details.take(), own: Box::new(details) }));
        self
    }

    /// Returns what only this transport knows, where some layer of it has added a `T`.
    pub fn details<T: Any>(&self) -> Option<&T> {
        let mut layer = self.details.as_deref();
        while let Some(details) = layer {
            if let Some(found) = details.own.downcast_ref() {
                return Some(found);
            }
            layer = details.below.as_deref();
        }
        None
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("id", &self.id.0)
            .field("local", &self.local)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use super::*;

    /// A peer that never stops sending.
    struct Flood;

    impl Receiver for Flood {
        fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
            Poll::Ready(Ok(Some(Bytes::from_static(b"more"))))
        }
    }

    #[test]
    fn each_layer_adds_what_it_knows() {
        let (near, _far) = crate::memory::pair();
        let info = near.info.with_details("below").with_details(7_u8);
        assert_eq!(info.details::<&str>(), Some(&"below"));
        assert_eq!(info.details::<u8>(), Some(&7));
        assert_eq!(info.details::<u16>(), None);
    }

    #[tokio::test]
    async fn a_peer_that_never_stops_sending_does_not_keep_a_connection_from_closing() {
        let (near, _far) = crate::memory::pair();
        let flooded = Connection::new(near.tx, Flood, near.info);
        let error = flooded.close(Duration::from_millis(20)).await.expect_err("it never finishes");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
