//! Bare quinn on one thread, as its users write an echo server; what `bench quic` holds ours against.
//!
//! One argument, if any: what its socket receives into, in bytes, instead of what the system gives.

use std::sync::Arc;

use net_benches::peer;
use net_benches::quic::settings::{self, Failure};

fn main() -> Result<(), Failure> {
    peer::leave_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let tls = settings::server_tls()?.with_alpn([settings::PROTOCOL]).config();
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(settings::transport()).max_incoming(1024);
    let recv_buffer = std::env::args().nth(1).map(|len| len.parse()).transpose()?;
    let socket = peer::datagram_socket(recv_buffer)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket, runtime)?;
    peer::announce(endpoint.local_addr()?)?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            tokio::spawn(drop_all(connection.clone()));
            echo_all(connection).await;
        });
    }
    Ok(())
}

async fn echo_all(connection: quinn::Connection) {
    while let Ok((mut tx, mut rx)) = connection.accept_bi().await {
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = rx.read_chunk(usize::MAX, true).await {
                if tx.write_chunk(chunk.bytes).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn drop_all(connection: quinn::Connection) {
    while let Ok(mut rx) = connection.accept_uni().await {
        tokio::spawn(async move { while let Ok(Some(_)) = rx.read_chunk(usize::MAX, true).await {} });
    }
}
