//! What a socket has carried, and what it had to drop and why.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a socket has carried since it was made, and what it had to drop and why.
///
/// # Examples
///
/// ```
/// use net_udp::UdpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().expect("an address"))?;
/// socket.send_to(b"hello", socket.local()).await?;
/// assert_eq!((socket.stats().sent, socket.stats().sent_bytes), (1, 5));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpStats {
    /// Datagrams that arrived.
    pub received: u64,
    /// Bytes of payload that arrived.
    pub received_bytes: u64,
    /// Datagrams that the system took.
    pub sent: u64,
    /// Bytes of payload that the system took.
    pub sent_bytes: u64,
    /// Errors that others reported (ICMP: port unreachable, host unreachable), which end nothing.
    pub icmp_errors: u64,
    /// Datagrams that the system refused to send: no route, too long for the path, forbidden.
    pub refused: u64,
    /// Datagrams that arrived and were longer than the longest message.
    pub oversize: u64,
    /// Datagrams that arrived and found the queue of their session full.
    pub overflowed: u64,
    /// Datagrams that were not sent, because the peer has not proved its address and was sent as much as it may be.
    pub withheld: u64,
    /// Datagrams of new peers that arrived and found no place for another session.
    pub rejected: u64,
    /// Sessions that were heard once alone and had to give their place to newer ones.
    pub displaced: u64,
    /// Sessions that ended because nothing arrived for the idle time-out.
    pub expired: u64,
    /// Sessions now.
    pub sessions: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// The counters behind [`UdpStats`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> UdpStats {
                UdpStats { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters!(
    received,
    received_bytes,
    sent,
    sent_bytes,
    icmp_errors,
    refused,
    oversize,
    overflowed,
    withheld,
    rejected,
    displaced,
    expired,
    sessions
);

/// One number that grows, and is read by others.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
