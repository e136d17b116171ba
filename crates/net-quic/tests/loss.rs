//! A path that loses: throughput as quinn's own endpoints have it over the same relay.

#[path = "rig/relay.rs"]
mod relay;
mod rig;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use net_core::{Address, Scheme, tls::rustls};
use net_quic::{Quic, QuicConfig};
use relay::{Link, Relay};
use rig::{at, authority::Authority, within};
use tokio::task::JoinSet;

const LEN: usize = 1 << 20;
/// How many transfers run at once, of either kind, each with another sequence of losses.
const TRANSFERS: u64 = 24;
/// How many rounds there are at the most: one of 24 tells to within some 3 %, more of them are asked where that is not enough.
const ROUNDS: u64 = 4;

fn link(seed: u64) -> Link {
    // 25 ms in each direction: 50 ms there and back; 1 % of datagrams is lost, 2 % are overtaken.
    Link { seed, loss: 10, delay: Duration::from_millis(25), reorder: 20 }
}

/// Receives `LEN` bytes over our sessions, and returns how long that took.
async fn ours(authority: &Authority, seed: u64) -> (Duration, u64) {
    let quic = Quic::new(QuicConfig::default())
        .with_server_tls(authority.server().build().expect("settings"))
        .with_client_tls(authority.client().build().expect("settings"));
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let relay = Relay::new(rig::socket(sessions.local()), link(seed)).await;
    let to = Address::from_socket(Scheme::Quic, relay.address);
    let (near, far) = tokio::join!(quic.open(&to), sessions.accept());
    let (near, far) = (near.expect("connected"), far.expect("accepted"));
    let start = Instant::now();
    let sending = async {
        let mut tx = near.open_uni().await.expect("a stream");
        tx.write_all(&vec![1; LEN]).await.expect("written");
        tx.end();
        tx
    };
    let receiving = async {
        let mut rx = far.accept_uni().await.expect("a stream");
        assert_eq!(rx.read_to_end(LEN).await.expect("all").len(), LEN);
    };
    let (_tx, ()) = tokio::join!(sending, receiving);
    (start.elapsed(), relay.lost())
}

/// The same by quinn alone, with the same windows.
async fn quinns(authority: &Authority, seed: u64) -> Duration {
    let config = QuicConfig::default();
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(u32::try_from(config.stream_window).expect("small").into())
        .receive_window(u32::try_from(config.connection_window).expect("small").into())
        .send_window(config.send_window as u64);
    let transport = Arc::new(transport);
    let mut tls: rustls::ServerConfig = (*authority.server().build().expect("settings").config()).clone();
    tls.alpn_protocols = vec![b"net".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(transport.clone());
    let local: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let server = quinn::Endpoint::server(server, local).expect("listening");
    let relay = Relay::new(server.local_addr().expect("an address"), link(seed)).await;

    let mut tls: rustls::ClientConfig = (*authority.client().build().expect("settings").config()).clone();
    tls.alpn_protocols = vec![b"net".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    let mut client_config = quinn::ClientConfig::new(Arc::new(crypto));
    client_config.transport_config(transport);
    let mut client = quinn::Endpoint::client(local).expect("a socket");
    client.set_default_client_config(client_config);
    let connecting =
        async { client.connect(relay.address, "localhost").expect("an address").await.expect("connected") };
    let accepting = async { server.accept().await.expect("open").await.expect("accepted") };
    let (near, far) = tokio::join!(connecting, accepting);
    let start = Instant::now();
    let sending = async {
        let mut tx = near.open_uni().await.expect("a stream");
        tx.write_all(&vec![1; LEN]).await.expect("written");
        tx.finish().expect("open");
        tx
    };
    let receiving = async {
        let mut rx = far.accept_uni().await.expect("a stream");
        assert_eq!(rx.read_to_end(LEN).await.expect("all").len(), LEN);
    };
    let (_tx, ()) = tokio::join!(sending, receiving);
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measured_a35_loss_costs_no_more_than_quinn_itself_pays() {
    let authority = Arc::new(Authority::new("loss"));
    let patience = Duration::from_mins(2);
    let mut total = [Duration::ZERO; 2];
    for round in 0..ROUNDS {
        let (mut our_times, mut quinns_times) = (JoinSet::new(), JoinSet::new());
        for seed in 0..TRANSFERS {
            let seed = round * TRANSFERS + seed;
            let (one, other) = (authority.clone(), authority.clone());
            our_times.spawn(async move { within(patience, "our transfer", ours(&one, seed)).await });
            quinns_times
                .spawn(async move { within(patience, "quinn's transfer", quinns(&other, seed)).await });
        }
        let (times, lost): (Vec<_>, Vec<_>) = our_times.join_all().await.into_iter().unzip();
        let lost: u64 = lost.iter().sum();
        assert!(lost > 50, "{lost} datagrams lost are no loss");
        total[0] += times.iter().sum::<Duration>();
        total[1] += quinns_times.join_all().await.iter().sum::<Duration>();
        println!("round {round}: ours {:?}, quinn's {:?}, {lost} lost", total[0], total[1]);
        if total[0] <= total[1].mul_f64(1.05) {
            return;
        }
    }
    panic!("ours {:?}, quinn's {:?}", total[0], total[1]);
}
