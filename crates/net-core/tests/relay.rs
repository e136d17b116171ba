//! The relay of UDP: what it loses follows from its seed, and it is one client's.

mod rig;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use net_core::testing::{Faults, Relay, RelayConfig};
use rig::soon;
use tokio::{net::UdpSocket, time::Instant};

async fn bound() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a socket")
}

async fn relay(server: &UdpSocket, config: RelayConfig) -> Relay {
    Relay::new(server.local_addr().expect("an address"), config).await.expect("a socket")
}

async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 2000];
    let (len, from) = soon("a datagram", socket.recv_from(&mut buffer)).await.expect("received");
    buffer.truncate(len);
    (buffer, from)
}

/// Returns which of 200 datagrams arrive.
async fn survivors(seed: u64) -> BTreeSet<u8> {
    let (client, server) = (bound().await, bound().await);
    let faults = Faults { loss: 0.2, ..Faults::default() };
    let relay = relay(&server, RelayConfig { seed, there: faults, ..RelayConfig::default() }).await;
    for number in 0..200 {
        client.send_to(&[number], relay.address()).await.expect("sent");
    }
    soon("all of them", async {
        while relay.carried() + relay.lost() < 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut arrived = BTreeSet::new();
    while (arrived.len() as u64) < relay.carried() {
        arrived.extend(received(&server).await.0);
    }
    assert!((10..80).contains(&relay.lost()), "{} of 200 at a chance of a fifth", relay.lost());
    arrived
}

#[tokio::test]
async fn a35_what_is_lost_follows_from_the_seed() {
    let first = survivors(1).await;
    assert_eq!(first, survivors(1).await);
    assert_ne!(first, survivors(2).await);
}

#[tokio::test]
async fn a35_a_datagram_takes_its_time_there_and_back() {
    let (client, server) = (bound().await, bound().await);
    let delay = Duration::from_millis(20);
    let relay = relay(&server, RelayConfig::both(0, Faults { delay, ..Faults::default() })).await;
    let start = Instant::now();
    client.send_to(b"there", relay.address()).await.expect("sent");
    let (bytes, seen_as) = received(&server).await;
    assert_eq!(bytes, b"there");
    server.send_to(b"back", seen_as).await.expect("sent");
    assert_eq!(received(&client).await, (b"back".to_vec(), relay.address()));
    assert!(start.elapsed() >= 2 * delay);
    soon("both", relay.until_carried(2)).await;
    assert_eq!((relay.carried(), relay.lost()), (2, 0));
}

#[tokio::test]
async fn the_client_moves_and_what_it_sends_is_kept() {
    let (client, server) = (bound().await, bound().await);
    let relay = relay(&server, RelayConfig::default()).await;
    client.send_to(b"one", relay.address()).await.expect("sent");
    let (_, before) = received(&server).await;
    relay.hop();
    relay.record();
    client.send_to(b"two", relay.address()).await.expect("sent");
    let (bytes, after) = received(&server).await;
    assert_eq!(bytes, b"two");
    assert_ne!(before, after);
    server.send_to(b"found", after).await.expect("sent");
    assert_eq!(received(&client).await.0, b"found");
    assert_eq!(relay.recorded(), [b"two"]);
}

#[tokio::test]
async fn nobody_but_the_first_client_is_carried() {
    let (client, other, server) = (bound().await, bound().await, bound().await);
    let relay = relay(&server, RelayConfig::default()).await;
    client.send_to(b"first", relay.address()).await.expect("sent");
    received(&server).await;
    other.send_to(b"other", relay.address()).await.expect("sent");
    client.send_to(b"second", relay.address()).await.expect("sent");
    assert_eq!(received(&server).await.0, b"second");
    assert_eq!(relay.carried(), 2);
}

#[tokio::test]
async fn every_eighth_datagram_is_forged() {
    let (client, server) = (bound().await, bound().await);
    let relay = relay(&server, RelayConfig::default()).await;
    relay.forge(true);
    let mut senders = BTreeSet::new();
    for number in 0..8 {
        client.send_to(&[number], relay.address()).await.expect("sent");
        senders.insert(received(&server).await.1);
    }
    // The forged one is ahead of the client's own.
    let (bytes, own) = received(&server).await;
    assert_eq!((bytes, senders.len()), (vec![7], 2));
    let forger = senders.into_iter().find(|sender| *sender != own).expect("another");
    server.send_to(b"answer", forger).await.expect("sent");
    soon("the answer", async {
        while relay.forged() != (1, 6) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
