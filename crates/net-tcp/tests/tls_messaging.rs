//! The engine over TLS: servers, clients and handlers are what they are over any transport.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
#[path = "../../net-messaging/tests/over_tls/mod.rs"]
mod over_tls;

use authority::{Authority, WithPair};
use net_core::tls::Pem;
use net_tcp::Tcp;

#[tokio::test]
async fn m12_messaging_over_tcps_is_unchanged_and_knows_the_client() {
    let authority = Authority::new("messaging");
    let server = authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings");
    let client = authority.client().pair(&authority.leaf(&["alice.test"])).build().expect("settings");
    over_tls::messaging_is_unchanged_and_knows_the_client(
        Tcp::default().with_server_tls(server),
        Tcp::default().with_client_tls(client),
        "tcps://127.0.0.1:0",
    )
    .await;
}
