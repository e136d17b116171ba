//! Certificates that are exchanged under load: no handshake fails.
#![cfg(feature = "tls")]

#[path = "../../net-core/tests/tls/authority.rs"]
mod authority;
mod rig;

use std::{fs, path::Path};

use authority::{Authority, LOCAL, Pair, WithPair};
use net_core::{
    ErrorKind, Listener, Transport,
    tls::{Pem, ServerTls, TlsInfo},
};
use net_tcp::Tcp;
use rig::{at, soon};

fn write(directory: &Path, pair: &Pair) {
    fs::write(directory.join("server.pem"), &pair.chain).expect("written");
    fs::write(directory.join("server.key"), &pair.key).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m12_certificates_swap_back_and_forth_and_no_handshake_fails() {
    const CLIENTS: usize = 4;
    const HANDSHAKES: usize = 100;
    let authority = Authority::new("reload");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let pairs = [authority.leaf(&LOCAL), authority.leaf(&LOCAL)];
    write(path, &pairs[0]);
    let tls = ServerTls::builder()
        .certificate(Pem::file(path.join("server.pem")), Pem::file(path.join("server.key")))
        .build()
        .expect("settings");
    let listener = Tcp::default().with_server_tls(tls.clone()).listen(&at("tcps://127.0.0.1:0")).await;
    let listener = listener.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);

    let client = authority.client().max_sessions(0).build().expect("settings");
    let mut old = Tcp::default().with_client_tls(client.clone()).connect(&to).await.expect("connected");
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, to) = (Tcp::default().with_client_tls(client.clone()), to.clone());
        running.spawn(async move {
            let mut shown = Vec::new();
            for _ in 0..HANDSHAKES {
                let mut connection = client.connect(&to).await.expect("every handshake succeeds");
                connection.send("hello").await.expect("sent");
                assert_eq!(connection.recv().await.expect("served").as_deref(), Some(&b"hello"[..]));
                let info = connection.info.details::<TlsInfo>().expect("TLS");
                shown.push(info.peer.as_ref().expect("a certificate").fingerprint);
            }
            shown
        });
    }
    // Good pairs in turn, and between them bad ones, for as long as the load lasts.
    let mut shown = std::collections::HashSet::new();
    let mut swaps = 0;
    while !running.is_empty() {
        write(path, &pairs[swaps % 2]);
        tls.reload().expect("a good pair");
        fs::write(path.join("server.key"), &pairs[(swaps + 1) % 2].key).expect("written");
        assert_eq!(tls.reload().expect_err("a bad pair").kind(), ErrorKind::InvalidConfig);
        swaps += 1;
        tokio::task::yield_now().await;
        while let Some(finished) = running.try_join_next() {
            shown.extend(finished.expect("no panic"));
        }
    }
    assert!(swaps > 10, "{swaps} swaps are no load");
    assert_eq!(shown.len(), 2, "both certificates were shown");
    assert_eq!(tls.stats().handshakes, (CLIENTS * HANDSHAKES + 1) as u64);
    // Who was connected before all that still is.
    old.send("still here").await.expect("sent");
    assert!(soon("an answer", old.recv()).await.expect("served").is_some());
}

#[tokio::test]
async fn a6_a_rotated_authority_is_in_force_for_new_connections_only() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, &old.pem).expect("written");
    let tls = old.server().client_ca(Pem::file(&ca)).build().expect("settings");
    let listener = Tcp::default().with_server_tls(tls.clone()).listen(&at("tcps://127.0.0.1:0")).await;
    let listener = listener.expect("listening");
    let to = listener.local().clone();
    rig::echo(listener);

    let of = |authority: &Authority| {
        let client = old.client().pair(&authority.leaf(&["client"])).build().expect("settings");
        Tcp::default().with_client_tls(client)
    };
    let (of_old, of_new) = (of(&old), of(&new));
    let echoes = |transport: Tcp, to: net_core::Address| async move {
        let mut connection = transport.connect(&to).await?;
        connection.send("hello").await?;
        match soon("an answer", connection.recv()).await? {
            Some(_) => Ok(connection),
            None => Err(net_core::Error::new(ErrorKind::Closed, "receive")),
        }
    };
    let mut before = echoes(of_old.clone(), to.clone()).await.expect("the old authority counts");
    echoes(of_new.clone(), to.clone()).await.expect_err("the new one does not yet");

    fs::write(&ca, "nonsense").expect("written");
    assert_eq!(tls.reload().expect_err("no certificate").kind(), ErrorKind::InvalidConfig);
    echoes(of_old.clone(), to.clone()).await.expect("what was in force still is");

    fs::write(&ca, &new.pem).expect("written");
    tls.reload().expect("settings");
    echoes(of_new, to.clone()).await.expect("the new authority counts");
    // Not even by resuming its session does a client of the old one come in again.
    echoes(of_old, to).await.expect_err("the old one does no longer");
    before.send("still here").await.expect("sent");
    assert!(
        soon("an answer", before.recv()).await.expect("served").is_some(),
        "connections that exist go on"
    );
}
