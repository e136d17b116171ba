//! From the host of an address to socket addresses.

use std::{io, net::SocketAddr, sync::mpsc, time::Duration};

use net_core::{Address, ErrorKind, Scheme, resolve};
use tokio::runtime::Builder;

const PATIENCE: Duration = Duration::from_secs(30);

fn v4(last: u8) -> SocketAddr {
    ([192, 0, 2, last], 80).into()
}

fn v6(last: u16) -> SocketAddr {
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80).into()
}

fn named() -> Address {
    Address::from_name(Scheme::Tcp, "a").with_port(80)
}

/// Connects to a name that has these addresses.
async fn connectable(addresses: Vec<SocketAddr>) -> net_core::Result<Vec<SocketAddr>> {
    resolve::connectable_by(&named(), async { Ok(addresses) }).await
}

#[tokio::test]
async fn wildcards_are_reached_through_loopback() {
    for (text, first) in [
        ("tcp://:7", "[::1]:7"),
        ("udp://[::]:7", "[::1]:7"),
        ("quic://0.0.0.0:7", "127.0.0.1:7"),
        ("tcp://192.0.2.1:7", "192.0.2.1:7"),
    ] {
        let to = text.parse().expect("an address");
        let found = resolve::connectable(&to, PATIENCE).await.expect("nobody is asked");
        assert_eq!(found.first().map(ToString::to_string).as_deref(), Some(first));
    }
}

#[tokio::test]
async fn wildcards_are_listened_at_as_they_are() {
    for (text, all) in [
        ("tcp://:7", &["[::]:7", "0.0.0.0:7"][..]),
        ("udp://0.0.0.0:7", &["0.0.0.0:7"]),
        ("quic://[::]:0", &["[::]:0"]),
    ] {
        let at = text.parse().expect("an address");
        let found = resolve::bindable(&at, PATIENCE).await.expect("nobody is asked");
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), all);
    }
}

#[test]
fn families_take_turns_and_keep_their_order() {
    let resolved = vec![v4(1), v4(2), v6(1), v6(2), v6(3)];
    assert_eq!(resolve::in_turn(resolved.clone(), true), [v6(1), v4(1), v6(2), v4(2), v6(3)]);
    assert_eq!(resolve::in_turn(resolved, false), [v4(1), v6(1), v4(2), v6(2), v6(3)]);
    assert_eq!(resolve::in_turn(vec![v4(1), v4(2)], true), [v4(1), v4(2)]);
    assert_eq!(resolve::in_turn(Vec::new(), true), []);
}

#[tokio::test]
async fn what_is_best_stays_first_and_nothing_comes_twice() {
    let found = connectable(vec![v4(1), v4(1), v4(2), v6(1), v4(2)]).await;
    assert_eq!(found.expect("addresses"), [v4(1), v6(1), v4(2)]);
    assert_eq!(connectable(vec![v6(2), v6(1), v4(1)]).await.expect("addresses"), [v6(2), v4(1), v6(1)]);
}

#[tokio::test]
async fn no_more_than_sixteen_addresses_of_a_name_are_given() {
    let long: Vec<_> = (0..=255).chain(0..=255).map(v4).collect();
    assert_eq!(connectable(long.clone()).await.expect("addresses"), long[..16]);
}

#[tokio::test]
async fn a_name_without_an_address_is_unresolved() {
    for answer in [Ok(Vec::new()), Err(io::Error::from(io::ErrorKind::NotFound))] {
        let error = resolve::connectable_by(&named(), async { answer }).await.expect_err("nothing to try");
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unresolved, "connect"));
        assert!(error.to_string().contains("tcp://a:80"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_name_is_asked_of_nobody() {
    let to = "tcp://192.0.2.1:80".parse().expect("an address");
    let found = resolve::connectable_by(&to, async { panic!("asked") }).await;
    assert_eq!(found.expect("the address itself"), [v4(1)]);
}

#[test]
fn addresses_need_no_timers_of_the_runtime() {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let address = "tcp://192.0.2.1:80".parse().expect("an address");
    for found in runtime.block_on(async {
        [resolve::connectable(&address, PATIENCE).await, resolve::bindable(&address, PATIENCE).await]
    }) {
        assert_eq!(found.expect("the address itself"), [v4(1)]);
    }
}

#[test]
fn names_are_waited_for_as_long_as_there_is_patience() {
    let runtime =
        Builder::new_current_thread().enable_time().max_blocking_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        // The one thread that may ask the system has something else to do.
        let (release, released) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv());
        let patience = Duration::from_millis(1);
        for late in
            [resolve::connectable(&named(), patience).await, resolve::bindable(&named(), patience).await]
        {
            assert_eq!(late.expect_err("no answer").kind(), ErrorKind::TimedOut);
        }
        drop(release);
    });
}

#[tokio::test]
async fn names_are_asked_of_the_system() {
    let here = "tcp://localhost:80".parse().expect("an address");
    for found in [resolve::connectable(&here, PATIENCE).await, resolve::bindable(&here, PATIENCE).await] {
        let found = found.expect("every system knows itself");
        assert!(found.iter().all(|one| one.ip().is_loopback() && one.port() == 80), "{found:?}");
    }
}
