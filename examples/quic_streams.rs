//! Requests over QUIC, each on a stream of its own: none waits for another one, and what has arrived whole costs no task.
//!
//! ```sh
//! cargo run -p net-examples --example quic_streams
//! ```
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

use std::{error::Error as StdError, time::Duration};

use net_core::tls::{ClientTls, Pem, ServerTls};
use net_quic::{Quic, QuicSession, RecvStream, SendStream};

/// Answers one request, the bytes of a stream up to its end.
async fn answer(mut tx: SendStream, mut rx: RecvStream) {
    let Ok(name) = rx.read_to_end(1024).await else { return tx.reset(1) };
    let greeting = format!("hello, {}", String::from_utf8_lossy(&name));
    // A client that reads no more is no failure of ours. The stream ends as it is dropped.
    let _ = tx.write_all(greeting.as_bytes()).await;
}

async fn ask(session: &QuicSession, name: &str) -> net_core::Result<Vec<u8>> {
    let (mut tx, mut rx) = session.open_bi().await?;
    tx.write_all(name.as_bytes()).await?;
    tx.end();
    rx.read_to_end(64 * 1024).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let quic = Quic::default()
        .with_client_tls(ClientTls::builder().ca(Pem::bytes(chain.clone())).server_name("localhost").build()?)
        .with_server_tls(ServerTls::builder().certificate(Pem::bytes(chain), Pem::bytes(key)).build()?);
    let mut sessions = quic.listen_sessions(&"quic://127.0.0.1:0".parse()?).await?;
    let to = sessions.local().clone();
    tokio::spawn(async move {
        while let Ok(incoming) = sessions.incoming().await {
            tokio::spawn(async move { Some(incoming.run(|session| session).await?.serve_bi(answer).await) });
        }
    });

    let session = quic.open(&to).await?;
    let (ann, bob) = tokio::join!(ask(&session, "Ann"), ask(&session, "Bob"));
    for greeting in [ann?, bob?] {
        println!("{}", String::from_utf8(greeting)?);
    }
    session.finish_and_wait(Duration::from_secs(5)).await?;
    Ok(())
}
