//! What of an address counts where peers are counted by it.

use std::net::{IpAddr, Ipv4Addr};

/// What is taken for one peer where addresses are counted: an IPv4 address, or the /56 that an IPv6 customer is given.
///
/// # Examples
///
/// ```
/// use net_core::Prefix;
///
/// let of = |ip: &str| ip.parse().ok().and_then(Prefix::of);
/// assert_eq!(of("2001:db8::1"), of("2001:db8:0:ff::2"));
/// assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
/// assert_eq!(of("127.0.0.1"), None, "loopback is not counted");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 56 bits of an IPv6 address.
    V6([u8; 7]),
}

impl Prefix {
    /// Returns the prefix that `ip` counts for; none for loopback.
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            ip if ip.is_loopback() => None,
            IpAddr::V4(ip) => Some(Self::V4(ip)),
            IpAddr::V6(ip) => ip.octets().first_chunk().map(|network| Self::V6(*network)),
        }
    }
}

/// What a peer is counted for: the prefix of its address and, over IPv6, the site that has many of them.
///
/// # Examples
///
/// ```
/// use net_core::{AddressGroup, Prefix};
///
/// let of = |ip: &str| ip.parse().ok().and_then(Prefix::of).map(|prefix| AddressGroup::all(prefix).collect::<Vec<_>>());
/// let (one, other) = (of("2001:db8::1").expect("it is counted"), of("2001:db8:0:ff00::1").expect("it is counted"));
/// assert_ne!(one[0], other[0], "two customers");
/// assert_eq!(one[1], other[1], "of one site");
/// assert_eq!(one.iter().map(|group| group.share(200)).collect::<Vec<_>>(), [200, 2_000]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressGroup {
    /// One prefix.
    Prefix(Prefix),
    /// The /48 of an IPv6 site, of which 256 prefixes are a part: one site must not count as much as 256 others.
    Site([u8; 6]),
}

impl AddressGroup {
    /// How many times the share of one prefix a site has.
    const PREFIXES_OF_A_SITE: usize = 10;

    /// Returns all that a peer from `prefix` is counted for.
    pub fn all(prefix: Prefix) -> impl Iterator<Item = Self> {
        let site = match prefix {
            Prefix::V4(_) => None,
            Prefix::V6(network) => network.first_chunk().copied().map(Self::Site),
        };
        [Self::Prefix(prefix)].into_iter().chain(site)
    }

    /// Tells whether a peer from `prefix` is counted for it.
    pub(super) fn counts(self, prefix: Prefix) -> bool {
        Self::all(prefix).any(|counted| counted == self)
    }

    /// Returns how many of `max` handshakes at once it may have: a prefix a quarter of them, a site half.
    pub(super) fn share_of_handshakes(self, max: usize) -> usize {
        let share = match self {
            Self::Prefix(_) => max / 4,
            Self::Site(_) => max / 2,
        };
        share.max(1)
    }

    /// Returns how much it may have where a prefix may have `max`: a site has ten times as much.
    pub fn share(self, max: usize) -> usize {
        match self {
            Self::Prefix(_) => max,
            Self::Site(_) => max.saturating_mul(Self::PREFIXES_OF_A_SITE),
        }
    }
}
