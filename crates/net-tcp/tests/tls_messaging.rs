//! The engine over TLS: servers, clients and handlers are what they are over any transport.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
#[path = "../../net-messaging/tests/over_tls/mod.rs"]
mod over_tls;

mod rig;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use authority::{Authority, WithPair};
use net_core::{
    Address, ApiKey, Credentials, Error, ErrorKind, Info, Limits, Observer,
    tls::{ClientCertificates, ClientTls, Pem, TlsInfo},
};
use net_messaging::{Authenticator, Client, Identity, Proof, Refusal, Server, ServerConfig, Session};
use net_tcp::Tcp;
use rig::soon;
use tokio::{io::AsyncReadExt, net::TcpStream};

#[tokio::test]
async fn m12_messaging_over_tcps_is_unchanged_and_knows_the_client() {
    let authority = Authority::new("messaging");
    let server = authority.server().client_ca(Pem::bytes(authority.pem.clone())).build().expect("settings");
    let client = authority.client().pair(&authority.leaf(&["alice.test"])).build().expect("settings");
    over_tls::messaging_is_unchanged_and_knows_the_client(
        Tcp::default().with_server_tls(server),
        Tcp::default().with_client_tls(client),
        "tcps://127.0.0.1:0",
    )
    .await;
}

/// Takes the first name of a client's certificate, and from who shows none a token.
#[derive(Debug)]
struct CertificateOrToken;

impl Authenticator for CertificateOrToken {
    async fn authenticate(&self, _: &Session, credentials: Credentials) -> Result<Identity, Refusal> {
        if credentials.api_key().matches(&ApiKey::from("s3cret")) {
            Ok(Identity::new("bob"))
        } else {
            Err(Refusal::unauthenticated("unknown token"))
        }
    }

    fn identify(&self, info: &Info) -> Option<Identity> {
        let peer = info.details::<TlsInfo>()?.peer.as_ref()?;
        peer.dns_names().next().map(Identity::new)
    }
}

#[tokio::test]
async fn m13_a_certificate_and_a_token_meet_in_the_identity_of_the_session() {
    let authority = Authority::new("identity");
    let asks = authority
        .server()
        .client_ca(Pem::bytes(authority.pem.clone()))
        .client_certificates(ClientCertificates::Optional);
    let server = Server::builder(Tcp::default().with_server_tls(asks.build().expect("settings")))
        .authenticator(CertificateOrToken)
        .on_message(|session, message| {
            let identity = session.identity().expect("no handler sees anybody else");
            let answer = format!("{} by {:?}", identity.name(), identity.proof());
            async move { Ok(message.reply(answer)) }
        })
        .listen("tcps://127.0.0.1:0")
        .await
        .expect("listening");
    let client = |tls: ClientTls| Client::builder(Tcp::default().with_client_tls(tls));
    let with_pair = authority.client().pair(&authority.leaf(&["alice.test"])).build().expect("settings");
    let without = authority.client().build().expect("settings");
    let ask = async |client: Client| client.request("who am I?").await.expect("an answer").into_payload();

    let by_certificate = client(with_pair.clone()).connect(server.local()).await.expect("is let in");
    assert_eq!(ask(by_certificate).await, format!("alice.test by {:?}", Proof::Transport));
    let by_token = client(without.clone()).authenticate(Credentials::new("s3cret"));
    let by_token = by_token.connect(server.local()).await.expect("is let in");
    assert_eq!(ask(by_token).await, format!("bob by {:?}", Proof::Credentials));
    let by_both = client(with_pair).authenticate(Credentials::new("s3cret"));
    let by_both = by_both.connect(server.local()).await.expect("is let in");
    assert_eq!(ask(by_both).await, format!("alice.test by {:?}", Proof::Transport));
    let by_guess = client(without).authenticate(Credentials::new("guess")).connect(server.local()).await;
    assert_eq!(by_guess.expect_err("is turned away").kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a36_a_drain_cuts_the_handshakes_that_are_left_and_counts_them() {
    let authority = Authority::new("drained");
    let server = authority.server().build().expect("settings");
    let server = Server::builder(Tcp::default().with_server_tls(server))
        .on_message(|_, message| async move { Ok(message.into_reply()) })
        .listen("tcps://127.0.0.1:0")
        .await
        .expect("listens");
    let to = server.local().socket().expect("an IP address");
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(to).await.expect("connects"));
    }
    soon("all three in their handshake", async {
        while server.connections() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let report = soon("the drain", server.drain(Duration::ZERO..=Duration::from_millis(50))).await;
    assert_eq!((report.active, report.cut, report.handshakes_cut), (0, 0, 3));
    for mut peer in silent {
        match soon("the end", peer.read(&mut [0; 1])).await {
            Ok(read) => assert_eq!(read, 0, "it has said nothing, so nothing is answered"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(server.connections(), 0);
}

/// Counts what it is told of.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    failed: AtomicUsize,
    late: AtomicUsize,
    opened: AtomicUsize,
    closed: AtomicUsize,
}

impl Observer for Counts {
    fn accepted(&self, _: &Address) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    fn handshake_failed(&self, _: &Address, error: &Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.late.fetch_add(usize::from(error.kind() == ErrorKind::TimedOut), Ordering::Relaxed);
    }

    fn opened(&self, _: &Info) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    fn closed(&self, _: &Info, _: Option<&Error>) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a3_a_server_ends_handshakes_that_stall_and_serves_others_meanwhile() {
    let authority = Authority::new("stalled");
    let counts = Arc::new(Counts::default());
    let limits = Limits { handshake_timeout: Duration::from_secs(2), ..Limits::default() };
    for io_threads in [None, Some(1)] {
        let server = Tcp::default().with_server_tls(authority.server().build().expect("settings"));
        let server = Server::builder(server)
            .config(ServerConfig { limits, io_threads, ..ServerConfig::default() })
            .observer(counts.clone())
            .on_message(|_, message| async move { Ok(message.into_reply()) })
            .listen("tcps://127.0.0.1:0")
            .await
            .expect("listens");
        let before = counts.late.load(Ordering::Relaxed);
        let to = server.local().socket().expect("an IP address");
        let mut silent = TcpStream::connect(to).await.expect("connects");
        let client = Tcp::default().with_client_tls(authority.client().build().expect("settings"));
        let client = Client::builder(client).connect(server.local()).await.expect("connects");
        assert_eq!(client.request("hello").await.expect("an answer").payload(), "hello");
        match soon("the end of the silent one", silent.read(&mut [0; 1])).await {
            Ok(read) => assert_eq!(read, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        assert_eq!(counts.late.load(Ordering::Relaxed), before + 1);
        assert_eq!(client.request("still here").await.expect("an answer").payload(), "still here");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a36_each_connection_is_a_session_or_a_failed_handshake_whenever_the_server_drains() {
    let authority = Authority::new("amid");
    let client = Tcp::default().with_client_tls(authority.client().build().expect("settings"));
    // Clients leave when they are asked to, so that nothing waits for this.
    let limit = Duration::from_mins(1);
    for before_the_drain in [0, 1, 4, 9, 16] {
        let counts = Arc::new(Counts::default());
        let server = Tcp::default().with_server_tls(authority.server().build().expect("settings"));
        let server = Server::builder(server)
            .observer(counts.clone())
            .on_message(|_, message| async move { Ok(message.into_reply()) })
            .listen("tcps://127.0.0.1:0")
            .await
            .expect("listens");
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (client, to) = (client.clone(), server.local().clone());
                // Whether it comes in time is what differs.
                tokio::spawn(async move { Client::builder(client).connect(&to).await.ok() })
            })
            .collect();
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        soon("so many sessions", async {
            while read(&counts.opened) < before_the_drain {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let report = soon("the drain", server.drain(limit..=limit)).await;
        soon("the end of each", async {
            while read(&counts.accepted) > read(&counts.closed) + read(&counts.failed) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(read(&counts.opened), read(&counts.closed));
        assert_eq!(read(&counts.accepted), read(&counts.opened) + read(&counts.failed));
        assert_eq!(report.active, read(&counts.opened), "each session is one of the report");
        assert_eq!((report.cut, server.connections()), (0, 0));
        for client in clients {
            drop(client.await.expect("no panic"));
        }
    }
}
