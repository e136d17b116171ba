//! Our server of `bench quic`: sessions of net-quic on one thread; bytes come back on bidirectional streams.
//!
//! One argument, if any: to serve each stream in a task of its own, as servers on quinn do.

use net_benches::peer;
use net_benches::quic::settings::{self, Failure};
use net_core::Incoming;
use net_quic::{Quic, QuicSession, RecvStream, SendStream};

fn main() -> Result<(), Failure> {
    peer::leave_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let quic = Quic::new(settings::ours()?).with_server_tls(settings::server_tls()?);
    let mut sessions = quic.listen_sessions(&"quic://127.0.0.1:0".parse()?).await?;
    peer::announce(sessions.local().socket().ok_or("no address")?)?;
    let task_each = std::env::args().nth(1).is_some_and(|argument| argument == settings::TASK_EACH);
    loop {
        let incoming = sessions.incoming().await?;
        if task_each {
            tokio::spawn(serve_in_tasks(incoming));
        } else {
            tokio::spawn(serve_at_once(incoming));
        }
    }
}

async fn serve_at_once(incoming: Incoming<QuicSession>) {
    let Some(session) = incoming.run(|session| session).await else { return };
    tokio::join!(session.serve_bi(echo), session.serve_uni(drop_all));
}

async fn serve_in_tasks(incoming: Incoming<QuicSession>) {
    let Some(session) = incoming.run(|session| session).await else { return };
    tokio::spawn(drop_in_tasks(session.clone()));
    echo_in_tasks(session).await;
}

async fn echo_in_tasks(session: QuicSession) {
    while let Ok((tx, rx)) = session.accept_bi().await {
        tokio::spawn(echo(tx, rx));
    }
}

async fn drop_in_tasks(session: QuicSession) {
    while let Ok(rx) = session.accept_uni().await {
        tokio::spawn(drop_all(rx));
    }
}

async fn echo(mut tx: SendStream, mut rx: RecvStream) {
    while let Ok(Some(chunk)) = rx.read_chunk(usize::MAX).await {
        if tx.write_chunk(chunk).await.is_err() {
            return;
        }
    }
}

async fn drop_all(mut rx: RecvStream) {
    while let Ok(Some(_)) = rx.read_chunk(usize::MAX).await {}
}
