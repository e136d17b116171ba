//! The engine over TLS: servers, clients and handlers are what they are over any transport.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;

use authority::{Authority, WithPair};
use net_core::tls::{Pem, TlsInfo};
use net_messaging::{Client, Server};
use net_tcp::Tcp;

#[tokio::test]
async fn m12_messaging_over_tcps_is_unchanged_and_knows_the_client() {
    let authority = Authority::new("messaging");
    let server = authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings");
    let client = authority.client().pair(&authority.leaf(&["alice.test"])).build().expect("settings");

    let server = Server::builder(Tcp::default().with_server_tls(server))
        .on_message(|session, message| {
            let info = session.info().details::<TlsInfo>().expect("TLS");
            let who = info.peer.as_ref().and_then(|peer| peer.dns_names().next()).expect("a name").to_owned();
            async move {
                let text = String::from_utf8_lossy(message.payload()).into_owned();
                Ok(message.reply(format!("{who}: {text}")))
            }
        })
        .listen("tcps://127.0.0.1:0")
        .await
        .expect("listening");
    let client = Client::builder(Tcp::default().with_client_tls(client)).connect(server.local()).await;
    let client = client.expect("connected");
    for number in 0..1000 {
        let answer = client.request(number.to_string()).await.expect("an answer");
        assert_eq!(answer.payload(), format!("alice.test: {number}").as_bytes());
    }
    let large = client.request("x".repeat(900_000)).await.expect("an answer");
    assert_eq!(large.payload().len(), 900_012);
}
