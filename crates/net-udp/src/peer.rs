//! What a listener knows of a peer: whether its address is its own, and how much may be sent to it before.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::stats::Counter;

/// What is counted for each datagram beside its payload: the headers of IPv4 and UDP.
const V4_HEADERS: u64 = 28;
/// The same of IPv6, whose own header has 40 bytes.
const V6_HEADERS: u64 = 48;

/// A peer of a listener, as [`Info::details`](net_core::Info::details) of its sessions gives it.
///
/// Whoever sends a datagram may write any source address on it. Until a peer has shown that it hears what is sent to its
/// address, a listener sends to it no more than came from it, times
/// [`max_amplification`](crate::UdpConfig::max_amplification). UDP has no handshake that would show it; the program's own
/// protocol has: a peer that returns what could not be guessed, and was sent to its address alone, has proved the
/// address.
///
/// # Examples
///
/// ```
/// use net_core::{Listener, Receiver, Sender, Transport};
/// use net_udp::{Udp, UdpPeer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> net_core::Result<()> {
/// let udp = Udp::default();
/// let mut listener = udp.listen(&"udp://127.0.0.1:0".parse()?).await?;
/// let mut near = udp.connect(listener.local()).await?;
/// near.send("give me all, and here is room for a challenge: ____").await?;
///
/// let mut far = listener.accept().await?;
/// let peer = far.info.details::<UdpPeer>().expect("one of a listener").clone();
/// far.rx.recv().await?;
/// let challenge = "8b1a9953c4611296";
/// far.tx.send(challenge).await?;
///
/// let heard = near.recv().await?.unwrap_or_default();
/// near.send(heard).await?;
/// if far.rx.recv().await?.as_deref() == Some(challenge.as_bytes()) {
///     peer.prove();
/// }
/// assert!(peer.is_proved());
/// far.tx.send(vec![0; 10_000]).await?;
/// assert_eq!(near.recv().await?.map(|all| all.len()), Some(10_000));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UdpPeer(pub(crate) Arc<Standing>);

/// What is counted of a peer.
#[derive(Debug)]
pub(crate) struct Standing {
    address: SocketAddr,
    /// What is counted for each datagram beside its payload.
    headers: u64,
    /// Whether it may be sent any amount without a proof.
    need_not_prove: bool,
    proved: AtomicBool,
    /// Bytes that came from it, headers counted.
    received: Counter,
    /// Datagrams that did.
    datagrams: Counter,
    pub(crate) overflowed: Counter,
    pub(crate) withheld: Counter,
}

impl UdpPeer {
    /// Returns the address that its datagrams have as their source.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Says that it has proved its address (address validation): from now on it may be sent any amount.
    pub fn prove(&self) {
        self.0.proved.store(true, Ordering::Relaxed);
    }

    /// Tells whether it has proved its address, or need not.
    pub fn is_proved(&self) -> bool {
        self.0.need_not_prove || self.0.proved.load(Ordering::Relaxed)
    }

    /// Returns how many of its datagrams were dropped because those before had not been taken yet.
    pub fn overflowed(&self) -> u64 {
        self.0.overflowed.get()
    }

    /// Returns how many datagrams were not sent to it, because it has not proved its address.
    pub fn withheld(&self) -> u64 {
        self.0.withheld.get()
    }
}

impl Standing {
    pub(crate) fn new(address: SocketAddr, need_not_prove: bool) -> Self {
        // A socket for both families gives the addresses of IPv4 as ones of IPv6.
        let headers = if address.ip().to_canonical().is_ipv4() { V4_HEADERS } else { V6_HEADERS };
        Self {
            address,
            headers,
            need_not_prove,
            proved: AtomicBool::new(false),
            received: Counter::default(),
            datagrams: Counter::default(),
            overflowed: Counter::default(),
            withheld: Counter::default(),
        }
    }

    /// Counts what came from it.
    pub(crate) fn came(&self, datagrams: usize, len: usize) {
        self.received.add(datagrams as u64 * self.headers + len as u64);
        self.datagrams.add(datagrams as u64);
    }

    /// Tells whether it was heard once at the most, and may be somebody else.
    pub(crate) fn is_stranger(&self) -> bool {
        self.datagrams.get() <= 1 && !self.proved.load(Ordering::Relaxed)
    }

    /// Tells whether a datagram of `len` bytes may be sent, after `sent` bytes with headers, and counts it there if so.
    pub(crate) fn may_send(&self, sent: &mut u64, len: usize, factor: u32) -> bool {
        if self.proved.load(Ordering::Relaxed) {
            return true;
        }
        let after = *sent + self.headers + len as u64;
        let may = after <= self.received.get().saturating_mul(factor.into());
        if may {
            *sent = after;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a23_what_is_sent_before_proof_is_bounded_by_what_came() {
        let standing = Standing::new(([192, 0, 2, 1], 9).into(), false);
        let mut sent = 0;
        assert!(!standing.may_send(&mut sent, 0, 1), "nothing has come");
        standing.came(1, 100);
        assert!(!standing.may_send(&mut sent, 101, 1), "longer than what came");
        assert!(standing.may_send(&mut sent, 36, 1));
        assert!(standing.may_send(&mut sent, 36, 1), "two that make up what came, headers counted");
        assert!(!standing.may_send(&mut sent, 0, 1), "even an empty one has headers");
        assert!(standing.may_send(&mut sent, 100, 2), "twice as much where that is configured");
        assert!(!standing.may_send(&mut sent, 1, 2));
    }

    #[test]
    fn a23_a_proved_peer_may_be_sent_anything() {
        let peer = UdpPeer(Arc::new(Standing::new(([192, 0, 2, 1], 9).into(), false)));
        let mut sent = 0;
        assert!(!peer.is_proved() && !peer.0.may_send(&mut sent, 1, 3));
        peer.prove();
        assert!(peer.is_proved() && peer.0.may_send(&mut sent, 65_507, 1));
    }
}
