//! Sending to a peer that is gone is an error, also where `SIGPIPE` has its default action, which ends the process.
#![cfg(unix)]

mod rig;

use net_core::{Address, ErrorKind, Listener, Scheme, Sender, Transport};
use net_tcp::{Tcp, Unix};
use rig::at;

/// Sends through every path of the sender: small messages gathered, large ones vectored, many in one call.
async fn send_into_the_void<T: Transport>(transport: T, at: Address) {
    for len in [1, 8 * 1024, 200_000] {
        let mut listener = transport.listen(&at).await.expect("listening");
        let mut near = transport.connect(listener.local()).await.expect("connecting");
        let far = listener.accept().await.expect("a connection");
        drop(far);
        assert_eq!(near.recv().await.expect("the end"), None);
        let error = loop {
            if let Err(error) = near.send(vec![0; len]).await {
                break error;
            }
        };
        assert!(error.is_closed(), "{error}");

        // After one's own end, too.
        let mut near = transport.connect(listener.local()).await.expect("connecting");
        near.tx.finish().await.expect("finished");
        assert_eq!(near.send(vec![0; len]).await.expect_err("finished").kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn s9_no_send_raises_a_signal() {
    // The test harness has it ignored, as every Rust program has; a program that embeds us need not.
    sigpipe::reset();
    send_into_the_void(Tcp::default(), at("tcp://127.0.0.1:0")).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let path = Address::from_path(Scheme::Unix, path.to_str().expect("Unicode"));
    send_into_the_void(Unix::default(), path).await;
}
