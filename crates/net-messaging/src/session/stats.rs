//! What a session has carried so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a session has carried so far.
///
/// # Examples
///
/// ```
/// use net_core::memory::Memory;
/// use net_messaging::{Client, Server, SessionStats};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// # let memory = Memory::default();
/// # let server = Server::builder(memory.clone())
/// #     .on_message(|_, message| async move { Ok(message.reply("welcome")) })
/// #     .listen("mem://session-stats")
/// #     .await?;
/// let client = Client::builder(memory).connect(server.local()).await?;
/// let session = client.connected().await?;
/// client.request("hello").await?;
/// client.disconnect().await;
/// let SessionStats { sent_bytes, received_bytes, requests_in_flight, .. } = session.stats();
/// assert_eq!((sent_bytes, received_bytes, requests_in_flight), (5, 7, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Messages that arrived, heartbeats included.
    pub received_messages: u64,
    /// Bytes of payload that arrived.
    pub received_bytes: u64,
    /// Messages that were handed to the transport, heartbeats included.
    pub sent_messages: u64,
    /// Bytes of payload that were handed to the transport.
    pub sent_bytes: u64,
    /// Messages that a full outbox dropped, and those that no message of this connection could carry.
    pub dropped_messages: u64,
    /// Messages that arrived over a rate limit and were refused.
    pub limited_messages: u64,
    /// Responses to no request of ours.
    pub unexpected_responses: u64,
    /// Messages that wait to be sent.
    pub waiting_messages: usize,
    /// Bytes that wait to be sent, with what each message costs besides.
    pub waiting_bytes: usize,
    /// Requests of ours that wait for their answers.
    pub requests_in_flight: usize,
}

/// What a session counts; all but drops are written by its driver alone.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) limited: AtomicU64,
    pub(super) unexpected: AtomicU64,
}

/// Adds to a counter that only the driver writes: no other writer, so no atomic read-modify-write.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}
