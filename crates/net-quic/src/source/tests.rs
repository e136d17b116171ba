//! What only a clock that can be set shows, and clients that are counted: those on loopback are not.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use net_core::{Acceptor, Admission, Limits, frame::LengthPrefix};
use tokio::{net, time::timeout};

use super::*;
use crate::{Quic, authority, setup::UNCHANGED};

/// How long what a server asks a client to show is good for.
const LIFETIME: Duration = Duration::from_secs(15);

/// A clock that stands still unless it is set.
struct Clock(Mutex<SystemTime>);

impl quinn::TimeSource for Clock {
    fn now(&self) -> SystemTime {
        *self.0.lock().expect("no panic")
    }
}

/// Connects to a server that has each client show its address, which the client does after `pause`.
async fn connect_after(pause: Duration) -> Result<()> {
    let authority = authority::Authority::new("lifetime");
    let config = QuicConfig { retry_threshold: 0, ..QuicConfig::default() };
    let tls = authority.server().build().expect("settings");
    let at: Address = "quic://127.0.0.1:0".parse().expect("an address");
    let sources = bind(&at, 1, &Arc::new(config.clone()), Some(&tls), Purpose::Streams, UNCHANGED).await;
    let mut source = sources.expect("listening").pop().expect("one");
    // A token tells whole seconds.
    let began = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
    let clock = Arc::new(Clock(Mutex::new(began)));
    Arc::get_mut(&mut source.server).expect("it is alone").quinn.time_source(clock.clone());
    let local = source.local().clone();
    let mut acceptor = Acceptor::new(source, local.clone());
    tokio::spawn(async move { while poll_fn(|cx| acceptor.poll_accept(cx)).await.is_ok() {} });

    let client_side = net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let server_side = net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    server_side.connect(local.socket().expect("an address")).await.expect("connected");
    let to = address(client_side.local_addr().expect("an address"));
    let carrying = async {
        let (mut there, mut back) = (vec![0; 2000], vec![0; 2000]);
        let mut client = None;
        loop {
            tokio::select! {
                came = client_side.recv_from(&mut there) => {
                    let (len, from) = came.expect("received");
                    client = Some(from);
                    let _ = server_side.send(there.get(..len).expect("within")).await;
                }
                came = server_side.recv(&mut back) => {
                    let packet = back.get(..came.expect("received")).expect("within");
                    // RFC 9000 §17.2.5: a Retry. What it asks for comes later.
                    if packet.first().is_some_and(|first| first & 0xf0 == 0xf0) {
                        *clock.0.lock().expect("no panic") = began + pause;
                    }
                    let _ = client_side.send_to(packet, client.expect("it was asked")).await;
                }
            }
        }
    };
    let quic = Quic::with_framing(config, LengthPrefix::default())
        .with_client_tls(authority.client().build().expect("settings"));
    let connected = async {
        tokio::select! {
            connected = quic.open(&to) => connected.map(drop),
            () = carrying => Ok(()),
        }
    };
    timeout(Duration::from_secs(10), connected).await.expect("an end")
}

#[tokio::test]
async fn a20_a_token_that_shows_an_address_is_good_for_15_seconds() {
    connect_after(LIFETIME).await.expect("it is good yet");
    let error = connect_after(LIFETIME + Duration::from_secs(1)).await.expect_err("it is good no more");
    assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.report());
}

/// Takes all clients for those of one address, which is elsewhere.
struct OfOneAddress(Source<Shared>);

impl Accept for OfOneAddress {
    type Socket = quinn::Incoming;
    type Output = Shared;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(quinn::Incoming, Address)>> {
        let elsewhere = address(([192, 0, 2, 1], 7).into());
        self.0.poll_accept(cx).map_ok(|(incoming, _)| (incoming, elsewhere))
    }

    fn handshake(&self, incoming: quinn::Incoming, peer: Address, permit: Permit) -> Handshake<Shared> {
        self.0.handshake(incoming, peer, permit)
    }
}

#[tokio::test]
async fn a2_a_client_over_its_share_of_handshakes_is_refused_and_costs_none() {
    const NEVER_READY: Prepare<Shared> = |shared| {
        Box::pin(async move {
            let _held = shared;
            std::future::pending().await
        })
    };
    let authority = authority::Authority::new("share");
    let tls = authority.server().build().expect("settings");
    let at: Address = "quic://127.0.0.1:0".parse().expect("an address");
    let config = Arc::<QuicConfig>::default();
    let sources = bind(&at, 1, &config, Some(&tls), Purpose::Streams, NEVER_READY).await;
    let source = sources.expect("listening").pop().expect("one");
    let to = source.local().clone();
    let mut acceptor = Acceptor::new(OfOneAddress(source), to.clone());
    // One address may have a quarter of them.
    let limits = Limits { max_handshakes: 4, ..Limits::default() };
    let admission = Arc::new(Admission::new(limits, None));
    acceptor.set_admission(admission.clone());
    tokio::spawn(async move { while poll_fn(|cx| acceptor.poll_accept(cx)).await.is_ok() {} });
    let quic = Quic::default().with_client_tls(authority.client().build().expect("settings"));
    let open = async || timeout(Duration::from_secs(10), quic.open(&to)).await.expect("an end");
    let _first = open().await.expect("connected");
    let error = open().await.expect_err("one is its share");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", error.report());
    assert_eq!(admission.active(), 1);
}
