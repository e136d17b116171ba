//! A key is nowhere but on the wire.

use net_core::{Credentials, Message, MessageKind, memory::Memory};
use net_messaging::{Client, ClientState, Server};

use crate::{
    claims::{Heard, OneKey, SECRET, right, shown},
    rig::{Peer, listen, only, settle, soon},
};

/// Fails where the secret is shown, as it is, escaped, or as a list of bytes.
#[track_caller]
fn hides(what: &str, shown: &str) {
    let listed = format!("{:?}", SECRET.as_bytes());
    let listed = listed.trim_matches(['[', ']']);
    assert!(!shown.contains(SECRET) && !shown.contains(listed), "{what}: {shown}");
    assert!(!shown.contains("hidden-value"), "{what}: {shown}");
}

#[tokio::test(start_paused = true)]
async fn a27_a_key_is_in_no_log_no_error_and_no_debug() {
    let memory = Memory::default();
    let (told, heard) = (Heard::default(), Heard::default());
    let builder = Server::builder(memory.clone()).authenticator(OneKey).observer(told.clone());
    let builder = builder.handler(heard.clone());
    hides("the builder", &format!("{builder:?} {builder:#?}"));
    let server = listen(builder).await;
    let credentials = || right("ann").with_metadata("token", "hidden-value");
    let key = credentials().api_key().clone();
    hides("credentials", &format!("{:?} {:#?} {key:?} {key:#?}", credentials(), credentials()));

    // It is believed, and it is not: for what else the server asks.
    let builder = Client::builder(memory.clone()).authenticate(credentials()).observer(told.clone());
    hides("the client's builder", &format!("{builder:?} {builder:#?}"));
    let client = builder.connect(server.local()).await.expect("is let in");
    let session = only(&server).await;
    let near = client.session().expect("is connected");
    hides("sessions", &format!("{client:#?} {near:#?} {session:#?} {:#?} {server:#?}", session.identity()));
    soon("the end", client.disconnect()).await;
    drop(server);
    settle().await;

    let refusing = Server::builder(memory.clone())
        .on_authenticate(|_, credentials: Credentials| async move {
            // What a careless authenticator tells of them.
            Err(net_messaging::Refusal::unauthenticated(format!("not {credentials:?}")))
        })
        .observer(told.clone());
    let server = listen(refusing).await;
    let client = Client::builder(memory.clone()).authenticate(credentials()).observer(told.clone());
    let error = client.connect(server.local()).await.expect_err("is refused");
    hides("the error", &format!("{error} {error:?} {error:#?} {}", error.report()));
    assert!(error.report().contains("token"), "the names of the metadata may be shown");
    drop(server);
    settle().await;

    let plain = listen(Server::builder(memory.clone()).observer(told.clone()).handler(heard.clone())).await;
    let client = Client::builder(memory.clone()).authenticate(credentials()).observer(told.clone());
    let error = client.connect(plain.local()).await.expect_err("nobody is asked");
    hides("the error", &format!("{error:?} {}", error.report()));
    // Malformed, it is no message that somebody shows either.
    let mut peer = Peer::connect(&memory, plain.local()).await;
    let mut payload = credentials().encode().expect("fits").to_vec();
    payload.push(0);
    let message = Message::new(MessageKind::Authenticate, 1, payload);
    hides("a message", &format!("{message} {message:?} {message:#?}"));
    peer.send(message).await;
    hides("an answer", &peer.recv().await.to_string());
    peer.send(shown(2, &credentials())).await;
    hides("an answer", &peer.recv().await.to_string());
    drop(peer);
    settle().await;

    let refused = ClientState::Refused(net_core::ErrorReply::new(net_core::ErrorCode::Invalid, "no"));
    hides("a state", &format!("{refused:?}"));
    hides("observers and handlers", &(told.all().join("\n") + &heard.all().join("\n")));
    assert!(told.all().len() > 10, "they were told of all of it: {:?}", told.all());
}
