//! s2n-quic on one thread, with rustls below it, as its users write an echo server.
//!
//! One argument: what its socket receives into, in bytes.

use std::net::SocketAddr;
use std::time::Duration;

use net_benches::peer;
use net_benches::quic::settings::{self, Failure};
use s2n_quic::provider::{io::Default as Io, limits::Limits, tls::rustls};
use s2n_quic::stream::{BidirectionalStream, ReceiveStream};

fn main() -> Result<(), Failure> {
    peer::leave_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let (chain, key) = settings::certificate()?;
    let tls = rustls::Server::builder()
        .with_certificate(chain, key)?
        .with_application_protocols([settings::PROTOCOL].into_iter())?
        .build()?;
    let limits = Limits::new()
        .with_data_window(settings::CONNECTION_WINDOW.into())?
        .with_bidirectional_remote_data_window(settings::STREAM_WINDOW.into())?
        .with_unidirectional_data_window(settings::STREAM_WINDOW.into())?
        .with_max_open_remote_bidirectional_streams(settings::MAX_STREAMS.into())?
        .with_max_open_remote_unidirectional_streams(settings::MAX_STREAMS.into())?
        .with_max_idle_timeout(Duration::from_mins(1))?;
    let recv_buffer = std::env::args().nth(1).ok_or("a receive buffer, in bytes")?.parse()?;
    let io = Io::builder()
        .with_receive_address(SocketAddr::from(([127, 0, 0, 1], 0)))?
        .with_recv_buffer_size(recv_buffer)?
        .build()?;
    let mut server = s2n_quic::Server::builder().with_tls(tls)?.with_io(io)?.with_limits(limits)?.start()?;
    peer::announce(server.local_addr()?)?;
    while let Some(connection) = server.accept().await {
        let (_, streams) = connection.split();
        tokio::spawn(async move {
            let (mut both, mut one) = streams.split();
            tokio::spawn(async move {
                while let Ok(Some(stream)) = one.accept_receive_stream().await {
                    tokio::spawn(drop_all(stream));
                }
            });
            while let Ok(Some(stream)) = both.accept_bidirectional_stream().await {
                tokio::spawn(echo(stream));
            }
        });
    }
    Ok(())
}

async fn echo(stream: BidirectionalStream) {
    let (mut rx, mut tx) = stream.split();
    while let Ok(Some(chunk)) = rx.receive().await {
        if tx.send(chunk).await.is_err() {
            return;
        }
    }
}

async fn drop_all(mut stream: ReceiveStream) {
    while let Ok(Some(_)) = stream.receive().await {}
}
