//! Connecting to several addresses: each in its turn, the next one beside it when it is slow.

use std::{collections::VecDeque, future::Future, io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use super::attempts::Attempts;
use crate::Family;

/// Orders `addresses` so that the families take turns.
///
/// RFC 8305 §4: "whichever address family is first in the list should be followed by an endpoint of the other
/// address family". The order within a family is the resolver's.
pub(super) fn interleave(addresses: Vec<SocketAddr>, first: Family) -> Vec<SocketAddr> {
    let (mut these, mut others): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == (first == Family::V6));
    let mut ordered = Vec::with_capacity(these.len() + others.len());
    while let Some(address) = these.pop_front().or_else(|| others.pop_front()) {
        ordered.push(address);
        if !others.is_empty() {
            std::mem::swap(&mut these, &mut others);
        }
    }
    ordered
}

/// Tries each address by `connect` until one succeeds; the other attempts are dropped then. `None`: all failed.
///
/// The next address is tried when the one before it has failed, or has not answered for `delay` (RFC 8305 §5).
pub(super) async fn race<T, C, A>(
    addresses: Vec<SocketAddr>,
    delay: Duration,
    mut connect: C,
    attempts: &mut Attempts,
) -> Option<T>
where
    C: FnMut(SocketAddr) -> A,
    A: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        match waiting.next() {
            Some(address) => {
                let place = attempts.begin(address);
                let attempt = connect(address);
                running.push(async move { (place, attempt.await) });
            }
            None if running.is_empty() => return None,
            None => {}
        }
        let finished = if waiting.len() > 0 {
            timeout(delay, running.next()).await.unwrap_or(None)
        } else {
            running.next().await
        };
        match finished {
            Some((_, Ok(connected))) => return Some(connected),
            Some((place, Err(error))) => attempts.fail(place, error),
            None => {}
        }
    }
}
