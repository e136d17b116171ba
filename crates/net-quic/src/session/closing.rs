//! How this side closes a connection, and sees that its peer is told.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use quinn::VarInt;
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use super::Shared;

/// How many turns of the runtime the packet that says that it is closed is given before a timer is set.
const TURNS: u32 = 16;
/// How long a session waits for that packet to leave.
const CLOSE_PATIENCE: Duration = Duration::from_millis(100);

/// Waits until the peer was told of the end of a connection.
pub(crate) type Closing = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl Shared {
    /// Has it end as soon as both directions of its only stream have.
    pub(crate) fn that_ends_with_its_stream(self) -> Self {
        self.directions.store(2, Ordering::Relaxed);
        self
    }

    /// Says that a direction of a stream has ended, whose other half is all that may hold it besides. Where it ends with that, what is
    /// returned waits until the peer was told: a program may end then, and quinn tells it in a task of its own.
    pub(crate) fn direction_ended(self: &Arc<Self>) -> Option<Closing> {
        let left = |left: usize| left.checked_sub(1);
        let before = self.directions.fetch_update(Ordering::AcqRel, Ordering::Relaxed, left);
        // Others may want it for more than the stream.
        if before != Ok(1) || Arc::strong_count(self) > 2 {
            return None;
        }
        self.close(VarInt::from_u32(0), b"");
        let shared = self.clone();
        Some(Box::pin(async move { shared.close_is_sent().await }))
    }

    /// Closes the connection, unless it is closed already: why it was stays known.
    pub(crate) fn close(&self, code: VarInt, reason: &[u8]) {
        if self.connection().close_reason().is_none() {
            self.connection().close(code, reason);
            self.sent_at_close.get_or_init(|| self.connection().stats().udp_tx.datagrams);
        }
    }

    /// Waits until the packet has left that tells the peer of the end, where it was this side that closed.
    pub(crate) async fn close_is_sent(&self) {
        let Some(before) = self.sent_at_close.get() else { return };
        let sent = async {
            // quinn does not count the frame, but nothing else leaves any more. It mostly does in the next turn.
            let mut turns = TURNS;
            while self.connection().stats().udp_tx.datagrams <= *before {
                if turns > 0 {
                    turns -= 1;
                    yield_now().await;
                } else {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        // A socket that takes nothing keeps nobody waiting: the peer finds out by itself.
        let _ = timeout(CLOSE_PATIENCE, sent).await;
    }
}
