//! Connecting to several addresses: each in its turn, the next one beside it when it is slow.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use net_core::Attempts;
use tokio::time::timeout;

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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending, rc::Rc};

    use tokio::time::{Instant, sleep};

    use super::*;

    const DELAY: Duration = Duration::from_millis(250);

    /// What an address does when it is connected to.
    #[derive(Clone, Copy)]
    enum Host {
        AnswersAfter(u64),
        RefusesAfter(u64),
        IsSilent,
    }

    /// Races hosts named by their place, and returns the winner, the time it took in milliseconds, when each attempt
    /// began, and what is known of the attempts.
    async fn run(hosts: &[Host]) -> (Option<usize>, u128, Vec<u128>, Attempts) {
        let start = Instant::now();
        let begun = RefCell::new(Vec::new());
        let mut attempts = Attempts::default();
        let connect = |address: SocketAddr| {
            begun.borrow_mut().push(start.elapsed().as_millis());
            let place = usize::from(address.port());
            async move {
                match hosts[place] {
                    Host::AnswersAfter(time) => {
                        sleep(Duration::from_millis(time)).await;
                        Ok(place)
                    }
                    Host::RefusesAfter(time) => {
                        sleep(Duration::from_millis(time)).await;
                        Err(io::ErrorKind::ConnectionRefused.into())
                    }
                    Host::IsSilent => pending().await,
                }
            }
        };
        let addresses = (0_u16..).zip(hosts).map(|(place, _)| ([192, 0, 2, 1], place).into()).collect();
        let won = race(addresses, DELAY, connect, &mut attempts).await;
        let elapsed = start.elapsed().as_millis();
        (won, elapsed, begun.into_inner(), attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_first_address_is_the_only_one_tried() {
        let (won, elapsed, begun, _) = run(&[Host::AnswersAfter(249), Host::AnswersAfter(0)]).await;
        assert_eq!((won, elapsed, begun), (Some(0), 249, vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_is_joined_by_the_next_after_the_delay() {
        let (won, elapsed, begun, attempts) = run(&[Host::IsSilent, Host::AnswersAfter(20)]).await;
        assert_eq!((won, elapsed, begun), (Some(1), 270, vec![0, 250]));
        assert!(attempts.iter().all(|attempt| attempt.error.is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_address_at_once() {
        let hosts = [Host::RefusesAfter(10), Host::RefusesAfter(5), Host::AnswersAfter(1)];
        let (won, elapsed, begun, _) = run(&hosts).await;
        assert_eq!((won, elapsed, begun), (Some(2), 16, vec![0, 10, 15]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_may_still_win() {
        let (won, elapsed, begun, _) = run(&[Host::AnswersAfter(300), Host::AnswersAfter(500)]).await;
        assert_eq!((won, elapsed, begun), (Some(0), 300, vec![0, 250]));
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_is_kept_in_the_order_of_the_attempts() {
        let (won, elapsed, _, attempts) = run(&[Host::RefusesAfter(300), Host::RefusesAfter(10)]).await;
        assert_eq!((won, elapsed), (None, 300));
        let text = attempts.to_string();
        assert_eq!(text, "192.0.2.1:0: connection refused; 192.0.2.1:1: connection refused");
        assert_eq!(attempts.into_error("connect").kind(), net_core::ErrorKind::Refused);
    }

    #[tokio::test(start_paused = true)]
    async fn the_attempts_that_lost_are_dropped() {
        let lost = Rc::new(());
        let held = lost.clone();
        let connect = |address: SocketAddr| {
            let held = held.clone();
            async move {
                if address.port() == 0 {
                    pending::<()>().await;
                } else {
                    drop(held);
                }
                Ok(())
            }
        };
        let addresses = (0..3).map(|port| ([192, 0, 2, 1], port).into()).collect();
        assert!(race(addresses, DELAY, connect, &mut Attempts::default()).await.is_some());
        assert_eq!(Rc::strong_count(&lost), 2, "the closure's own and the test's");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_to_try_is_no_success() {
        assert!(run(&[]).await.0.is_none());
    }
}
