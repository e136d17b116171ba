//! From the host of an address to the socket addresses that stand for it.
//!
//! Names are asked of the system (the hosts file, DNS, or what else it is set up for), or of whoever is given.
//!
//! # Examples
//!
//! ```
//! use std::{io, net::{Ipv4Addr, SocketAddr}, time::Duration};
//!
//! use net_core::resolve;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> net_core::Result<()> {
//! let here = "tcp://0.0.0.0:7".parse()?;
//! let found = resolve::connectable(&here, Duration::from_secs(5)).await?;
//! assert_eq!(found, [([127, 0, 0, 1], 7).into()]);
//!
//! async fn ask_a_table(port: u16) -> io::Result<Vec<SocketAddr>> {
//!     Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])
//! }
//!
//! let named = "tcp://db.internal:5432".parse()?;
//! let found = resolve::connectable_by(&named, ask_a_table(5432)).await?;
//! assert_eq!(found, [([127, 0, 0, 1], 5432).into()]);
//! # Ok(())
//! # }
//! ```

use std::{
    collections::VecDeque,
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::lookup_host, time::timeout};

use crate::{Address, Error, ErrorKind, Host, Result};

/// How many addresses of one name are given: an answer may be any length.
const MAX_ADDRESSES: usize = 16;

/// Returns the addresses to connect to, best first, the families in turn; at most 16 of a name, each once.
///
/// # Errors
///
/// [`ErrorKind::Unresolved`]: the name has no address, or the system cannot tell; [`ErrorKind::TimedOut`]: there was no answer
/// within `patience`.
///
/// # Cancel safety
///
/// Cancel safe: what runs in the system goes on unobserved.
pub async fn connectable(to: &Address, patience: Duration) -> Result<Vec<SocketAddr>> {
    match reached(to) {
        Some(known) => Ok(known),
        None => by_system(to, patience, "connect").await.map(best_in_turn),
    }
}

/// Does what [`connectable`] does where `answer` gives the addresses of `to`'s name; it is not polled where there is none, and may
/// take any time.
///
/// # Errors
///
/// [`ErrorKind::Unresolved`]: `answer` gives no address, or an error.
///
/// # Cancel safety
///
/// Cancel safe where `answer` is.
pub async fn connectable_by(
    to: &Address,
    answer: impl Future<Output = io::Result<Vec<SocketAddr>>>,
) -> Result<Vec<SocketAddr>> {
    match reached(to) {
        Some(known) => Ok(known),
        None => some(answer.await, "connect", to).map(best_in_turn),
    }
}

/// Returns the addresses to listen at, best first; at most 16 of a name, each once.
///
/// # Errors
///
/// As [`connectable`].
///
/// # Cancel safety
///
/// As [`connectable`].
pub async fn bindable(at: &Address, patience: Duration) -> Result<Vec<SocketAddr>> {
    let port = at.port().unwrap_or_default();
    match at.host() {
        // One socket serves both families; where there is no IPv6, the other one does.
        Host::Any => Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]),
        Host::V4(_) | Host::V6(..) => Ok(at.socket().into_iter().collect()),
        Host::Name(_) => by_system(at, patience, "listen").await,
    }
}

/// Orders `addresses` so that the families take turns, IPv6 first or IPv4; the order within a family stays.
///
/// RFC 8305 §4: "whichever address family is first in the list should be followed by an endpoint of the other
/// address family".
pub fn in_turn(addresses: Vec<SocketAddr>, v6_first: bool) -> Vec<SocketAddr> {
    let (mut these, mut others): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == v6_first);
    let mut ordered = Vec::with_capacity(these.len() + others.len());
    while let Some(address) = these.pop_front().or_else(|| others.pop_front()) {
        ordered.push(address);
        if !others.is_empty() {
            std::mem::swap(&mut these, &mut others);
        }
    }
    ordered
}

fn best_in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    in_turn(addresses, v6_first)
}

/// Returns the addresses by which `to` is reached; `None` where it has a name.
fn reached(to: &Address) -> Option<Vec<SocketAddr>> {
    let port = to.port().unwrap_or_default();
    let (v6, v4) = (SocketAddr::from((Ipv6Addr::LOCALHOST, port)), (Ipv4Addr::LOCALHOST, port).into());
    match to.host() {
        // What a wildcard listener calls its own address is reached through loopback.
        Host::Any => Some(vec![v6, v4]),
        Host::V6(ip, _) if ip.is_unspecified() => Some(vec![v6, v4]),
        Host::V4(ip) if ip.is_unspecified() => Some(vec![v4]),
        Host::V4(_) | Host::V6(..) => Some(to.socket().into_iter().collect()),
        Host::Name(_) => None,
    }
}

/// Asks for the name of `address`. Boxed, so that connecting to whoever has none stays small.
async fn by_system(
    address: &Address,
    patience: Duration,
    operation: &'static str,
) -> Result<Vec<SocketAddr>> {
    let Host::Name(name) = address.host() else { return Ok(Vec::new()) };
    let port = address.port().unwrap_or_default();
    let Ok(found) = Box::pin(timeout(patience, lookup_host((&**name, port)))).await else {
        let late = Error::new(ErrorKind::TimedOut, operation).at(address);
        return Err(late.because("the name was not resolved in time"));
    };
    some(found.map(Iterator::collect), operation, address)
}

/// Takes each address of an answer once, and no more than are tried.
fn some(
    answer: io::Result<Vec<SocketAddr>>,
    operation: &'static str,
    address: &Address,
) -> Result<Vec<SocketAddr>> {
    let unresolved = || Error::new(ErrorKind::Unresolved, operation).at(address);
    let mut addresses = Vec::new();
    for one in answer.map_err(|error| unresolved().because(error))? {
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&one) {
            addresses.push(one);
        }
    }
    if addresses.is_empty() { Err(unresolved().because("the name has no address")) } else { Ok(addresses) }
}
