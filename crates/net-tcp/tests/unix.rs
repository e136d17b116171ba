//! The file that names a Unix-domain socket, and what such a socket can and cannot do.
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::PathBuf,
    time::Duration,
};

use net_core::{Address, ErrorKind, Listener, Scheme, Sender, Transport};
use net_tcp::{Unix, UnixConfig};

/// A directory of its own, removed with it, and the path of a socket in it.
fn place() -> (tempfile::TempDir, PathBuf, Address) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.sock");
    let at = Address::from_path(Scheme::Unix, path.to_str().expect("Unicode"));
    (directory, path, at)
}

#[tokio::test]
async fn the_file_goes_with_its_listener() {
    let (_directory, path, at) = place();
    let unix = Unix::default();
    for _ in 0..3 {
        let mut listener = unix.listen(&at).await.expect("listening");
        assert!(fs::symlink_metadata(&path).expect("a file").file_type().is_socket());
        assert_eq!(listener.local(), &at);
        listener.close();
        assert!(!path.exists(), "closing removes the name");
        let error = unix.connect(&at).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
}

#[tokio::test]
async fn a36_the_file_of_a_dead_server_is_replaced() {
    let (_directory, path, at) = place();
    // Dropped without removing its file, as `kill -9` does.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists());
    let mut listener = Unix::default().listen(&at).await.expect("the stale file is replaced");
    let mut near = Unix::default().connect(&at).await.expect("connecting");
    near.send("hello").await.expect("sent");
    assert!(listener.accept().await.expect("a connection").recv().await.expect("received").is_some());
}

#[tokio::test]
async fn the_file_of_a_living_server_is_left_alone() {
    let (_directory, path, at) = place();
    let unix = Unix::default();
    let _first = unix.listen(&at).await.expect("listening");
    let error = unix.listen(&at).await.expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    assert!(error.to_string().starts_with("listen unix:///"), "{error}");
    assert!(path.exists());
    unix.connect(&at).await.expect("the first one still serves");
}

#[tokio::test]
async fn a_living_server_whose_queue_is_full_is_left_alone() {
    let (_directory, _, at) = place();
    let unix = Unix::new(UnixConfig {
        backlog: 0,
        connect_timeout: Duration::from_millis(20),
        ..UnixConfig::default()
    });
    let _first = unix.listen(&at).await.expect("listening");
    let mut waiting = Vec::new();
    let error = loop {
        match unix.connect(&at).await {
            Ok(connection) => waiting.push(connection),
            Err(error) => break error,
        }
        assert!(waiting.len() < 16, "the queue has no end");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(unix.listen(&at).await.expect_err("in use").kind(), ErrorKind::AddressInUse);
}

#[tokio::test]
async fn a_client_waits_for_a_place_in_a_full_queue() {
    let (_directory, _, at) = place();
    let unix = Unix::new(UnixConfig { backlog: 0, ..UnixConfig::default() });
    let mut listener = unix.listen(&at).await.expect("listening");
    let connecting = async {
        let mut connections = Vec::new();
        for _ in 0..20 {
            connections.push(unix.connect(&at).await.expect("a place comes free"));
        }
        connections
    };
    let accepting = async {
        let mut connections = Vec::new();
        for _ in 0..20 {
            tokio::task::yield_now().await;
            connections.push(listener.accept().await.expect("a connection"));
        }
        connections
    };
    let (near, far) = tokio::join!(connecting, accepting);
    assert_eq!((near.len(), far.len()), (20, 20));
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_never_removed() {
    let (_directory, path, at) = place();
    fs::write(&path, "precious").expect("written");
    let error = Unix::default().listen(&at).await.expect_err("the name is taken");
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    assert_eq!(fs::read(&path).expect("still there"), b"precious");
}

#[tokio::test]
async fn a_file_that_another_server_has_taken_is_not_removed() {
    let (_directory, path, at) = place();
    let first = Unix::default().listen(&at).await.expect("listening");
    fs::remove_file(&path).expect("removed by somebody");
    let _second = Unix::default().listen(&at).await.expect("listening");
    drop(first);
    assert!(path.exists(), "the second one's file is not the first one's to remove");
}

#[tokio::test]
async fn the_mode_is_the_one_that_is_set() {
    let (_directory, path, at) = place();
    for mode in [0o600, 0o666] {
        let _listener = Unix::new(UnixConfig { mode: Some(mode), ..UnixConfig::default() })
            .listen(&at)
            .await
            .expect("listening");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, mode);
    }
}

#[tokio::test]
async fn other_schemes_and_paths_that_lead_nowhere_are_errors() {
    let unix = Unix::default();
    let tcp = "tcp://127.0.0.1:1".parse().expect("an address");
    assert_eq!(unix.connect(&tcp).await.expect_err("no path").kind(), ErrorKind::InvalidAddress);
    assert_eq!(unix.listen(&tcp).await.expect_err("no path").kind(), ErrorKind::InvalidAddress);
    let (_directory, path, _) = place();
    let below = Address::from_path(Scheme::Unix, &format!("{}/no/such", path.display()));
    assert!(unix.listen(&below).await.is_err());
    let long = Address::from_path(Scheme::Unix, &format!("/tmp/{}", "x".repeat(200)));
    assert!(unix.listen(&long).await.is_err());
    assert!(unix.connect(&long).await.is_err());
}

#[tokio::test]
async fn half_close_and_errors_are_those_of_tcp() {
    let (_directory, _, at) = place();
    let mut listener = Unix::default().listen(&at).await.expect("listening");
    let mut near = Unix::default().connect(&at).await.expect("connecting");
    let mut far = listener.accept().await.expect("a connection");
    near.send("request").await.expect("sent");
    near.tx.finish().await.expect("finished");
    assert!(far.recv().await.expect("received").is_some());
    assert_eq!(far.recv().await.expect("the end"), None);
    far.send("answer").await.expect("sent");
    assert!(near.recv().await.expect("received").is_some());
    drop(near);
    let error = loop {
        if let Err(error) = far.send("x").await {
            break error;
        }
    };
    assert!(error.is_closed(), "{error}");
    assert!(far.tx.send("x").await.is_err());
}

#[tokio::test]
async fn an_abort_ends_inside_a_frame() {
    let (_directory, _, at) = place();
    let mut listener = Unix::default().listen(&at).await.expect("listening");
    // With nothing, a part, and several frames before the cut; with small messages and with large ones.
    for (flushed, unflushed) in [(0, 1), (1, 1), (2, 3), (0, 200)] {
        for len in [0, 100, 20_000] {
            let mut near = Unix::default().connect(&at).await.expect("connecting");
            let mut far = listener.accept().await.expect("a connection");
            for _ in 0..flushed {
                near.send(vec![1; len]).await.expect("sent");
            }
            for _ in 0..unflushed {
                let fed = futures_util::FutureExt::now_or_never(near.tx.feed(vec![1; len]));
                fed.unwrap_or(Ok(())).expect("accepted, or no room");
            }
            drop(near.tx);
            let mut received = 0;
            let error = loop {
                match far.recv().await {
                    Ok(Some(message)) => assert_eq!(message.len(), len),
                    Ok(None) => panic!("a clean end after {received} messages"),
                    Err(error) => break error,
                }
                received += 1;
            };
            assert_eq!(error.kind(), ErrorKind::UnexpectedEnd);
            assert!((flushed..flushed + unflushed).contains(&received), "{received}");
        }
    }
}
