//! The engine over a transport with TLS, for the tests of such transports: it is unchanged, and handlers know the client.

use net_core::{Transport, tls::TlsInfo};
use net_messaging::{Client, Server};

/// Serves at `at` who shows a certificate for `alice.test`, as `client` does.
pub(crate) async fn messaging_is_unchanged_and_knows_the_client<T: Transport>(
    server: T,
    client: T,
    at: &str,
) {
    let server = Server::builder(server)
        .on_message(|session, message| {
            let info = session.info().details::<TlsInfo>().expect("TLS");
            let who = info.peer.as_ref().and_then(|peer| peer.dns_names().next()).expect("a name").to_owned();
            async move {
                let text = String::from_utf8_lossy(message.payload()).into_owned();
                Ok(message.reply(format!("{who}: {text}")))
            }
        })
        .listen(at)
        .await
        .expect("listening");
    let client = Client::builder(client).connect(server.local()).await.expect("connected");
    for number in 0..1000 {
        let answer = client.request(number.to_string()).await.expect("an answer");
        assert_eq!(answer.payload(), format!("alice.test: {number}").as_bytes());
    }
    let large = client.request("x".repeat(900_000)).await.expect("an answer");
    assert_eq!(large.payload().len(), 900_012);
}
