//! Packets that somebody forges between a client and its server, and tokens that come twice: row A20.

mod rig;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use net_core::{
    Address, ErrorKind, Limits, Listener, Scheme, Transport,
    frame::LengthPrefix,
    tls::rustls::{
        ServerConfig, crypto::aws_lc_rs::default_provider, server::ResolvesServerCertUsingSni, version::TLS13,
    },
};
use net_quic::{Quic, QuicConfig};
use quinn_proto::{
    ConnectionId,
    crypto::{ServerConfig as _, rustls::QuicServerConfig},
};
use rig::{Seen, at, echo, other_version, quic, quic_with, socket, soon, versions_for, watched};
use tokio::net::UdpSocket;

/// A version that nobody speaks.
const OTHER: [u8; 4] = [0xba, 0xba, 0xba, 0xba];
const ONE: [u8; 4] = [0, 0, 0, 1];

/// Who stands between a client and a server, sees all and can send to the client in the server's name.
struct Middle {
    client_side: UdpSocket,
    server_side: UdpSocket,
    /// What the client has sent first, and from where.
    first: Vec<u8>,
    client: SocketAddr,
}

/// The identifiers of a client's first packet (RFC 9000 §17.2).
struct Ids {
    destination: Vec<u8>,
    source: Vec<u8>,
}

impl Ids {
    fn of(packet: &[u8]) -> Self {
        let (len, rest) = packet.get(5..).and_then(<[u8]>::split_first).expect("a long header");
        let (destination, rest) = rest.split_at(usize::from(*len));
        let (len, rest) = rest.split_first().expect("a long header");
        Self {
            destination: destination.to_vec(),
            source: rest.iter().take(usize::from(*len)).copied().collect(),
        }
    }

    fn header(first: u8, version: [u8; 4], destination: &[u8], source: &[u8]) -> Vec<u8> {
        let len = |id: &[u8]| u8::try_from(id.len()).expect("20 at the most");
        [&[first], &version[..], &[len(destination)], destination, &[len(source)], source].concat()
    }

    /// Returns a packet that tells the client's first one of a server that speaks `versions` alone (RFC 9000 §17.2.1).
    fn versions(&self, versions: &[[u8; 4]]) -> Vec<u8> {
        [Self::header(0x80, [0; 4], &self.source, &self.destination), versions.concat()].concat()
    }

    /// Returns a packet that asks the client to try again with `token` (RFC 9000 §17.2.5), and its tag, which whoever has
    /// seen the first packet can compute.
    fn retry(&self, token: &[u8]) -> Vec<u8> {
        let packet = [Self::header(0xf0, ONE, &self.source, b"elsewhere"), token.to_vec()].concat();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("it speaks TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        let tags = QuicServerConfig::try_from(config).expect("it has the first suite");
        let tag = tags.retry_tag(1, &ConnectionId::new(&self.destination), &packet);
        [packet, tag.to_vec()].concat()
    }

    /// Returns the same, for a connection that there is not.
    fn of_another(&self) -> Self {
        Self { destination: self.destination.clone(), source: vec![7; self.source.len()] }
    }
}

impl Middle {
    /// Stands between `server` and a client, whose first packet it waits for; returns itself and where the client connects to.
    async fn before(server: &Address) -> (Self, Address) {
        let client_side = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let server_side = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        server_side.connect(socket(server)).await.expect("connected");
        let to = Address::from_socket(Scheme::Quic, client_side.local_addr().expect("an address"));
        let client = socket(&to);
        (Self { client_side, server_side, first: Vec::new(), client }, to)
    }

    async fn first(&mut self) -> Ids {
        let mut datagram = vec![0; 2000];
        let received = soon("a first packet", self.client_side.recv_from(&mut datagram)).await;
        let (len, client) = received.expect("received");
        datagram.truncate(len);
        (self.first, self.client) = (datagram, client);
        Ids::of(&self.first)
    }

    async fn forge(&self, packet: &[u8]) {
        self.client_side.send_to(packet, self.client).await.expect("sent");
    }

    /// Lets the first packet go on to the server, and its answer back.
    async fn answer(&self) {
        self.server_side.send(&self.first).await.expect("sent");
        self.carry(1).await;
    }

    /// Carries what is sent, until so many datagrams of the server have been.
    async fn carry(&self, mut count: usize) {
        let (mut there, mut back) = (vec![0; 2000], vec![0; 2000]);
        while count > 0 {
            // What is refused is lost.
            tokio::select! {
                came = self.client_side.recv(&mut there) => {
                    let packet = there.get(..came.expect("received")).expect("within");
                    let _ = self.server_side.send(packet).await;
                }
                came = self.server_side.recv(&mut back) => {
                    let packet = back.get(..came.expect("received")).expect("within");
                    let _ = self.client_side.send_to(packet, self.client).await;
                    count -= 1;
                }
            }
        }
    }
}

/// Connects to a server through somebody who does `forging`, and then carries what is sent.
async fn connect_through(forging: impl AsyncFnOnce(&mut Middle)) -> Result<(), net_core::Error> {
    let quic = quic();
    let listener = quic.listen(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (mut middle, to) = Middle::before(listener.local()).await;
    echo(listener);
    let talking = async {
        let mut near = quic.connect(&to).await?;
        near.send("hello").await?;
        assert!(near.recv().await?.is_some());
        Ok(())
    };
    let between = async {
        forging(&mut middle).await;
        middle.carry(usize::MAX).await;
    };
    soon("an end", async {
        tokio::select! {
            talked = talking => talked,
            () = between => unreachable!("it carries for ever"),
        }
    })
    .await
}

#[tokio::test]
async fn a20_a_forged_version_negotiation_ends_no_attempt_that_was_answered() {
    let forging = async |middle: &mut Middle| {
        let ids = middle.first().await;
        // Of another connection, and one that has the version: neither says anything.
        middle.forge(&ids.of_another().versions(&[OTHER])).await;
        middle.forge(&ids.versions(&[OTHER, ONE])).await;
        middle.answer().await;
        // Once the server has answered, it speaks the version.
        middle.forge(&ids.versions(&[OTHER])).await;
    };
    connect_through(forging).await.expect("served");
}

/// Whoever sees the first packet can say that the server speaks no version that the client does: RFC 9000 has nothing to
/// tell it from the truth. The attempt ends at once, with that reason, and no other version is spoken instead.
#[tokio::test]
async fn a20_who_sees_the_first_packet_can_end_the_attempt_and_no_more() {
    let forging = async |middle: &mut Middle| {
        let ids = middle.first().await;
        middle.forge(&ids.versions(&[OTHER])).await;
    };
    let error = connect_through(forging).await.expect_err("no version in common, it believes");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
}

#[tokio::test]
async fn a20_forged_retries_that_say_nothing_are_ignored() {
    let forging = async |middle: &mut Middle| {
        let ids = middle.first().await;
        middle.forge(&ids.of_another().retry(b"a token")).await;
        let mut wrong = ids.retry(b"a token");
        *wrong.last_mut().expect("a tag") ^= 1;
        middle.forge(&wrong).await;
        middle.answer().await;
        // Once the server has answered, it asks for nothing.
        middle.forge(&ids.retry(b"a token")).await;
    };
    connect_through(forging).await.expect("served");
}

/// What the handshake authenticates tells who asked for a token (RFC 9000 §7.3).
#[tokio::test]
async fn a20_a_retry_that_the_server_did_not_send_is_found_out() {
    let forging = async |middle: &mut Middle| {
        let ids = middle.first().await;
        middle.forge(&ids.retry(b"a token")).await;
    };
    let error = connect_through(forging).await.expect_err("it was another who asked");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{}", error.report());
}

/// Returns what a client of `quic` sends first, to whom it believes to be the server.
async fn first_packet(quic: &Quic) -> Vec<u8> {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let to = Address::from_socket(Scheme::Quic, nobody.local_addr().expect("an address"));
    let mut packet = vec![0; 2000];
    let len = soon("a first packet", async {
        tokio::select! {
            received = nobody.recv(&mut packet) => received.expect("received"),
            _ = quic.open(&to) => unreachable!("nobody answers"),
        }
    })
    .await;
    packet.truncate(len);
    packet
}

/// Sends `packet`, again and again, until a packet of version 1 comes back, and returns whether that is a Retry.
async fn is_asked_to_retry(server: SocketAddr, packet: &[u8]) -> bool {
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut answer = vec![0; 2000];
    loop {
        client.send_to(packet, server).await.expect("sent");
        // This is answered in any case, and behind the packet.
        client.send_to(&other_version(0, 1200), server).await.expect("sent");
        loop {
            let len = soon("an answer", client.recv(&mut answer)).await.expect("received");
            let answer = answer.get(..len).expect("within");
            if versions_for(answer).is_some() {
                break;
            }
            if let Some((first, rest)) = answer.split_first()
                && first & 0x80 != 0
                && rest.starts_with(&ONE)
            {
                return first & 0xf0 == 0xf0;
            }
        }
    }
}

#[tokio::test]
async fn a20_a_token_for_later_is_good_once() {
    let config = QuicConfig { retry_threshold: 0, ..QuicConfig::default() };
    let quic = quic_with(config, LengthPrefix::default());
    let mut sessions = quic.listen_sessions(&at("quic://127.0.0.1:0")).await.expect("listening");
    let (server, to) = (socket(sessions.local()), sessions.local().clone());
    let limits = Limits { handshake_timeout: Duration::from_secs(1), ..Limits::default() };
    let (admission, mut told) = watched(&limits);
    sessions.set_admission(admission);
    let (near, far) = soon("a session", async { tokio::join!(quic.open(&to), sessions.accept()) }).await;
    let (near, far) = (near.expect("connected"), far.expect("accepted"));
    // Behind the tokens, so that they have arrived when this has.
    far.open_uni().await.expect("a stream").finish().await.expect("acknowledged");
    near.close(0, "");
    tokio::spawn(async move { while sessions.accept().await.is_ok() {} });

    let packet = first_packet(&quic).await;
    assert!(!soon("an answer", is_asked_to_retry(server, &packet)).await, "it has a token of this server");
    // Its handshake ends, and some time later the server has forgotten it.
    assert_eq!(soon("the deadline", told.recv()).await, Some(Seen::HandshakeFailed(ErrorKind::TimedOut)));
    let again = soon("an answer to the same", is_asked_to_retry(server, &packet)).await;
    assert!(again, "the token was good once");
}
