//! Our server of `bench quic`: sessions of net-quic on one thread; bytes come back on bidirectional streams.

use net_benches::peer;
use net_benches::quic::settings::{self, Failure};
use net_quic::{Quic, QuicSession};

fn main() -> Result<(), Failure> {
    peer::leave_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let quic = Quic::new(settings::ours()?).with_server_tls(settings::server_tls()?);
    let mut sessions = quic.listen_sessions(&"quic://127.0.0.1:0".parse()?).await?;
    peer::announce(sessions.local().socket().ok_or("no address")?)?;
    loop {
        let session = sessions.accept().await?;
        tokio::spawn(drop_all(session.clone()));
        tokio::spawn(echo_all(session));
    }
}

async fn echo_all(session: QuicSession) {
    while let Ok((mut tx, mut rx)) = session.accept_bi().await {
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = rx.read_chunk(usize::MAX).await {
                if tx.write_chunk(chunk).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn drop_all(session: QuicSession) {
    while let Ok(mut rx) = session.accept_uni().await {
        tokio::spawn(async move { while let Ok(Some(_)) = rx.read_chunk(usize::MAX).await {} });
    }
}
