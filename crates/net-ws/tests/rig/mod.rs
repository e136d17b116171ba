//! What several tests of this crate begin with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod gate;
pub(crate) mod proxy;
pub(crate) mod raw;

#[path = "../../../net-core/tests/rig/mod.rs"]
mod any;
#[cfg(feature = "tls")]
#[path = "../../../net-core/tests/tls/authority.rs"]
pub(crate) mod authority;

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use any::{Seen, at, echo, socket, soon, waits_are_told, watched, within};
use net_core::{Connection, Listener, Transport};
use net_ws::{Ws, WsReceiver, WsSender};

pub(crate) type WsConnection = Connection<WsSender, WsReceiver>;

/// Returns the two ends of a connection: of who connected, and of who accepted.
pub(crate) async fn pair(client: &Ws, server: &Ws) -> (WsConnection, WsConnection) {
    let mut listener = server.listen(&at("ws://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    let (near, far) = tokio::join!(client.connect(&to), listener.accept());
    (near.expect("connecting"), far.expect("a connection"))
}
