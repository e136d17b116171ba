//! Ports that listeners of this process have left are waited for, and no others.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use net_core::ports;

/// Far longer than a test takes.
const FOR_EVER: Duration = Duration::from_hours(1);

fn taken() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = socket.local_addr().expect("its address");
    (socket, at)
}

/// Binds `at`, and counts how often that was tried.
fn counting(at: SocketAddr, tries: &AtomicUsize) -> impl FnMut() -> io::Result<UdpSocket> {
    move || {
        tries.fetch_add(1, Ordering::Relaxed);
        UdpSocket::bind(at)
    }
}

#[tokio::test]
async fn a_port_that_was_left_is_waited_for() {
    let (socket, at) = taken();
    let socket = Arc::new(socket);
    let held = Arc::downgrade(&socket);
    ports::leave(at.port(), move || held.strong_count() > 0);
    let tries = Arc::new(AtomicUsize::new(0));
    let closing = thread::spawn({
        let tries = tries.clone();
        move || {
            // Until it was found in use.
            while tries.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
            drop(socket);
        }
    });
    let bound = ports::outwait(at.port(), FOR_EVER, counting(at, &tries)).await;
    assert_eq!(bound.and_then(|bound| bound.local_addr()).expect("it is free"), at);
    closing.join().expect("it closed");
}

#[tokio::test]
async fn a_socket_that_closes_as_it_is_asked_for_is_waited_for_once_more() {
    let (socket, at) = taken();
    ports::leave(at.port(), || false);
    let mut socket = Some(socket);
    // It is open at the first try alone.
    let bound = ports::outwait(at.port(), FOR_EVER, || {
        let bound = UdpSocket::bind(at);
        socket = None;
        bound
    });
    assert_eq!(bound.await.and_then(|bound| bound.local_addr()).expect("it is free"), at);
}

#[tokio::test]
async fn a_port_that_nobody_left_is_not_waited_for() {
    let (_socket, at) = taken();
    let (_other, elsewhere) = taken();
    ports::leave(elsewhere.port(), || true);
    let tries = AtomicUsize::new(0);
    let bound = ports::outwait(at.port(), FOR_EVER, counting(at, &tries)).await;
    assert_eq!(bound.expect_err("it is in use").kind(), ErrorKind::AddrInUse);
    assert_eq!(tries.into_inner(), 1);
}

#[tokio::test]
async fn patience_ends() {
    let (_socket, at) = taken();
    ports::leave(at.port(), || true);
    let tries = AtomicUsize::new(0);
    let bound = ports::outwait(at.port(), Duration::from_millis(20), counting(at, &tries)).await;
    assert_eq!(bound.expect_err("it is in use").kind(), ErrorKind::AddrInUse);
    assert!(tries.into_inner() > 1, "it was waited for");
}

#[tokio::test]
async fn another_error_is_told_at_once() {
    ports::leave(7, || true);
    let bound = ports::outwait(7, FOR_EVER, || Err::<(), _>(ErrorKind::PermissionDenied.into())).await;
    assert_eq!(bound.expect_err("not permitted").kind(), ErrorKind::PermissionDenied);
}
