//! Whom clients and servers trust: the platform's roots, chains, issuers without a list, authorities that change.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::{env, error::Error as _, fs, process::Command, time::Duration};

use authority::{Authority, LOCAL, Pair, WithPair};
use net_core::{
    Address, Error, ErrorKind, Listener, Result, Transport,
    tls::{ClientTls, Pem, ServerTls, ServerTlsBuilder, TlsBuilder, WatchConfig, rustls},
};
use net_tcp::Tcp;
use rig::{at, soon};
use rustls::{CertificateError, Error as Tls};
use tokio::sync::mpsc::unbounded_channel;

/// Serves an echo until the runtime ends.
async fn serve(tls: ServerTlsBuilder) -> Address {
    let tcp = Tcp::default().with_server_tls(tls.build().expect("settings"));
    let listener = tcp.listen(&at("tcps://127.0.0.1:0")).await.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);
    to
}

/// Connects and exchanges a message: a TLS 1.3 client learns only by reading that the server refuses it.
async fn echo(tls: &ClientTls, to: &Address) -> Result<()> {
    let tcp = Tcp::default().with_client_tls(tls.clone());
    let mut connection = soon("a handshake", tcp.connect(to)).await?;
    connection.send("hello").await?;
    match soon("an answer", connection.recv()).await? {
        Some(answer) => assert_eq!(&answer[..], b"hello"),
        None => return Err(Error::new(ErrorKind::Closed, "receive")),
    }
    Ok(())
}

/// Why a client refuses the certificate of its server.
async fn refused(tls: &ClientTls, to: &Address) -> CertificateError {
    let error = echo(tls, to).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{}", error.report());
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(Tls::InvalidCertificate(why)) => why.clone(),
        other => panic!("{other:?} in {}", error.report()),
    }
}

/// The names of what the process with other roots is told.
const ROLES: [&str; 3] = ["TRUST_PLATFORM", "TRUST_OWN", "TRUST_STRANGER"];
const CA: &str = "TRUST_CA";

/// Where the roots of the platform are files, which a variable names.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_what_the_platform_trusts_is_trusted_alone_and_beside_an_authority_of_ones_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("written");
        path
    };
    let [platform, own, stranger] = ["platform", "own", "stranger"].map(Authority::new);
    // The variable is another process's: one's own cannot be changed while threads run.
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args(["--exact", "in_a_process_with_other_roots", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", file("platform.pem", &platform.pem))
        .env_remove("SSL_CERT_DIR")
        .env(CA, file("own.pem", &own.pem));
    for (role, authority) in ROLES.into_iter().zip([&platform, &own, &stranger]) {
        command.env(role, serve(authority.server()).await.to_string());
    }
    let running = tokio::task::spawn_blocking(move || command.output().expect("it starts"));
    let output = soon("the other process", running).await.expect("it runs");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "the test above runs it, in a process whose platform trusts what it is told to"]
async fn in_a_process_with_other_roots() {
    let told = |name: &str| env::var(name).expect("what the test above tells");
    let [platform, own, stranger] = ROLES.map(|role| at(&told(role)));
    let alone = ClientTls::builder().build().expect("settings");
    let beside = ClientTls::builder().ca(Pem::file(told(CA))).platform_roots().build().expect("settings");
    let instead = ClientTls::builder().ca(Pem::file(told(CA))).build().expect("settings");
    for (client, trusted, untrusted) in [
        (&alone, vec![&platform], vec![&own, &stranger]),
        (&beside, vec![&platform, &own], vec![&stranger]),
        (&instead, vec![&own], vec![&platform, &stranger]),
    ] {
        for to in trusted {
            echo(client, to).await.unwrap_or_else(|error| panic!("{}", error.report()));
        }
        for to in untrusted {
            assert_eq!(refused(client, to).await, CertificateError::UnknownIssuer);
        }
    }
}

/// A certificate with that of the authority above it.
fn chained(intermediate: &Authority, pair: Pair) -> Pair {
    Pair { chain: pair.chain + &intermediate.pem, ..pair }
}

#[tokio::test]
async fn a6_a_chain_leads_over_an_intermediate_authority_where_it_is_shown() {
    let root = Authority::new("root");
    let below = root.intermediate("below", 5);
    let leaf = || below.leaf(&LOCAL);
    let client = root.client().build().expect("settings");
    let whole = serve(ServerTls::builder().pair(&chained(&below, leaf()))).await;
    echo(&client, &whole).await.expect("the chain is whole");
    let broken = serve(ServerTls::builder().pair(&leaf())).await;
    assert_eq!(refused(&client, &broken).await, CertificateError::UnknownIssuer);
    // Who trusts the intermediate authority itself needs no more.
    echo(&below.client().build().expect("settings"), &broken).await.expect("an anchor of its own");

    // So a server judges its clients.
    let asks = serve(root.server().client_ca(Pem::bytes(root.pem.clone()))).await;
    let with = |pair: &Pair| root.client().pair(pair).build().expect("settings");
    echo(&with(&chained(&below, leaf())), &asks).await.expect("the chain is whole");
    let error = echo(&with(&leaf()), &asks).await.expect_err("the chain is broken");
    assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.report());
}

#[tokio::test]
async fn a6_an_issuer_without_a_revocation_list_is_refused_unless_that_is_allowed() {
    let root = Authority::new("root");
    let below = root.intermediate("below", 5);
    let server = |serial| serve(ServerTls::builder().pair(&chained(&below, below.numbered(&LOCAL, serial))));
    let (good, bad) = (server(8).await, server(7).await);
    let of_root = || Pem::bytes(root.revoke(&[1]));
    let of_below = || Pem::bytes(below.revoke(&[7]));
    let client = |lists: Vec<Pem>, allows: bool| {
        let mut client = lists.into_iter().fold(root.client(), TlsBuilder::revocation_lists);
        if allows {
            client = client.allow_unknown_revocation();
        }
        client.build().expect("settings")
    };
    // Every certificate of the chain is to be covered.
    for lists in [vec![of_root()], vec![of_below()]] {
        assert_eq!(
            refused(&client(lists.clone(), false), &good).await,
            CertificateError::UnknownRevocationStatus
        );
        echo(&client(lists, true), &good).await.expect("it is allowed");
    }
    echo(&client(vec![of_root(), of_below()], false), &good).await.expect("both are covered");
    // What is on a list is refused all the same: a certificate, or that of the authority above it.
    assert_eq!(refused(&client(vec![of_below()], true), &bad).await, CertificateError::Revoked);
    let without = Pem::bytes(root.revoke(&[5]));
    assert_eq!(refused(&client(vec![without], true), &good).await, CertificateError::Revoked);
    // So a server judges its clients.
    let presents = |serial| {
        let pair = chained(&below, below.numbered(&["client"], serial));
        root.client().pair(&pair).build().expect("settings")
    };
    for allows in [false, true] {
        let mut asks = root.server().client_ca(Pem::bytes(root.pem.clone())).revocation_lists(of_below());
        if allows {
            asks = asks.allow_unknown_revocation();
        }
        let asks = serve(asks).await;
        assert_eq!(echo(&presents(8), &asks).await.is_ok(), allows);
        echo(&presents(7), &asks).await.expect_err("is revoked");
    }
}

#[tokio::test]
async fn a6_a_client_that_reloads_trusts_whom_its_files_name_now() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (of_old, of_new) = (serve(old.server()).await, serve(new.server()).await);
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, &old.pem).expect("written");
    let client = ClientTls::builder().ca(Pem::file(&ca)).build().expect("settings");
    echo(&client, &of_old).await.expect("the old authority counts");
    assert_eq!(refused(&client, &of_new).await, CertificateError::UnknownIssuer);

    fs::write(&ca, "nonsense").expect("written");
    assert_eq!(client.reload().expect_err("no certificate").kind(), ErrorKind::InvalidConfig);
    echo(&client, &of_old).await.expect("what was in force still is");

    fs::write(&ca, &new.pem).expect("written");
    client.reload().expect("settings");
    echo(&client, &of_new).await.expect("the new authority counts");
    // Not even a session from before is resumed with a server that is not trusted any more.
    assert_eq!(refused(&client, &of_old).await, CertificateError::UnknownIssuer);
}

#[tokio::test]
async fn a6_a_client_that_watches_its_files_takes_good_ones_and_tells_of_bad_ones() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (of_old, of_new) = (serve(old.server()).await, serve(new.server()).await);
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, &old.pem).expect("written");
    let client = ClientTls::builder().ca(Pem::file(&ca)).build().expect("settings");
    let (tell, mut told) = unbounded_channel();
    // Where the system tells of no change, it looks by itself.
    let config = WatchConfig { poll_interval: Duration::from_millis(100), settle: Duration::from_millis(1) };
    let watch = client.watch(config, move |outcome| tell.send(outcome).expect("the test waits"));
    let watch = watch.expect("a thread");
    for (content, good) in [("nonsense", false), (&*new.pem, true)] {
        fs::write(&ca, content).expect("written");
        // It may have looked in the midst of the writing, and tells of that first.
        while soon("the watcher", told.recv()).await.expect("it watches").is_ok() != good {}
        let (trusted, untrusted) = if good { (&of_new, &of_old) } else { (&of_old, &of_new) };
        echo(&client, trusted).await.expect("is trusted");
        assert_eq!(refused(&client, untrusted).await, CertificateError::UnknownIssuer);
    }
    drop(watch);
}
