//! Who may come in: limits of connections that the listeners of a server share.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{AddressGroup, Prefix, handshakes::Handshakes};
use crate::{Address, Contained, Error, ErrorKind, Limit, Limits, Observer};

/// Who may come in: counts the connections and handshakes of all listeners that share it, and holds them to [`Limits`].
///
/// # Examples
///
/// ```
/// use std::{net::IpAddr, sync::Arc};
/// use net_core::{Admission, Limit, Limits};
///
/// let limits = Limits { max_connections_per_prefix: 1, ..Limits::default() };
/// let admission = Arc::new(Admission::new(limits, None));
/// let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1]));
/// let _permit = admission.admit(Some(one))?;
/// assert_eq!(admission.admit(Some(one)).err(), Some(Limit::ConnectionsPerPrefix));
/// assert!(admission.admit(Some(other)).is_ok());
/// # Ok::<(), Limit>(())
/// ```
pub struct Admission {
    limits: Limits,
    observer: Option<Arc<dyn Observer>>,
    active: AtomicUsize,
    handshakes_cut: AtomicUsize,
    /// Keyed by what peers choose; the standard map's hash is seeded at random.
    counts: Mutex<HashMap<AddressGroup, usize>>,
    handshakes: Handshakes,
    /// Whether [`sweep`](Self::sweep) looks at the deadlines of handshakes.
    swept: bool,
}

impl Admission {
    /// Creates an admission that holds connections to `limits` and tells `observer`, whose panics are [contained](Contained).
    pub fn new(limits: Limits, observer: Option<Arc<dyn Observer>>) -> Self {
        let contained = |observer| Arc::new(Contained::new(observer)) as Arc<dyn Observer>;
        Self {
            limits,
            observer: observer.map(contained),
            active: AtomicUsize::new(0),
            handshakes_cut: AtomicUsize::new(0),
            counts: Mutex::default(),
            handshakes: Handshakes::default(),
            swept: false,
        }
    }

    /// Has no handshake set a timer of its own: whoever says so calls [`sweep`](Self::sweep) again and again. Default: each
    /// has a timer.
    #[must_use]
    pub fn with_sweep(mut self) -> Self {
        self.swept = true;
        self
    }

    /// Ends the handshakes that have taken longer than they may.
    pub fn sweep(&self) {
        if self.swept {
            self.handshakes.expire(self);
        }
    }

    /// Tells whether a sweep looks at the deadlines of handshakes.
    pub(super) fn is_swept(&self) -> bool {
        self.swept
    }

    pub(super) fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the number of connections that hold a permit.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Returns how many connections were accepted and lost before they were ready for use, because their listener was
    /// dropped.
    pub fn handshakes_cut(&self) -> usize {
        self.handshakes_cut.load(Ordering::Relaxed)
    }

    /// Returns the observer, where there is one.
    pub fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    /// Lets one connection in from `peer`, `None` where it has no IP address.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Permit, Limit> {
        let within = |active: usize| (active < self.limits.max_connections).then_some(active + 1);
        if self.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            return Err(Limit::Connections);
        }
        // From here on the permit's drop takes the count back.
        let mut permit = Permit { admission: self.clone(), prefix: None };
        if let Some(prefix) = peer.and_then(Prefix::of) {
            let mut counts = self.counts();
            let is_full = |counted: &AddressGroup| {
                let held = counts.get(counted).copied().unwrap_or(0);
                held >= counted.share(self.limits.max_connections_per_prefix)
            };
            if AddressGroup::all(prefix).any(|counted| is_full(&counted)) {
                return Err(Limit::ConnectionsPerPrefix);
            }
            for counted in AddressGroup::all(prefix) {
                *counts.entry(counted).or_default() += 1;
            }
            permit.prefix = Some(prefix);
        }
        Ok(permit)
    }

    pub(super) fn observe(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.observer {
            tell(&**observer);
        }
    }

    /// Counts a connection whose listener was dropped before it was ready for use.
    pub(super) fn cut_handshake(&self, peer: &Address) {
        self.handshakes_cut.fetch_add(1, Ordering::Relaxed);
        let error = Error::new(ErrorKind::Closed, "handshake");
        self.observe(|observer| observer.handshake_failed(peer, &error));
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<AddressGroup, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(Limits::default(), None)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("limits", &self.limits)
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}

/// The right of one connection to be open; dropping it gives the place free.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use net_core::{Admission, Permit};
///
/// let admission = Arc::new(Admission::default());
/// let held: Vec<Permit> = (0..3).map(|_| admission.admit(None)).collect::<Result<_, _>>()?;
/// assert_eq!(admission.active(), 3);
/// drop(held);
/// assert_eq!(admission.active(), 0);
/// # Ok::<(), net_core::Limit>(())
/// ```
#[must_use = "dropping a permit gives the place free"]
pub struct Permit {
    admission: Arc<Admission>,
    prefix: Option<Prefix>,
}

impl Permit {
    /// Returns the limits under which it was given.
    pub fn limits(&self) -> &Limits {
        self.admission.limits()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.active.fetch_sub(1, Ordering::Relaxed);
        if let Some(prefix) = self.prefix {
            let mut counts = self.admission.counts();
            for counted in AddressGroup::all(prefix) {
                if let Some(held) = counts.get_mut(&counted) {
                    *held -= 1;
                    if *held == 0 {
                        counts.remove(&counted);
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: usize, max_connections_per_prefix: usize) -> Arc<Admission> {
        let limits = Limits { max_connections, max_connections_per_prefix, ..Limits::default() };
        Arc::new(Admission::new(limits, None))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a2_one_prefix_cannot_take_the_place_of_others() {
        let admission = admission(10, 2);
        let held = [admission.admit(Some(ip("10.0.0.1"))), admission.admit(Some(ip("10.0.0.1")))];
        assert_eq!(admission.admit(Some(ip("10.0.0.1"))).err(), Some(Limit::ConnectionsPerPrefix));
        assert!(admission.admit(Some(ip("10.0.0.2"))).is_ok());
        let v6 =
            [admission.admit(Some(ip("2001:db8:0:1::1"))), admission.admit(Some(ip("2001:db8:0:ff::1")))];
        assert_eq!(admission.admit(Some(ip("2001:db8:0:2::9"))).err(), Some(Limit::ConnectionsPerPrefix));
        assert!(admission.admit(Some(ip("2001:db8:0:100::1"))).is_ok());
        assert_eq!(admission.active(), 4);
        drop((held, v6));
        assert_eq!(admission.active(), 0);
        assert!(admission.counts().is_empty(), "spoofed prefixes leave nothing behind");
    }

    #[test]
    fn a2_one_ipv6_48_cannot_take_the_place_of_others() {
        let admission = admission(1_000, 2);
        let from_site = |number: u16| admission.admit(Some(ip(&format!("2001:db8:0:{:x}::1", number << 8))));
        let held: Vec<_> = (0..256).map(from_site).collect();
        let admitted = held.iter().filter(|permit| permit.is_ok()).count();
        assert_eq!(admitted, 20, "each is of another /56");
        assert!(
            held.iter()
                .filter_map(|permit| permit.as_ref().err())
                .all(|limit| *limit == Limit::ConnectionsPerPrefix)
        );
        assert!(admission.admit(Some(ip("2001:db8:1::1"))).is_ok(), "another site");
        assert!(admission.admit(Some(ip("10.0.0.1"))).is_ok());
        drop(held);
        assert!(from_site(0).is_ok());
        assert!(admission.counts().is_empty());
    }

    #[test]
    fn a2_the_limit_of_all_connections_is_exact() {
        let admission = admission(2, 200);
        let first = admission.admit(None);
        let _second = admission.admit(Some(ip("127.0.0.1"))).expect("a place");
        assert_eq!(admission.admit(None).err(), Some(Limit::Connections));
        drop(first);
        assert!(admission.admit(Some(ip("::1"))).is_ok());
    }

    #[test]
    fn a2_refused_prefixes_take_no_memory() {
        let admission = admission(10, 0);
        for last in 0..=u8::MAX {
            assert!(admission.admit(Some([10, 0, 0, last].into())).is_err());
        }
        assert!(admission.counts().is_empty());
        assert_eq!(admission.active(), 0);
    }
}
