//! Messages go out and come back over every kind of socket.

use net_core::{Address, Listener, Receiver, Scheme, Sender, Transport};
use net_tcp::{Tcp, Unix};

async fn echo(transport: impl Transport, at: Address) {
    let mut listener = transport.listen(&at).await.expect("listening");
    let to = listener.local().clone();
    let server = tokio::spawn(async move {
        let mut far = listener.accept().await.expect("a connection");
        while let Some(message) = far.rx.recv().await.expect("a message") {
            far.tx.send(message).await.expect("the reply is sent");
        }
        far.tx.finish().await.expect("the end is sent");
        far.info
    });
    let mut near = transport.connect(&to).await.expect("connecting");
    for message in [vec![], b"hello".to_vec(), vec![7; 100_000]] {
        near.tx.send(message.clone()).await.expect("sent");
        assert_eq!(near.rx.recv().await.expect("the reply").as_deref(), Some(&message[..]));
    }
    near.tx.finish().await.expect("finished");
    assert_eq!(near.rx.recv().await.expect("the end"), None);
    let far = server.await.expect("the server ends");
    assert_eq!(far.remote, near.info.local);
    assert_eq!(far.local.scheme(), to.scheme());
    assert_eq!(near.info.remote, to);
}

fn at(text: &str) -> Address {
    text.parse().expect("an address")
}

#[tokio::test]
async fn messages_travel_over_ipv4() {
    echo(Tcp::default(), at("tcp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn messages_travel_over_ipv6() {
    echo(Tcp::default(), at("tcp://[::1]:0")).await;
}

#[tokio::test]
async fn messages_travel_between_boxed_halves() {
    echo(Tcp::default().boxed(), at("tcp://127.0.0.1:0")).await;
}

#[tokio::test]
async fn messages_travel_over_unix_sockets() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let path = Address::from_path(Scheme::Unix, path.to_str().expect("Unicode"));
    echo(Unix::default(), path).await;
}
